//! No file has two owners: a handler that wrote into the journal, a secret or another handler's file would destroy it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use super::{
    HandlerConfig, JournalSettings,
    reading::{Reading, node_at},
};
use crate::{insight, journal};

/// The key of a handler that names a secret's file, which several handlers may share.
pub(super) const DIGEST_KEY_FILE: &str = "digest_key_file";

/// Reports every file that the configuration gives to two.
pub(super) fn check(
    reading: &mut Reading,
    file: Option<&Path>,
    journal: Option<&JournalSettings>,
    insight: Option<&insight::Settings>,
    handlers: &[HandlerConfig],
) {
    let mut owners = Owners::default();
    if let Some(file) = file {
        owners.of.insert(resolved(file), "is the configuration".to_owned());
    }
    for secret in reading.context.secret_files() {
        owners.of.insert(resolved(&secret), "is where a secret is kept".to_owned());
    }
    for name in reading.names(&["handlers"]) {
        if let Some(secret) = node_at(&reading.root, &["handlers", &name, DIGEST_KEY_FILE]) {
            let file = Path::new(secret.as_text().unwrap_or_default());
            owners.of.insert(resolved(file), "is where a secret is kept".to_owned());
        }
    }
    if let Some(JournalSettings::Sqlite(sqlite)) = journal {
        let files = journal::sqlite::files(&sqlite.path).map(|file| ("path", file));
        owners.claim(reading, &["journal"], &files, "belongs to the journal");
    }
    if let Some(path) = insight.filter(|insight| insight.enabled).and_then(|insight| insight.path.as_deref())
    {
        let files = insight::files(path).map(|file| ("path", file));
        owners.claim(reading, &["insight"], &files, "belongs to insight");
    }
    for handler in handlers {
        let owner = format!("is written by the handler `{}`", handler.name);
        owners.claim(reading, &["handlers", &handler.name], &handler.files, &owner);
    }
}

/// Whose a file is, by its resolved path.
#[derive(Default)]
struct Owners {
    of: BTreeMap<PathBuf, String>,
}

impl Owners {
    /// Files that go together, by the keys that name them: one clash of theirs is enough to be told.
    fn claim(&mut self, reading: &mut Reading, section: &[&str], files: &[(&str, PathBuf)], owner: &str) {
        let clash = files.iter().find_map(|(key, file)| Some((key, file, self.of.get(&resolved(file))?)));
        if let Some((key, file, earlier)) = clash {
            let key = [section, &[*key]].concat();
            reading.wrong(&key, format!("{}: {} {earlier} already", key.join("."), file.display()), None);
        }
        self.of.extend(files.iter().map(|(_, file)| (resolved(file), owner.to_owned())));
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
