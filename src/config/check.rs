//! Validates settings that concern several modules, such as ports and names. Warns about settings that may not be
//! intended.

use std::{collections::BTreeMap, net::SocketAddr};

use super::reading::{Reading, table_at};
use crate::{
    admin, clock, event,
    http::{self, AuthMode, SourceSettings},
    settings::{NAME_RULE, Problem, Wrong, is_name},
};

pub(super) fn listen(reading: &mut Reading, http: Option<&http::Settings>, admin: Option<&admin::Settings>) {
    let Some(http) = http else { return };
    if !http.listen.ip().is_loopback() {
        let message = format!("{} accepts connections from other machines over plain HTTP", http.listen);
        let help = "put a proxy with TLS in front: over plain HTTP, passwords and messages can be read on the network";
        reading.warn(Wrong::new(&["http", "listen"], message).help(help));
    }
    if let Some(admin) = admin.filter(|admin| same_port(http.listen, admin.listen)) {
        let message = format!("http.listen already uses port {}", admin.listen.port());
        reading.wrong(Wrong::new(&["admin", "listen"], message));
    }
}

fn same_port(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && overlap
}

/// Checks the names and the settings of the sources. Returns the checked sources, or `None` if the settings of a source
/// are invalid. The errors are in `reading`.
pub(super) fn sources(
    reading: &mut Reading,
    sources: &BTreeMap<String, SourceSettings>,
) -> Option<http::Sources> {
    let names = reading.names(&["sources"]);
    if names.is_empty() && table_at(&reading.root, &["sources"]).is_some() {
        let help = "add `[sources.bik]` with a credential, or remove `[sources]` to get a source with a generated key";
        let message = "none is configured, so nothing can be received";
        reading.wrong(Wrong::new(&["sources"], message).help(help));
    }
    for name in &names {
        charset(reading, &["sources"], name);
        if name == event::OWN_SOURCE {
            let message = format!("{name:?} is reserved for bikhook's own events");
            reading.wrong(Wrong::new(&["sources", name], message).help("use another name"));
        }
        if let Some(source) = sources.get(name) {
            check_source(reading, name, source);
        }
    }
    let in_order = names.iter().filter_map(|name| Some((name.as_str(), sources.get(name)?)));
    let checked = http::Sources::check(in_order);
    checked.map_err(|wrong| reading.refuse(&["sources"], wrong)).ok()
}

/// Warns about settings of a source that may not be intended, and reports invalid names of its credentials.
fn check_source(reading: &mut Reading, name: &str, source: &SourceSettings) {
    if source.auth == AuthMode::None {
        let message = "anyone who can reach this source can post to it";
        reading.warn(Wrong::new(&["sources", name, "auth"], message));
    }
    for (credential, settings) in &source.credentials {
        charset(reading, &["sources", name, "credentials"], credential);
        if settings.not_after.is_some_and(|end| end <= clock::now()) {
            let path = ["sources", name, "credentials", credential, "not_after"];
            reading.warn(Wrong::new(&path, "is in the past, so this credential is not accepted"));
        }
    }
}

pub(super) fn handlers(reading: &mut Reading) {
    let names = reading.names(&["handlers"]);
    if names.is_empty() {
        let message = "none is configured, so events are stored but not delivered";
        reading.warn(Wrong::new(&["handlers"], message).help("add `[handlers.NAME]`; see `bikhook kinds`"));
    }
    for name in names {
        charset(reading, &["handlers"], &name);
    }
}

fn charset(reading: &mut Reading, path: &[&str], name: &str) {
    if is_name(name) {
        return;
    }
    let key = table_at(&reading.root, path).and_then(|table| table.get(name)).map(|entry| entry.key.clone());
    let message = format!("{}: {name:?} is not a valid name", path.join("."));
    reading
        .problems
        .push(Problem::new(key.unwrap_or_else(|| reading.place(path, None)), message).help(NAME_RULE));
}
