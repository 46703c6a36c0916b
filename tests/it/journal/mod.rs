//! The guarantees of the journal. The contract tests use the trait; the tests below them need a file.

mod clock;
mod leaving;
mod places;
mod tampered;

use std::{collections::HashSet, sync::Arc, time::Duration};

use bikhook::{
    clock::{self as wall, Timestamp},
    event::Class,
    journal::{
        AppendBatch, AppendError, Aside, Cause, DeadAgain, DeadQuery, DeliveryState, Ends, Enrolment, Error,
        EventQuery, HandlerProgress, History, Journal, JournalOpenError, JournalState, LaneId, LaneStart,
        NewDead, NewReplay, Omission, OmissionCause, QuarantineQuery, ReplayState, RetryOf, sqlite,
    },
    settings::Period,
};

use crate::{
    handlers::until,
    support::{
        clock::{DAY, Hands, START},
        events::{batch, draft, draft_from, incoming, status, unreadable},
        journals::{Place, from_beginning, lane, refused},
    },
};

/// Every event of the journal, oldest first: (seq, raw).
async fn all(journal: &Arc<dyn Journal>) -> Vec<(u64, String)> {
    let mut events = Vec::new();
    let mut query = EventQuery { limit: 1_000, ..EventQuery::default() };
    loop {
        let page = journal.events(query.clone()).await.unwrap();
        events.extend(page.events.iter().map(|event| (event.seq, event.element.raw().to_owned())));
        match page.next {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    events.reverse();
    events
}

fn seqs(claim: &bikhook::journal::Claim) -> Vec<u64> {
    claim.events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_byte_for_byte() {
    let place = Place::new();
    let journal = place.open();
    let raw = "{ \"eventName\" : \"x\", \"n\": 12345678901234567890123, }";
    let receipt = journal.append(batch([raw])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.seq), (1, Some(1)));
    journal.close().await.unwrap();
    let journal = place.open();
    assert_eq!(all(&journal).await, [(1, raw.to_owned())]);
    assert_eq!(*journal.tip().borrow(), 1);
}

#[tokio::test]
async fn a_duplicate_is_stored_once_within_and_across_batches_and_restarts() {
    let place = Place::new();
    let journal = place.open();
    let one = status("id-1", "m-1", "sent");
    let receipt = journal.append(batch([&one, &one])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.duplicates, receipt.seq), (1, 1, Some(1)));
    let receipt = journal.append(batch([&one])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.duplicates, receipt.seq), (0, 1, None));
    journal.close().await.unwrap();
    let journal = place.open();
    let receipt = journal.append(batch([&one])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.duplicates), (0, 1));
    assert_eq!(all(&journal).await.len(), 1);
}

#[tokio::test]
async fn the_same_event_from_two_sources_is_two_events() {
    let place = Place::new();
    let journal = place.open();
    let raw = status("id-1", "m-1", "sent");
    let drafts = vec![draft_from("one", &raw), draft_from("two", &raw)];
    let receipt = journal.append(AppendBatch { drafts, ..AppendBatch::default() }).await.unwrap();
    assert_eq!((receipt.accepted, receipt.duplicates), (2, 0));
}

#[tokio::test]
async fn a_conflict_goes_to_quarantine_once_and_names_the_event() {
    let place = Place::new();
    let journal = place.open();
    let one = status("id-1", "m-1", "sent");
    let other = one.replace("Hello", "Goodbye");
    journal.append(batch([&one])).await.unwrap();
    for _ in 0..2 {
        let receipt = journal.append(batch([&other])).await.unwrap();
        assert_eq!((receipt.accepted, receipt.quarantined, receipt.conflicts), (0, 1, 1));
    }
    let entries = journal.quarantine(QuarantineQuery { limit: 10, before: None }).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].count, entries[0].conflicts_with), (2, Some(1)));
    assert_eq!(entries[0].item.bytes, other.as_bytes());
    assert_eq!(all(&journal).await.len(), 1);
}

#[tokio::test]
async fn quarantine_keeps_identical_bytes_once_until_they_are_dropped() {
    let place = Place::new();
    let journal = place.open();
    for bytes in ["{bad", "{bad", "{worse"] {
        let receipt = journal
            .append(AppendBatch { quarantined: vec![unreadable(bytes)], ..AppendBatch::default() })
            .await
            .unwrap();
        assert_eq!((receipt.quarantined, receipt.seq), (1, None));
    }
    let entries = journal.quarantine(QuarantineQuery { limit: 10, before: None }).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.count).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(entries[0].id, entries[1].id + 1, "a hole in the numbers would look like a loss");
    let id = entries[1].id;
    assert_eq!(journal.drop_quarantined(vec![id, 999]).await.unwrap(), [id]);
    assert!(journal.quarantined(id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_retry_drops_its_entry_only_if_an_element_is_stored() {
    let place = Place::new();
    let journal = place.open();
    let one = status("1", "m", "sent");
    journal.append(batch([&one])).await.unwrap();
    journal
        .append(AppendBatch { quarantined: vec![unreadable("[1]")], ..AppendBatch::default() })
        .await
        .unwrap();
    let retry = |raw: &str, of: RetryOf| AppendBatch {
        quarantined: vec![unreadable("null")],
        retried: Some(of),
        ..batch([raw])
    };
    let ids = async || {
        let entries = journal.quarantine(QuarantineQuery { limit: 10, before: None }).await.unwrap();
        entries.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    for of in [RetryOf::Whole(1), RetryOf::Part] {
        let receipt = journal.append(retry(&one.replace("Hello", "Goodbye"), of)).await.unwrap();
        assert_eq!((receipt.conflicts, receipt.quarantined), (1, 0));
        assert_eq!(ids().await, [1], "the entry stays, and none of its elements is an entry too");
    }
    let receipt = journal.append(retry(&status("2", "m", "read"), RetryOf::Whole(1))).await.unwrap();
    assert_eq!((receipt.accepted, receipt.quarantined), (1, 1));
    assert_eq!(ids().await, [2], "the element that cannot be read is an entry of its own");
}

#[tokio::test]
async fn a_lane_claims_its_class_in_order_from_memory_and_from_the_file() {
    let place = Place::new();
    let journal = place.open();
    let raws: Vec<String> =
        (0..50)
            .map(|n| {
                if n % 5 == 0 {
                    incoming(&format!("i{n}"), "m")
                } else {
                    status(&format!("s{n}"), "m", "sent")
                }
            })
            .collect();
    journal.append(batch(&raws)).await.unwrap();
    for restart in [false, true] {
        let journal = if restart {
            journal.close().await.unwrap();
            place.open()
        } else {
            Arc::clone(&journal)
        };
        let claim = journal.claim(Class::Incoming, 0, 4).await.unwrap();
        assert_eq!(seqs(&claim), [1, 6, 11, 16]);
        let rest = journal.claim(Class::Incoming, claim.through, 100).await.unwrap();
        assert_eq!(seqs(&rest), [21, 26, 31, 36, 41, 46]);
        assert_eq!(rest.through, 50);
        let none = journal.claim(Class::Other, 50, 100).await.unwrap();
        assert_eq!((none.events.len(), none.through), (0, 50));
    }
}

#[tokio::test]
async fn a_cursor_survives_a_restart_and_never_falls() {
    let place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    journal.append(batch((0..9).map(|n| status(&n.to_string(), "m", "sent")))).await.unwrap();
    let other = lane("audit", Class::Other);
    for cursor in [5, 3] {
        journal.settle(other.clone(), Ends { cursor: Some(cursor), ..Ends::default() }).await.unwrap();
    }
    journal.flush().await.unwrap();
    journal.close().await.unwrap();
    let journal = place.open();
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    assert_eq!(journal.lane(other).await.unwrap().cursor, 5);
    assert_eq!(journal.lane(lane("audit", Class::Incoming)).await.unwrap().cursor, 0);
}

#[tokio::test]
async fn an_event_stands_with_each_handler_as_its_lane_and_the_exceptions_tell() {
    let place = Place::new();
    let journal = place.open();
    let events =
        [status("1", "m", "sent"), status("2", "m", "read"), incoming("3", "n"), status("4", "o", "sent")];
    journal.append(batch(events)).await.unwrap();
    let late = Enrolment { handler: "late".into(), start: None, dead_letters: false };
    journal.enrol(vec![from_beginning("audit"), late]).await.unwrap();
    let before = wall::now();
    for cursor in [1, 2] {
        let ends = Ends { cursor: Some(cursor), ..Ends::default() };
        journal.settle(lane("audit", Class::Other), ends).await.unwrap();
        journal.flush().await.unwrap();
    }
    let stands = async |class, seq| {
        let passages = journal.handler_progress(class, seq).await.unwrap();
        let of = |passage: HandlerProgress| {
            assert_eq!((passage.class, passage.aside, passage.dead), (class, false, None));
            let expected = match (&*passage.handler, passage.passed) {
                ("late", _) => DeliveryState::BeforeStart,
                (_, true) => DeliveryState::Delivered,
                (_, false) => DeliveryState::Waiting,
            };
            assert_eq!((passage.state, passage.by), (expected, None));
            (passage.handler.to_string(), passage.passed, passage.at.map(|at| at >= before))
        };
        passages.into_iter().map(of).collect::<Vec<_>>()
    };
    let late = ("late".to_owned(), true, None);
    let audit = |passed, at| ("audit".to_owned(), passed, at);
    assert_eq!(stands(Class::Other, 1).await, [audit(true, Some(true)), late.clone()]);
    assert_eq!(stands(Class::Other, 2).await, [audit(true, Some(true)), late.clone()]);
    assert_eq!(stands(Class::Incoming, 3).await, [audit(false, None), late.clone()], "a lane of its own");
    assert_eq!(stands(Class::Other, 4).await, [audit(false, None), late]);

    // Long ago, so only the cursor shows that it was passed.
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    raw.execute("DELETE FROM settle WHERE upto < 2", []).unwrap();
    assert_eq!(stands(Class::Other, 1).await[0], audit(true, None));
    assert_eq!(stands(Class::Other, 2).await[0], audit(true, None));
}

#[tokio::test]
async fn an_event_that_was_not_delivered_says_why_and_by_whom() {
    let place = Place::new();
    let journal = place.open();
    journal.append(batch((1..=6).map(|n| status(&n.to_string(), "m", "sent")))).await.unwrap();
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    let (id, at) = (lane("audit", Class::Other), wall::now());
    let skip = |first, last| Omission { first, last, cause: OmissionCause::Skipped, at, by: "ops".into() };
    let dead = NewDead { at, ..refused(&*journal, 2, "status 422").await };
    let omitted = vec![skip(1, 1), skip(4, 5)];
    let ends = Ends { cursor: Some(6), dead: vec![dead], omitted, ..Ends::default() };
    journal.settle(id, ends).await.unwrap();
    journal.flush().await.unwrap();
    let state = async |seq| {
        let one = journal.handler_progress(Class::Other, seq).await.unwrap().remove(0);
        (one.state, one.by.map(|by| by.to_string()), one.at == Some(at))
    };
    let by_ops = || Some("ops".to_owned());
    assert_eq!(state(1).await, (DeliveryState::Skipped, by_ops(), true));
    assert_eq!(state(2).await, (DeliveryState::Dead, None, true));
    assert_eq!(state(3).await.0, DeliveryState::Delivered);
    assert_eq!(state(4).await, (DeliveryState::Skipped, by_ops(), true));
    assert_eq!(state(5).await, (DeliveryState::Skipped, by_ops(), true));
    assert_eq!(state(6).await.0, DeliveryState::Delivered);
    journal.drop_dead(vec![1], "night shift".into()).await.unwrap();
    let dropped = state(2).await;
    assert_eq!((dropped.0, dropped.1.as_deref()), (DeliveryState::Dropped, Some("night shift")));
}

#[tokio::test]
async fn dead_letters_of_replays_do_not_hide_what_the_own_lane_did() {
    let place = Place::new();
    let journal = place.open();
    journal.append(batch((1..=5).map(|n| status(&n.to_string(), "m", "sent")))).await.unwrap();
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    let own = lane("audit", Class::Other);
    let die = async |lane: &LaneId, seq| {
        let dead = refused(&*journal, seq, "status 422").await;
        journal.settle(lane.clone(), Ends { dead: vec![dead], ..Ends::default() }).await.unwrap();
        journal.flush().await.unwrap();
        journal.handler_progress(Class::Other, seq).await.unwrap().remove(0).dead.unwrap()
    };
    let state = async |seq| {
        let one = journal.handler_progress(Class::Other, seq).await.unwrap().remove(0);
        (one.state, one.by.map(|by| by.to_string()))
    };
    let dropped_by = |user: &str| (DeliveryState::Dropped, Some(user.to_owned()));
    let delivered = (DeliveryState::Delivered, None);

    // The own lane delivers event 3, skips 4 and 5, and drops or keeps the dead letters of 1 and 2.
    let skipped =
        Omission { first: 4, last: 5, cause: OmissionCause::Skipped, at: wall::now(), by: "ops".into() };
    let ends = Ends { cursor: Some(5), omitted: vec![skipped], ..Ends::default() };
    journal.settle(own.clone(), ends).await.unwrap();
    let first = die(&own, 1).await;
    journal.drop_dead(vec![first], "day".into()).await.unwrap();
    die(&own, 2).await;
    assert_eq!(state(1).await, dropped_by("day"));

    let asked = NewReplay { handler: "audit".into(), after: 0, upto: 5, filter: "{}".to_owned(), rate: None };
    let replay = journal.start_replay(asked).await.unwrap();
    let of_replay = LaneId { replay: Some(replay), ..own.clone() };
    let mut ids = Vec::new();
    for seq in 1..=4 {
        ids.push(die(&of_replay, seq).await);
        assert_eq!(state(seq).await, (DeliveryState::Dead, None));
    }
    let ends = Ends { revived: vec![ids[0]], ..Ends::default() };
    journal.settle(own, ends).await.unwrap();
    journal.flush().await.unwrap();
    assert_eq!(state(1).await, delivered, "its retry succeeded");
    journal.drop_dead(ids[1..].to_vec(), "night".into()).await.unwrap();
    assert_eq!(state(2).await, dropped_by("night"), "the replay replaced the dead letter of the own lane");
    assert_eq!(state(3).await, delivered, "the own lane delivered it");
    assert_eq!(state(4).await, (DeliveryState::Skipped, Some("ops".to_owned())));
}

#[tokio::test]
async fn records_of_omitted_events_are_found_and_deleted_without_scans() {
    let place = Place::new();
    let journal = place.open();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    let plan = |sql: &str| {
        let mut explain = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explain.query_map([], |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    for (sql, seek) in [
        ("SELECT id FROM omitted WHERE last < 7 LIMIT 9", "omitted_age (last<?)"),
        (
            "SELECT id FROM omitted WHERE lane = 1 AND last = 7 AND first = 7 LIMIT 1",
            "omitted_event (lane=? AND last=? AND first=?)",
        ),
        (
            "SELECT id FROM omitted WHERE lane = 1 AND last >= 7 AND first <= 7 AND first < last
             ORDER BY last LIMIT 1",
            "omitted_range (lane=? AND last>?)",
        ),
    ] {
        let steps = plan(sql);
        assert!(steps.contains(seek) && !steps.contains("SCAN"), "{steps}");
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn old_settles_leave_but_the_last_before_a_long_silence() {
    let place = Place::new();
    let journal = place.open();
    journal.append(batch((1..=4).map(|n| status(&n.to_string(), "m", "sent")))).await.unwrap();
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    let pass = async |journal: &Arc<dyn Journal>, cursor| {
        let ends = Ends { cursor: Some(cursor), ..Ends::default() };
        journal.settle(lane("audit", Class::Other), ends).await.unwrap();
        journal.flush().await.unwrap();
    };
    for cursor in [1, 2, 3] {
        pass(&journal, cursor).await;
    }
    journal.close().await.unwrap();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    raw.execute("UPDATE settle SET at = at - 8 * 24 * 3600000", []).unwrap();
    let journal = place.open();
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    let left = || raw.query_row("SELECT count(*) FROM settle", [], |row| row.get::<_, i64>(0)).unwrap();
    until(async || left() == 2).await;
    pass(&journal, 4).await;
    let at = async |seq| journal.handler_progress(Class::Other, seq).await.unwrap()[0].at;
    assert!(at(4).await > Some(wall::now().plus_ms(-60_000)));
    assert_eq!(at(3).await, None);
}

#[tokio::test]
async fn the_progress_of_an_event_is_found_fast_among_millions_of_settles() {
    let place = Place::new();
    let journal = place.open();
    journal.append(batch([status("1", "m", "sent")])).await.unwrap();
    journal.enrol(vec![from_beginning("audit"), from_beginning("crm")]).await.unwrap();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    let sql = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 300000)
               INSERT INTO settle (lane, upto, at) SELECT id, n, n FROM lane, n";
    raw.execute(sql, []).unwrap();
    raw.execute("UPDATE lane SET cursor = 300000", []).unwrap();
    let began = std::time::Instant::now();
    for seq in [1, 150_000, 299_999] {
        let passages = journal.handler_progress(Class::Other, seq).await.unwrap();
        let times: Vec<_> = passages.iter().map(|passage| passage.at.map(Timestamp::as_ms)).collect();
        assert_eq!(times, [Some(seq.cast_signed()); 2]);
    }
    assert!(began.elapsed() < std::time::Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_settle_is_durable_within_a_second_without_being_asked() {
    let place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    journal.append(batch([status("1", "m", "sent")])).await.unwrap();
    journal.settle(lane("audit", Class::Other), Ends { cursor: Some(1), ..Ends::default() }).await.unwrap();
    let reader = rusqlite::Connection::open(place.path()).unwrap();
    let cursor =
        || -> u64 { reader.query_row("SELECT max(cursor) FROM lane", [], |row| row.get(0)).unwrap() };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while cursor() < 1 {
        assert!(std::time::Instant::now() < deadline, "the settle never became durable");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_handler_starts_where_its_enrolment_says_and_only_the_first_time() {
    let place = Place::new();
    let journal = place.open();
    journal
        .enrol(vec![Enrolment { handler: "first".into(), start: None, dead_letters: false }])
        .await
        .unwrap();
    journal.append(batch([status("1", "m", "sent")])).await.unwrap();
    let between = wait_past(wall::now());
    journal.append(batch([status("2", "m", "sent"), status("3", "m", "sent")])).await.unwrap();
    let enrol = |handler: &str, start| Enrolment { handler: handler.into(), start, dead_letters: false };
    journal
        .enrol(vec![
            enrol("first", Some(LaneStart::Now)),
            enrol("late", None),
            enrol("now", Some(LaneStart::Now)),
            enrol("all", Some(LaneStart::Beginning)),
            enrol("since", Some(LaneStart::At(between))),
            enrol("future", Some(LaneStart::At(between.plus_ms(1_000_000)))),
        ])
        .await
        .unwrap();
    for (handler, cursor) in [("first", 0), ("late", 3), ("now", 3), ("all", 0), ("since", 1), ("future", 3)]
    {
        let state = journal.lane(lane(handler, Class::Other)).await.unwrap();
        assert_eq!(state.cursor, cursor, "{handler}");
    }
    let unknown = journal.lane(lane("nobody", Class::Other)).await;
    assert!(matches!(unknown, Err(Error::NoLane(_))), "{unknown:?}");
}

/// Waits until the clock has advanced. Returns a time between the events stored before and the events stored after.
fn wait_past(time: Timestamp) -> Timestamp {
    loop {
        let now = wall::now();
        if now > time {
            return now;
        }
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn exceptions_are_kept_replaced_and_resolved() {
    let place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    journal.append(batch([status("1", "m", "sent"), status("2", "m", "read")])).await.unwrap();
    let other = lane("crm", Class::Other);
    let event = journal.get(1).await.unwrap().unwrap();
    let row = |seq, behind, attempts| Aside {
        seq,
        order_key: event.order_key(),
        behind,
        attempts,
        since: Timestamp::from_ms(1),
        next_try: Timestamp::from_ms(2),
        error: "no".to_owned(),
        history: History::default(),
    };
    let ends =
        Ends { cursor: Some(2), set_aside: vec![row(1, false, 3), row(2, true, 0)], ..Ends::default() };
    journal.settle(other.clone(), ends).await.unwrap();
    let ends = Ends { set_aside: vec![row(1, false, 4)], ..Ends::default() };
    journal.settle(other.clone(), ends).await.unwrap();
    let state = journal.lane(other.clone()).await.unwrap();
    assert_eq!(state.aside, [row(1, false, 4), row(2, true, 0)]);

    let dead = NewDead {
        event: Arc::clone(&event),
        cause: Cause::Expired,
        attempts: 9,
        error: "for ever".to_owned(),
        at: wall::now(),
        history: History::default(),
    };
    let ends = Ends { resolved: vec![1, 2], dead: vec![dead], ..Ends::default() };
    journal.settle(other.clone(), ends).await.unwrap();
    let state = journal.lane(other.clone()).await.unwrap();
    assert_eq!((state.aside.len(), state.dead), (0, 1));
}

#[tokio::test]
async fn a_dead_letter_is_retried_revived_and_dropped_by_its_number() {
    let place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("crm"), from_beginning("lake")]).await.unwrap();
    journal.append(batch([status("1", "m", "sent"), status("2", "m", "read")])).await.unwrap();
    let other = lane("crm", Class::Other);
    for seq in [1, 2] {
        let dead = refused(&*journal, seq, "422").await;
        journal.settle(other.clone(), Ends { dead: vec![dead], ..Ends::default() }).await.unwrap();
    }
    journal.flush().await.unwrap();
    let list = |handler: Option<&str>| {
        journal.dead_letters(DeadQuery { handler: handler.map(str::to_owned), before: None, limit: 10 })
    };
    let letters = list(None).await.unwrap();
    assert_eq!(letters.iter().map(|dead| dead.event.seq).collect::<Vec<_>>(), [2, 1]);
    assert!(list(Some("lake")).await.unwrap().is_empty());

    let retries = journal.retries();
    let (second, first) = (letters[0].id, letters[1].id);
    assert_eq!(journal.retry_dead(vec![first, second, 77]).await.unwrap(), [first, second]);
    assert!(retries.has_changed().unwrap());
    assert_eq!(journal.retrying(other.clone()).await.unwrap().len(), 2);
    assert!(journal.retrying(lane("lake", Class::Other)).await.unwrap().is_empty());
    let again = DeadAgain {
        id: second,
        attempts: 2,
        error: "still".to_owned(),
        history: History::default(),
        still_retrying: false,
    };
    let ends = Ends { revived: vec![first], dead_again: vec![again], ..Ends::default() };
    journal.settle(other, ends).await.unwrap();
    journal.flush().await.unwrap();
    let letters = list(None).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].attempts, letters[0].error.as_str(), letters[0].retrying), (2, "still", false));
    assert_eq!(journal.drop_dead(vec![second], "ops".into()).await.unwrap(), [second]);
    assert!(journal.dead_letter(second).await.unwrap().is_none());
}

#[tokio::test]
async fn pages_of_events_go_newest_first_and_by_name_source_and_time() {
    let place = Place::new();
    let journal = place.open();
    let first: Vec<_> = (0..1_500).map(|n| draft(&status(&n.to_string(), "m", "sent"))).collect();
    journal.append(AppendBatch { drafts: first, ..AppendBatch::default() }).await.unwrap();
    let between = wait_past(wall::now());
    let drafts = vec![draft_from("shop", &incoming("i", "m")), draft(&status("last", "m", "read"))];
    journal.append(AppendBatch { drafts, ..AppendBatch::default() }).await.unwrap();

    let query = EventQuery { limit: 3, ..EventQuery::default() };
    let page = journal.events(query.clone()).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1_502, 1_501, 1_500]);
    let page = journal.events(EventQuery { before: page.next, ..query.clone() }).await.unwrap();
    assert_eq!(page.events[0].seq, 1_499);

    let named = EventQuery { name: Some("incoming-message".to_owned()), limit: 10, ..EventQuery::default() };
    assert_eq!(journal.events(named).await.unwrap().events[0].seq, 1_501);
    let sourced = EventQuery { source: Some("shop".to_owned()), limit: 10, ..EventQuery::default() };
    assert_eq!(journal.events(sourced).await.unwrap().events.len(), 1);
    let since = EventQuery { since: Some(between), limit: 10, ..EventQuery::default() };
    let page = journal.events(since).await.unwrap();
    assert_eq!((page.events.len(), page.next), (2, None));
    let until = EventQuery { until: Some(between), limit: 1, ..EventQuery::default() };
    assert_eq!(journal.events(until).await.unwrap().events[0].seq, 1_500);
    assert_eq!(all(&journal).await.len(), 1_502);
}

#[tokio::test]
async fn the_resources_of_a_batch_are_freed_when_the_append_has_ended() {
    let place = Place::new();
    let journal = place.open();
    let held = Arc::new(());
    let hold: Box<dyn Send> = Box::new(Arc::clone(&held));
    let batch = AppendBatch { hold: Some(hold), ..batch([status("1", "m", "sent")]) };
    journal.append(batch).await.unwrap();
    journal.flush().await.unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn an_append_whose_caller_went_away_is_completed() {
    let place = Place::new();
    let journal = place.open();
    {
        let append = journal.append(batch([status("1", "m", "sent")]));
        // Polled once, so that it is queued. Then the caller drops it.
        let _ = tokio::time::timeout(Duration::ZERO, append).await;
    }
    journal.flush().await.unwrap();
    assert_eq!(all(&journal).await.len(), 1);
}

#[tokio::test]
async fn a_closed_journal_says_so() {
    let place = Place::new();
    let journal = place.open();
    journal.close().await.unwrap();
    assert_eq!(*journal.state().borrow(), JournalState::Closed);
    assert_eq!(journal.append(batch([status("1", "m", "sent")])).await, Err(AppendError::Stopped));
}

#[tokio::test]
async fn a_second_opening_is_refused_by_name_and_disturbs_nothing() {
    let place = Place::new();
    let journal = place.open();
    let second = place.try_open();
    let Err(error @ JournalOpenError::Locked { .. }) = second else { panic!("it opened twice") };
    let text = error.to_string();
    assert!(text.contains("journal.db.lock") && text.contains(&std::process::id().to_string()), "{text}");
    assert!(journal.append(batch([status("1", "m", "sent")])).await.is_ok());
}

#[tokio::test]
async fn a_journal_of_a_newer_version_and_a_foreign_file_are_left_alone() {
    let place = Place::new();
    place.open().close().await.unwrap();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let before = std::fs::read(place.path()).unwrap();
    let Err(JournalOpenError::Newer { found: 99, known: 4, .. }) = place.try_open() else {
        panic!("it opened")
    };
    assert_eq!(std::fs::read(place.path()).unwrap(), before);

    let place = Place::new();
    let foreign = rusqlite::Connection::open(place.path()).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(foreign);
    assert!(matches!(place.try_open(), Err(JournalOpenError::Foreign { .. })));

    let place = Place::new();
    std::fs::write(place.path(), "not a database at all, but long enough to look like one".repeat(100))
        .unwrap();
    assert!(matches!(place.try_open(), Err(JournalOpenError::Foreign { .. })));
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_key_and_no_sequence_number_behind() {
    let place = Place::new();
    let journal = place.open();
    journal.append(batch([status("1", "m", "sent")])).await.unwrap();
    let blocker = rusqlite::Connection::open(place.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let two = status("2", "m", "sent");
    assert_eq!(journal.append(batch([&two])).await, Err(AppendError::Busy));
    blocker.execute_batch("ROLLBACK").unwrap();
    let receipt = journal.append(batch([&two])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.seq), (1, Some(2)));
}

#[tokio::test]
async fn retention_takes_old_events_but_never_one_that_a_handler_still_needs() {
    let mut place = Place::new();
    place.settings.retention = Period(Duration::ZERO);
    let journal = place.open();
    journal.enrol(vec![from_beginning("slow")]).await.unwrap();
    journal.append(batch((0..10).map(|n| status(&n.to_string(), "m", "sent")))).await.unwrap();
    let settle =
        |class, cursor| journal.settle(lane("slow", class), Ends { cursor: Some(cursor), ..Ends::default() });
    settle(Class::Incoming, 10).await.unwrap();
    settle(Class::Other, 4).await.unwrap();
    journal.flush().await.unwrap();
    until(async || all(&journal).await.first().map(|(seq, _)| *seq) == Some(5)).await;
    let event = journal.get(5).await.unwrap().unwrap();
    let aside = Aside {
        seq: 5,
        order_key: event.order_key(),
        behind: false,
        attempts: 3,
        since: wall::now(),
        next_try: wall::now(),
        error: String::new(),
        history: History::default(),
    };
    let ends = Ends { cursor: Some(10), set_aside: vec![aside], ..Ends::default() };
    journal.settle(lane("slow", Class::Other), ends).await.unwrap();
    journal.flush().await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(all(&journal).await.first().map(|(seq, _)| *seq), Some(5), "set aside, and needed");
    }
    let ends = Ends { resolved: vec![5], ..Ends::default() };
    journal.settle(lane("slow", Class::Other), ends).await.unwrap();
    until(async || all(&journal).await.is_empty()).await;
    // Even after the journal became empty, lost its keys and restarted, no sequence number is used twice.
    journal.close().await.unwrap();
    place.settings.dedup_window = Period(Duration::ZERO);
    let journal = place.open();
    journal.enrol(vec![]).await.unwrap();
    until(async || journal.figures().await.unwrap().keys == 0).await;
    journal.close().await.unwrap();
    let journal = place.open();
    let receipt = journal.append(batch([status("0", "m", "sent")])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.seq), (1, Some(11)));
}

#[tokio::test]
async fn before_the_handlers_are_known_retention_takes_nothing() {
    let mut place = Place::new();
    let journal = place.open();
    journal.enrol(vec![from_beginning("slow")]).await.unwrap();
    journal.append(batch((0..10).map(|n| status(&n.to_string(), "m", "sent")))).await.unwrap();
    journal.close().await.unwrap();
    place.settings.retention = Period(Duration::ZERO);
    let journal = place.open();
    // The time that opening the handlers takes: the journal's timer fires four times a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(all(&journal).await.len(), 10, "the handler has none of them yet");
    journal.enrol(vec![from_beginning("slow")]).await.unwrap();
    let claim = journal.claim(Class::Other, 0, 100).await.unwrap();
    assert_eq!(claim.events.len(), 10);
}

/// Key rows identify duplicates. With a damaged row, a duplicate would be stored again.
#[tokio::test]
async fn key_rows_that_are_damaged_or_missing_are_an_error_that_says_so() {
    for damage in [
        "UPDATE key_run SET entries = substr(entries, 1, 40) WHERE first = 1",
        "UPDATE key_run SET entries = x'' WHERE first = 3",
        "UPDATE key_run SET entries = substr(entries, 1, 32) WHERE first = 1",
        "UPDATE key_run SET entries = 17 WHERE first = 1",
        "DELETE FROM key_run WHERE first = 3",
        "DELETE FROM key_run WHERE first = 5",
    ] {
        let place = Place::new();
        let journal = place.open();
        for n in 0..3 {
            let raws = [status(&format!("a{n}"), "m", "sent"), status(&format!("b{n}"), "m", "sent")];
            journal.append(batch(raws)).await.unwrap();
        }
        journal.close().await.unwrap();
        let raw = rusqlite::Connection::open(place.path()).unwrap();
        assert_eq!(raw.execute(damage, []).unwrap(), 1, "{damage}");
        drop(raw);
        let Err(error) = place.try_open() else { panic!("opened in spite of {damage}") };
        assert!(error.to_string().contains("damaged"), "{damage}: {error}");
    }
}

#[tokio::test]
async fn a_bound_of_keys_that_was_lowered_is_reached_without_a_stall() {
    let mut place = Place::new();
    let journal = place.open();
    for n in 0..20 {
        let raws = (0..128 * 50).map(|m| status(&format!("{n}-{m}"), "m", "sent"));
        journal.append(batch(raws)).await.unwrap();
    }
    journal.close().await.unwrap();
    place.settings.dedup_keys = 1_000;
    let journal = place.open();
    let before = journal.figures().await.unwrap().keys;
    journal.append(batch([status("one", "m", "sent")])).await.unwrap();
    let after = journal.figures().await.unwrap().keys;
    assert!(before - after < 50_000, "{} keys left in one commit", before - after);
    let mut posted = 0;
    while journal.figures().await.unwrap().keys > 1_000 {
        posted += 1;
        assert!(posted < 100, "the bound is never reached");
        journal.append(batch([status(&format!("more-{posted}"), "m", "sent")])).await.unwrap();
    }
}

/// A bug anywhere in the journal's single thread.
struct Fault;

impl Drop for Fault {
    fn drop(&mut self) {
        panic!("a fault of ours");
    }
}

#[tokio::test]
async fn a_panic_in_the_journals_thread_is_a_failed_journal() {
    let place = Place::new();
    let journal = place.open();
    let mut state = journal.state();
    let faulty = AppendBatch { hold: Some(Box::new(Fault)), ..batch([status("1", "m", "sent")]) };
    // It may have been answered before. Only later appends matter.
    let _ = journal.append(faulty).await;
    let failed = state.wait_for(|state| matches!(state, JournalState::Failed(_)));
    tokio::time::timeout(Duration::from_secs(30), failed).await.expect("it seems to run").unwrap();
    assert_eq!(journal.append(batch([status("2", "m", "sent")])).await, Err(AppendError::Failed));
    assert!(journal.flush().await.is_err());
}

#[tokio::test]
async fn at_the_bound_of_keys_the_oldest_leave() {
    let mut place = Place::new();
    place.settings.dedup_keys = 100;
    let journal = place.open();
    for n in 0..150 {
        journal.append(batch([status(&n.to_string(), "m", "sent")])).await.unwrap();
    }
    let again = |n: u32| journal.append(batch([status(&n.to_string(), "m", "sent")]));
    assert_eq!(journal.figures().await.unwrap().keys, 100);
    assert_eq!(again(149).await.unwrap().duplicates, 1);
    assert_eq!(again(0).await.unwrap().accepted, 1, "its key has left");
}

#[tokio::test]
async fn many_appends_at_once_get_sequence_numbers_of_their_own() {
    let place = Place::new();
    let journal = place.open();
    let appends: Vec<_> = (0..500)
        .map(|n| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let raws = [status(&format!("a{n}"), "m", "sent"), status(&format!("b{n}"), "m", "read")];
                journal.append(batch(raws)).await.unwrap().seq.unwrap()
            })
        })
        .collect();
    let mut last = HashSet::new();
    for append in appends {
        assert!(last.insert(append.await.unwrap()));
    }
    let stored = all(&journal).await;
    assert_eq!(stored.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=1_000).collect::<Vec<_>>());
}

/// The tests open a journal of each released format: `fixtures/journal/format-N.db` was written by the version that
/// introduced it, from the five samples of BIK's page, one subscribed event and one unreadable element.
fn kept(format: u32) -> (Place, Arc<dyn Journal>) {
    let place = Place::new();
    let kept = format!("{}/fixtures/journal/format-{format}.db", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(kept, place.path()).unwrap();
    let journal = place.open();
    (place, journal)
}

/// Checks the content that all of them have, and changes it.
async fn assert_holds_the_samples(place: &Place, journal: Arc<dyn Journal>, told: &[&str]) {
    journal.enrol(vec![from_beginning("audit")]).await.unwrap();
    let names: Vec<String> = {
        let page = journal.events(EventQuery { limit: 10, ..EventQuery::default() }).await.unwrap();
        page.events.iter().rev().map(|event| event.element.name().to_owned()).collect()
    };
    let status = "message-status-update";
    let samples = ["incoming-message", status, status, status, status];
    let mut rest = names.strip_prefix(&samples.map(str::to_owned)).expect("the samples first").to_vec();
    rest.sort();
    assert_eq!(rest, told);
    assert_eq!(journal.lane(lane("audit", Class::Other)).await.unwrap().cursor, names.len() as u64);
    assert_eq!(journal.quarantine(QuarantineQuery { before: None, limit: 10 }).await.unwrap().len(), 1);
    let sample = include_bytes!("../../../fixtures/bik/page/status-failed.json");
    let again = bikhook::event::decode(&"bik".into(), sample).unwrap();
    let receipt =
        journal.append(AppendBatch { drafts: again.drafts, ..AppendBatch::default() }).await.unwrap();
    assert_eq!((receipt.accepted, receipt.duplicates), (0, 1), "keys are the same for ever");
    let asked = NewReplay { handler: "audit".into(), after: 0, upto: 6, filter: "{}".to_owned(), rate: None };
    let id = journal.start_replay(asked).await.unwrap();
    journal.pause("audit".into(), "why".to_owned()).await.unwrap();
    journal.close().await.unwrap();
    let journal = place.open();
    assert!(journal.replays().borrow().contains_key(&id) && journal.paused().borrow().contains_key("audit"));
}

#[tokio::test]
async fn a_journal_of_format_1_is_opened_with_everything_in_it() {
    let (place, journal) = kept(1);
    assert_holds_the_samples(&place, journal, &["optedOut"]).await;
}

/// It also has a paused handler, a dead letter of that handler with its notice, and an unfinished replay.
#[tokio::test]
async fn a_journal_of_format_2_is_opened_with_everything_in_it() {
    let (place, journal) = kept(2);
    let dead = journal.dead_letters(DeadQuery { handler: None, before: None, limit: 10 }).await.unwrap();
    assert_eq!(dead.iter().map(|dead| (dead.event.seq, dead.attempts)).collect::<Vec<_>>(), [(5, 1)]);
    assert_eq!(dead[0].history.tries().len(), 1);
    assert_eq!(journal.paused().borrow()["audit"].reason, "an operator paused it");
    let replay = journal.replays().borrow()[&1].clone();
    assert_eq!((replay.state, replay.request.upto), (ReplayState::Paused, 7));
    let passages = journal.handler_progress(Class::Other, 5).await.unwrap();
    assert_eq!((passages[1].state, passages[1].at), (DeliveryState::Dead, Some(dead[0].died_at)));
    let before = journal.handler_progress(Class::Other, 4).await.unwrap();
    assert!(before[1].at.is_some(), "its settles are found by the new index: {before:?}");
    let of_replay = LaneId { replay: Some(1), ..lane("audit", Class::Other) };
    assert_eq!(journal.lane(of_replay).await.unwrap().cursor, 4);
    assert_holds_the_samples(&place, journal, &["bikhook-dead-letter", "optedOut"]).await;
}

/// Like format 2, with a new index.
#[tokio::test]
async fn a_journal_of_format_3_is_opened_with_everything_in_it() {
    let (place, journal) = kept(3);
    let passages = journal.handler_progress(Class::Other, 5).await.unwrap();
    let audit = passages.iter().find(|passage| &*passage.handler == "audit").unwrap();
    assert!(audit.passed && audit.at.is_some() && audit.dead == Some(1), "{audit:?}");
    assert_eq!(journal.paused().borrow()["audit"].reason, "an operator paused it");
    let replay = journal.replays().borrow()[&1].clone();
    assert_eq!((replay.state, replay.request.upto), (ReplayState::Paused, 7));
    assert_holds_the_samples(&place, journal, &["bikhook-dead-letter", "optedOut"]).await;
}

/// Like format 3, and its clock was corrected before the last event.
#[tokio::test]
async fn a_journal_of_format_4_is_opened_with_everything_in_it() {
    let (place, journal) = kept(4);
    let passages = journal.handler_progress(Class::Other, 5).await.unwrap();
    let audit = passages.iter().find(|passage| &*passage.handler == "audit").unwrap();
    assert!(audit.passed && audit.at.is_some() && audit.dead == Some(1), "{audit:?}");
    assert_eq!(journal.paused().borrow()["audit"].reason, "an operator paused it");
    let replay = journal.replays().borrow()[&1].clone();
    assert_eq!((replay.state, replay.request.upto), (ReplayState::Paused, 7));
    let last = journal.get(7).await.unwrap().unwrap();
    assert_eq!(last.came_at, START.plus_ms(-40 * DAY));
    let before = EventQuery { until: Some(START), limit: 10, ..EventQuery::default() };
    let before = journal.events(before).await.unwrap().events;
    assert_eq!(before.iter().map(|event| event.seq).collect::<Vec<_>>(), [7], "bisection knows the era");
    assert_holds_the_samples(&place, journal, &["bikhook-dead-letter", "optedOut"]).await;
}

/// Writes a journal of the current format as a fixture: `BIKHOOK_KEEP=fixtures/journal/format-4.db`.
async fn write_samples(place: &Place) {
    let hands = Hands::new();
    let journal = place.open_by(&hands);
    let alarm = Enrolment { dead_letters: true, ..from_beginning("alarm") };
    journal.enrol(vec![from_beginning("audit"), alarm]).await.unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/bik/page");
    for name in ["incoming-message", "status-delivered", "status-read", "status-sent", "status-failed"] {
        let raw = std::fs::read_to_string(format!("{page}/{name}.json")).unwrap();
        journal.append(batch([raw])).await.unwrap();
    }
    let error = "422: made by a test";
    let dead = NewDead {
        event: journal.get(5).await.unwrap().unwrap(),
        cause: Cause::Refused,
        attempts: 1,
        error: error.to_owned(),
        at: hands.wall(),
        history: History::default().and(1, hands.wall(), error),
    };
    let ends = Ends { cursor: Some(5), dead: vec![dead], ..Ends::default() };
    journal.settle(lane("audit", Class::Other), ends).await.unwrap();
    journal.flush().await.unwrap();
    hands.jump(-40 * DAY);
    assert!(journal.accept_clock().await.unwrap());
    let subscribed = r#"{"eventName":"optedOut","customerDetails":{"firstName":"A"},"id":"opt-1"}"#;
    let quarantined = vec![unreadable("{\"eventName\":")];
    journal.append(AppendBatch { quarantined, ..batch([subscribed]) }).await.unwrap();
    let asked = NewReplay { handler: "audit".into(), after: 0, upto: 7, filter: "{}".to_owned(), rate: None };
    let id = journal.start_replay(asked).await.unwrap();
    for class in Class::ALL {
        let ends = Ends { cursor: Some(7), ..Ends::default() };
        journal.settle(lane("audit", class), ends).await.unwrap();
        let of_replay = LaneId { replay: Some(id), ..lane("audit", class) };
        journal.settle(of_replay, Ends { cursor: Some(4), ..Ends::default() }).await.unwrap();
    }
    assert!(journal.change_replay(id, ReplayState::Paused).await.unwrap());
    journal.pause("audit".into(), "an operator paused it".to_owned()).await.unwrap();
    journal.close().await.unwrap();
}

/// Tables, indexes and columns, sorted, because an added column is the last one of its table.
fn schema(file: &std::path::Path) -> Vec<String> {
    let journal = rusqlite::Connection::open(file).unwrap();
    let mut select = journal
        .prepare(
            "SELECT m.name || ' ' || coalesce(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk, '')
             FROM sqlite_schema AS m LEFT JOIN pragma_table_info(m.name) AS c ORDER BY 1",
        )
        .unwrap();
    select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn migrated_and_kept_journals_have_the_schema_of_a_new_one() {
    let new = Place::new();
    write_samples(&new).await;
    if let Some(kept) = std::env::var_os("BIKHOOK_KEEP") {
        let journal = rusqlite::Connection::open(new.path()).unwrap();
        journal.execute("VACUUM INTO ?1", [kept.to_str().unwrap()]).unwrap();
    }
    for format in [1, 2, 3, 4] {
        let (place, journal) = kept(format);
        if format == 4 {
            assert_eq!(schema(&place.path()), schema(&new.path()), "write it anew, as write_samples says");
        }
        journal.close().await.unwrap();
        assert_eq!(schema(&place.path()), schema(&new.path()), "format {format}");
    }
}

#[tokio::test]
async fn an_offline_reader_refuses_an_older_format_and_leaves_it_as_it_is() {
    let place = Place::new();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/journal/format-1.db");
    std::fs::copy(kept, place.path()).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let Err(error) = sqlite::Offline::open(&place.path()) else { panic!("it opened") };
    assert!(matches!(error, JournalOpenError::Older { found: 1, known: 4, .. }), "{error}");
    assert!(error.to_string().contains("at its next start"), "{error}");
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn the_metric_of_the_tip_is_true_from_the_start() {
    let place = Place::new();
    let journal = place.open();
    journal.append(batch((0..3).map(|n| status(&format!("id-{n}"), "m", "sent")))).await.unwrap();
    journal.close().await.unwrap();
    let metrics = bikhook::metrics::Metrics::new();
    let journal =
        bikhook::journal::sqlite::SqliteJournal::open(place.settings.clone(), Arc::clone(&metrics)).unwrap();
    assert_eq!((*journal.tip().borrow(), metrics.tip.get()), (3, 3));
}

#[tokio::test]
async fn the_metric_of_the_log_is_the_size_of_its_file() {
    let place = Place::new();
    let metrics = bikhook::metrics::Metrics::new();
    let journal =
        bikhook::journal::sqlite::SqliteJournal::open(place.settings.clone(), Arc::clone(&metrics)).unwrap();
    journal.append(batch([status("id-1", "m-1", "sent")])).await.unwrap();
    let log = place.path().with_file_name("journal.db-wal");
    until(async || {
        let bytes = std::fs::metadata(&log).unwrap().len();
        bytes > 0 && u64::try_from(metrics.wal_bytes.get()) == Ok(bytes)
    })
    .await;
}
