//! Checks the files that the parts of the program write. The parts are the journal, insight and each handler. Two parts
//! must not write the same file. No part may write the configuration file or the file of a secret, because that would
//! destroy the file. Files that are only read, such as `ca`, are not checked.

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

/// The configuration key that names the file of a handler's digest key. Several handlers may name the same file.
pub(super) const DIGEST_KEY_FILE: &str = "digest_key_file";

/// Reports each part that writes the configuration file, the file of a secret, or a file of an earlier part. At most
/// one error per part.
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

/// Maps the resolved path of each file to a text that says how the file is used, such as `by the journal`. The text is
/// part of an error message.
#[derive(Default)]
struct Owners {
    of: BTreeMap<PathBuf, String>,
}

impl Owners {
    /// Records the files of one part, and reports the first file that is already in use. Each file is given with the
    /// configuration key that names it.
    fn claim(&mut self, reading: &mut Reading, section: &[&str], files: &[(&str, PathBuf)], owner: &str) {
        let clash = files.iter().find_map(|(key, file)| Some((key, file, self.of.get(&resolved(file))?)));
        if let Some((key, file, earlier)) = clash {
            let message = format!("{} is already used {earlier}", file.display());
            reading.wrong(Wrong::new(&[key], message).under(section));
        }
        self.of.extend(files.iter().map(|(_, file)| (resolved(file), owner.to_owned())));
    }
}

/// Resolves a path, so that paths to one file compare equal, even if the file or its folders do not exist yet. Hard
/// links, and links to files that do not exist yet, are not recognized.
fn resolved(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_no_current_directory| file.to_owned());
    for there in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(there), absolute.strip_prefix(there)) {
            return joined(real, rest);
        }
    }
    absolute
}

/// Appends `rest`, which does not exist yet, to a resolved path. Each `..` removes the name before it. The result is
/// wrong only if the removed name is a link whose target does not exist yet.
fn joined(mut path: PathBuf, rest: &Path) -> PathBuf {
    for part in rest.components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}
