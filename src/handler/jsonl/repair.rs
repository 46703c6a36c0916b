//! Repairs a file in which a power cut has replaced lines, or parts of lines, by zeros.
//!
//! A batch is synced before the next one is written. So a power cut loses blocks only of the last batch, and the events
//! of that batch are not settled. The file is cut at the first lost block, and all events of the batch are delivered
//! again, in order. If the file were not cut, the lines after the block would stay, and the lost lines would be written
//! after them, out of order.
//!
//! Other damage is not from a power cut. The lines after such damage stay, because their events may be settled.
//!
//! The lines that stay are copied to a new file, which is then renamed to the path. The damaged file is kept next to it
//! under another name. At any moment one of the two files is at the path.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::de::IgnoredAny;
use tracing::error;

use super::{
    error::Error,
    live::{FIRST_BYTES, sync_dir_of},
};
use crate::folder::with_suffix;

/// The lines of one batch have fewer bytes than this. Bytes further from the end of the file were synced earlier, so a
/// power cut cannot lose them.
const UNSYNCED_BYTES: u64 = 32 * 1024 * 1024;
/// The size of a sector, in bytes. A disk loses whole sectors.
const SECTOR_BYTES: u64 = 512;

/// Returns whether this is a complete line of this handler, with or without its line break.
pub(super) fn is_whole(line: &[u8]) -> bool {
    line.starts_with(FIRST_BYTES) && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Repairs the file, and logs the repair as an error.
///
/// # Errors
/// Returns [`Error::Foreign`] if the file has no complete line of this handler, and a power cut cannot be the reason.
/// Returns file system errors.
pub(super) fn repair(path: &Path) -> Result<(), Error> {
    let unfinished = with_suffix(path, ".repairing");
    let copied = copy_lines(path, &unfinished, UNSYNCED_BYTES).map_err(Error::io("repair", path))?;
    if !copied.is_ours() {
        fs::remove_file(&unfinished).map_err(Error::io("delete", &unfinished))?;
        return Err(Error::Foreign(path.to_owned()));
    }
    let beside = set_beside(path).map_err(Error::io("keep a copy of", path))?;
    fs::rename(&unfinished, path).map_err(Error::io("rename", &unfinished))?;
    sync_dir_of(path)?;
    error!(
        path = %path.display(),
        kept_lines = copied.kept_lines,
        cut_lines = copied.cut_lines,
        damaged_bytes = copied.damaged_bytes,
        damaged_file = %beside.display(),
        "file was damaged, for example by a power cut, and was repaired; the damaged version is kept; unsettled events \
         are delivered again, and `bikhook replay --handler NAME --since TIME` repeats settled ones"
    );
    Ok(())
}

/// The result of copying the lines of a damaged file.
#[derive(Debug, Default)]
struct Copied {
    kept_lines: u64,
    /// Complete lines after the lost block at which the file is cut.
    cut_lines: u64,
    /// Bytes outside of complete lines.
    damaged_bytes: u64,
    /// The damaged bytes that are not zeros.
    torn_bytes: u64,
    /// The longest run of zeros, in bytes.
    zeros: u64,
    /// True if the damaged bytes include a control character other than zero and the line break. No line of this
    /// handler contains such a character.
    is_binary: bool,
}

impl Copied {
    /// Returns whether the file may be this handler's. One complete line is enough. A file without a complete line must
    /// be empty, or all zeros, or have at least one lost sector and otherwise only text.
    fn is_ours(&self) -> bool {
        let is_torn = self.zeros >= SECTOR_BYTES && !self.is_binary;
        self.kept_lines + self.cut_lines > 0 || self.torn_bytes == 0 || is_torn
    }
}

/// Copies complete lines, up to the first lost block that begins in the last `unsynced_bytes`.
fn copy_lines(from: &Path, to: &Path, unsynced_bytes: u64) -> io::Result<Copied> {
    let from = File::open(from)?;
    let len = from.metadata()?.len();
    let mut from = BufReader::with_capacity(1 << 16, from);
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .custom_flags(nofollow)
        .open(to)?;
    let mut to = BufWriter::new(to);
    let mut copied = Copied::default();
    let (mut line, mut at, mut is_cut) = (Vec::new(), 0_u64, false);
    loop {
        let is_behind_line = line.ends_with(b"\n");
        let zeros = skip_zeros(&mut from)?;
        line.clear();
        let bytes = read_line(&mut from, &mut line)? as u64;
        if zeros + bytes == 0 {
            break;
        }
        let is_good = line.ends_with(b"\n") && is_whole(&line);
        // A lost block ends at the end of a sector. It begins at the start of a sector, or after a line that was synced
        // earlier. In the second case, the sector keeps that line and loses only the bytes that were written later.
        let is_lost_block = zeros > 0
            && (is_behind_line || at.is_multiple_of(SECTOR_BYTES))
            && (at + zeros).is_multiple_of(SECTOR_BYTES);
        is_cut |= is_lost_block && len.saturating_sub(at) <= unsynced_bytes;
        at += zeros + bytes;
        copied.zeros = copied.zeros.max(zeros);
        copied.damaged_bytes += zeros;
        if !is_good {
            copied.damaged_bytes += bytes;
            copied.torn_bytes += bytes;
            copied.is_binary |= line.iter().any(|byte| *byte < b' ' && *byte != b'\n');
        } else if is_cut {
            copied.cut_lines += 1;
        } else {
            to.write_all(&line)?;
            copied.kept_lines += 1;
        }
    }
    to.into_inner()?.sync_all()?;
    Ok(copied)
}

/// Skips zeros without storing them, because they may not fit into memory. Returns how many were skipped.
fn skip_zeros(from: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = from.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(skipped);
        }
        from.consume(zeros);
        skipped += zeros as u64;
    }
}

/// Reads to the end of the line, or to the first zero.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        let bytes = from.fill_buf()?;
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | 0));
        let taken = match end {
            Some(at) if bytes[at] == b'\n' => at + 1,
            Some(at) => at,
            None => bytes.len(),
        };
        line.extend_from_slice(&bytes[..taken]);
        from.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(line.len());
        }
    }
}

/// Gives the damaged file at `path` a second name, so that it remains when the repaired file is renamed to `path`.
/// Returns the second name.
fn set_beside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let beside = with_suffix(path, &format!(".damaged-{number}"));
        match fs::hard_link(path, &beside) {
            Ok(()) => return Ok(beside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            // The file system may have no hard links, so make a copy.
            Err(_) => {
                let to = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&beside)?;
                if let Err(error) = copy_to(path, to) {
                    // Without the deletion, each attempt on a full disk would leave an incomplete copy. An error of the
                    // deletion is ignored. The error of the copy is returned, because it made the repair fail.
                    drop(fs::remove_file(&beside));
                    return Err(error);
                }
                return Ok(beside);
            }
        }
    }
}

fn copy_to(path: &Path, mut to: File) -> io::Result<()> {
    io::copy(&mut File::open(path)?, &mut to)?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::jsonl::file_of;

    #[test]
    fn complete_lines_stay_up_to_a_lost_block_and_the_damaged_file_is_kept() {
        let zeros = vec![0; 200_000];
        let block = [0_u8; 1024];
        let synced = b"{\"seq\":1}\n".as_slice();
        let behind = b"\"}\n{\"seq\":4}\n".as_slice();
        let torn_at_a_block = format!("{{\"seq\":1}}\n{{\"seq\":2,\"x\":\"{}", "x".repeat(488));
        let torn = [synced, b"{\"seq\":2,\"x\":\"", &zeros, behind].concat();
        let headless = [&zeros[..4090], b"\"}\n{\"seq\":2}\n"].concat();
        let one_without_its_beginning = [&zeros[..512], b"a text\"}\n"].concat();
        let one_without_its_middle = [b"{\"seq\":1,\"x\":\"".as_slice(), &zeros[..512], b"\"}\n"].concat();
        for (content, whole) in [
            (torn, "{\"seq\":1}\n{\"seq\":4}\n"),
            (headless, "{\"seq\":2}\n"),
            (one_without_its_beginning, ""),
            (one_without_its_middle, ""),
            (zeros.clone(), ""),
            (b"{\"seq\":1}\n{\"seq\":2{\"seq\":3}\n{\"seq\":4}\n".to_vec(), "{\"seq\":1}\n{\"seq\":4}\n"),
            // The file is cut at the first lost block.
            ([&block[..], behind].concat(), ""),
            ([synced, &block[..512 - synced.len()], behind].concat(), "{\"seq\":1}\n"),
            ([torn_at_a_block.as_bytes(), &block, behind].concat(), "{\"seq\":1}\n"),
        ] {
            let (dir, path) = file_of(&content);
            fs::write(dir.path().join("events.jsonl.damaged-1"), "of another time").unwrap();
            repair(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), whole);
            assert_eq!(fs::read(dir.path().join("events.jsonl.damaged-2")).unwrap(), content);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        }
    }

    #[test]
    fn lines_behind_a_lost_block_of_synced_lines_stay() {
        let zeros = [0_u8; 512];
        let lines = [1, 3, 4, 6].map(|seq| format!("{{\"seq\":{seq}}}\n").into_bytes());
        let [one, three, four, six] = lines.each_ref().map(Vec::as_slice);
        // Two blocks are lost: bytes 10 to 512, and bytes 534 to 1024. Only the second begins in the last 600 bytes, so
        // the file is cut there.
        let content = [one, &zeros[..502], b"}\n", three, four, &zeros[..490], b"}\n", six].concat();
        let (dir, path) = file_of(&content);
        let to = dir.path().join("repaired");
        let copied = copy_lines(&path, &to, 600).unwrap();
        assert_eq!(fs::read(&to).unwrap(), [one, three, four].concat());
        assert_eq!((copied.kept_lines, copied.cut_lines, copied.damaged_bytes), (3, 1, 996));
    }

    #[test]
    fn a_failed_copy_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        // A directory can be neither linked nor read.
        let path = dir.path().join("events.jsonl");
        fs::create_dir(&path).unwrap();
        assert!(set_beside(&path).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_without_a_line_of_ours_is_not_touched() {
        let text = b"\0\0\0a disk image of somebody\n".to_vec();
        let binary = [&[0_u8; 4096][..], b"\x01CD001\x01"].concat();
        for content in [text, binary] {
            let (dir, path) = file_of(&content);
            assert!(matches!(repair(&path), Err(Error::Foreign(_))));
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }
}
