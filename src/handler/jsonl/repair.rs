//! Repairs a file after a power cut left zeros or half lines in place of lines.
//!
//! The complete lines are copied to a new file, which takes the path. The damaged file is kept next to it under another
//! name. At any moment one of the two is at the path.

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

/// Returns whether this is a complete line of this handler, with or without its line break.
pub fn is_whole(line: &[u8]) -> bool {
    line.starts_with(FIRST_BYTES) && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Repairs the file and logs it as an error.
///
/// # Errors
/// Returns [`Error::Foreign`] if the file has no line of this handler, but contains bytes other than zeros. Returns
/// file system errors.
pub fn repair(path: &Path) -> Result<(), Error> {
    let unfinished = with_suffix(path, ".repairing");
    let kept = copy_whole_lines(path, &unfinished).map_err(Error::io("repair", path))?;
    if kept.lines == 0 && !kept.only_zeros {
        fs::remove_file(&unfinished).map_err(Error::io("delete", &unfinished))?;
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let beside = set_beside(path).map_err(Error::io("set beside", path))?;
    fs::rename(&unfinished, path).map_err(Error::io("rename", &unfinished))?;
    sync_dir_of(path)?;
    error!(
        path = %path.display(),
        kept_lines = kept.lines,
        damaged_bytes = kept.damaged_bytes,
        damaged_file = %beside.display(),
        "the file was damaged, as by a power cut: it keeps its whole lines, and the damaged file is beside it; \
         `bikhook replay --handler NAME --since TIME` delivers the lost events again"
    );
    Ok(())
}

/// The result of copying the complete lines.
#[derive(Debug)]
struct Kept {
    lines: u64,
    damaged_bytes: u64,
    only_zeros: bool,
}

fn copy_whole_lines(from: &Path, to: &Path) -> io::Result<Kept> {
    let mut from = BufReader::with_capacity(1 << 16, File::open(from)?);
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .custom_flags(nofollow)
        .open(to)?;
    let mut to = BufWriter::new(to);
    let mut kept = Kept { lines: 0, damaged_bytes: 0, only_zeros: true };
    let mut line = Vec::new();
    loop {
        skip_zeros(&mut from, &mut kept.damaged_bytes)?;
        line.clear();
        if read_line(&mut from, &mut line)? == 0 {
            break;
        }
        kept.only_zeros = false;
        if line.ends_with(b"\n") && is_whole(&line) {
            to.write_all(&line)?;
            kept.lines += 1;
        } else {
            kept.damaged_bytes += line.len() as u64;
        }
    }
    to.into_inner()?.sync_all()?;
    Ok(kept)
}

/// Skips zeros without storing them: there may be more of them than memory.
fn skip_zeros(from: &mut impl BufRead, skipped: &mut u64) -> io::Result<()> {
    loop {
        let bytes = from.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(());
        }
        from.consume(zeros);
        *skipped += zeros as u64;
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

/// Gives the file a second name, which keeps it when another file takes its path.
fn set_beside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let beside = with_suffix(path, &format!(".damaged-{number}"));
        match fs::hard_link(path, &beside) {
            Ok(()) => return Ok(beside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            // The file system has no hard links.
            Err(_) => {
                let mut to = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&beside)?;
                io::copy(&mut File::open(path)?, &mut to)?;
                to.sync_all()?;
                return Ok(beside);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn whole_lines_are_kept_and_the_damaged_file_is_set_beside() {
        let zeros = vec![0; 200_000];
        let torn = [b"{\"seq\":1}\n{\"seq\":2,\"x\":\"".as_slice(), &zeros, b"\"}\n{\"seq\":4}\n"].concat();
        let headless = [&zeros[..4096], b"\"}\n{\"seq\":2}\n"].concat();
        for (content, whole) in [
            (torn, "{\"seq\":1}\n{\"seq\":4}\n"),
            (headless, "{\"seq\":2}\n"),
            (zeros.clone(), ""),
            (b"{\"seq\":1}\n{\"seq\":2{\"seq\":3}\n{\"seq\":4}\n".to_vec(), "{\"seq\":1}\n{\"seq\":4}\n"),
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
    fn a_file_without_a_line_of_ours_is_not_touched() {
        let content = b"\0\0\0a disk image of somebody\n";
        let (dir, path) = file_of(content);
        assert!(matches!(repair(&path), Err(Error::Foreign { .. })));
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
