//! Checks that the journal, insight and the handlers share no file with another part of the configuration. A handler
//! that writes into the file of another part would destroy that file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use super::{
    HandlerConfig,
    reading::{Reading, node_at},
};
use crate::{insight, journal, settings::Wrong};

/// The key of a handler that names the file of a secret. Several handlers may share that file.
pub(super) const DIGEST_KEY_FILE: &str = "digest_key_file";

/// Reports files of the journal, of insight and of handlers that another part of the configuration uses: one file per
/// part.
pub(super) fn check(
    reading: &mut Reading,
    file: Option<&Path>,
    journal: Option<&journal::sqlite::Settings>,
    insight: Option<&insight::Settings>,
    handlers: &[HandlerConfig],
) {
    let mut owners = Owners::default();
    if let Some(file) = file {
        owners.of.insert(resolved(file), "as the configuration file".to_owned());
    }
    for secret in reading.context.secret_files() {
        owners.of.insert(resolved(&secret), "for a secret".to_owned());
    }
    for name in reading.names(&["handlers"]) {
        if let Some(secret) = node_at(&reading.root, &["handlers", &name, DIGEST_KEY_FILE]) {
            let file = Path::new(secret.as_text().unwrap_or_default());
            owners.of.insert(resolved(file), "for a secret".to_owned());
        }
    }
    if let Some(journal) = journal {
        let files = journal::sqlite::files(&journal.path).map(|file| ("path", file));
        owners.claim(reading, &["journal"], &files, "by the journal");
    }
    if let Some(path) = insight.filter(|insight| insight.enabled).and_then(|insight| insight.path.as_deref())
    {
        let files = insight::files(path).map(|file| ("path", file));
        owners.claim(reading, &["insight"], &files, "by insight");
    }
    for handler in handlers {
        let owner = format!("by the handler `{}`", handler.name);
        owners.claim(reading, &["handlers", &handler.name], &handler.files, &owner);
    }
}

/// The parts of the configuration that use files, as texts for messages, by resolved path.
#[derive(Default)]
struct Owners {
    of: BTreeMap<PathBuf, String>,
}

impl Owners {
    /// Records the files of one part, each with the key that names it. Reports the first file that an earlier part
    /// uses.
    fn claim(&mut self, reading: &mut Reading, section: &[&str], files: &[(&str, PathBuf)], owner: &str) {
        let clash = files.iter().find_map(|(key, file)| Some((key, file, self.of.get(&resolved(file))?)));
        if let Some((key, file, earlier)) = clash {
            let message = format!("{} is already used {earlier}", file.display());
            reading.wrong(Wrong::new(&[key], message).under(section));
        }
        self.of.extend(files.iter().map(|(_, file)| (resolved(file), owner.to_owned())));
    }
}

/// Resolves a path to one name per file, even if the file or its folders do not exist yet.
fn resolved(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_no_current_directory| file.to_owned());
    for there in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(there), absolute.strip_prefix(there)) {
            return joined(real, rest);
        }
    }
    absolute
}

/// Appends a path that does not exist, and resolves each `..` by name. That is right because folders that do not exist
/// cannot be links.
fn joined(mut path: PathBuf, rest: &Path) -> PathBuf {
    for part in rest.components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}
