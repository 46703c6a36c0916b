//! `/credentials`: the credentials of the sources, their last uses, and refused requests. The page has no access to
//! secrets.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    frame::{Frame, Visit},
    shown::{Tag, When, count, duration},
    sorry::Sorry,
};
use crate::{
    admin::Shared,
    clock::{self, Timestamp},
    http::{CredentialKind, CredentialStatus, Denied, Form},
};

#[derive(Template)]
#[template(path = "credentials.html")]
struct Page {
    frame: Frame,
    /// Sources that require no credentials.
    open: Vec<Arc<str>>,
    sources: Vec<Source>,
    /// How long this process has counted uses and refusals.
    up: String,
}

/// A source that requires credentials.
struct Source {
    name: Arc<str>,
    credentials: Vec<Row>,
    /// Reasons for refused requests, each with its count.
    refused: Vec<(&'static str, String)>,
}

struct Row {
    name: Arc<str>,
    kind: &'static str,
    /// The accepted form of the credential in a request.
    accepted: &'static str,
    last_used_at: Option<When>,
    /// The form in which it was last received.
    came: Option<&'static str>,
    uses: String,
    end: Option<End>,
}

/// When a credential expires.
struct End {
    at: When,
    tag: Tag,
}

/// `GET /credentials`
pub(super) async fn list(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let now = clock::now();
    let mut sources: Vec<Source> = Vec::new();
    for status in (shared.state.credentials)() {
        let row = Row::of(&status, now);
        match sources.iter_mut().find(|source| source.name == status.source) {
            Some(source) => source.credentials.push(row),
            None => sources.push(Source {
                refused: refused(&shared, &status.source),
                name: status.source,
                credentials: vec![row],
            }),
        }
    }
    let up = i64::try_from(shared.started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let open = shared.state.open_sources.clone();
    visit.show(|frame| Page { frame, open, sources, up: duration(up) })
}

/// The reasons for which requests to a source were refused, each with its count.
fn refused(shared: &Shared, source: &Arc<str>) -> Vec<(&'static str, String)> {
    let times = |why: Denied| {
        let labels = vec![("source", Arc::clone(source)), ("reason", why.as_str().into())];
        shared.state.metrics.authentication_failures.get(&labels).map_or(0, |counter| counter.get())
    };
    let told = Denied::ALL.into_iter().map(|why| (because(why), times(why)));
    told.filter(|(_, times)| *times > 0).map(|(why, times)| (why, count(times))).collect()
}

const fn because(why: Denied) -> &'static str {
    match why {
        Denied::Missing => "without an Authorization header",
        Denied::Wrong => "with an unknown credential",
        Denied::Expired => "with an expired credential",
        Denied::OtherForm => "with a credential in a form other than the accepted one",
    }
}

impl Row {
    fn of(status: &CredentialStatus, now: Timestamp) -> Self {
        Self {
            name: Arc::clone(&status.name),
            kind: match status.kind {
                CredentialKind::Pair => "username and password",
                CredentialKind::Key => "key",
            },
            accepted: match (status.pinned, status.kind) {
                (Some(form), _) => written(form),
                (None, CredentialKind::Pair) => written(Form::Pair),
                (None, CredentialKind::Key) => "any form of the key",
            },
            last_used_at: status.last_used_at.map(When::from),
            came: status.form.map(written),
            uses: count(status.uses),
            end: status.not_after.map(|at| End {
                at: When::from(at),
                tag: match at.ms_since(now) {
                    left @ 0.. => Tag::new("warn", format!("in {}", duration(left))),
                    _ => Tag::new("bad", "expired"),
                },
            }),
        }
    }
}

/// The form of a credential in the `Authorization` header.
const fn written(form: Form) -> &'static str {
    match form {
        Form::Pair => "Basic base64(username:password)",
        Form::Header => "the key alone",
        Form::Plain => "Basic key",
        Form::Base64 => "Basic base64(key)",
        Form::User => "Basic base64(key:…)",
        Form::Password => "Basic base64(…:key)",
    }
}
