//! `bikhook auth`: the values for BIK's developer portal, and curl commands to test them.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Cli, Error, settings::check_secrets_stored};
use crate::http::{AuthMode, CredentialSettings, Form, SourceSettings};

pub(super) fn run(cli: &Cli, out: &mut impl Write) -> Result<(), Error> {
    let config = cli.load()?;
    check_secrets_stored(&config)?;
    writeln!(
        out,
        "These values are secrets: paste them into BIK's developer portal, and share them with nobody else."
    )?;
    Ok(write!(out, "{}", instructions(&config.sources, config.http.listen))?)
}

/// The values for BIK's portal per source, for a receiver at this address. The text contains secrets.
pub(super) fn instructions(sources: &BTreeMap<String, SourceSettings>, listen: SocketAddr) -> String {
    let mut text = String::new();
    for (name, source) in sources {
        let url = format!("http://{}{}", reachable(listen), source.path);
        line(&mut text, &format!("\nsource {name}"), "");
        line(&mut text, "  URL", &format!("{url}   (for BIK: your public address, with this path)"));
        if source.auth == AuthMode::None {
            line(&mut text, "  auth", "none: every request is accepted");
            line(&mut text, "  test with", &curl(&[], &url));
            continue;
        }
        for (name, credential) in &source.credentials {
            line(&mut text, &format!("  credential {name}"), "");
            describe(&mut text, credential, &url);
        }
    }
    text
}

fn describe(text: &mut String, credential: &CredentialSettings, url: &str) {
    if let (Some(username), Some(password)) = (&credential.username, &credential.password) {
        let pair = format!("{username}:{}", password.expose());
        line(text, "    username", username);
        line(text, "    password", password.expose());
        line(text, "    header", &format!("Authorization: {}", basic(&pair)));
        line(text, "    test with", &curl(&["-u", &pair], url));
    }
    if let Some(key) = &credential.key {
        let header = format!("Authorization: {}", authorization_of(key.expose(), credential.form));
        line(text, "    authorization key", key.expose());
        line(text, "    auth type", "basic auth");
        line(text, "    header", &header);
        line(text, "    test with", &curl(&["-H", &header], url));
    }
    if let Some(end) = credential.not_after {
        line(text, "    accepted until", &end.to_string());
    }
}

/// The `Authorization` value for an authorization key, in the given form. If `form` is `None`, the receiver accepts the
/// key in every form, and the value is `Basic KEY`.
pub(super) fn authorization_of(key: &str, form: Option<Form>) -> String {
    match form {
        Some(Form::Header) => key.to_owned(),
        Some(Form::Base64) => basic(key),
        Some(Form::User) => basic(&format!("{key}:")),
        Some(Form::Password) => basic(&format!("bik:{key}")),
        Some(Form::Plain | Form::Pair) | None => format!("Basic {key}"),
    }
}

/// The `Authorization` value for a text such as `username:password`.
pub(super) fn basic(text: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

fn line(text: &mut String, label: &str, value: &str) {
    let line = format!("{label:<22}{value}");
    text.extend([line.trim_end(), "\n"]);
}

/// A minimal event. Its id is fixed, so repeated tests store it once.
const SAMPLE: &str = r#"[{"eventName":"hello","id":"hello-1"}]"#;

fn curl(args: &[&str], url: &str) -> String {
    let words = args.iter().copied().chain(["-d", SAMPLE, url]);
    words.fold("curl".to_owned(), |line, word| line + " " + &shell(word))
}

/// Quotes one word for a shell.
fn shell(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=@".contains(c)) && !word.is_empty() {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Replaces an unspecified listen address by loopback, so that a client on this machine can connect.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_with_a_quote_survives_the_shell() {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", shell("it's $HOME \"`\\"))])
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"it's $HOME \"`\\");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn the_key_is_shown_in_the_form_that_is_pinned() {
        assert_eq!(authorization_of("k:1", None), "Basic k:1");
        assert_eq!(authorization_of("k:1", Some(Form::Header)), "k:1");
        assert_eq!(authorization_of("k", Some(Form::Base64)), "Basic aw==");
        assert_eq!(authorization_of("k", Some(Form::User)), "Basic azo=");
        assert_eq!(authorization_of("k", Some(Form::Password)), "Basic YmlrOms=");
    }
}
