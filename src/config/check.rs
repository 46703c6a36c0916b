//! Checks that types cannot express: limits of zero, contradictory values, and access without credentials.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    LogSettings,
    reading::{Reading, quoted, table_at},
};
use crate::{
    admin, clock, dispatch, event,
    http::{self, AuthMode, SourceSettings},
    insight, journal,
    settings::{NAME_RULE, Period, Problem, is_name, nearest},
};

pub(super) fn http(reading: &mut Reading, http: &http::Settings) {
    unservable(reading, http::check_http(http));
    if !http.listen.ip().is_loopback() {
        let message =
            format!("http.listen: {} accepts connections from other machines over plain HTTP", http.listen);
        let help = "put a proxy with TLS in front: over plain HTTP, passwords and messages can be read on the network";
        reading.warn(&["http", "listen"], message, Some(help.to_owned()));
    }
}

pub(super) fn admin(reading: &mut Reading, admin: &admin::Settings, http: Option<&http::Settings>) {
    if admin::check_bind(admin).is_err() {
        let message = format!(
            "admin.listen: {} accepts connections from other machines, so it needs credentials",
            admin.listen
        );
        let help =
            "add `credentials = { username = \"admin\", password = { generate = \"data/admin-password\" } }`";
        reading.wrong(&["admin", "listen"], message, Some(help.to_owned()));
    }
    if let Some(credentials) = &admin.credentials {
        if let Some(what) = http::wrong_username(&credentials.username) {
            let message = format!("admin.credentials.username: {what}");
            reading.wrong(&["admin", "credentials", "username"], message, None);
        }
        if credentials.password.expose().is_empty() {
            let message = "admin.credentials.password: must not be empty";
            reading.wrong(&["admin", "credentials", "password"], message, None);
        }
    }
    if http.is_some_and(|http| same_port(http.listen, admin.listen)) {
        let message = format!("admin.listen: http.listen already uses port {}", admin.listen.port());
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
        let help = "add `[sources.bik]` with a credential, or remove `[sources]` to get a source with a generated key";
        reading.wrong(
            &["sources"],
            "sources: none is configured, so nothing can be received",
            Some(help.to_owned()),
        );
    }
    for name in &names {
        charset(reading, &["sources"], name);
        if name == event::OWN_SOURCE {
            let message = format!("sources.{name}: {name:?} is reserved for bikhook's own events");
            reading.wrong(&["sources", name], message, Some("use another name".to_owned()));
        }
        let Some(source) = sources.get(name) else { continue };
        check_source(reading, name, source);
    }
    let in_order = names.iter().filter_map(|name| Some((name.as_str(), sources.get(name)?)));
    unservable(reading, http::check_sources(in_order));
}

/// Reports the settings that the public side refuses.
fn unservable(reading: &mut Reading, all: Vec<http::Unservable>) {
    for http::Unservable { path, what, help } in all {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        reading.wrong(&path, format!("{}: {what}", path.join(".")), help.map(str::to_owned));
    }
}

/// Warns about settings that may not be intended.
fn check_source(reading: &mut Reading, name: &str, source: &SourceSettings) {
    if source.auth == AuthMode::None {
        let message = format!("sources.{name}.auth: anyone who can reach this source can post to it");
        reading.warn(&["sources", name, "auth"], message, None);
    }
    for (credential, settings) in &source.credentials {
        charset(reading, &["sources", name, "credentials"], credential);
        if settings.not_after.is_some_and(|end| end <= clock::now()) {
            let path = ["sources", name, "credentials", credential, "not_after"];
            let message = format!("{}: is in the past, so this credential is not accepted", path.join("."));
            reading.warn(&path, message, None);
        }
    }
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

/// Reads the file that `failures` names, because an invalid one would make the start fail.
pub(super) fn insight(reading: &mut Reading, insight: &insight::Settings) {
    if let Err(error) = insight.check() {
        reading.wrong(&["insight", "failures"], format!("insight.failures: {error}"), None);
    }
}

pub(super) fn handlers(reading: &mut Reading) {
    let names = reading.names(&["handlers"]);
    if names.is_empty() {
        let message = "handlers: none is configured, so events are stored but not delivered";
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

/// Checks the level, because a directive with a typing error would be taken for the name of a module and silence the
/// log.
pub(super) fn log(reading: &mut Reading, log: &LogSettings) {
    log_level(reading, log);
    if let Some(url) = &log.otlp {
        otlp(reading, url);
    }
}

/// Does not quote the URL, because it may contain a token.
fn otlp(reading: &mut Reading, url: &str) {
    let at = ["log", "otlp"];
    if !cfg!(feature = "otel") {
        let help = "build bikhook with `--features otel`; the release image has it".to_owned();
        reading.wrong(&at, "log.otlp: this binary cannot export spans".to_owned(), Some(help));
        return;
    }
    let base = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    if base.is_none_or(|url| url.query().is_some() || url.fragment().is_some()) {
        let help = "use a URL such as \"http://127.0.0.1:4318\"; /v1/traces is appended".to_owned();
        reading.wrong(
            &at,
            "log.otlp: must be a base URL for OTLP over HTTP, without query and fragment".to_owned(),
            Some(help),
        );
    }
}

fn log_level(reading: &mut Reading, log: &LogSettings) {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let at = ["log", "level"];
    for word in log.level.split(',').filter(|word| !word.contains(['=', '[', ':'])) {
        if !LEVELS.contains(&word.trim().to_lowercase().as_str()) {
            let help = nearest(word, LEVELS).map_or_else(
                || format!("use one of {}", quoted(&LEVELS)),
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

fn charset(reading: &mut Reading, path: &[&str], name: &str) {
    if is_name(name) {
        return;
    }
    let key = table_at(&reading.root, path).and_then(|table| table.get(name)).map(|entry| entry.key.clone());
    let message = format!("{}: {name:?} is not a valid name", path.join("."));
    reading.problems.push(Problem::new(key.unwrap_or_else(|| reading.place(path)), message).help(NAME_RULE));
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
