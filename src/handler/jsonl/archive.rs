//! Compresses rotated files and deletes the oldest ones, in the background.
//!
//! A file is compressed under a temporary name, synced, and renamed to its `.gz`. Only then is the uncompressed file
//! deleted. The process may die or stop between any two of these steps. [`Archive::tidy`] continues from the files that
//! it finds.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    num::NonZeroU32,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use tracing::{debug, warn};

use super::{
    error::Error,
    live::sync_dir_of,
    names::{Forms, Names, Rotated},
};
use crate::{folder, lock::Lock};

/// How many bytes are compressed between two checks for a stop.
const CHUNK_BYTES: usize = 64 * 1024;

/// The rules for rotated files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// Whether rotated files are compressed.
    pub gzip: bool,
    /// How many rotated files to keep; `None` keeps all.
    pub keep: Option<NonZeroU32>,
}

/// Manages the rotated files of one writer.
#[derive(Debug)]
pub(super) struct Archive {
    names: Names,
    rules: Rules,
    wanted: AtomicBool,
    running: Mutex<()>,
    stopped: AtomicBool,
    /// The lock of the live file, shared with the writer. The file stays locked while a background run uses the rotated
    /// files, even if the writer is dropped.
    _lock: Arc<Lock>,
}

impl Archive {
    /// Creates an archive that is idle until [`Archive::tidy_soon`] is called.
    pub(super) fn new(names: Names, rules: Rules, lock: Arc<Lock>) -> Arc<Self> {
        Arc::new(Self {
            names,
            rules,
            wanted: AtomicBool::new(false),
            running: Mutex::new(()),
            stopped: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// Tidies in the background, on a blocking thread. Only one run is active at a time. A call during a run makes the
    /// run repeat.
    pub(super) fn tidy_soon(self: &Arc<Self>) {
        self.wanted.store(true, Ordering::SeqCst);
        let archive = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || archive.run()));
    }

    /// Makes a run stop compressing after the current chunk. Deleting files, and comparing a file with its `.gz`, are
    /// not interrupted. Files that are still uncompressed are compressed when the handler is opened again.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn run(&self) {
        // Check `wanted` again after `running` is unlocked. Just before the unlock, another thread may have set
        // `wanted`, found `running` locked, and returned.
        while self.wanted.load(Ordering::SeqCst) {
            let running = self.running.try_lock();
            if matches!(running, Err(TryLockError::WouldBlock)) {
                return;
            }
            while self.wanted.swap(false, Ordering::SeqCst) {
                if let Err(error) = self.tidy() {
                    warn!(%error, "rotated files could not be compressed or deleted: retried at the next rotation");
                }
            }
        }
    }

    /// Deletes leftovers of interrupted compressions. Then applies the rules: deletes surplus files, and compresses the
    /// uncompressed files.
    ///
    /// # Errors
    /// Returns file system errors. A later call continues the work.
    pub(super) fn tidy(&self) -> Result<(), Error> {
        for leftover in self.names.leftovers()? {
            remove(&leftover)?;
        }
        let mut rotated = self.names.rotated()?;
        if let Some(keep) = self.rules.keep {
            let kept = usize::try_from(keep.get()).unwrap_or(usize::MAX);
            let too_many = rotated.len().saturating_sub(kept);
            for (oldest, forms) in rotated.drain(..too_many) {
                self.delete(&oldest, forms)?;
            }
        }
        if self.rules.gzip {
            for (rotated, forms) in rotated.into_iter().filter(|(_, forms)| forms.plain) {
                if self.stopped.load(Ordering::SeqCst) {
                    break;
                }
                self.compress(&rotated, forms)?;
            }
        }
        Ok(())
    }

    fn delete(&self, rotated: &Rotated, forms: Forms) -> Result<(), Error> {
        // Delete the uncompressed file first. If the process then dies, only the `.gz` is left. If `keep` is larger at
        // the next start, the `.gz` stays, and needs no compression.
        if forms.plain {
            remove(&self.names.plain(rotated))?;
        }
        if forms.gzip {
            remove(&self.names.gzip(rotated))?;
        }
        sync_dir_of(&self.names.live)
    }

    fn compress(&self, rotated: &Rotated, forms: Forms) -> Result<(), Error> {
        let (plain, gzip) = (self.names.plain(rotated), self.names.gzip(rotated));
        if forms.gzip {
            if !is_compressed_form(&gzip, &plain).map_err(Error::io("compare", &gzip))? {
                warn!(path = %plain.display(), "rotated file kept: its .gz has different content or is damaged");
                return Ok(());
            }
        } else {
            let unfinished = self.names.unfinished(rotated);
            match self.write_gzip(&plain, &unfinished) {
                Ok(true) => {}
                Ok(false) => return remove(&unfinished),
                Err(error) => {
                    remove(&unfinished)?;
                    return Err(Error::io("compress", &plain)(error));
                }
            }
            fs::rename(&unfinished, &gzip).map_err(Error::io("rename", &unfinished))?;
            sync_dir_of(&gzip)?;
        }
        remove(&plain)?;
        sync_dir_of(&plain)
    }

    /// Compresses `plain` into the new file `gzip`. Returns `false` if the archive was stopped before the end.
    fn write_gzip(&self, plain: &Path, gzip: &Path) -> io::Result<bool> {
        let mut from = File::open(plain)?;
        let to = OpenOptions::new().write(true).create_new(true).mode(0o640).open(gzip)?;
        let mut encoder = GzEncoder::new(to, Compression::default());
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            if self.stopped.load(Ordering::SeqCst) {
                return Ok(false);
            }
            let read = from.read(&mut chunk)?;
            if read == 0 {
                let to = encoder.finish()?;
                // Keep the modification time. `Tail::read` uses it to decide which rotated files may have lines of
                // unsettled events.
                if let Err(error) = from.metadata().and_then(|plain| to.set_modified(plain.modified()?)) {
                    debug!(%error, "modification time of a compressed file could not be set");
                }
                to.sync_all()?;
                return Ok(true);
            }
            encoder.write_all(&chunk[..read])?;
        }
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    folder::if_exists(fs::remove_file(path)).map_err(Error::io("delete", path))?;
    Ok(())
}

/// Returns whether `gzip` decompresses to exactly the content of `plain`. Returns `false` if `gzip` is damaged.
fn is_compressed_form(gzip: &Path, plain: &Path) -> io::Result<bool> {
    let mut unpacked = MultiGzDecoder::new(BufReader::new(File::open(gzip)?));
    let mut plain = File::open(plain)?;
    loop {
        let left = next_chunk(&mut plain)?;
        match next_chunk(&mut unpacked) {
            Ok(right) if right == left => {}
            Ok(_) => return Ok(false),
            Err(error) if is_damage(error.kind()) => return Ok(false),
            Err(error) => return Err(error),
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof)
}

/// Reads [`CHUNK_BYTES`], or less if the input ends.
fn next_chunk(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    from.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const GZIP: Rules = Rules { gzip: true, keep: None };

    struct World {
        dir: tempfile::TempDir,
        archive: Arc<Archive>,
    }

    fn world(rules: Rules) -> World {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join("events.jsonl");
        let archive = Archive::new(Names::of(&live).unwrap(), rules, Arc::new(Lock::take(&live).unwrap()));
        World { dir, archive }
    }

    impl World {
        /// Writes an uncompressed rotated file. Returns its path, the path of its gzip, and its content.
        fn rotated(&self, seq: u32) -> (PathBuf, PathBuf, String) {
            let names = &self.archive.names;
            let next = names.next("2026-11-22T10:15:00Z".parse().unwrap()).unwrap();
            let line = format!("{{\"seq\":{seq}}}\n").repeat(20_000);
            fs::write(names.plain(&next), &line).unwrap();
            (names.plain(&next), names.gzip(&next), line)
        }

        fn files(&self) -> Vec<String> {
            let mut files: Vec<String> = fs::read_dir(self.dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.ends_with(".lock"))
                .collect();
            files.sort();
            files
        }
    }

    fn unpacked(gzip: &Path) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(BufReader::new(File::open(gzip).unwrap())).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_partial_file_of_a_crashed_compression_is_deleted() {
        let world = world(GZIP);
        let (plain, gzip, line) = world.rotated(1);
        let part = PathBuf::from(format!("{}.tmp", gzip.display()));
        fs::write(&part, b"half of a gzip file").unwrap();
        world.archive.tidy().unwrap();
        assert!(!part.exists() && !plain.exists());
        assert_eq!(unpacked(&gzip), line);
    }

    #[test]
    fn a_partial_file_that_is_a_link_is_not_followed() {
        let world = world(GZIP);
        let (plain, gzip, line) = world.rotated(1);
        let part = PathBuf::from(format!("{}.tmp", gzip.display()));
        let victim = world.dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &part).unwrap();
        assert!(world.archive.write_gzip(&plain, &part).is_err());
        world.archive.tidy().unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(unpacked(&gzip), line);
    }

    #[test]
    fn a_rotated_file_is_replaced_by_a_gzip_of_equal_content() {
        let world = world(GZIP);
        let (plain, gzip, line) = world.rotated(1);
        // The second time, the plain file is beside its gzip, as after a crash before the plain file was deleted.
        for _ in 0..2 {
            fs::write(&plain, &line).unwrap();
            world.archive.tidy().unwrap();
            assert!(!plain.exists());
            assert_eq!(unpacked(&gzip), line);
        }
    }

    #[test]
    fn a_plain_file_beside_a_gzip_of_another_content_or_a_damaged_one_is_kept() {
        let world = world(GZIP);
        let (plain, gzip, line) = world.rotated(1);
        world.archive.tidy().unwrap();
        let whole = fs::read(&gzip).unwrap();
        for other in [line.clone() + "{\"seq\":2}\n", line[..line.len() - 10].to_owned()] {
            fs::write(&plain, &other).unwrap();
            world.archive.tidy().unwrap();
            assert_eq!(fs::read_to_string(&plain).unwrap(), other);
        }
        fs::write(&plain, &line).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"", b"not gzip at all"] {
            fs::write(&gzip, damaged).unwrap();
            world.archive.tidy().unwrap();
            assert_eq!(fs::read_to_string(&plain).unwrap(), line);
        }
    }

    #[test]
    fn a_stop_leaves_the_plain_file_and_no_partial_file() {
        let world = world(GZIP);
        let (plain, _gzip, line) = world.rotated(1);
        world.archive.stop();
        world.archive.tidy().unwrap();
        let rotated = world.archive.names.rotated().unwrap();
        world.archive.compress(&rotated[0].0, rotated[0].1).unwrap();
        assert_eq!(world.files().len(), 1);
        assert_eq!(fs::read_to_string(&plain).unwrap(), line);
    }

    #[test]
    fn a_failed_compression_leaves_no_partial_file_and_is_retried() {
        let world = world(GZIP);
        let (plain, gzip, line) = world.rotated(1);
        // A directory can be opened but not read. So compressing fails after the partial file was created.
        fs::remove_file(&plain).unwrap();
        fs::create_dir(&plain).unwrap();
        world.archive.tidy().unwrap_err();
        assert_eq!(world.files().len(), 1, "a partial file was left behind: {:?}", world.files());
        fs::remove_dir(&plain).unwrap();
        fs::write(&plain, &line).unwrap();
        world.archive.tidy().unwrap();
        assert_eq!(unpacked(&gzip), line);
    }

    #[test]
    fn the_oldest_surplus_files_are_deleted_in_either_form() {
        let world = world(Rules { gzip: false, keep: NonZeroU32::new(2) });
        let files: Vec<_> = (1..=4).map(|seq| world.rotated(seq)).collect();
        fs::rename(&files[0].0, &files[0].1).unwrap();
        world.archive.tidy().unwrap();
        let kept: Vec<bool> = files.iter().map(|(plain, gzip, _)| plain.exists() || gzip.exists()).collect();
        assert_eq!(kept, [false, false, true, true]);
    }

    #[test]
    fn nothing_is_deleted_or_compressed_by_default() {
        let world = world(Rules::default());
        let files: Vec<_> = (1..=4).map(|seq| world.rotated(seq)).collect();
        world.archive.tidy().unwrap();
        assert!(files.iter().all(|(plain, gzip, _)| plain.exists() && !gzip.exists()));
    }

    #[tokio::test]
    async fn many_requests_at_once_leave_no_file_uncompressed() {
        let world = world(GZIP);
        for seq in 1..=8 {
            world.rotated(seq);
            world.archive.tidy_soon();
        }
        // The last `tidy_soon` is handled by the run that is active, or by a run of its own.
        let archive = Arc::clone(&world.archive);
        let all_gzip = move || archive.names.rotated().unwrap().iter().all(|(_, forms)| !forms.plain);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !all_gzip() {
            assert!(std::time::Instant::now() < deadline, "a request was lost");
            tokio::task::yield_now().await;
        }
        assert_eq!(world.archive.names.rotated().unwrap().len(), 8);
    }
}
