//! The only writer of a file. Unless the process dies, either a whole batch is in the file and on disk, or nothing of
//! it.
//!
//! The end of the file is recorded as a [`Cut`] before each batch. After any failure (a short write, a full disk, a
//! failed sync, a panic), the file is closed, reopened, and truncated to the `Cut` before anything else is written.
//! After an error, this is done at once. After a panic, or if the truncation fails, it is done before the next batch.
//! So a retry of the batch starts where the failed batch started.
//!
//! If the process dies before a batch is settled, whole lines of the batch and a torn line may be left. The next start
//! removes the torn line. The events of the batch are delivered again, and the [`Tail`] shows which lines are already
//! there.

use std::{fs, path::Path, sync::Arc};

use tracing::warn;

use super::{
    error::Error,
    live::{Cut, Live, resolve, sync_dir_of},
    names::Names,
    repair::repair,
    tail::Tail,
};
use crate::{clock::Timestamp, lock::Lock};

const MS_A_DAY: i64 = 24 * 60 * 60 * 1000;

/// When the file is rotated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rotation {
    /// The file is rotated before a batch would make it larger than this, in bytes. A single batch above this size gets
    /// a file of its own. `None` means no limit.
    pub size_bytes: Option<u64>,
    /// Whether the first batch of a new UTC day rotates the file.
    pub daily: bool,
}

/// Writes a file, and holds the file's lock.
#[derive(Debug)]
pub(super) struct Writer {
    names: Names,
    rotation: Rotation,
    lock: Arc<Lock>,
    live: Option<Live>,
    cut: Option<Cut>,
    /// The lines at the end of the file; `None` if the end must be read again.
    tail: Option<Tail>,
}

impl Writer {
    /// Locks, opens and repairs the file. Creates it and its directory if they are missing.
    ///
    /// # Errors
    /// Returns an error if another handler or process has locked the file, if it is not a file of this handler, or if
    /// the file system fails.
    pub(super) fn open(path: &Path, rotation: Rotation) -> Result<Self, Error> {
        let path = resolve(path)?;
        let names = Names::of(&path)?;
        let lock = Arc::new(Lock::take(&path).map_err(Error::lock(&path))?);
        let mut live = open_or_repair(&path, None)?;
        let mut tail = read_tail(&names)?;
        if tail.is_damaged {
            drop(live);
            repair(&path)?;
            live = open_or_repair(&path, None)?;
            tail = read_tail(&names)?;
        }
        Ok(Self { names, rotation, lock, live: Some(live), cut: None, tail: Some(tail) })
    }

    /// The lines at the end of the file.
    ///
    /// # Errors
    /// Returns an error if the end must be read, and the file cannot be opened or read.
    pub(super) fn tail(&mut self) -> Result<&Tail, Error> {
        let tail = match self.tail.take() {
            Some(tail) => tail,
            None => {
                // If a batch has failed, `ready` removes its lines from the file.
                let live = self.ready()?;
                self.live = Some(live);
                read_tail(&self.names)?
            }
        };
        Ok(self.tail.insert(tail))
    }

    /// Makes the next [`Writer::tail`] read the file again. Call `forget_tail` if the batch of a cancelled delivery may
    /// have been written.
    pub(super) fn forget_tail(&mut self) {
        self.tail = None;
    }

    /// The names of the live file and its rotated files.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The lock of the file. Hold it while working on the file or its rotated files.
    pub(super) fn lock(&self) -> Arc<Lock> {
        Arc::clone(&self.lock)
    }

    /// Rotates the file if `more_bytes` would make it larger than the limit, or, with `daily`, if its last change was
    /// on an earlier UTC day. Never rotates an empty file. A batch above the limit is not split; it gets a file of its
    /// own. Returns whether the file was rotated.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened or renamed. No data is lost: the file has either its old or its
    /// new name.
    pub(super) fn rotate_if_due(&mut self, now: Timestamp, more_bytes: u64) -> Result<bool, Error> {
        let live = self.ready()?;
        let too_large =
            self.rotation.size_bytes.is_some_and(|most| live.len.saturating_add(more_bytes) > most);
        let too_old = self.rotation.daily && live.day < now.as_ms().div_euclid(MS_A_DAY);
        if live.len == 0 || !(too_large || too_old) {
            self.live = Some(live);
            return Ok(false);
        }
        drop(live);
        let rotated = self.names.plain(&self.names.next(now)?);
        fs::rename(&self.names.live, &rotated).map_err(Error::io("rotate", &self.names.live))?;
        sync_dir_of(&rotated)?;
        Ok(true)
    }

    /// Appends whole lines. Returns `Ok` when all of them are on disk.
    ///
    /// # Errors
    /// Returns file system errors. In this case none of the lines stays in the file: they are removed at the latest
    /// before the next batch is written.
    pub(super) fn append<C: AsRef<[u8]>>(&mut self, chunks: impl Iterator<Item = C>) -> Result<(), Error> {
        let mut live = self.ready()?;
        self.cut = Some(live.cut_here());
        let outcome = live.append(chunks);
        match outcome {
            Ok(()) => {
                self.cut = None;
                self.live = Some(live);
            }
            Err(_) => {
                drop(live);
                self.cut_back();
            }
        }
        outcome
    }

    fn cut_back(&mut self) {
        match self.ready() {
            Ok(live) => self.live = Some(live),
            Err(error) => {
                warn!(%error, "failed batch could not be removed from the file: retried before the next batch");
            }
        }
    }

    /// The open file at the path, without lines of a failed batch. Reopens the file if necessary.
    fn ready(&mut self) -> Result<Live, Error> {
        if let Some(mut live) = self.live.take()
            && self.cut.is_none()
            && live.is_in_place()?
        {
            return Ok(live);
        }
        if !self.lock.is_in_place() {
            let live = &self.names.live;
            self.lock = Arc::new(Lock::take(live).map_err(Error::lock(live))?);
        }
        let live = open_or_repair(&self.names.live, self.cut)?;
        self.cut = None;
        Ok(live)
    }
}

fn open_or_repair(path: &Path, cut: Option<Cut>) -> Result<Live, Error> {
    match Live::open(path, cut) {
        Err(Error::Damaged(_)) => {
            repair(path)?;
            Live::open(path, None)
        }
        opened => opened,
    }
}

fn read_tail(names: &Names) -> Result<Tail, Error> {
    Tail::read(names).map_err(Error::io("read the end of", &names.live))
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        path::PathBuf,
    };

    use super::*;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn writer(rotation: Rotation) -> (tempfile::TempDir, Writer, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        (dir, Writer::open(&path, rotation).unwrap(), path)
    }

    fn content(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_batch_that_panics_half_way_leaves_nothing_in_the_file() {
        let (_dir, mut writer, path) = writer(Rotation::default());
        writer.append(["{\"seq\":1}\n"].into_iter()).unwrap();
        let half = "{\"seq\":2}\n{\"seq\":3";
        let chunks =
            std::iter::once(half).chain(std::iter::from_fn(|| panic!("this one cannot be rendered")));
        catch_unwind(AssertUnwindSafe(|| writer.append(chunks))).unwrap_err();
        assert_eq!(content(&path), "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3");
        writer.append(["{\"seq\":2}\n"].into_iter()).unwrap();
        assert_eq!(content(&path), "{\"seq\":1}\n{\"seq\":2}\n");
    }

    #[test]
    fn a_cut_that_failed_is_made_before_the_next_batch() {
        let (_dir, mut writer, path) = writer(Rotation::default());
        writer.append(["{\"seq\":1}\n"].into_iter()).unwrap();
        // Simulates a batch that failed half-way and was not removed, because the file could not be reopened.
        let mut live = writer.live.take().unwrap();
        live.is_in_place().unwrap();
        writer.cut = Some(live.cut_here());
        live.append(["{\"seq\":2}\n{\"seq\":3"].into_iter()).unwrap();
        drop(live);
        writer.append(["{\"seq\":2}\n{\"seq\":3}\n"].into_iter()).unwrap();
        assert_eq!(content(&path), "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n");
    }

    #[test]
    fn the_file_rotates_before_it_grows_too_large_between_batches() {
        let (_dir, mut writer, path) = writer(Rotation { size_bytes: Some(25), daily: false });
        let mut rotations = 0;
        for seq in 1..=5 {
            rotations += usize::from(writer.rotate_if_due(time(NOON), 10).unwrap());
            writer.append([format!("{{\"seq\":{seq}}}\n")].into_iter()).unwrap();
        }
        assert_eq!(rotations, 2);
        assert_eq!(content(&path), "{\"seq\":5}\n");
        let rotated: Vec<String> = writer
            .names()
            .rotated()
            .unwrap()
            .iter()
            .map(|(rotated, _)| content(&writer.names().plain(rotated)))
            .collect();
        assert_eq!(rotated, ["{\"seq\":1}\n{\"seq\":2}\n", "{\"seq\":3}\n{\"seq\":4}\n"]);
        let large = "{\"seq\":6,\"event\":\"larger than the limit\"}\n";
        assert!(writer.rotate_if_due(time(NOON), large.len() as u64).unwrap());
        writer.append([large].into_iter()).unwrap();
        assert_eq!(content(&path), large);
    }

    #[test]
    fn an_empty_file_is_not_rotated() {
        let (_dir, mut writer, _path) = writer(Rotation { size_bytes: Some(1), daily: true });
        assert!(!writer.rotate_if_due(time("2999-01-01T00:00:00Z"), 10).unwrap());
        assert!(writer.names().rotated().unwrap().is_empty());
    }

    #[test]
    fn the_file_rotates_on_a_new_day_also_after_a_restart() {
        let daily = Rotation { size_bytes: None, daily: true };
        let (_dir, mut first, path) = writer(daily);
        let now = crate::clock::now();
        first.append(["{\"seq\":1}\n"].into_iter()).unwrap();
        assert!(
            !first.rotate_if_due(now.plus_ms(-MS_A_DAY), 10).unwrap(),
            "a clock set back rotates nothing"
        );
        drop(first);
        let mut second = Writer::open(&path, daily).unwrap();
        assert!(second.rotate_if_due(now.plus_ms(MS_A_DAY), 10).unwrap());
        second.append(["{\"seq\":2}\n"].into_iter()).unwrap();
        assert_eq!(content(&path), "{\"seq\":2}\n");
        assert_eq!(second.names().rotated().unwrap().len(), 1);
    }

    #[test]
    fn a_crash_during_rotation_loses_and_repeats_nothing() {
        let rotation = Rotation { size_bytes: Some(15), daily: false };
        let (_dir, mut first, path) = writer(rotation);
        first.append(["{\"seq\":1}\n"].into_iter()).unwrap();
        assert!(first.rotate_if_due(time(NOON), 10).unwrap());
        assert!(!path.exists());
        drop(first);
        let mut second = Writer::open(&path, rotation).unwrap();
        assert!(!second.rotate_if_due(time(NOON), 10).unwrap());
        second.append(["{\"seq\":2}\n"].into_iter()).unwrap();
        assert_eq!(content(&path), "{\"seq\":2}\n");
        assert_eq!(second.names().rotated().unwrap().len(), 1);
    }

    #[test]
    fn a_file_with_a_lost_block_is_repaired_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        for (damaged, kept) in [
            (
                [b"{\"seq\":1}\n{\"seq\":2,\"x".as_slice(), &[0; 4096], b"\"}\n{\"seq\":4}\n"].concat(),
                "{\"seq\":1}\n{\"seq\":4}\n",
            ),
            ([&[0; 4096], b"\"}\n{\"seq\":1}\n{\"seq\":4}\n".as_slice()].concat(), ""),
        ] {
            fs::write(&path, damaged).unwrap();
            let mut writer = Writer::open(&path, Rotation::default()).unwrap();
            writer.append(["{\"seq\":5}\n"].into_iter()).unwrap();
            assert_eq!(content(&path), kept.to_owned() + "{\"seq\":5}\n");
        }
        assert!(dir.path().join("events.jsonl.damaged-2").exists());
    }

    #[test]
    fn a_directory_that_was_replaced_is_locked_again() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        let path = inner.join("events.jsonl");
        let mut writer = Writer::open(&path, Rotation::default()).unwrap();
        fs::rename(&inner, dir.path().join("away")).unwrap();
        assert!(
            writer.append(["{\"seq\":1}\n"].into_iter()).is_err(),
            "a directory that vanished is not created again"
        );
        fs::create_dir(&inner).unwrap();
        writer.append(["{\"seq\":1}\n"].into_iter()).unwrap();
        assert!(matches!(Writer::open(&path, Rotation::default()), Err(Error::InUse { .. })));
    }
}
