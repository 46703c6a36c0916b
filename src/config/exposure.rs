//! Warnings about weak protection of secrets: secrets that are short or copied from an example, files that every user
//! of the machine can read, and an Authorization header sent over plain HTTP.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use super::reading::{Reading, node_at};
use crate::{
    admin, folder,
    http::SourceSettings,
    secret::Secret,
    settings::{Node, Place, Problem, Table, Value, Wrong},
};

/// The minimum length of a secret that clients send to bikhook, in characters. A shorter one can be guessed.
const DOOR_CHARS_MIN: usize = 12;

const GENERATE_ONE: &str = "generate one: `openssl rand -base64 24`";

/// Parts of typical placeholders for a secret.
const EXAMPLES: [&str; 10] = [
    "change-me",
    "change_me",
    "changeme",
    "replace-me",
    "replace_me",
    "replaceme",
    "your-key",
    "your-password",
    "your-secret",
    "your-token",
];

/// Folders in which orchestrators mount the secrets of a container. The files there are readable by all users, but a
/// container has only one user, so no warning is needed.
const MOUNTED: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

const ANYBODY_READS: u32 = 0o004;
const ANYBODY_ENTERS: u32 = 0o001;

/// Warns about secrets that can be guessed.
pub(super) fn guessable(
    reading: &mut Reading,
    admin: Option<&admin::Settings>,
    sources: &BTreeMap<String, SourceSettings>,
) {
    for (secret, place) in reading.context.secrets() {
        if is_example(&secret) {
            let message = "this secret is an example value: anyone can guess it";
            reading.warnings.push(Problem::new(place, message).help(GENERATE_ONE));
        }
    }
    if let Some(credentials) = admin.and_then(|admin| admin.credentials.as_ref()) {
        door(reading, &["admin", "credentials", "password"], &credentials.password);
    }
    for (name, source) in sources {
        for (credential, settings) in &source.credentials {
            for (key, secret) in [("key", &settings.key), ("password", &settings.password)] {
                if let Some(secret) = secret {
                    door(reading, &["sources", name, "credentials", credential, key], secret);
                }
            }
        }
    }
}

fn door(reading: &mut Reading, path: &[&str], secret: &Secret) {
    if secret.expose().chars().count() < DOOR_CHARS_MIN && !is_example(secret.expose()) {
        let message = format!("is shorter than {DOOR_CHARS_MIN} characters and can be guessed");
        reading.warn(Wrong::new(path, message).help(GENERATE_ONE));
    }
}

fn is_example(secret: &str) -> bool {
    let secret = secret.to_lowercase();
    EXAMPLES.iter().any(|example| secret.contains(example))
}

/// Warns about files with secrets that every user of the machine can read.
pub(super) fn readable(reading: &mut Reading, file: Option<&Path>) {
    if let Some(file) = file.filter(|file| has_secret(reading) && is_readable_by_all(file)) {
        let message =
            format!("every user of this machine can read {}, which contains secrets", file.display());
        let help = format!(
            "run `chmod o-r {}`, or keep the secrets elsewhere: {{ env = … }} or {{ file = … }}",
            file.display()
        );
        reading.warnings.push(Problem::new(Place::BuiltIn, message).help(help));
    }
    for file in reading.context.secret_files().iter().filter(|file| is_readable_by_all(file)) {
        let message = format!("every user of this machine can read the secret in {}", file.display());
        let help = format!("run `chmod 0600 {}`", file.display());
        reading.warnings.push(Problem::new(Place::BuiltIn, message).help(help));
    }
}

/// Returns whether the configuration file itself contains a secret, or a URL with a password.
fn has_secret(reading: &Reading) -> bool {
    let secrets = reading.context.secrets();
    let is_secret = |node: &Node| secrets.iter().any(|(_, place)| *place == node.place);
    any(&reading.root, &|node| {
        let written = node.as_text().filter(|_| matches!(node.place, Place::File(_)));
        written.is_some_and(|text| is_secret(node) || has_password(text))
    })
}

fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.is_some_and(|authority| authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')))
}

/// Returns whether the test is true for at least one value in the tree. Tables and lists themselves are not tested.
fn any(table: &Table, test: &impl Fn(&Node) -> bool) -> bool {
    table.values().any(|entry| any_node(&entry.node, test))
}

fn any_node(node: &Node, test: &impl Fn(&Node) -> bool) -> bool {
    match &node.value {
        Value::Table(table) => any(table, test),
        Value::List(items) => items.iter().any(|item| any_node(item, test)),
        _ => test(node),
    }
}

/// Returns whether every user can read the file: the file is readable by all, and all folders above it are accessible
/// to all. Always `false` in the folders of [`MOUNTED`].
fn is_readable_by_all(file: &Path) -> bool {
    let Ok(real) = fs::canonicalize(file) else { return false };
    if MOUNTED.iter().any(|mounted| file.starts_with(mounted) || real.starts_with(mounted)) {
        return false;
    }
    let has = |path: &Path, mode: u32| path.metadata().is_ok_and(|metadata| metadata.mode() & mode != 0);
    has(&real, ANYBODY_READS) && folder::of(&real).ancestors().all(|folder| has(folder, ANYBODY_ENTERS))
}

/// Warns about a handler that sends an Authorization header over plain HTTP to an address that is not a loopback
/// address.
pub(super) fn plain_http(reading: &mut Reading) {
    for name in reading.names(&["handlers"]) {
        let of = |key: &str| node_at(&reading.root, &["handlers", &name, key]);
        let Some(url) = of("url").filter(|_| of("kind").and_then(Node::as_text) == Some("http")) else {
            continue;
        };
        let Some(url) = text_of(reading, url).and_then(|url| reqwest::Url::parse(&url).ok()) else {
            continue;
        };
        let headers = of("headers").and_then(Node::as_table);
        let signs_in = !url.username().is_empty()
            || headers
                .is_some_and(|headers| headers.keys().any(|key| key.eq_ignore_ascii_case("authorization")));
        if url.scheme() == "http" && signs_in && !is_loopback(&url) {
            let message = "http:// sends the Authorization header without encryption";
            let help = "use https://, or sign the requests with `signing_keys` instead";
            reading.warn(Wrong::new(&["handlers", &name, "url"], message).help(help));
        }
    }
}

/// Returns the text of a value. For a secret from a variable or a file, returns the secret.
fn text_of(reading: &Reading, node: &Node) -> Option<String> {
    if let Some(text) = node.as_text() {
        return Some(text.to_owned());
    }
    let resolved = |place: &Place| reading.context.secrets().into_iter().find(|(_, at)| at == place);
    resolved(&node.place).map(|(secret, _)| secret)
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
