//! Insight on a running journal: restarts, a rebuild, a journal that was recreated.

use std::path::Path;

use bikhook::{clock::Clock, insight::Insight, journal::Journal, metrics::Metrics};
use tokio::{sync::watch, task::JoinHandle};

use super::*;
use crate::{
    handlers::until,
    support::{
        events::{batch, incoming, status},
        journals::Place,
    },
};

/// Runs insight until it is stopped.
struct AtWork {
    insight: Arc<Insight>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl AtWork {
    fn start(path: &Path, journal: &Arc<dyn Journal>) -> Self {
        let insight =
            Arc::new(Insight::open(path, &Settings::default(), Metrics::new(), Clock::system()).unwrap());
        let (stop, told) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&insight).run(Arc::clone(journal), told));
        Self { insight, stop, task }
    }

    async fn caught_up(&self, journal: &Arc<dyn Journal>) {
        until(async || {
            let progress = *self.insight.progress().borrow();
            progress.cursor == *journal.tip().borrow() && progress.rebuilding_to.is_none()
        })
        .await;
    }

    /// Messages from customers, and to them.
    async fn messages(&self) -> (i64, i64) {
        let rows = self.insight.ask(|asks| ask::funnel(asks, &FigureQuery::default())).await.unwrap();
        rows.first().map_or((0, 0), |row| (row.incoming, row.messages))
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn insight_continues_after_a_restart_and_counts_each_event_once() {
    let place = Place::new();
    let journal = place.open();
    let path = place.path().with_file_name("insight.db");
    journal.append(batch([incoming("1", "a"), status("2", "b", "sent")])).await.unwrap();
    let at_work = AtWork::start(&path, &journal);
    at_work.caught_up(&journal).await;
    assert_eq!(at_work.messages().await, (1, 1));
    assert!(
        Insight::open(&path, &Settings::default(), Metrics::new(), Clock::system()).is_err(),
        "two write the same file"
    );
    at_work.stop().await;
    journal.append(batch([status("3", "b", "read"), status("4", "c", "sent")])).await.unwrap();
    let at_work = AtWork::start(&path, &journal);
    at_work.caught_up(&journal).await;
    assert_eq!(at_work.messages().await, (1, 2));
    at_work.stop().await;
}

#[tokio::test]
async fn a_rebuild_gives_the_same_result_while_events_arrive() {
    let place = Place::new();
    let journal = place.open();
    let at_work = AtWork::start(&place.path().with_file_name("insight.db"), &journal);
    let raws: Vec<String> =
        (0..5_000).map(|n| status(&n.to_string(), &(n / 2).to_string(), "sent")).collect();
    journal.append(batch(&raws)).await.unwrap();
    at_work.caught_up(&journal).await;
    assert_eq!(at_work.messages().await, (0, 2_500));
    at_work.insight.rebuild(&*journal).await.unwrap();
    journal.append(batch([incoming("new", "new")])).await.unwrap();
    at_work.caught_up(&journal).await;
    assert_eq!(at_work.messages().await, (1, 2_500));
    at_work.stop().await;
}

#[tokio::test]
async fn a_recreated_journal_leaves_no_message_of_the_old_one() {
    let (old, new) = (Place::new(), Place::new());
    let path = old.path().with_file_name("insight.db");
    let journal = old.open();
    journal.append(batch([status("1", "a", "sent"), status("2", "b", "sent")])).await.unwrap();
    let at_work = AtWork::start(&path, &journal);
    at_work.caught_up(&journal).await;
    at_work.stop().await;
    let journal = new.open();
    journal.append(batch([incoming("1", "c")])).await.unwrap();
    let at_work = AtWork::start(&path, &journal);
    at_work.caught_up(&journal).await;
    let failures = FailureClasses::load(None).unwrap();
    let all = SearchQuery { limit: 10, ..SearchQuery::default() };
    let found = at_work.insight.ask(move |asks| ask::search(asks, &all, &failures)).await.unwrap();
    assert_eq!(found.rows.iter().map(|row| &*row.message_id).collect::<Vec<_>>(), ["c"]);
    at_work.stop().await;
}
