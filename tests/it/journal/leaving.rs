//! Retention: which events and keys are deleted, and which must stay.

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// A journal with three events of two commits. The first was received this long ago.
async fn aged(place: &Place, age: Duration) -> [String; 3] {
    let journal = place.open();
    let raws = [1, 2, 3].map(|n| status(&n.to_string(), "m", "sent"));
    journal.append(batch(&raws[..1])).await.unwrap();
    journal.append(batch(&raws[1..])).await.unwrap();
    journal.close().await.unwrap();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    let sql = "UPDATE key_run SET came_at = came_at - ?1 WHERE first = 1";
    assert_eq!(raw.execute(sql, [i64::try_from(age.as_millis()).unwrap()]).unwrap(), 1);
    raws
}

#[tokio::test]
async fn a_key_leaves_when_its_own_time_is_up_and_younger_ones_stay() {
    let mut place = Place::new();
    let [old, young, youngest] = aged(&place, HOUR * 2).await;
    place.settings.dedup_window = Period(HOUR);
    let journal = place.open();
    let keys = async || journal.figures().await.unwrap().keys;
    until(async || keys().await < 3).await;
    assert_eq!(keys().await, 2);
    let receipt = journal.append(batch([&young, &youngest])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.duplicates), (0, 2), "inside the window");
    let receipt = journal.append(batch([&old])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.duplicates), (1, 0), "past it");
}

#[tokio::test]
async fn events_of_a_replay_that_began_in_this_run_stay_until_it_ends() {
    let mut place = Place::new();
    place.settings.retention = Period(Duration::ZERO);
    let journal = place.open();
    journal.enrol(vec![from_beginning("crm")]).await.unwrap();
    journal.append(batch((0..10).map(|n| status(&n.to_string(), "m", "sent")))).await.unwrap();
    let asked = NewReplay { handler: "crm".into(), after: 4, upto: 10, filter: "{}".to_owned(), rate: None };
    let replay = journal.start_replay(asked).await.unwrap();
    for class in Class::ALL {
        let ends = Ends { cursor: Some(10), ..Ends::default() };
        journal.settle(lane("crm", class), ends).await.unwrap();
    }
    journal.flush().await.unwrap();
    let first = async || all(&journal).await.first().map(|(seq, _)| *seq);
    until(async || first().await != Some(1)).await;
    assert_eq!(first().await, Some(5), "the replay has not delivered it yet");
    let of_replay = LaneId { replay: Some(replay), ..lane("crm", Class::Other) };
    journal.settle(of_replay, Ends { cursor: Some(7), ..Ends::default() }).await.unwrap();
    let of_replay = LaneId { replay: Some(replay), ..lane("crm", Class::Incoming) };
    journal.settle(of_replay, Ends { cursor: Some(10), ..Ends::default() }).await.unwrap();
    journal.flush().await.unwrap();
    until(async || first().await != Some(5)).await;
    assert_eq!(first().await, Some(8), "up to where the replay is");
    assert!(journal.change_replay(replay, ReplayState::Cancelled).await.unwrap());
    until(async || first().await.is_none()).await;
}
