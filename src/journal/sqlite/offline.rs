//! Read access to the journal of a stopped receiver.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use rusqlite::Connection;

use super::{
    file::{DatabaseFile, FORMAT},
    places,
    reader::{self, Pages, unreadable},
};
use crate::{
    clock::Timestamp,
    event::Class,
    journal::{
        Claim, DeadLetter, DeadQuery, Error, EventPage, EventQuery, HandlerPlace, JournalOpenError,
        QuarantineEntry, QuarantineQuery,
    },
};

/// The journal of a stopped receiver, open for reading only. The journal is locked until this value is dropped.
pub struct Offline {
    connection: Connection,
    _file: DatabaseFile,
}

impl Offline {
    /// Opens the journal for reading.
    ///
    /// # Errors
    /// Returns a [`JournalOpenError`] if another process holds the lock, or if the file is missing, cannot be read, or
    /// is not a journal of the current format.
    pub fn open(path: &Path) -> Result<Self, JournalOpenError> {
        // Do not create a missing journal.
        let found = std::fs::metadata(path).map_err(|source| JournalOpenError::io(path, source))?;
        if !found.is_file() {
            return Err(JournalOpenError::io(path, io::ErrorKind::IsADirectory.into()));
        }
        refuse_foreign(path)?;
        let file = DatabaseFile::lock(path)?;
        match file.format()? {
            0 => return Err(file.foreign("it is empty")),
            FORMAT => {}
            found => return Err(file.older(found)),
        }
        let connection = file.reader().map_err(|error| file.engine(&error))?;
        Ok(Self { connection, _file: file })
    }

    /// The highest stored seq; 0 if no event is stored.
    ///
    /// # Errors
    /// Returns [`Error::Read`] if the file cannot be read.
    pub fn tip(&self) -> Result<u64, Error> {
        Ok(self.page(reader::span)?.map_or(0, |(_, high)| high))
    }

    /// The seq before the first event received at `time` or later; the tip if there is no such event.
    ///
    /// # Errors
    /// Returns [`Error::Read`] if the file cannot be read.
    pub fn before_all_since(&self, time: Timestamp) -> Result<u64, Error> {
        let first = self.page(|connection| reader::first_at_or_after(connection, time))?;
        first.map_or_else(|| self.tip(), |first| Ok(first - 1))
    }

    /// See [`crate::journal::Journal::events`].
    ///
    /// # Errors
    /// Returns [`Error::Read`], or [`Error::Row`] for a row that cannot be decoded.
    pub fn events(&self, query: &EventQuery) -> Result<EventPage, Error> {
        reader::events(self, query)
    }

    /// The next events of both classes after `after`, in order of seq, at most `max` of each class.
    ///
    /// # Errors
    /// Returns the errors of [`crate::journal::Journal::claim`].
    pub fn claim_all(&self, after: u64, max: usize) -> Result<Claim, Error> {
        let tip = self.tip()?;
        if after >= tip {
            return Ok(Claim { events: Vec::new(), through: after });
        }
        let [incoming, other] = Class::ALL.map(|class| reader::claim(self, class, after, tip, max));
        Ok(Claim::of_all([incoming?, other?]))
    }

    /// See [`crate::journal::Journal::dead_letters`].
    ///
    /// # Errors
    /// Returns [`Error::Read`], or [`Error::Row`] for a row that cannot be decoded.
    pub fn dead_letters(&self, query: &DeadQuery) -> Result<Vec<DeadLetter>, Error> {
        reader::dead_letters(self, query)
    }

    /// See [`crate::journal::Journal::dead_letter`].
    ///
    /// # Errors
    /// Returns [`Error::Read`], or [`Error::Row`] for a row that cannot be decoded.
    pub fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, Error> {
        reader::dead_letter(self, id)
    }

    /// See [`crate::journal::Journal::quarantine`].
    ///
    /// # Errors
    /// Returns [`Error::Read`] if the file cannot be read.
    pub fn quarantine(&self, query: &QuarantineQuery) -> Result<Vec<QuarantineEntry>, Error> {
        self.page(|connection| reader::quarantine(connection, query))
    }

    /// See [`crate::journal::Journal::quarantined`].
    ///
    /// # Errors
    /// Returns [`Error::Read`] if the file cannot be read.
    pub fn quarantined(&self, id: i64) -> Result<Option<QuarantineEntry>, Error> {
        self.page(|connection| reader::quarantined(connection, id))
    }

    /// The number of dead letters of every handler that the journal knows.
    ///
    /// # Errors
    /// Returns [`Error::Read`] if the file cannot be read.
    pub fn dead_counts(&self) -> Result<Vec<(Arc<str>, u64)>, Error> {
        self.page(reader::dead_counts)
    }

    /// The progress of every handler that the journal knows, sorted by name.
    ///
    /// # Errors
    /// Returns [`Error::Read`] if the file cannot be read.
    pub fn handlers(&self) -> Result<Vec<HandlerPlace>, Error> {
        self.page(|connection| {
            let (low, tip) = reader::span(connection)?.unwrap_or((1, 0));
            places::all(connection, tip, low, &[])
        })
    }
}

impl Pages for Offline {
    fn page<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        read(&self.connection).map_err(unreadable)
    }
}

/// Rejects a file that is not a database, before a lock file is created beside it.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), JournalOpenError> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head));
    read.map_err(|source| JournalOpenError::io(path, source))?;
    if head.is_empty() || head == MAGIC {
        return Ok(());
    }
    Err(JournalOpenError::Foreign {
        path: path.display().to_string(),
        what: "file is not a database".to_owned(),
    })
}
