//! Journals of every engine, private to a test, for the contract suite.

use std::{path::PathBuf, sync::Arc};

use bikhook::{
    clock::{self, Clock},
    event::Class,
    journal::{Cause, Enrolment, History, Journal, JournalOpenError, LaneId, LaneStart, NewDead, sqlite},
    metrics::Metrics,
};
use tempfile::TempDir;

use super::clock::Hands;

/// A place for a journal, which can be opened, closed and opened again.
pub struct Place {
    _folder: TempDir,
    pub settings: sqlite::Settings,
}

impl Place {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let settings = sqlite::Settings {
            path: folder.path().join("journal.db"),
            disk_reserve: Some(bikhook::settings::Size(0)),
            ..sqlite::Settings::default()
        };
        Self { _folder: folder, settings }
    }

    pub fn path(&self) -> PathBuf {
        self.settings.path.clone()
    }

    pub fn try_open(&self) -> Result<sqlite::SqliteJournal, JournalOpenError> {
        sqlite::SqliteJournal::open(self.settings.clone(), Metrics::new())
    }

    /// With a clock of the test's own.
    pub fn open_by(&self, hands: &Hands) -> Arc<dyn Journal> {
        let clock = Clock::of(hands.clone());
        let opened = sqlite::SqliteJournal::open_with(self.settings.clone(), Metrics::new(), clock);
        Arc::new(opened.expect("the journal opens"))
    }

    pub fn open(&self) -> Arc<dyn Journal> {
        Arc::new(self.try_open().expect("the journal opens"))
    }
}

/// Both lanes of a handler, from the beginning.
pub fn from_beginning(handler: &str) -> Enrolment {
    Enrolment { handler: handler.into(), start: Some(LaneStart::Beginning), dead_letters: false }
}

/// A dead letter of a stored event that the destination refused now, at its first attempt.
pub async fn refused(journal: &dyn Journal, seq: u64, error: &str) -> NewDead {
    NewDead {
        event: journal.get(seq).await.unwrap().unwrap(),
        cause: Cause::Refused,
        attempts: 1,
        error: error.to_owned(),
        at: clock::now(),
        history: History::default(),
    }
}

/// A lane of a handler.
pub fn lane(handler: &str, class: Class) -> LaneId {
    LaneId::live(handler.into(), class)
}
