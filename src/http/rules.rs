//! The rules for valid HTTP settings, all in one place. `bikhook check` reports every violation; [`Intake`] refuses to
//! start with one.
//!
//! [`Intake`]: super::Intake

use std::collections::BTreeMap;

use super::{
    auth::CredentialKind,
    settings::{AuthMode, CredentialSettings, Form, Settings, SourceSettings},
};
use crate::settings::{Period, Size};

/// The smallest buffer for a head that hyper accepts.
const HEADER_LIMIT_MIN: Size = Size::kib(8);
/// The longest key, or user name and password together, in bytes. Its base64 is well below the longest header that is
/// checked.
pub(super) const LONGEST_SECRET: usize = 2 * 1024;

/// A setting that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}{}", path.join("."), help.map(|help| format!(" ({help})")).unwrap_or_default())]
pub struct Unservable {
    /// The path of its key in the configuration.
    pub path: Vec<String>,
    /// A description of the problem.
    pub what: String,
    /// A hint on how to correct it.
    pub help: Option<&'static str>,
}

impl Unservable {
    fn new(path: &[&str], what: impl Into<String>) -> Self {
        Self { path: path.iter().map(|key| (*key).to_owned()).collect(), what: what.into(), help: None }
    }

    fn help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }
}

/// Returns the violations in `[http]`.
pub fn check_http(http: &Settings) -> Vec<Unservable> {
    let ms = |period: Period| u64::try_from(period.as_ms()).unwrap_or(0);
    let values = [
        ("body_limit", http.body_limit.0),
        ("header_timeout", ms(http.header_timeout)),
        ("idle_timeout", ms(http.idle_timeout)),
        ("unauthenticated_idle_timeout", ms(http.unauthenticated_idle_timeout)),
        ("body_timeout", ms(http.body_timeout)),
        ("deadline", ms(http.deadline)),
        ("in_flight", http.in_flight as u64),
        ("connections", http.connections as u64),
        ("connections_per_address", http.connections_per_address as u64),
        ("auth_failures_per_minute", http.auth_failures_per_minute.into()),
    ];
    let zero = values.iter().filter(|(_, value)| *value == 0);
    let mut wrong: Vec<_> =
        zero.map(|(key, _)| Unservable::new(&["http", key], "must be more than 0")).collect();
    if http.header_limit < HEADER_LIMIT_MIN {
        wrong.push(Unservable::new(&["http", "header_limit"], "must be 8KiB or more"));
    }
    if http.header_bytes < http.header_limit {
        let what = "must be at least http.header_limit, so that the largest head is accepted";
        wrong.push(Unservable::new(&["http", "header_bytes"], what));
    }
    if http.in_flight_bytes < http.body_limit {
        let what = "must be at least http.body_limit, so that the largest body is accepted";
        wrong.push(Unservable::new(&["http", "in_flight_bytes"], what));
    }
    wrong
}

/// Returns the violations in `[sources.NAME]`, for all sources.
pub fn check_sources<'a>(
    sources: impl IntoIterator<Item = (&'a str, &'a SourceSettings)>,
) -> Vec<Unservable> {
    let mut wrong = Vec::new();
    let mut paths = BTreeMap::new();
    for (name, source) in sources {
        check_source(name, source, &mut wrong);
        if let Some(other) = paths.insert(&source.path, name) {
            let what = format!("{:?} is already the path of source `{other}`", source.path);
            wrong.push(Unservable::new(&["sources", name, "path"], what));
        }
    }
    wrong
}

fn check_source(name: &str, source: &SourceSettings, wrong: &mut Vec<Unservable>) {
    if let Some(what) = wrong_path(&source.path) {
        wrong.push(Unservable::new(&["sources", name, "path"], what));
    }
    if source.rate == Some(0) {
        let zero = Unservable::new(&["sources", name, "rate"], "must be more than 0");
        wrong.push(zero.help("remove it for no limit"));
    }
    match (source.auth, source.credentials.is_empty()) {
        (AuthMode::Basic, true) => wrong.push(
            Unservable::new(&["sources", name], "has no credentials")
                .help("add `credentials.portal = { key = … }`, or `auth = \"none\"` to accept anyone"),
        ),
        (AuthMode::None, false) => wrong.push(
            Unservable::new(
                &["sources", name, "auth"],
                "\"none\" accepts every request, so the credentials have no effect",
            )
            .help("remove `auth`, or remove the credentials"),
        ),
        (AuthMode::Basic, false) | (AuthMode::None, true) => {}
    }
    for (credential, settings) in &source.credentials {
        let path = ["sources", name, "credentials", credential];
        wrong.extend(settings.check().into_iter().map(|mut one| {
            one.path.splice(0..0, path.map(str::to_owned));
            one
        }));
    }
}

/// Returns why a path is not valid. It begins with `/` and has only the characters of a path in RFC 3986.
fn wrong_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("{path:?} must begin with a `/`"));
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
    path.chars().find(|c| !is_legal(*c)).map(|c| format!("{path:?} must not contain {c:?}"))
}

impl CredentialSettings {
    /// The kind of the credential; `None` if the credential is not valid.
    pub(super) fn kind(&self) -> Option<CredentialKind> {
        let kind = if self.key.is_some() { CredentialKind::Key } else { CredentialKind::Pair };
        self.check().is_empty().then_some(kind)
    }

    /// Returns the violations, with paths relative to the credential.
    fn check(&self) -> Vec<Unservable> {
        let mut wrong = Vec::new();
        let is_pair = self.username.is_some() || self.password.is_some();
        match (is_pair, &self.key) {
            (true, Some(_)) => {
                let what = "has a key and a username with password: keep only one of them";
                wrong.push(Unservable::new(&[], what));
            }
            (false, None) => wrong.push(
                Unservable::new(&[], "has neither a key nor a username with password")
                    .help("use `{ key = … }` or `{ username = …, password = … }`"),
            ),
            (true, None) if self.username.is_none() || self.password.is_none() => {
                let missing = if self.username.is_none() { "username" } else { "password" };
                wrong.push(Unservable::new(&[], format!("the key `{missing}` is missing")));
            }
            _ => {}
        }
        wrong.extend(
            self.username
                .as_deref()
                .and_then(wrong_username)
                .map(|what| Unservable::new(&["username"], what)),
        );
        let username_bytes = self.username.as_ref().map_or(0, |name| name.len() + 1);
        let password = self.password.as_ref().map(|password| ("password", password.expose(), username_bytes));
        // Blanks around a key are ignored.
        let key = self.key.as_ref().map(|key| ("key", key.expose().trim(), 0));
        for (name, secret, beside) in password.into_iter().chain(key) {
            if secret.is_empty() {
                wrong.push(Unservable::new(&[name], "must not be empty"));
            } else if beside + secret.len() > LONGEST_SECRET {
                wrong.push(Unservable::new(&[name], "must not be longer than 2 KiB"));
            }
        }
        if self.form.is_some_and(|form| is_pair != (form == Form::Pair)) {
            let what = if is_pair {
                "must be \"pair\" or absent for a username with password"
            } else {
                "must not be \"pair\" for a key"
            };
            wrong.push(Unservable::new(&["form"], what));
        }
        wrong
    }
}

/// Returns why a user name is not valid. On the wire, a colon ends the name (RFC 7617 §2).
pub fn wrong_username(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("must not be empty"),
        name if name.contains(':') => Some("must not contain a colon, because a colon ends the user name"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_only_characters_of_a_url_path() {
        for good in ["/", "/webhook", "/a/b-c/~d", "/%20", "/:x", "/*"] {
            assert_eq!(wrong_path(good), None, "{good}");
        }
        for bad in ["", "webhook", "/a b", "/{x}", "/a?b", "/a#b", "/ä", "/a\\b"] {
            assert!(wrong_path(bad).is_some(), "{bad}");
        }
    }
}
