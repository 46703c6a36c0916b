//! Room on the journal's disk: free space of the file system plus free pages of the file (deleted rows do not shrink it).

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::{folder, settings::Size};

/// At most this is kept in reserve unless the configuration says otherwise, and at most 5 % of the file system.
const RESERVE_BYTES: u64 = 1 << 30;

/// Measures the room.
pub struct Room {
    folder: PathBuf,
    reserve: Option<Size>,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Bytes that can still be written.
    pub room: u64,
    /// Bytes that intake leaves for settles, retention and checkpoints.
    pub reserve: u64,
}

impl Measured {
    /// Whether intake may go on.
    pub const fn enough(&self) -> bool {
        self.room > self.reserve
    }
}

impl Room {
    /// For the file system that holds `path`.
    pub fn new(path: &Path, reserve: Option<Size>) -> Self {
        Self { folder: folder::of(path).to_owned(), reserve }
    }

    /// Measures.
    ///
    /// # Errors
    /// A text for the log, where the file system does not answer.
    pub fn measure(&self, connection: &Connection) -> Result<Measured, String> {
        let disk = rustix::fs::statvfs(&self.folder).map_err(|error| format!("free space: {error}"))?;
        let pragma = |name: &str| -> Result<u64, String> {
            connection
                .pragma_query_value(None, name, |row| row.get(0))
                .map_err(|error| format!("{name}: {error}"))
        };
        let free_pages = pragma("freelist_count")? * pragma("page_size")?;
        let reserve = self.reserve.map_or_else(
            || RESERVE_BYTES.min(disk.f_blocks.saturating_mul(disk.f_frsize) / 20),
            |size| size.0,
        );
        Ok(Measured { room: disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(free_pages), reserve })
    }
}
