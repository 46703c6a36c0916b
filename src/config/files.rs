//! No file has two owners: a handler that wrote into the journal, a secret or another handler's file would destroy it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use super::{HandlerConfig, JournalSettings, reading::Reading};
use crate::journal;

/// Reports every file that the configuration gives to two.
pub(super) fn check(
    reading: &mut Reading,
    file: Option<&Path>,
    journal: Option<&JournalSettings>,
    handlers: &[HandlerConfig],
) {
    let mut owners = Owners::default();
    if let Some(file) = file {
        owners.of.insert(resolved(file), "is the configuration".to_owned());
    }
    for secret in reading.context.secret_files() {
        owners.of.insert(resolved(&secret), "is where a secret is kept".to_owned());
    }
    if let Some(JournalSettings::Sqlite(sqlite)) = journal {
        for file in journal::sqlite::files(&sqlite.path) {
            owners.claim(reading, &["journal", "path"], &file, "belongs to the journal");
        }
    }
    for handler in handlers {
        let owner = format!("is written by the handler `{}`", handler.name);
        for (key, file) in &handler.files {
            owners.claim(reading, &["handlers", &handler.name, key], file, &owner);
        }
    }
}

/// Whose a file is, by its resolved path.
#[derive(Default)]
struct Owners {
    of: BTreeMap<PathBuf, String>,
}

impl Owners {
    fn claim(&mut self, reading: &mut Reading, key: &[&str], file: &Path, owner: &str) {
        let earlier = self.of.insert(resolved(file), owner.to_owned());
        if let Some(earlier) = earlier.filter(|earlier| earlier != owner) {
            reading.wrong(key, format!("{}: {} {earlier} already", key.join("."), file.display()), None);
        }
    }
}

/// One name for one file, whether or not it and its folders are there yet.
fn resolved(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_no_current_directory| file.to_owned());
    for there in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(there), absolute.strip_prefix(there)) {
            return joined(real, rest);
        }
    }
    absolute
}

/// What is not there is no link: `..` leads out of it again.
fn joined(mut path: PathBuf, rest: &Path) -> PathBuf {
    for part in rest.components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}
