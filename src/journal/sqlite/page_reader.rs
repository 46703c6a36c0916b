//! Reads pages of rows from the file while the journal runs, with a pool of connections. While a page is read, a lock
//! keeps the writer from resetting the write-ahead log.

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

use rusqlite::Connection;

use super::{
    file::DatabaseFile,
    reader::{self, Pages, unreadable},
    shared::SharedState,
};
use crate::{
    clock::Timestamp,
    event::Class,
    journal::{Claim, Error, JournalFigures, JournalState},
};

/// Maximum number of pages that one claim searches, so that each claim stays short. If these pages have no event of the
/// class, the claim is empty, and the next claim continues after these pages.
const WINDOWS: usize = 16;
/// Maximum number of idle read connections that stay open.
const READERS: usize = 4;

/// Reads pages of rows from the database file.
#[derive(Clone)]
pub(super) struct PageReader {
    pub(super) file: Arc<DatabaseFile>,
    shared: Arc<SharedState>,
}

impl PageReader {
    pub(super) fn new(file: Arc<DatabaseFile>, shared: Arc<SharedState>) -> Self {
        Self { file, shared }
    }

    pub(super) fn claim(&self, class: Class, after: u64, max: usize) -> Result<Claim, Error> {
        let tip = *self.shared.tip.borrow();
        let mut after = after.max(self.shared.low.load(Relaxed).saturating_sub(1));
        for _ in 0..WINDOWS {
            if after >= tip {
                break;
            }
            let through = tip.min(after + reader::PAGE);
            let claim = reader::claim(self, class, after, through, max)?;
            if !claim.events.is_empty() {
                return Ok(claim);
            }
            after = claim.through;
        }
        Ok(Claim { events: Vec::new(), through: after })
    }

    /// The figures as of `now`.
    pub(super) fn figures(&self, now: Timestamp) -> Result<JournalFigures, Error> {
        let oldest = self.shared.oldest_key_ms.load(Relaxed);
        Ok(JournalFigures {
            span: self.page(reader::span)?,
            keys: self.shared.keys.load(Relaxed),
            window_ms: if oldest == i64::MAX { 0 } else { now.as_ms().saturating_sub(oldest).max(0) },
            wal_bytes: self.shared.wal_bytes(),
            file_bytes: std::fs::metadata(self.file.path()).map_or(0, |meta| meta.len()),
            quarantined: self.page(reader::quarantine_count)?,
            dead: self.page(reader::dead_counts)?,
            room_bytes: u64::try_from(self.shared.metrics.room_bytes.get()).unwrap_or_default(),
        })
    }
}

impl Pages for PageReader {
    fn page<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let _page = self.shared.pages.read().unwrap_or_else(PoisonError::into_inner);
        if *self.shared.state.borrow() == JournalState::Closed {
            return Err(Error::Stopped);
        }
        let pooled = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => self.file.reader().map_err(unreadable)?,
        };
        let result = read(&connection);
        let mut readers = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(connection);
        }
        result.map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::{
        journal::{
            Journal,
            sqlite::{Settings, SqliteJournal, files},
        },
        metrics::Metrics,
    };

    #[tokio::test]
    async fn a_page_that_is_read_during_the_close_leaves_no_log_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let settings = Settings { path: path.clone(), ..Settings::default() };
        let journal = SqliteJournal::open(settings, Metrics::new()).unwrap();
        let pages = journal.pages.clone();
        let (begins, begun) = mpsc::sync_channel(1);
        let (ends, end) = mpsc::sync_channel(1);
        let reading = thread::spawn(move || {
            let read = pages.page(|connection| {
                let count: i64 = connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
                begins.send(count).unwrap();
                end.recv().unwrap();
                Ok(())
            });
            (read, pages.page(reader::span))
        });
        begun.recv().unwrap();
        let mut closing = journal.close();
        let early = tokio::time::timeout(Duration::from_millis(200), &mut closing).await;
        assert!(early.is_err(), "the close waits for the page");
        ends.send(()).unwrap();
        closing.await.unwrap();
        assert!(matches!(reading.join().unwrap(), (Ok(()), Err(Error::Stopped))));
        let [_, log, index, _] = files(&path);
        assert!(path.exists() && !log.exists() && !index.exists());
    }
}
