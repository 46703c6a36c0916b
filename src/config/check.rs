//! What types cannot say: bounds that are no bounds, values that contradict each other, doors left open.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    LogSettings,
    reading::{Reading, quoted, table_at},
};
use crate::{
    admin, clock, dispatch, event,
    http::{self, AuthMode, CredentialSettings, Form, SourceSettings},
    journal,
    settings::{Period, Problem, Size, nearest},
};

/// The smallest buffer for a head that the HTTP library takes.
const HEADER_LIMIT_MIN: Size = Size::kib(8);

const NAME_LENGTH_MAX: usize = 64;

pub(super) fn http(reading: &mut Reading, http: &http::Settings) {
    let at = &["http"];
    above_zero(
        reading,
        at,
        &[
            ("body_limit", http.body_limit.0),
            ("header_timeout", ms(http.header_timeout)),
            ("idle_timeout", ms(http.idle_timeout)),
            ("body_timeout", ms(http.body_timeout)),
            ("deadline", ms(http.deadline)),
            ("in_flight", http.in_flight as u64),
            ("connections", http.connections as u64),
            ("auth_failures_per_minute", http.auth_failures_per_minute.into()),
        ],
    );
    if http.header_limit < HEADER_LIMIT_MIN {
        reading.wrong(&["http", "header_limit"], "http.header_limit: must be 8KiB or more", None);
    }
    if http.in_flight_bytes < http.body_limit {
        let message = "http.in_flight_bytes: must be at least http.body_limit, or the largest body would never be taken";
        reading.wrong(&["http", "in_flight_bytes"], message, None);
    }
    if !http.listen.ip().is_loopback() {
        let message = format!("http.listen: {} is open to others over plain HTTP", http.listen);
        let help = "let a proxy in front of it speak TLS: passwords and messages can be read on the way";
        reading.warn(&["http", "listen"], message, Some(help.to_owned()));
    }
}

pub(super) fn admin(reading: &mut Reading, admin: &admin::Settings, http: Option<&http::Settings>) {
    if !admin.listen.ip().is_loopback() && admin.credentials.is_none() {
        let message = format!("admin.listen: {} is open to others and needs credentials", admin.listen);
        let help =
            "add `credentials = { username = \"admin\", password = { generate = \"data/admin-password\" } }`";
        reading.wrong(&["admin", "listen"], message, Some(help.to_owned()));
    }
    if let Some(credentials) = &admin.credentials {
        username(reading, &["admin", "credentials", "username"], &credentials.username);
    }
    if http.is_some_and(|http| same_port(http.listen, admin.listen)) {
        let message = format!("admin.listen: http.listen has port {} already", admin.listen.port());
        reading.wrong(&["admin", "listen"], message, None);
    }
}

fn same_port(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && overlap
}

pub(super) fn sources(reading: &mut Reading, sources: &BTreeMap<String, SourceSettings>) {
    let names = reading.names(&["sources"]);
    if names.is_empty() && table_at(&reading.root, &["sources"]).is_some() {
        let help = "add `[sources.bik]` with a credential, or leave `[sources]` out: then one is made";
        reading.wrong(
            &["sources"],
            "sources: there is none, so nothing can be received",
            Some(help.to_owned()),
        );
    }
    let mut paths = BTreeMap::new();
    for name in &names {
        charset(reading, &["sources"], name);
        if name == event::OWN_SOURCE {
            let message = format!("sources.{name}: {name:?} is the source of what bikhook says itself");
            reading.wrong(&["sources", name], message, Some("give it another name".to_owned()));
        }
        let Some(source) = sources.get(name) else { continue };
        check_source(reading, name, source);
        if let Some(other) = paths.insert(source.path.clone(), name) {
            let message = format!("sources.{name}.path: {:?} is the path of `{other}` already", source.path);
            reading.wrong(&["sources", name, "path"], message, None);
        }
    }
}

fn check_source(reading: &mut Reading, name: &str, source: &SourceSettings) {
    if let Some(what) = wrong_path(&source.path) {
        reading.wrong(&["sources", name, "path"], format!("sources.{name}.path: {what}"), None);
    }
    if source.rate == Some(0) {
        let help = Some("leave it out for no limit".to_owned());
        reading.wrong(&["sources", name, "rate"], format!("sources.{name}.rate: must be more than 0"), help);
    }
    match source.auth {
        AuthMode::Basic if source.credentials.is_empty() => {
            let message = format!("sources.{name}: it has no credentials");
            let help = "add `credentials.portal = { key = … }`, or `auth = \"none\"` to accept everybody";
            reading.wrong(&["sources", name], message, Some(help.to_owned()));
        }
        AuthMode::Basic => {}
        AuthMode::None => {
            let message = match source.credentials.len() {
                0 => format!("sources.{name}.auth: everybody who reaches this source can post to it"),
                _ => format!(
                    "sources.{name}.auth: \"none\" accepts everybody, the credentials are not asked for"
                ),
            };
            reading.warn(&["sources", name, "auth"], message, None);
        }
    }
    for (credential, settings) in &source.credentials {
        charset(reading, &["sources", name, "credentials"], credential);
        check_credential(reading, name, credential, settings);
    }
}

/// What no URL's path can be, or what a client would not send as it is written.
fn wrong_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("{path:?} must begin with a `/`"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()+,;=:@%".contains(c);
    path.chars().find(|c| !plain(*c)).map(|c| format!("{path:?} must not contain {c:?}"))
}

fn check_credential(reading: &mut Reading, source: &str, name: &str, settings: &CredentialSettings) {
    let path = ["sources", source, "credentials", name];
    let full = path.join(".");
    let pair = settings.username.is_some() || settings.password.is_some();
    match (pair, &settings.key) {
        (true, Some(_)) => {
            reading.wrong(
                &path,
                format!("{full}: has a key and a username with password: only one can be meant"),
                None,
            );
        }
        (false, None) => {
            let help = "write `{ key = … }`, or `{ username = …, password = … }`";
            reading.wrong(
                &path,
                format!("{full}: has neither a key nor a username with password"),
                Some(help.into()),
            );
        }
        (true, None) if settings.username.is_none() || settings.password.is_none() => {
            let missing = if settings.username.is_none() { "username" } else { "password" };
            reading.wrong(&path, format!("{full}: the key `{missing}` is missing"), None);
        }
        _ => {}
    }
    if let Some(name) = &settings.username {
        username(reading, &[&path[..], &["username"]].concat(), name);
    }
    if let Some(form) = settings.form
        && pair != (form == Form::Pair)
    {
        let message = if pair {
            format!("{full}.form: a username with password comes only as \"pair\"")
        } else {
            format!("{full}.form: \"pair\" is for a username with password")
        };
        reading.wrong(&[&path[..], &["form"]].concat(), message, None);
    }
    if settings.not_after.is_some_and(|end| end <= clock::now()) {
        let message = format!("{full}.not_after: is past, so this credential is not accepted");
        reading.warn(&[&path[..], &["not_after"]].concat(), message, None);
    }
}

/// A colon would end the name on the wire (RFC 7617 §2).
fn username(reading: &mut Reading, path: &[&str], name: &str) {
    let what = match name {
        "" => "must not be empty",
        name if name.contains(':') => "must not contain a colon: it would end the name there",
        _ => return,
    };
    reading.wrong(path, format!("{}: {what}", path.join(".")), None);
}

pub(super) fn sqlite(reading: &mut Reading, sqlite: &journal::sqlite::Settings) {
    if sqlite.path.as_os_str().is_empty() {
        reading.wrong(&["journal", "path"], "journal.path: must not be empty", None);
    }
    above_zero(
        reading,
        &["journal"],
        &[
            ("retention", ms(sqlite.retention)),
            ("dead_letter_retention", ms(sqlite.dead_letter_retention)),
            ("quarantine_retention", ms(sqlite.quarantine_retention)),
            ("dedup_window", ms(sqlite.dedup_window)),
            ("dedup_keys", sqlite.dedup_keys),
        ],
    );
}

pub(super) fn handlers(reading: &mut Reading) {
    let names = reading.names(&["handlers"]);
    if names.is_empty() {
        let message = "handlers: there is none, so events are stored and go nowhere";
        reading.warn(&["handlers"], message, Some("add `[handlers.NAME]`; see `bikhook kinds`".to_owned()));
    }
    for name in names {
        charset(reading, &["handlers"], &name);
    }
}

pub(super) fn dispatch(reading: &mut Reading, handler: &str, dispatch: &dispatch::Settings) {
    let at = &["handlers", handler];
    above_zero(
        reading,
        at,
        &[
            ("batch", dispatch.batch.unwrap_or(1) as u64),
            ("concurrency", dispatch.concurrency.unwrap_or(1) as u64),
            ("timeout", ms(dispatch.timeout)),
            ("probe_first", ms(dispatch.probe_first)),
            ("probe_max", ms(dispatch.probe_max)),
            ("aside_first", ms(dispatch.aside_first)),
            ("aside_max", ms(dispatch.aside_max)),
            ("aside_for", ms(dispatch.aside_for)),
            ("aside_limit", dispatch.aside_limit as u64),
        ],
    );
    for (first, first_value, max, max_value) in [
        ("probe_first", dispatch.probe_first, "probe_max", dispatch.probe_max),
        ("aside_first", dispatch.aside_first, "aside_max", dispatch.aside_max),
    ] {
        if first_value > max_value {
            let at = ["handlers", handler];
            let given = if reading.has(&[&at[..], &[max]].concat()) { max } else { first };
            let message = format!(
                "handlers.{handler}.{given}: {first} ({first_value}) is longer than {max} ({max_value})"
            );
            reading.wrong(&["handlers", handler, given], message, None);
        }
    }
}

/// A directive with a slip in it would otherwise be taken for the name of a module, and silence the log.
pub(super) fn log(reading: &mut Reading, log: &LogSettings) {
    log_level(reading, log);
    if let Some(url) = &log.otlp {
        otlp(reading, url);
    }
}

/// The URL is not quoted: it may hold a token.
fn otlp(reading: &mut Reading, url: &str) {
    let at = ["log", "otlp"];
    if !cfg!(feature = "otel") {
        let help = "build it with `--features otel`; the release image has it".to_owned();
        reading.wrong(&at, "log.otlp: this binary exports no spans".to_owned(), Some(help));
        return;
    }
    let base = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    if base.is_none_or(|url| url.query().is_some() || url.fragment().is_some()) {
        let help = "write it as \"http://127.0.0.1:4318\"; /v1/traces is put after it".to_owned();
        reading.wrong(&at, "log.otlp: it is no base URL of OTLP over HTTP".to_owned(), Some(help));
    }
}

fn log_level(reading: &mut Reading, log: &LogSettings) {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let at = ["log", "level"];
    for word in log.level.split(',').filter(|word| !word.contains(['=', '[', ':'])) {
        if !LEVELS.contains(&word.trim().to_lowercase().as_str()) {
            let help = nearest(word, LEVELS).map_or_else(
                || format!("levels are {}", quoted(&LEVELS)),
                |near| format!("did you mean `{near}`?"),
            );
            reading.wrong(&at, format!("log.level: {word:?} is not a level"), Some(help));
            return;
        }
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log.level) {
        reading.wrong(&at, format!("log.level: {error}"), None);
    }
}

/// A name is a label of a metric, a part of a variable's name and of a URL.
fn charset(reading: &mut Reading, path: &[&str], name: &str) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.chars().all(plain) {
        return;
    }
    let key = table_at(&reading.root, path).and_then(|table| table.get(name)).map(|entry| entry.key.clone());
    let message = format!("{}: {name:?} is not a name", path.join("."));
    let help = format!("a name has 1 to {NAME_LENGTH_MAX} of a-z, 0-9, `_` and `-`");
    reading.problems.push(Problem::new(key.unwrap_or_else(|| reading.place(path)), message).help(help));
}

fn above_zero(reading: &mut Reading, path: &[&str], values: &[(&str, u64)]) {
    for (key, _) in values.iter().filter(|(_, value)| *value == 0) {
        reading.wrong(
            &[path, &[key]].concat(),
            format!("{}.{key}: must be more than 0", path.join(".")),
            None,
        );
    }
}

fn ms(period: Period) -> u64 {
    u64::try_from(period.as_ms()).unwrap_or(0)
}
