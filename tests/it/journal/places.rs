//! Handlers that are no longer configured: their dead letters, and renaming them.

use std::time::Duration;

use bikhook::{
    clock::Timestamp,
    event::Class,
    journal::{
        Cause, DeadQuery, Ends, History, Journal, LaneId, NewDead, NewReplay, RenameError, RenameRefusal,
        sqlite,
    },
    settings::Period,
};

use crate::support::{
    events::{batch, status},
    journals::{Place, from_beginning, lane},
};

/// A handler that is no longer configured has more dead letters marked for retry than one slice reads, before those of
/// another handler.
#[tokio::test]
async fn dead_letters_of_a_removed_handler_delay_no_others() {
    let mut place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("gone"), from_beginning("crm")]).await.unwrap();
    journal.append(batch((0..1_110).map(|n| status(&format!("id-{n}"), "m", "sent")))).await.unwrap();
    let mut ends = [Ends::default(), Ends::default()];
    for seq in 1..=1_110 {
        let event = journal.get(seq).await.unwrap().unwrap();
        let (error, history) = ("422".to_owned(), History::default());
        let at = Timestamp::from_ms(1_000 + i64::try_from(seq).unwrap());
        let dead = NewDead { event, cause: Cause::Refused, attempts: 1, error, at, history };
        ends[usize::from(seq > 1_100)].dead.push(dead);
    }
    let [of_gone, of_crm] = ends;
    journal.settle(lane("gone", Class::Other), of_gone).await.unwrap();
    journal.settle(lane("crm", Class::Other), of_crm).await.unwrap();
    journal.flush().await.unwrap();
    let marked = journal.retry_dead((1..=1_101).collect()).await.unwrap();
    assert_eq!(marked.len(), 1_101);
    journal.close().await.unwrap();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    raw.execute("UPDATE dead SET died_at = 1000 + id", []).unwrap();
    drop(raw);

    place.settings.dead_letter_retention = Period(Duration::from_secs(60));
    let journal = place.open();
    journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    let begun = std::time::Instant::now();
    let left = loop {
        let query = DeadQuery { handler: None, before: None, limit: 1_000 };
        let left: Vec<i64> = journal.dead_letters(query).await.unwrap().iter().map(|dead| dead.id).collect();
        if left.len() <= 1 || begun.elapsed() > Duration::from_secs(90) {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(left, [1_101], "only what a configured handler is still to retry is kept");
}

#[tokio::test]
async fn an_old_dead_letter_past_the_cursor_stays_settled_when_it_is_deleted() {
    let mut place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    journal.append(batch((0..5).map(|n| status(&format!("id-{n}"), "m", "sent")))).await.unwrap();
    let event = journal.get(3).await.unwrap().unwrap();
    let (error, history) = ("422".to_owned(), History::default());
    let dead =
        NewDead { event, cause: Cause::Refused, attempts: 1, error, at: Timestamp::from_ms(1), history };
    let ends = Ends { cursor: Some(1), dead: vec![dead], ..Ends::default() };
    journal.settle(lane("crm", Class::Other), ends).await.unwrap();
    journal.close().await.unwrap();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    raw.execute("UPDATE dead SET died_at = 1000", []).unwrap();
    drop(raw);

    place.settings.dead_letter_retention = Period(Duration::from_secs(60));
    let journal = place.open();
    journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    let begun = std::time::Instant::now();
    let query = DeadQuery { handler: None, before: None, limit: 10 };
    while !journal.dead_letters(query.clone()).await.unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(90), "retention deletes it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let state = journal.lane(lane("crm", Class::Other)).await.unwrap();
    assert_eq!((state.cursor, state.dead_past_cursor), (1, vec![3]));
}

#[tokio::test]
async fn a_place_goes_to_another_name_with_all_that_belongs_to_it() {
    let place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("crm"), from_beginning("other")]).await.unwrap();
    journal.append(batch((0..6).map(|n| status(&format!("id-{n}"), "m", "sent")))).await.unwrap();
    let event = journal.get(1).await.unwrap().unwrap();
    let (error, history) = ("422".to_owned(), History::default());
    let at = Timestamp::from_ms(1_000);
    let dead = NewDead { event, cause: Cause::Refused, attempts: 1, error, at, history };
    let ends = Ends { cursor: Some(4), dead: vec![dead], ..Ends::default() };
    journal.settle(lane("crm", Class::Other), ends).await.unwrap();
    let ends = Ends { cursor: Some(6), ..Ends::default() };
    journal.settle(lane("other", Class::Other), ends).await.unwrap();
    let asked = NewReplay { handler: "crm".into(), after: 0, upto: 3, filter: "{}".to_owned(), rate: None };
    let replay = journal.start_replay(asked).await.unwrap();
    journal.pause("crm".into(), "why".to_owned()).await.unwrap();
    let refused = async |journal: &dyn Journal, old: &str, new: &str| match journal
        .rename_handler(old.into(), new.into())
        .await
    {
        Err(RenameError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&*journal, "crm", "sales").await, RenameRefusal::Configured);
    journal.close().await.unwrap();

    let journal = place.open();
    journal.enrol(vec![from_beginning("other"), from_beginning("fresh")]).await.unwrap();
    let gone = journal.handlers().await.unwrap();
    let gone: Vec<_> = gone.iter().filter(|place| !place.configured).collect();
    assert_eq!((gone.len(), &*gone[0].handler, gone[0].undelivered()), (1, "crm", 6));
    assert_eq!(refused(&*journal, "nobody", "sales").await, RenameRefusal::Unknown);
    assert_eq!(refused(&*journal, "crm", "fresh").await, RenameRefusal::AtWork);
    assert_eq!(refused(&*journal, "crm", "other").await, RenameRefusal::AtWork);
    journal.rename_handler("crm".into(), "sales".into()).await.unwrap();
    assert!(
        journal.paused().borrow().contains_key("sales") && !journal.paused().borrow().contains_key("crm")
    );
    assert_eq!(&*journal.replays().borrow()[&replay].request.handler, "sales");
    journal.close().await.unwrap();

    // The new name is only enrolled, or has delivery state of its own.
    let rename = |old: &str, new: &str| sqlite::rename_offline(&place.path(), old, new);
    assert!(matches!(rename("sales", "other"), Err(RenameError::Refused(RenameRefusal::Progressed))));
    rename("sales", "last").unwrap();
    assert!(matches!(rename("sales", "last"), Err(RenameError::Refused(RenameRefusal::Unknown))));
    let journal = place.open();
    journal.enrol(vec![from_beginning("last")]).await.unwrap();
    let state = journal.lane(lane("last", Class::Other)).await.unwrap();
    assert_eq!((state.cursor, state.dead), (4, 1));
    let of_replay = LaneId { replay: Some(replay), ..lane("last", Class::Other) };
    assert_eq!(journal.lane(of_replay).await.unwrap().cursor, 0);
    assert!(journal.paused().borrow().contains_key("last"));
    // The lane can settle under its new name.
    let ends = Ends { cursor: Some(6), ..Ends::default() };
    journal.settle(lane("last", Class::Other), ends).await.unwrap();
    assert_eq!(journal.lane(lane("last", Class::Other)).await.unwrap().cursor, 6);
}
