//! `/credentials`: the credentials of the sources, their last uses, and refused requests. The page has no access to
//! secrets.

use std::sync::Arc;

use askama::Template;

use super::{
    error_page::PageResult,
    format::{Tag, When, duration, number},
    frame::Frame,
    visit::PageVisit,
};
use crate::{
    admin::AdminState,
    clock::{self, Timestamp},
    http::{CredentialKind, CredentialStatus, Denied, Form},
};

#[derive(Template)]
#[template(path = "credentials.html")]
struct CredentialsPage {
    frame: Frame,
    /// Sources that require no credentials.
    open: Vec<Arc<str>>,
    sources: Vec<SourceCredentials>,
    /// How long this process has counted uses and refusals.
    up: String,
}

/// A source that requires credentials.
struct SourceCredentials {
    name: Arc<str>,
    credentials: Vec<CredentialTableRow>,
    /// Reasons for refused requests, each with its count.
    refused: Vec<(&'static str, String)>,
}

struct CredentialTableRow {
    name: Arc<str>,
    kind: &'static str,
    /// The accepted form of the credential in a request.
    accepted: &'static str,
    last_used_at: Option<When>,
    /// The form in which the credential was last received.
    last_form: Option<&'static str>,
    uses: String,
    /// When the credential expires.
    end: Option<(When, Tag)>,
}

/// `GET /credentials`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let (shared, now) = (&visit.shared, clock::now());
    let mut sources: Vec<SourceCredentials> = Vec::new();
    for status in (shared.parts.credentials)() {
        let row = CredentialTableRow::of(&status, now);
        match sources.iter_mut().find(|source| source.name == status.source) {
            Some(source) => source.credentials.push(row),
            None => sources.push(SourceCredentials {
                refused: refused(shared, &status.source),
                name: status.source,
                credentials: vec![row],
            }),
        }
    }
    let up = i64::try_from(shared.started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let open = shared.parts.open_sources.clone();
    visit.show(|frame| CredentialsPage { frame, open, sources, up: duration(up) })
}

/// The reasons for which requests to a source were refused, each with its count.
fn refused(shared: &AdminState, source: &Arc<str>) -> Vec<(&'static str, String)> {
    let times = |why: Denied| {
        let labels = vec![("source", Arc::clone(source)), ("reason", why.as_str().into())];
        shared.parts.metrics.authentication_failures.get(&labels).map_or(0, |counter| counter.get())
    };
    let counts = Denied::ALL.into_iter().map(|why| (denial_text(why), times(why)));
    counts.filter(|(_, times)| *times > 0).map(|(why, times)| (why, number(times))).collect()
}

const fn denial_text(why: Denied) -> &'static str {
    match why {
        Denied::Missing => "without an Authorization header",
        Denied::Wrong => "with an unknown credential",
        Denied::Expired => "with an expired credential",
        Denied::OtherForm => "with a credential in a form other than the accepted one",
    }
}

impl CredentialTableRow {
    fn of(status: &CredentialStatus, now: Timestamp) -> Self {
        Self {
            name: Arc::clone(&status.name),
            kind: match status.kind {
                CredentialKind::Pair => "username and password",
                CredentialKind::Key => "key",
            },
            accepted: match (status.pinned, status.kind) {
                (Some(form), _) => form_text(form),
                (None, CredentialKind::Pair) => form_text(Form::Pair),
                (None, CredentialKind::Key) => "any form of the key",
            },
            last_used_at: status.last_used_at.map(When::from),
            last_form: status.form.map(form_text),
            uses: number(status.uses),
            end: status.not_after.map(|at| {
                let tag = match at.ms_since(now) {
                    left @ 0.. => Tag::new("warn", format!("in {}", duration(left))),
                    _ => Tag::new("bad", "expired"),
                };
                (When::from(at), tag)
            }),
        }
    }
}

/// The form of a credential in the `Authorization` header.
const fn form_text(form: Form) -> &'static str {
    match form {
        Form::Pair => "Basic base64(username:password)",
        Form::Header => "the key alone",
        Form::Plain => "Basic key",
        Form::Base64 => "Basic base64(key)",
        Form::User => "Basic base64(key:…)",
        Form::Password => "Basic base64(…:key)",
    }
}
