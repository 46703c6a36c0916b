//! The rules for valid settings in `[http]` and `[sources.NAME]`. `bikhook check` reports every violation. [`Sources`]
//! are created only from valid settings, so `Intake::new` cannot fail.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::settings::{AuthMode, CredentialSettings, Form, Settings, SourceSettings};
use crate::{
    clock::Timestamp,
    names::names,
    settings::{Size, Wrong},
};

/// The minimum of `header_limit`, because hyper accepts no smaller buffer.
const HEADER_LIMIT_MIN: Size = Size::kib(8);
/// Maximum length of an authorization key, or of a user name and password with the colon between them, in bytes. In
/// base64, such a secret is still much shorter than the longest header value that `auth` checks.
pub(super) const LONGEST_SECRET: usize = 2 * 1024;

/// Every source of a configuration, checked.
pub struct Sources(pub(super) Vec<CheckedSource>);

/// The settings of a source, checked.
pub(super) struct CheckedSource {
    pub(super) name: Arc<str>,
    pub(super) path: String,
    /// `None` accepts every request.
    pub(super) credentials: Option<Vec<CheckedCredential>>,
    /// Requests per second; `None` means no limit.
    pub(super) rate: Option<u32>,
}

/// The settings of a credential, checked. Holds a digest instead of the secret.
#[derive(Clone)]
pub(super) struct CheckedCredential {
    pub(super) name: Arc<str>,
    pub(super) kind: CredentialKind,
    /// The SHA-256 of the key, or of `username:password`.
    pub(super) digest: [u8; 32],
    pub(super) form: Option<Form>,
    pub(super) not_after: Option<Timestamp>,
}

names! {
    /// The two kinds of credentials.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    pub enum CredentialKind {
        /// User name and password: `{ username, password }`.
        Pair = "pair",
        /// An authorization key: `{ key }`.
        Key = "key",
    }
}

impl CredentialKind {
    pub(super) const fn comes_as(self, form: Form) -> bool {
        matches!(self, Self::Pair) == matches!(form, Form::Pair)
    }
}

impl Settings {
    /// Returns the violations in `[http]`.
    pub fn check(&self) -> Vec<Wrong> {
        let mut wrong = Wrong::zeros(&[
            ("body_limit", self.body_limit.0 == 0),
            ("header_timeout", self.header_timeout.as_ms() == 0),
            ("idle_timeout", self.idle_timeout.as_ms() == 0),
            ("unauthenticated_idle_timeout", self.unauthenticated_idle_timeout.as_ms() == 0),
            ("body_timeout", self.body_timeout.as_ms() == 0),
            ("deadline", self.deadline.as_ms() == 0),
            ("in_flight", self.in_flight == 0),
            ("connections", self.connections == 0),
            ("connections_per_address", self.connections_per_address == 0),
            ("auth_failures_per_minute", self.auth_failures_per_minute == 0),
        ]);
        if self.header_limit < HEADER_LIMIT_MIN {
            wrong.push(Wrong::new(&["header_limit"], "must be 8KiB or more"));
        }
        if self.header_bytes < self.header_limit {
            let what = "must be at least http.header_limit, so that the largest head is accepted";
            wrong.push(Wrong::new(&["header_bytes"], what));
        }
        if self.in_flight_bytes < self.body_limit {
            let what = "must be at least http.body_limit, so that the largest body is accepted";
            wrong.push(Wrong::new(&["in_flight_bytes"], what));
        }
        wrong
    }
}

impl Sources {
    /// Checks `[sources.NAME]`, for all sources.
    ///
    /// # Errors
    /// Returns every violation.
    pub fn check<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a SourceSettings)>,
    ) -> Result<Self, Vec<Wrong>> {
        let (mut sources, mut wrong) = (Vec::new(), Vec::new());
        let mut paths = BTreeMap::new();
        for (name, source) in settings {
            match source.check(name) {
                Ok(source) => sources.push(source),
                Err(all) => wrong.extend(all.into_iter().map(|one| one.under(&[name]))),
            }
            if let Some(other) = paths.insert(&source.path, name) {
                let what = format!("{:?} is already the path of source `{other}`", source.path);
                wrong.push(Wrong::new(&[name, "path"], what));
            }
        }
        if wrong.is_empty() { Ok(Self(sources)) } else { Err(wrong) }
    }
}

impl SourceSettings {
    fn check(&self, name: &str) -> Result<CheckedSource, Vec<Wrong>> {
        let mut wrong = Vec::new();
        if let Some(what) = wrong_path(&self.path) {
            wrong.push(Wrong::new(&["path"], what));
        }
        if self.tenant.as_ref().is_some_and(|tenant| tenant.is_empty() || tenant.contains(char::is_control)) {
            let what = "must be a text without control characters";
            wrong.push(Wrong::new(&["tenant"], what).help("remove it if all sources are of one merchant"));
        }
        if self.rate == Some(0) {
            wrong.push(Wrong::new(&["rate"], "must be more than 0").help("remove it for no limit"));
        }
        match (self.auth, self.credentials.is_empty()) {
            (AuthMode::Basic, true) => wrong.push(
                Wrong::new(&[], "has no credentials")
                    .help("add `credentials.portal = { key = … }`, or `auth = \"none\"` to accept anyone"),
            ),
            (AuthMode::None, false) => wrong.push(
                Wrong::new(&["auth"], "\"none\" accepts every request, so the credentials have no effect")
                    .help("remove `auth`, or remove the credentials"),
            ),
            (AuthMode::Basic, false) | (AuthMode::None, true) => {}
        }
        let mut credentials = Vec::new();
        for (name, settings) in &self.credentials {
            match settings.check(name) {
                Ok(credential) => credentials.push(credential),
                Err(all) => wrong.extend(all.into_iter().map(|one| one.under(&["credentials", name]))),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let credentials = (self.auth == AuthMode::Basic).then_some(credentials);
        Ok(CheckedSource { name: name.into(), path: self.path.clone(), credentials, rate: self.rate })
    }
}

/// Returns why a path is not valid; `None` if it is valid. A valid path begins with `/` and has only the characters of
/// a path in RFC 3986.
fn wrong_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("{path:?} must begin with a `/`"));
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
    path.chars().find(|c| !is_legal(*c)).map(|c| format!("{path:?} must not contain {c:?}"))
}

impl CredentialSettings {
    /// Checks the settings of a credential. Each violation names only the setting in the credential; the callers
    /// prepend the names of the credential and the source.
    pub(super) fn check(&self, name: &str) -> Result<CheckedCredential, Vec<Wrong>> {
        let missing = |key: &str| Wrong::new(&[], format!("the key `{key}` is missing"));
        let secret = match (&self.key, &self.username, &self.password) {
            // Blanks around an authorization key are ignored.
            (Some(key), None, None) => Ok((CredentialKind::Key, sha256(key.expose().trim().as_bytes()))),
            (None, Some(username), Some(password)) => {
                let pair = format!("{username}:{}", password.expose());
                Ok((CredentialKind::Pair, sha256(pair.as_bytes())))
            }
            (None, Some(_), None) => Err(missing("password")),
            (None, None, Some(_)) => Err(missing("username")),
            (None, None, None) => Err(Wrong::new(&[], "has neither a key nor a username with password")
                .help("use `{ key = … }` or `{ username = …, password = … }`")),
            (Some(_), ..) => {
                Err(Wrong::new(&[], "has a key and a username with password: keep only one of them"))
            }
        };
        let mut wrong: Vec<Wrong> = secret.as_ref().err().cloned().into_iter().collect();
        let is_pair = self.username.is_some() || self.password.is_some();
        let username = self.username.as_deref().and_then(wrong_username);
        wrong.extend(username.map(|what| Wrong::new(&["username"], what)));
        let username_bytes = self.username.as_ref().map_or(0, |name| name.len() + 1);
        let password = self.password.as_ref().map(|password| ("password", password.expose(), username_bytes));
        let key = self.key.as_ref().map(|key| ("key", key.expose().trim(), 0));
        for (name, secret, beside) in password.into_iter().chain(key) {
            if secret.is_empty() {
                wrong.push(Wrong::new(&[name], "must not be empty"));
            } else if beside + secret.len() > LONGEST_SECRET {
                wrong.push(Wrong::new(&[name], "must not be longer than 2 KiB"));
            }
        }
        if self.form.is_some_and(|form| is_pair != (form == Form::Pair)) {
            let what = if is_pair {
                "must be \"pair\" or absent for a username with password"
            } else {
                "must not be \"pair\" for a key"
            };
            wrong.push(Wrong::new(&["form"], what));
        }
        match secret {
            Ok((kind, digest)) if wrong.is_empty() => Ok(CheckedCredential {
                name: name.into(),
                kind,
                digest,
                form: self.form,
                not_after: self.not_after,
            }),
            _ => Err(wrong),
        }
    }
}

/// Returns why a user name is not valid; `None` if it is valid. On the wire, a colon ends the name (RFC 7617 §2).
pub fn wrong_username(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("must not be empty"),
        name if name.contains(':') => Some("must not contain a colon, because a colon ends the user name"),
        _ => None,
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
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
