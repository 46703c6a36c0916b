//! An admin side over a real journal, on a free port.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bikhook::{
    admin,
    clock::Timestamp,
    dispatch::{self, DispatchControl, HandlerSpec, Replayer},
    handler::{Delivery, Failure, Filter, Handler, Mask},
    http::{self, CredentialKind, CredentialStatus, Form},
    insight::{self, Insight},
    journal::{AppendBatch, Cause, Ends, History, Journal, NewDead},
    metrics::Metrics,
    secret::Secret,
    settings::Period,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinSet,
    time::Instant,
};

use super::{
    events::{batch, unreadable},
    journals::{Place, from_beginning, lane},
};

/// A running admin side with one handler, `crm`, whose destination can be well or unwell.
pub struct Operator {
    pub address: SocketAddr,
    pub journal: Arc<dyn Journal>,
    pub place: Place,
    pub stopping: watch::Sender<bool>,
    pub destination: Arc<Destination>,
    pub insight: Option<Arc<Insight>>,
    tasks: JoinSet<()>,
}

/// The admin settings that a test changes.
#[derive(Default)]
pub struct Guard {
    pub hosts: Vec<String>,
    pub credentials: Option<(&'static str, &'static str)>,
    pub without_insight: bool,
}

impl Operator {
    pub async fn new() -> Self {
        Self::guarded(Guard::default()).await
    }

    pub async fn guarded(guard: Guard) -> Self {
        let place = Place::new();
        let metrics = Metrics::new();
        let sqlite =
            bikhook::journal::sqlite::SqliteJournal::open(place.settings.clone(), Arc::clone(&metrics));
        let journal: Arc<dyn Journal> = Arc::new(sqlite.expect("the journal opens"));
        Self::over(guard, place, journal, metrics).await
    }

    /// Over a journal of the test's own.
    pub async fn over(guard: Guard, place: Place, journal: Arc<dyn Journal>, metrics: Arc<Metrics>) -> Self {
        let mut tasks = JoinSet::new();
        let (stopping, told) = watch::channel(false);
        let destination = Arc::new(Destination::default());
        let (control, replayer) = lanes(&journal, &metrics, &destination, &told, &mut tasks).await;
        let insight = (!guard.without_insight).then(|| {
            let path = place.settings.path.with_file_name("insight.db");
            let insight = Insight::open(
                &path,
                &insight::Settings::default(),
                Arc::clone(&metrics),
                journal.clock().clone(),
            );
            Arc::new(insight.expect("insight opens"))
        });
        if let Some(insight) = &insight {
            tasks.spawn(Arc::clone(insight).run(Arc::clone(&journal), told.clone()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = guard.credentials.map(|(username, password)| admin::Credentials {
            username: username.to_owned(),
            password: Secret::new(password),
        });
        let site = admin::router(admin::ReceiverParts {
            settings: admin::Settings { listen: address, hosts: guard.hosts, credentials },
            journal: Arc::clone(&journal),
            handlers: vec![admin::HandlerDescription {
                handler: "crm".into(),
                wants: None,
                masks: Some("drops /customerDetails".to_owned()),
                dead_letters: false,
            }],
            desk: Arc::new(control),
            replayer,
            insight: insight.clone(),
            open_sources: vec!["anybody".into()],
            credentials: Arc::new(|| vec![portal()]),
            metrics,
            stopping: told,
        });
        tasks.spawn(async move {
            http::serve(listener, site, http::Settings::default(), std::future::pending::<Instant>()).await;
        });
        Self { address, journal, place, stopping, destination, insight, tasks }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stores elements.
    pub async fn store<S: AsRef<str>>(&self, raws: impl IntoIterator<Item = S>) {
        self.journal.append(batch(raws)).await.unwrap();
    }

    /// Resolves when insight has processed all stored events.
    pub async fn learnt(&self) {
        let tip = *self.journal.tip().borrow();
        let mut progress = self.insight.as_ref().expect("insight is on").progress();
        let caught_up = progress.wait_for(|progress| progress.cursor >= tip);
        // Its thread has the lowest priority, so it runs late on a busy machine.
        tokio::time::timeout(Duration::from_secs(120), caught_up).await.expect("insight catches up").unwrap();
    }

    /// Puts bytes into quarantine.
    pub async fn quarantine(&self, bytes: &str) {
        let quarantined = vec![unreadable(bytes)];
        self.journal.append(AppendBatch { quarantined, ..AppendBatch::default() }).await.unwrap();
    }

    /// Makes a stored event a dead letter of `crm`.
    pub async fn bury(&self, seq: u64) {
        self.bury_saying(seq, "422: phone +910000000000 is unknown").await;
    }

    /// The same, with the text of the destination.
    pub async fn bury_saying(&self, seq: u64, error: &str) {
        let event = self.journal.get(seq).await.unwrap().expect("a stored event");
        let id = lane("crm", event.element.class());
        let dead = NewDead {
            event,
            cause: Cause::Refused,
            attempts: 1,
            error: error.to_owned(),
            at: Timestamp::from_ms(1_767_225_600_000),
            history: History::default().and(1, Timestamp::from_ms(1_767_225_600_000), error),
        };
        self.journal.settle(id, Ends { dead: vec![dead], ..Ends::default() }).await.unwrap();
        self.journal.flush().await.unwrap();
    }

    /// Stops it, and keeps its port reserved, so that connections are refused.
    pub async fn hang_up(mut self) -> TcpSocket {
        self.tasks.shutdown().await;
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind(self.address).unwrap();
        port
    }

    /// Stops it gracefully, and returns the place of its journal.
    pub async fn stop(mut self) -> Place {
        self.stopping.send_replace(true);
        self.tasks.shutdown().await;
        self.journal.close().await.unwrap();
        self.place
    }
}

/// A destination that accepts nothing until it is well.
#[derive(Default)]
pub struct Destination {
    pub well: std::sync::atomic::AtomicBool,
    /// While it is not well: it refuses each event.
    pub refuses: std::sync::atomic::AtomicBool,
    pub taken: Mutex<Vec<u64>>,
}

impl Handler for Destination {
    fn deliver<'a>(
        &'a self,
        events: &'a [Delivery],
    ) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>> {
        Box::pin(async move {
            if !self.well.load(std::sync::atomic::Ordering::SeqCst) {
                if self.refuses.load(std::sync::atomic::Ordering::SeqCst) {
                    return Err(Failure::refuse("status 422", "not this one"));
                }
                let (class, error) = ("unwell".to_owned(), "the destination is unwell".to_owned());
                return Err(Failure::retry(class, error));
            }
            self.taken.lock().unwrap().extend(events.iter().map(|delivery| delivery.event.seq));
            Ok(())
        })
    }
}

async fn lanes(
    journal: &Arc<dyn Journal>,
    metrics: &Arc<Metrics>,
    destination: &Arc<Destination>,
    stop: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> (DispatchControl, Arc<Replayer>) {
    journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    let settings = dispatch::Settings {
        probe_first: Period(Duration::from_millis(50)),
        probe_max: Period(Duration::from_millis(200)),
        ..dispatch::Settings::default()
    };
    let spec = HandlerSpec {
        name: "crm".into(),
        kind: "test",
        destination: "there".into(),
        handler: Arc::clone(destination) as Arc<dyn Handler>,
        filter: Filter::default(),
        mask: Mask::default(),
        batch: 10,
        concurrency: 2,
        settings,
    };
    let grace = Duration::from_secs(1);
    DispatchControl::start(vec![spec], journal, metrics, tasks, stop, grace).await.unwrap()
}

fn portal() -> CredentialStatus {
    CredentialStatus {
        source: "bik".into(),
        name: "portal".into(),
        kind: CredentialKind::Key,
        pinned: None,
        form: Some(Form::Base64),
        last_used_at: Some(Timestamp::from_ms(1_767_225_600_000)),
        uses: 3,
        not_after: None,
    }
}
