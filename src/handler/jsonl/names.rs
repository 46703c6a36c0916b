//! The names of a file and its rotated files: `events.jsonl`, `events-2026-11-22T101500Z-001.jsonl`, and, compressed,
//! `events-2026-11-22T101500Z-001.jsonl.gz`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::error::Error;
use crate::{clock::Timestamp, folder::with_suffix};

/// The name of the live file, and the pattern for its rotated files.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The directory of the live file and its rotated files.
    pub dir: PathBuf,
    /// The path of the file that is written.
    pub live: PathBuf,
    stem: String,
    extension: String,
}

/// A rotated file. It exists uncompressed, compressed, or in both forms. Ordered by age, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rotated {
    stamp: String,
    number: u32,
}

/// Which forms of a rotated file exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forms {
    /// The uncompressed file exists.
    pub plain: bool,
    /// The `.gz` file exists.
    pub gzip: bool,
}

impl Names {
    /// Derives the names from the path of the live file. Its directory must exist.
    ///
    /// # Errors
    /// Returns [`Error::NoName`] if the path has no file name, or one that is not UTF-8.
    pub(super) fn of(live: &Path) -> Result<Self, Error> {
        let no_name = || Error::NoName(live.to_owned());
        let name = live.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
        let dir = live.parent().ok_or_else(no_name)?;
        let (stem, extension) = match name.rfind('.') {
            Some(dot) if dot > 0 => name.split_at(dot),
            _ => (name, ""),
        };
        Ok(Self {
            dir: dir.to_owned(),
            live: live.to_owned(),
            stem: stem.to_owned(),
            extension: extension.to_owned(),
        })
    }

    /// Returns an unused name that sorts after all rotated files, even if the clock was set back.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read.
    pub(super) fn next(&self, now: Timestamp) -> Result<Rotated, Error> {
        let mut next = Rotated { stamp: stamp(now), number: 1 };
        if let Some((latest, _)) = self.rotated()?.into_iter().next_back()
            && latest >= next
        {
            next = Rotated { stamp: latest.stamp, number: latest.number + 1 };
        }
        // If a file is replaced by its `.gz` while `rotated` lists the directory, the list may have neither of them.
        // Then `next` may be the name of that file. So check that neither form of `next` exists.
        while self.plain(&next).exists() || self.gzip(&next).exists() {
            next.number += 1;
        }
        Ok(next)
    }

    /// The rotated files, the oldest first.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read.
    pub(super) fn rotated(&self) -> Result<Vec<(Rotated, Forms)>, Error> {
        let mut found: std::collections::BTreeMap<Rotated, Forms> = std::collections::BTreeMap::new();
        for name in self.file_names()? {
            let (plain_name, is_gzip) = match name.strip_suffix(".gz") {
                Some(plain_name) => (plain_name, true),
                None => (name.as_str(), false),
            };
            if let Some(rotated) = self.parse(plain_name) {
                let forms = found.entry(rotated).or_default();
                forms.gzip |= is_gzip;
                forms.plain |= !is_gzip;
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The partial files of interrupted compressions.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, Error> {
        let names = self.file_names()?.into_iter();
        let ours =
            names.filter(|name| name.strip_suffix(".gz.tmp").is_some_and(|name| self.parse(name).is_some()));
        Ok(ours.map(|name| self.dir.join(name)).collect())
    }

    /// The path of a rotated file before compression.
    pub(super) fn plain(&self, rotated: &Rotated) -> PathBuf {
        self.dir.join(format!("{}-{}-{:03}{}", self.stem, rotated.stamp, rotated.number, self.extension))
    }

    /// The path of a rotated file after compression.
    pub(super) fn gzip(&self, rotated: &Rotated) -> PathBuf {
        with_suffix(&self.plain(rotated), ".gz")
    }

    /// The path of a rotated file during compression.
    pub(super) fn unfinished(&self, rotated: &Rotated) -> PathBuf {
        with_suffix(&self.plain(rotated), ".gz.tmp")
    }

    fn parse(&self, plain_name: &str) -> Option<Rotated> {
        let rest = plain_name.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(&self.extension)?;
        let (stamp, number) = rest.rsplit_once('-')?;
        let number_ok = number.len() >= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !number_ok || !is_stamp(stamp) {
            return None;
        }
        Some(Rotated { stamp: stamp.to_owned(), number: number.parse().ok()? })
    }

    fn file_names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let entries = entries.map_err(Error::io("list the directory", &self.dir))?;
        // A name that is not UTF-8 is not one of ours.
        Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

fn stamp(now: Timestamp) -> String {
    // A time outside the years -9999 to 9999 becomes the epoch. `Names::next` still returns a name that sorts after all
    // rotated files.
    let now = jiff::Timestamp::from_millisecond(now.as_ms()).unwrap_or_default();
    now.strftime("%Y-%m-%dT%H%M%SZ").to_string()
}

fn is_stamp(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T000000Z";
    text.len() == SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (tempfile::TempDir, Names) {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::of(&dir.path().join("events.jsonl")).unwrap();
        (dir, names)
    }

    fn touch(path: &Path) {
        fs::write(path, "").unwrap();
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_rotated_file_is_named_by_its_time_and_a_number() {
        let (dir, names) = names();
        let rotated = names.next(time("2026-11-22T10:15:00.999Z")).unwrap();
        assert_eq!(names.plain(&rotated), dir.path().join("events-2026-11-22T101500Z-001.jsonl"));
        assert_eq!(names.gzip(&rotated), dir.path().join("events-2026-11-22T101500Z-001.jsonl.gz"));
    }

    #[test]
    fn a_name_that_is_taken_in_either_form_is_not_given_again() {
        let (_dir, names) = names();
        let now = time("2026-11-22T10:15:00Z");
        let first = names.next(now).unwrap();
        touch(&names.plain(&first));
        let second = names.next(now).unwrap();
        assert!(second > first);
        touch(&names.gzip(&second));
        let third = names.next(now).unwrap();
        assert!(third > second);
        assert_eq!(third.number, 3);
    }

    #[test]
    fn a_clock_that_was_set_back_still_gives_a_later_name() {
        let (_dir, names) = names();
        let first = names.next(time("2026-11-22T10:15:00Z")).unwrap();
        touch(&names.plain(&first));
        let second = names.next(time("2025-01-01T00:00:00Z")).unwrap();
        assert!(second > first, "{second:?} must sort after {first:?}");
    }

    #[test]
    fn only_files_of_this_name_and_shape_are_listed() {
        let (dir, names) = names();
        for name in [
            "events.jsonl",
            "events-old.jsonl",
            "events-2026-11-22T101500Z.jsonl",
            "events-2026-11-22T101500Z-1.jsonl",
            "events-2026-11-22T101500Z-001.jsonl.gz.tmp",
            "events-2026-11-22T101500Z-001.json",
            "other-2026-11-22T101500Z-001.jsonl",
            "events-x-2026-11-22T101500Z-001.jsonl",
            "events-2026-11-22T101500Z-012.jsonl.gz",
            "events-2026-11-22T101500Z-002.jsonl",
            "events-2026-11-22T101500Z-002.jsonl.gz",
        ] {
            touch(&dir.path().join(name));
        }
        let found = names.rotated().unwrap();
        let numbers: Vec<u32> = found.iter().map(|(rotated, _)| rotated.number).collect();
        assert_eq!(numbers, [2, 12]);
        assert_eq!(found[0].1, Forms { plain: true, gzip: true });
        assert_eq!(found[1].1, Forms { plain: false, gzip: true });
        assert_eq!(names.leftovers().unwrap().len(), 1);
    }

    #[test]
    fn a_file_without_an_extension_is_named_too() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::of(&dir.path().join("events")).unwrap();
        let rotated = names.next(time("2026-11-22T10:15:00Z")).unwrap();
        assert_eq!(names.plain(&rotated), dir.path().join("events-2026-11-22T101500Z-001"));
        touch(&names.plain(&rotated));
        assert_eq!(names.rotated().unwrap().len(), 1);
    }
}
