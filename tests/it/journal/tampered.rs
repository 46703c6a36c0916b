//! Files that something else changes while the journal has them open. The journal detects it before the next 200, and
//! reports it correctly.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bikhook::journal::{AppendError, Journal, JournalState};
use rusqlite::Connection;

use crate::support::{
    events::{batch, status},
    journals::Place,
};

fn beside(place: &Place, suffix: &str) -> PathBuf {
    let mut path = place.path().into_os_string();
    path.push(suffix);
    path.into()
}

async fn store(journal: &Arc<dyn Journal>, id: u32) -> Result<u32, AppendError> {
    let stored = journal.append(batch([status(&id.to_string(), "m", "sent")])).await;
    stored.map(|receipt| receipt.accepted)
}

/// The reason of its failure. Panics if it has not failed.
async fn failure(journal: &Arc<dyn Journal>) -> String {
    let mut state = journal.state();
    let failed = state.wait_for(|state| matches!(state, JournalState::Failed(_)));
    let failed =
        tokio::time::timeout(Duration::from_secs(30), failed).await.expect("it does not fail").unwrap();
    match &*failed {
        JournalState::Failed(why) => why.to_string(),
        state => panic!("{state:?}"),
    }
}

/// The number of events after another start, with an integrity check.
async fn stored_after(place: &Place) -> u64 {
    let journal = place.open();
    let tip = *journal.tip().borrow();
    journal.close().await.unwrap();
    let raw = Connection::open(place.path()).unwrap();
    let sound: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    tip
}

fn delete(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn move_away(path: &Path) {
    fs::rename(path, path.with_extension("away")).unwrap();
}

/// Replaced by another file with the same bytes.
fn replace(path: &Path) {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).unwrap();
    fs::rename(copy, path).unwrap();
}

fn empty(path: &Path) {
    File::create(path).unwrap();
}

fn cut_in_half(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[tokio::test]
async fn files_that_were_deleted_moved_or_replaced_are_noticed_before_a_200() {
    for (suffix, lost) in [("", true), ("-wal", true), ("-shm", false)] {
        for tamper in [delete, move_away, replace] {
            let place = Place::new();
            let journal = place.open();
            for id in 0..5 {
                assert_eq!(store(&journal, id).await, Ok(1));
            }
            tamper(&beside(&place, suffix));
            assert_eq!(store(&journal, 5).await, Err(AppendError::Failed), "{suffix:?}");
            let why = failure(&journal).await;
            assert!(why.contains("was deleted, moved or replaced while it was open"), "{why}");
            assert_eq!(why.contains("nothing that got a 200 is lost"), !lost, "{why}");
            assert!(journal.close().await.is_err());
            if !suffix.is_empty() {
                // The log was still open, and was copied into the database at the end.
                assert!(stored_after(&place).await >= 5, "{suffix:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_log_or_a_database_that_was_cut_short_is_noticed_before_a_200() {
    for suffix in ["", "-wal"] {
        for tamper in [empty, cut_in_half] {
            let place = Place::new();
            let journal = place.open();
            for id in 0..5 {
                assert_eq!(store(&journal, id).await, Ok(1));
            }
            tamper(&beside(&place, suffix));
            assert_eq!(store(&journal, 5).await, Err(AppendError::Failed), "{suffix:?}");
            let why = failure(&journal).await;
            assert!(why.contains("was truncated or overwritten while it was open"), "{why}");
            assert!(why.contains("may be lost") && !why.contains("nothing that got a 200"), "{why}");
            assert!(journal.close().await.is_err());
            if !suffix.is_empty() {
                // The rest of the log was not copied into the database.
                assert!(stored_after(&place).await <= 5);
            }
        }
    }
}

#[tokio::test]
async fn a_change_to_the_files_of_an_idle_journal_is_noticed_too() {
    // The log is changed several times, because a commit of the journal may come before the change, or overwrite it.
    let of_log = [("-wal", empty as fn(&Path)); 12];
    for (suffix, tamper) in of_log.into_iter().chain([("", delete as fn(&Path)), (".lock", delete)]) {
        let place = Place::new();
        let journal = place.open();
        assert_eq!(store(&journal, 1).await, Ok(1));
        tamper(&beside(&place, suffix));
        failure(&journal).await;
    }
}

#[tokio::test]
async fn a_checkpoint_of_another_program_that_empties_the_log_is_no_damage() {
    let place = Place::new();
    let journal = place.open();
    for round in 0..20 {
        for id in 0..5 {
            assert_eq!(store(&journal, round * 10 + id).await, Ok(1));
        }
        let other = Connection::open(place.path()).unwrap();
        other.busy_timeout(Duration::from_secs(5)).unwrap();
        let mode = ["TRUNCATE", "RESTART", "PASSIVE"][round as usize % 3];
        other.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
        assert_eq!(store(&journal, round * 10 + 9).await, Ok(1), "{mode}");
    }
    journal.close().await.unwrap();
    assert_eq!(*place.open().tip().borrow(), 120);
}

#[tokio::test]
async fn a_rollback_that_a_power_cut_left_undone_is_made_at_the_start() {
    let place = Place::new();
    let journal = place.open();
    store(&journal, 1).await.unwrap();
    journal.close().await.unwrap();
    // A change that is half written: its rollback journal is synced, but it was never committed.
    let raw = Connection::open(place.path()).unwrap();
    raw.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;",
    )
    .unwrap();
    for n in 0..500 {
        raw.execute("INSERT INTO mark (name, value) VALUES (?1 || hex(zeroblob(2000)), 1)", [n]).unwrap();
    }
    let cut = Place::new();
    fs::copy(place.path(), cut.path()).unwrap();
    fs::copy(beside(&place, "-journal"), beside(&cut, "-journal")).unwrap();
    drop(raw);
    assert_eq!(stored_after(&cut).await, 1);
    let marks: u64 = Connection::open(cut.path())
        .unwrap()
        .query_row("SELECT count(*) FROM mark WHERE value = 1 AND length(name) > 100", [], |row| row.get(0))
        .unwrap();
    assert_eq!(marks, 0);
}
