//! The configuration keys of this kind.

use std::path::PathBuf;

use async_nats::ServerAddr;
use serde::{Deserialize, Deserializer, de::Error};

use super::super::{Template, body::Body};
use crate::{
    secret::Secret,
    settings::{Wrong, one_or_more},
};

/// The kind's own configuration keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The server, or the servers of a cluster, which are tried in turn.
    pub url: Servers,
    /// The subject to publish to; a template.
    #[serde(default)]
    pub subject: Subject,
    /// The stream that must capture the subject. By default any stream may.
    #[serde(default)]
    pub stream: Option<StreamName>,
    /// Whether to create the stream if it is missing.
    #[serde(default)]
    pub create_stream: bool,
    /// The content of the message body.
    #[serde(default)]
    pub body: Body,
    /// The user to log in as; needs `password`.
    #[serde(default)]
    pub user: Option<String>,
    /// The password of `user`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A token to log in with.
    #[serde(default)]
    pub token: Option<Secret>,
    /// The seed of an nkey to log in with.
    #[serde(default)]
    pub nkey: Option<Secret>,
    /// The content of a `.creds` file: a JWT with its nkey.
    #[serde(default)]
    pub credentials: Option<Secret>,
    /// Whether TLS is required even if the url is `nats://`.
    #[serde(default)]
    pub tls: bool,
    /// A PEM file with certificates to trust instead of the system's. Makes TLS required.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

impl Settings {
    /// Checks that the keys fit together.
    ///
    /// # Errors
    /// Returns the wrong keys, and what to write.
    pub(super) fn check(self) -> Result<Self, Wrong> {
        if self.create_stream && self.stream.is_none() {
            let what = "needs the name of the stream: add stream = \"BIK\"";
            return Err(Wrong::new(&["create_stream"], what));
        }
        if self.user.is_some() != self.password.is_some() {
            return Err(Wrong::new(&[], "user and password must be set together: one of them is missing"));
        }
        let ways =
            [self.user.is_some(), self.token.is_some(), self.nkey.is_some(), self.credentials.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err(Wrong::new(&[], "only one of user, token, nkey and credentials can be set"));
        }
        Ok(self)
    }
}

/// Addresses of at least one server.
#[derive(Clone)]
pub(crate) struct Servers(pub Vec<ServerAddr>);

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_more(deserializer, "nats://127.0.0.1:4222", server).map(Self)
    }
}

/// Checks one address. An error does not quote it, because it may hold a password.
fn server(text: &str) -> Result<ServerAddr, &'static str> {
    const WRONG: &str =
        "not the address of a NATS server: write it as \"nats://HOST:4222\", or \"tls://HOST:4222\"";
    let server: ServerAddr = text.parse().map_err(|_wrong| WRONG)?;
    if server.has_user_pass() || server.password().is_some() {
        return Err(
            "an address must not contain a user or password: use the keys user and password, or token",
        );
    }
    if !matches!(server.scheme(), "nats" | "tls") || server.host().is_empty() {
        return Err(WRONG);
    }
    Ok(server)
}

/// The validated name of a stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamName(pub String);

impl<'de> Deserialize<'de> for StreamName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(safe) {
            return Err(D::Error::custom(format!(
                "{name:?} is not a valid stream name: use letters, digits, `_` and `-`"
            )));
        }
        Ok(Self(name))
    }
}

/// A template that renders to a valid subject for every event.
#[derive(Clone)]
pub(crate) struct Subject(pub Template);

impl Subject {
    /// Returns whether a value may contain this character in a subject without changing the subject's structure. A `$`
    /// at the start would make it a subject of the server.
    pub(super) fn is_safe(c: char) -> bool {
        !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '*' | '>' | '$')
    }

    /// The pattern that matches every possible subject. A token with a placeholder becomes `*`.
    pub(super) fn pattern(&self) -> String {
        let marked = self.0.with_each("*");
        let tokens: Vec<&str> =
            marked.split('.').map(|token| if token.contains('*') { "*" } else { token }).collect();
        tokens.join(".")
    }
}

impl Default for Subject {
    fn default() -> Self {
        use super::super::{
            Part::{Text, Value},
            Placeholder::{Event, Source},
        };
        let dot = |text: &str| Text(text.to_owned());
        Self(Template::of(vec![dot("bik."), Value(Source), dot("."), Value(Event)]))
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let template = Template::deserialize(deserializer)?;
        let example = template.with_each("x");
        let wrong =
            |what: &str| D::Error::custom(format!("{what}: write it as \"bik.{{source}}.{{event}}\""));
        if example.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>')) {
            return Err(wrong("a subject must not contain blanks, `*` or `>`"));
        }
        if example.split('.').any(str::is_empty) {
            return Err(wrong("a subject needs a token before and after each dot"));
        }
        if example.starts_with('$') || example.starts_with("_INBOX") {
            return Err(wrong("subjects that start with `$` or `_INBOX` are reserved for the server"));
        }
        Ok(Self(template))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(toml).map_err(|error| error.to_string())?;
        settings.check().map_err(|wrong| wrong.to_string())
    }

    fn pattern(subject: &str) -> String {
        read(&format!("url = \"nats://h\"\nsubject = {subject:?}")).unwrap().subject.pattern()
    }

    #[test]
    fn the_default_subject_is_as_documented() {
        let settings = read("url = [\"nats://a:4222\", \"tls://b\"]").unwrap();
        assert_eq!(settings.subject.0, Template::parse("bik.{source}.{event}").unwrap());
        assert_eq!(settings.url.0.len(), 2);
        assert!(settings.url.0[1].tls_required());
    }

    #[test]
    fn a_pattern_has_a_star_for_each_token_that_depends_on_the_event() {
        assert_eq!(pattern("bik.{source}.{event}"), "bik.*.*");
        assert_eq!(pattern("bik-{source}.x.{class}{status}"), "*.x.*");
        assert_eq!(pattern("all"), "all");
    }

    #[test]
    fn errors_of_settings_do_not_show_the_password() {
        for (toml, word) in [
            ("", "url"),
            ("url = []", "empty"),
            ("url = \"http://h\"", "nats://HOST:4222"),
            ("url = \"nats://me:sesame@h\"", "keys user and password"),
            ("url = \"nats://h\"\nsubject = \"a b\"", "blanks"),
            ("url = \"nats://h\"\nsubject = \"a.>\"", "`>`"),
            ("url = \"nats://h\"\nsubject = \"a..b\"", "each dot"),
            ("url = \"nats://h\"\nsubject = \"$JS.{event}\"", "reserved for the server"),
            ("url = \"nats://h\"\nsubject = \"a.{name}\"", "{source}"),
            ("url = \"nats://h\"\nstream = \"a.b\"", "letters"),
            ("url = \"nats://h\"\ncreate_stream = true", "stream = "),
            ("url = \"nats://h\"\nuser = \"me\"", "password"),
            ("url = \"nats://h\"\nbody = \"xml\"", "body"),
        ] {
            let error = read(toml).err().unwrap_or_else(|| panic!("took {toml:?}"));
            assert!(error.contains(word) && !error.contains("custom"), "{toml:?}: {error}");
        }
    }
}
