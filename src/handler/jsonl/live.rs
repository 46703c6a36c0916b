//! The live file: the file that is being written. This module opens the file, removes a failed batch and a torn last
//! line, appends, and detects that the file was moved away.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use tracing::warn;

use super::error::Error;
use crate::{file_id::FileId, folder};

/// The first bytes of every line that `Event::to_json_line` writes, and so of every file of this handler.
pub(super) const FIRST_BYTES: &[u8] = b"{\"seq\":";
/// How many bytes are read at once when searching for the last line break.
const CHUNK_BYTES: u64 = 64 * 1024;
const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// The live file, open in append mode. If another program empties the file, the next line is written at the new end.
#[derive(Debug)]
pub(super) struct Live {
    file: File,
    path: PathBuf,
    id: FileId,
    /// Length in bytes when last checked.
    pub len: u64,
    /// UTC day of the last change, in days since the Unix epoch.
    pub day: i64,
}

/// The end of a file before a batch. If the batch fails, the file is truncated to this position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    id: FileId,
    len: u64,
}

impl Live {
    /// Opens the file or creates it. Truncates it to `cut` if `cut` is for this file, and removes a torn last line. All
    /// of this is on disk when the function returns.
    ///
    /// # Errors
    /// Returns an error if the path is not a file of this handler, if the file is damaged, or if the file system fails.
    pub(super) fn open(path: &Path, cut: Option<Cut>) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("examine", path))?;
        if !metadata.is_file() {
            return Err(Error::NotAFile(path.to_owned()));
        }
        let mut live = Self { file, path: path.to_owned(), id: FileId::from(&metadata), len: 0, day: 0 };
        live.look(&metadata);
        if let Some(cut) = cut.filter(|cut| cut.id == live.id && cut.len < live.len) {
            live.cut_back(cut.len)?;
        }
        live.check_beginning()?;
        live.cut_torn_line()?;
        // Lines that a killed process wrote may not be on disk yet. They are synced here, because an event whose line
        // is in the file counts as delivered and is not written again.
        live.file.sync_data().map_err(Error::io("sync", path))?;
        sync_dir_of(path)?;
        Ok(live)
    }

    /// Reads the current `len` and `day` of the file. Returns `false` if the path no longer leads to this file, because
    /// the file was moved away or deleted.
    ///
    /// # Errors
    /// Returns file system errors.
    pub(super) fn is_in_place(&mut self) -> Result<bool, Error> {
        let found = folder::if_exists(fs::symlink_metadata(&self.path));
        match found.map_err(Error::io("examine", &self.path))? {
            Some(metadata) if FileId::from(&metadata) == self.id => {
                self.look(&metadata);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Appends and syncs. After an error, some of the bytes may be in the file. Then truncate the file to the [`Cut`]
    /// that was taken before the call.
    ///
    /// # Errors
    /// Returns file system errors.
    pub(super) fn append<C: AsRef<[u8]>>(&mut self, chunks: impl Iterator<Item = C>) -> Result<(), Error> {
        for chunk in chunks {
            self.file.write_all(chunk.as_ref()).map_err(Error::io("write", &self.path))?;
        }
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }

    /// The end of the file when `len` was last read. The file can be truncated to this position later.
    pub(super) fn cut_here(&self) -> Cut {
        Cut { id: self.id, len: self.len }
    }

    fn look(&mut self, metadata: &Metadata) {
        self.len = metadata.len();
        self.day = metadata.mtime().div_euclid(SECONDS_A_DAY);
    }

    fn cut_torn_line(&mut self) -> Result<(), Error> {
        let end = end_of_last_line(&self.file, self.len).map_err(Error::io("read", &self.path))?;
        if end == self.len {
            return Ok(());
        }
        warn!(path = %self.path.display(), bytes = self.len - end, "incomplete last line removed");
        self.cut_back(end)
    }

    /// Returns an error if the file does not begin like a file of this handler.
    fn check_beginning(&self) -> Result<(), Error> {
        let mut first = [0; FIRST_BYTES.len()];
        let len = usize::try_from(self.len).unwrap_or(usize::MAX).min(first.len());
        self.file.read_exact_at(&mut first[..len], 0).map_err(Error::io("read", &self.path))?;
        match &first[..len] {
            ours if *ours == FIRST_BYTES[..len] => Ok(()),
            // Zeros, as after a power cut.
            zeroed if zeroed.contains(&0) => Err(Error::Damaged(self.path.clone())),
            _foreign => Err(Error::Foreign(self.path.clone())),
        }
    }

    fn cut_back(&mut self, len: u64) -> Result<(), Error> {
        let cut = self.file.set_len(len).and_then(|()| self.file.sync_all());
        cut.map_err(Error::io("truncate", &self.path))?;
        self.len = len;
        Ok(())
    }
}

/// Resolves the path and creates its directory if it is missing. Links are followed, so that two handlers cannot use
/// one file under two names, and so that rotation renames the file and not the link.
///
/// # Errors
/// Returns an error if the path is a broken link or has no file name, or if the file system fails.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    if let Some(path) = folder::if_exists(fs::canonicalize(path)).map_err(Error::io("find", path))? {
        return Ok(path);
    }
    if path.is_symlink() {
        return Err(Error::NotAFile(path.to_owned()));
    }
    let name = path.file_name().ok_or_else(|| Error::NoName(path.to_owned()))?;
    let dir = folder::of(path);
    folder::make(dir, 0o750).map_err(Error::io("create the directory", dir))?;
    Ok(fs::canonicalize(dir).map_err(Error::io("find", dir))?.join(name))
}

/// Syncs the directory of a file, so that creating, renaming or deleting the file is durable.
///
/// # Errors
/// Returns file system errors.
pub(super) fn sync_dir_of(path: &Path) -> Result<(), Error> {
    let dir = folder::of(path);
    folder::sync(dir).map_err(Error::io("sync the directory", dir))
}

/// The length of the file up to and including its last line break.
fn end_of_last_line(file: &File, len: u64) -> io::Result<u64> {
    let mut end = len;
    let mut chunk = Vec::new();
    while end > 0 {
        // The last byte is nearly always the line break.
        let wanted = if end == len { 1 } else { CHUNK_BYTES };
        let start = end.saturating_sub(wanted);
        chunk.resize(usize::try_from(end - start).unwrap_or(usize::MAX), 0);
        file.read_exact_at(&mut chunk, start)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::jsonl::file_of;

    #[test]
    fn a_torn_last_line_is_removed_and_complete_lines_stay() {
        let mut longer_than_a_chunk = b"{\"seq\":3,\"event\":\"".to_vec();
        longer_than_a_chunk.resize(3 * CHUNK_BYTES as usize, b'x');
        for complete in [b"{\"seq\":1}\n{\"seq\":2}\n".as_slice(), b""] {
            for torn in [b"{".as_slice(), b"{\"seq\":", b"{\"seq\":3,\"rec", &longer_than_a_chunk] {
                let (_dir, path) = file_of(&[complete, torn].concat());
                assert_eq!(Live::open(&path, None).unwrap().len, complete.len() as u64);
                assert_eq!(fs::read(&path).unwrap(), complete, "before {} bytes", torn.len());
            }
        }
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_and_untouched() {
        for text in [&b"a letter\nwithout a line break at its end"[..], b"a whole\nletter\n"] {
            let (_dir, path) = file_of(text);
            assert!(matches!(Live::open(&path, None), Err(Error::Foreign(_))));
            assert_eq!(fs::read(&path).unwrap(), text);
        }
    }

    #[test]
    fn only_the_file_of_a_cut_is_truncated() {
        let (_dir, path) = file_of(b"{\"seq\":1}\n");
        let mut live = Live::open(&path, None).unwrap();
        let cut = live.cut_here();
        live.append([b"{\"seq\":2}\n"].into_iter()).unwrap();
        drop(live);
        let (_other_dir, other) = file_of(b"{\"seq\":7}\n{\"seq\":8}\n");
        assert_eq!(Live::open(&other, Some(cut)).unwrap().len, 20);
        assert_eq!(Live::open(&path, Some(cut)).unwrap().len, 10);
        assert_eq!(fs::read(&path).unwrap(), b"{\"seq\":1}\n");
    }

    #[test]
    fn a_missing_directory_is_created_without_access_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = resolve(&dir.path().join("a/b/events.jsonl")).unwrap();
        Live::open(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o007, 0, "others may not read personal data");
        assert_eq!(fs::metadata(dir.path().join("a/b")).unwrap().mode() & 0o007, 0);
    }

    #[test]
    fn a_link_is_followed_and_a_broken_one_is_refused() {
        let (dir, path) = file_of(b"");
        let link = dir.path().join("link.jsonl");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(resolve(&link).unwrap(), fs::canonicalize(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(matches!(resolve(&link), Err(Error::NotAFile(_))));
    }

    #[test]
    fn a_device_is_refused() {
        assert!(matches!(Live::open(Path::new("/dev/null"), None), Err(Error::NotAFile(_))));
    }
}
