//! The configuration keys of this kind.

use std::path::PathBuf;

use async_nats::ServerAddr;
use serde::{Deserialize, Deserializer, de::Error};

use super::super::{Template, body::Body};
use crate::{secret::Secret, settings::one_or_more};

/// The kind's own configuration keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The server, or the servers of a cluster, which are tried in turn.
    #[serde(deserialize_with = "servers")]
    pub url: Vec<ServerAddr>,
    /// The subject to publish to.
    #[serde(default = "Template::by_source_and_event", deserialize_with = "subject")]
    pub subject: Template,
    /// The stream that must capture the subject. By default any stream may.
    #[serde(default, deserialize_with = "stream_name")]
    pub stream: Option<String>,
    /// Whether to create the stream if it is missing.
    #[serde(default)]
    pub create_stream: bool,
    /// The content of the NATS message.
    #[serde(default)]
    pub body: Body,
    /// The user to log in as; needs `password`.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
    /// A token to log in with.
    pub token: Option<Secret>,
    /// The seed of an nkey to log in with.
    pub nkey: Option<Secret>,
    /// The content of a `.creds` file: a JWT with its nkey.
    pub credentials: Option<Secret>,
    /// Whether TLS is required even if the url is `nats://`.
    #[serde(default)]
    pub tls: bool,
    /// A PEM file with certificates to trust instead of the system's. Makes TLS required.
    pub ca: Option<PathBuf>,
}

impl Settings {
    /// The pattern that matches every possible subject. A part between dots that has a placeholder becomes `*`.
    pub(super) fn subject_pattern(&self) -> String {
        let marked = self.subject.with_each("*");
        let tokens: Vec<&str> =
            marked.split('.').map(|token| if token.contains('*') { "*" } else { token }).collect();
        tokens.join(".")
    }
}

/// Reads the addresses of at least one server.
fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServerAddr>, D::Error> {
    one_or_more(deserializer, "nats://127.0.0.1:4222", server)
}

/// Checks one address. An error does not quote the address, because the address may hold a password.
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

fn stream_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(safe) {
        return Err(D::Error::custom(format!(
            "{name:?} is not a valid stream name: use letters, digits, `_` and `-`"
        )));
    }
    Ok(Some(name))
}

/// Reads a template that renders to a valid subject for every event.
fn subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
    let template = Template::deserialize(deserializer)?;
    let example = template.with_each("x");
    let wrong = |what: &str| D::Error::custom(format!("{what}: write it as \"bik.{{source}}.{{event}}\""));
    if example.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>')) {
        return Err(wrong("a subject must not contain blanks, `*` or `>`"));
    }
    if example.split('.').any(str::is_empty) {
        return Err(wrong("a subject needs a token before and after each dot"));
    }
    if example.starts_with('$') || example.starts_with("_INBOX") {
        return Err(wrong("subjects that start with `$` or `_INBOX` are reserved for the server"));
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::{assert_wrong, nats::Nats, settings_of};

    fn pattern(subject: &str) -> String {
        settings_of::<Nats>(&format!("url = \"nats://h\"\nsubject = {subject:?}")).unwrap().subject_pattern()
    }

    #[test]
    fn the_default_subject_is_as_documented() {
        let settings = settings_of::<Nats>("url = [\"nats://a:4222\", \"tls://b\"]").unwrap();
        assert_eq!(settings.subject, Template::parse("bik.{source}.{event}").unwrap());
        assert_eq!(settings.url.len(), 2);
        assert!(settings.url[1].tls_required());
    }

    #[test]
    fn a_pattern_has_a_star_for_each_token_that_depends_on_the_event() {
        assert_eq!(pattern("bik.{source}.{event}"), "bik.*.*");
        assert_eq!(pattern("bik-{source}.x.{class}{status}"), "*.x.*");
        assert_eq!(pattern("all"), "all");
    }

    #[test]
    fn errors_of_settings_do_not_show_the_password() {
        assert_wrong::<Nats>(&[
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
            ("url = \"nats://h\"\nbody = \"xml\"", "envelope"),
        ]);
    }
}
