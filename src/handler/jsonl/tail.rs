//! Reads the end of the file, so that no event is written twice.
//!
//! After a crash or a cancelled delivery, the file may have lines of events that are not settled. These events are
//! delivered again. So the end of the file is read before the first batch, and before each batch that follows a
//! cancelled delivery. An event whose line is there counts as delivered, unless it is replayed.

use std::{
    fs::File,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    time::Duration,
};

use flate2::bufread::MultiGzDecoder;
use tracing::error;

use super::{live::FIRST_BYTES, names::Names, repair::is_whole};
use crate::folder;

/// The most bytes to read: first from the end of the live file, then from rotated files, the newest first. This is
/// enough, because an event is settled before this many bytes are written after its line. The limit counts uncompressed
/// bytes. A compressed file is always read whole, even above the limit.
const TAIL_BYTES: u64 = 64 * 1024 * 1024;
/// A compressed file can only be read from its beginning. To limit memory, only the [`Id`]s of its last lines are kept:
/// at least this many, or all if the file has fewer lines, and always fewer than twice as many.
const COMPRESSED_LINES: usize = 500_000;
/// The longest time from the writing of a line until its event is settled. A line need not be read if a later line was
/// written at least this long after it, because the event of the older line is settled. All lines of rotated files were
/// written before the live file was created. So no rotated file is read if the live file was last changed at least this
/// long after its creation. Otherwise rotated files are read, the newest first. Reading stops at a file that was last
/// changed at least this long before the newest rotated file was. That file is not read.
const SETTLED: Duration = Duration::from_mins(10);

/// Identifies a line: its `seq`, and a digest of its `receivedAt`. The `seq` alone is not unique, because a new journal
/// counts from 1 again.
type Id = (u64, u64);

/// The lines at the end of the live file and, if needed, of the newest rotated files.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The ids of the lines, sorted.
    ids: Vec<Id>,
    /// The largest `seq` among the lines.
    newest: u64,
    /// True if a line that was read from the live file is damaged.
    pub is_damaged: bool,
}

impl Tail {
    /// Reads the end of the live file, and of the newest rotated files if needed.
    ///
    /// # Errors
    /// Returns an error if the live file cannot be read, or if the rotated files cannot be listed or opened.
    pub(super) fn read(names: &Names) -> io::Result<Self> {
        let mut tail = Self::default();
        let live = File::open(&names.live)?;
        let metadata = live.metadata()?;
        tail.take_plain(live, TAIL_BYTES)?;
        let in_use = metadata.created().ok().zip(metadata.modified().ok());
        let in_use = in_use.and_then(|(created, modified)| modified.duration_since(created).ok());
        let rest = TAIL_BYTES.saturating_sub(metadata.len());
        if rest > 0 && in_use.is_none_or(|in_use| in_use < SETTLED) {
            let was_damaged = tail.is_damaged;
            tail.take_rotated(names, rest)?;
            tail.is_damaged = was_damaged;
        }
        tail.ids.sort_unstable();
        tail.newest = tail.ids.last().map_or(0, |(seq, _)| *seq);
        Ok(tail)
    }

    /// Returns whether a line with this `seq` may be in the file. Nearly always `false`, because most events are new.
    pub(super) const fn may_have(&self, seq: u64) -> bool {
        seq <= self.newest
    }

    /// Returns whether a line with the same `seq` and `receivedAt` as this one is at the end of the file.
    pub(super) fn has(&self, line: &[u8]) -> bool {
        id(line).is_some_and(|id| self.ids.binary_search(&id).is_ok())
    }

    /// Reads rotated files, compressed or not, the newest first. Stops when `bytes` bytes are read, or at a file that
    /// is too old (see [`SETTLED`]). One rotated file may not be enough, because several small files may be rotated
    /// before an event is settled. A file that cannot be read or unpacked is skipped, because a retry would not help.
    fn take_rotated(&mut self, names: &Names, mut bytes: u64) -> io::Result<()> {
        let listed = names.rotated().map_err(io::Error::other)?;
        let mut newest_change = None;
        for (rotated, _) in listed.iter().rev() {
            // The background task of `archive` may be compressing the file now. It deletes the uncompressed file only
            // when the compressed one exists, so one of the two is found.
            let (plain, gzip) = (names.plain(rotated), names.gzip(rotated));
            let (file, path, is_plain) = match folder::if_exists(File::open(&plain))? {
                Some(file) => (file, plain, true),
                None => match folder::if_exists(File::open(&gzip))? {
                    Some(file) => (file, gzip, false),
                    None => continue,
                },
            };
            let changed = file.metadata()?.modified()?;
            let newest = *newest_change.get_or_insert(changed);
            if newest.duration_since(changed).is_ok_and(|earlier| earlier >= SETTLED) {
                break;
            }
            let taken = if is_plain { self.take_plain(file, bytes) } else { self.take_compressed(file) };
            match taken {
                Ok(taken) => bytes = bytes.saturating_sub(taken),
                Err(error) => error!(
                    path = %path.display(),
                    %error,
                    "rotated file cannot be read and is skipped: its unsettled events are written again"
                ),
            }
            if bytes == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Adds the ids of the lines in the last `bytes` bytes of an uncompressed file. Returns how many bytes were read.
    fn take_plain(&mut self, mut file: File, bytes: u64) -> io::Result<u64> {
        let len = file.metadata()?.len();
        let start = len.saturating_sub(bytes);
        file.seek(SeekFrom::Start(start))?;
        let mut lines = BufReader::with_capacity(1 << 16, file.take(len - start));
        let mut line = Vec::new();
        if start > 0 {
            // Skip the rest of a line whose beginning is not read.
            lines.skip_until(b'\n')?;
        }
        while lines.read_until(b'\n', &mut line)? > 0 {
            self.is_damaged |= !is_whole(&line);
            self.ids.extend(id(&line));
            line.clear();
        }
        Ok(len - start)
    }

    /// Adds the ids of the last lines of a compressed file. Returns the length of the uncompressed text in bytes. After
    /// an error no id is added, because the text that was unpacked before the error may be wrong.
    fn take_compressed(&mut self, file: File) -> io::Result<u64> {
        let mut lines = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
        let (mut ids, mut line) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while lines.read_until(b'\n', &mut line)? > 0 {
            bytes += line.len() as u64;
            ids.extend(id(&line));
            line.clear();
            if ids.len() >= 2 * COMPRESSED_LINES {
                ids.drain(..COMPRESSED_LINES);
            }
        }
        self.ids.append(&mut ids);
        Ok(bytes)
    }
}

fn id(line: &[u8]) -> Option<Id> {
    let rest = line.strip_prefix(FIRST_BYTES)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seq = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let received_at =
        rest[digits..].strip_prefix(b",\"receivedAt\":\"")?.split(|byte| *byte == b'"').next()?;
    Some((seq, BuildHasherDefault::<DefaultHasher>::new().hash_one(received_at)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::handler::jsonl::file_of;

    fn line(seq: u64, received_at: &str) -> String {
        format!("{{\"seq\":{seq},\"receivedAt\":\"{received_at}\",\"source\":\"bik\"}}\n")
    }

    /// Writes a live file with this content to a temporary folder. Returns the folder and the file's names.
    fn names(live: &str) -> (tempfile::TempDir, Names) {
        let (dir, path) = file_of(live.as_bytes());
        (dir, Names::of(&path).unwrap())
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_line_is_known_by_its_seq_and_its_time() {
        let (_dir, names) = names(&(line(7, "a") + &line(5, "b")));
        let tail = Tail::read(&names).unwrap();
        assert!(tail.may_have(7) && !tail.may_have(8));
        assert!(tail.has(line(7, "a").as_bytes()) && tail.has(line(5, "b").as_bytes()));
        assert!(!tail.has(line(6, "b").as_bytes()), "it was never written");
        assert!(!tail.has(line(5, "a").as_bytes()), "it is of another journal");
        assert!(!tail.is_damaged);
    }

    #[test]
    fn rotated_files_are_read_until_one_that_is_settled() {
        let (dir, names) = names("");
        let now = dir.path().metadata().unwrap().modified().unwrap();
        for (seq, minutes_ago) in [(1, 40), (2, 29), (3, 20)] {
            let rotated = names.next("2026-11-22T10:15:00Z".parse().unwrap()).unwrap();
            fs::write(names.plain(&rotated), line(seq, "a")).unwrap();
            let file = File::options().write(true).open(names.plain(&rotated)).unwrap();
            file.set_modified(now - Duration::from_mins(minutes_ago)).unwrap();
        }
        let tail = Tail::read(&names).unwrap();
        assert!(tail.has(line(3, "a").as_bytes()) && tail.has(line(2, "a").as_bytes()));
        assert!(!tail.has(line(1, "a").as_bytes()));
    }

    #[test]
    fn damaged_compressed_files_are_skipped() {
        let (_dir, names) = names(&line(5, "a"));
        let whole = |seq| packed(line(seq, "a").as_bytes());
        let torn = whole(2)[..20].to_vec();
        let mut flipped = whole(3);
        let checksum = flipped.len() - 8;
        flipped[checksum] ^= 1;
        for gzip in [whole(1), torn, flipped, b"not gzip at all".to_vec()] {
            let rotated = names.next("2026-11-22T10:15:00Z".parse().unwrap()).unwrap();
            fs::write(names.gzip(&rotated), gzip).unwrap();
        }
        let tail = Tail::read(&names).unwrap();
        let found = [1, 2, 3, 5].map(|seq| tail.has(line(seq, "a").as_bytes()));
        assert_eq!(found, [true, false, false, true]);
        assert!(!tail.is_damaged);
    }

    #[test]
    fn the_newest_rotated_file_is_read_in_either_form() {
        let (_dir, names) = names("");
        let rotated = names.next("2026-11-22T10:15:00Z".parse().unwrap()).unwrap();
        fs::write(names.plain(&rotated), line(7, "a")).unwrap();
        assert!(Tail::read(&names).unwrap().has(line(7, "a").as_bytes()));
        fs::write(names.gzip(&rotated), packed(line(7, "a").as_bytes())).unwrap();
        fs::remove_file(names.plain(&rotated)).unwrap();
        assert!(Tail::read(&names).unwrap().has(line(7, "a").as_bytes()));
    }
}
