//! Checks that a stream captures the subject, and creates one if configured.

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    context::RequestErrorKind,
    response::Response,
    stream::{Config, Info, StorageType},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    Settings,
    error::{ENABLE, NatsFailure, of_api},
    link::Link,
};
use crate::handler::Failure;

/// How long a stream that the handler creates remembers the ids of NATS messages, to detect duplicates. By default,
/// probes of an unwell destination are at most about 5 minutes apart (`probe_max`), so the stream detects an event that
/// a probe sends again. An event that is set aside may wait longer than 10 minutes, so the stream may store it twice.
const REMEMBERS: Duration = Duration::from_mins(10);

/// Checks that the configured stream captures at least some of the possible subjects. If no stream is configured, any
/// stream may capture them. Creates a missing stream if `create_stream` is set.
///
/// # Errors
/// Returns a [`NatsFailure`]. If no stream captures the subjects, the failure's text has the command that creates or
/// changes a stream.
pub(super) async fn check(link: &Link, settings: &Settings) -> Result<(), NatsFailure> {
    let pattern = settings.subject_pattern();
    let Some(name) = &settings.stream else { return any(link, &pattern).await };
    if let Some(subjects) = subjects_of(link, name).await? {
        if subjects.iter().any(|subject| overlap(subject, &pattern)) {
            return Ok(());
        }
        return Err(no_stream(format!(
            "the stream {name} does not capture the subject {pattern}, but {subjects:?}: change `subject`, or run \
             `nats stream edit {name} --subjects '{pattern}'`"
        )));
    }
    if settings.create_stream {
        return make(link, name, pattern).await;
    }
    let or = "or set create_stream = true";
    Err(no_stream(format!("there is no stream {name}: {}, {or}", advice(name, &pattern))))
}

async fn any(link: &Link, pattern: &str) -> Result<(), NatsFailure> {
    #[derive(Deserialize)]
    struct Names {
        streams: Option<Vec<String>>,
    }
    let asked = format!("listing the streams that capture {pattern}");
    let names = match ask::<Names>(link, &asked, "STREAM.NAMES", &json!({ "subject": pattern })).await? {
        Response::Ok(names) => names.streams.unwrap_or_default(),
        Response::Err { error } => return Err(of_api(&asked, &error)),
    };
    if names.is_empty() {
        let advice = advice("BIK", pattern);
        return Err(no_stream(format!("no stream captures the subject {pattern}: {advice}")));
    }
    Ok(())
}

/// The subjects that a stream captures; `None` if the stream does not exist.
async fn subjects_of(link: &Link, name: &str) -> Result<Option<Vec<String>>, NatsFailure> {
    let asked = format!("reading the subjects of the stream {name}");
    match ask::<Info>(link, &asked, &format!("STREAM.INFO.{name}"), &()).await? {
        Response::Ok(info) => Ok(Some(info.config.subjects)),
        Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
        Response::Err { error } => Err(of_api(&asked, &error)),
    }
}

async fn make(link: &Link, name: &str, pattern: String) -> Result<(), NatsFailure> {
    let asked = format!("creating the stream {name}");
    let config = Config {
        name: name.to_owned(),
        subjects: vec![pattern],
        storage: StorageType::File,
        duplicate_window: REMEMBERS,
        ..Config::default()
    };
    match ask::<Info>(link, &asked, &format!("STREAM.CREATE.{name}"), &config).await? {
        Response::Ok(_made) => Ok(()),
        Response::Err { error } => Err(of_api(&asked, &error)),
    }
}

async fn ask<T: DeserializeOwned>(
    link: &Link,
    asked: &str,
    what: &str,
    with: &(impl Serialize + Sync),
) -> Result<Response<T>, NatsFailure> {
    let answer = link.unless_broken(link.jetstream.request(what.to_owned(), with)).await?;
    Ok(answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => {
            Failure::misconfigured("no jetstream", format!("{asked}: JetStream does not answer: {ENABLE}"))
        }
        RequestErrorKind::TimedOut => {
            link.give_up();
            Failure::retry("timeout", format!("{asked}: no answer within 5 s"))
        }
        RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
            Failure::retry("jetstream", asked).saying(error)
        }
    })?)
}

/// The failure if no stream of the server matches the settings.
fn no_stream(what: String) -> NatsFailure {
    Failure::misconfigured("no stream", what).into()
}

fn advice(name: &str, pattern: &str) -> String {
    format!(
        "create one with `nats stream add {name} --subjects '{pattern}' --storage file --dupe-window 10m --defaults`"
    )
}

/// Returns whether any subject matches both patterns.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn patterns_overlap_where_some_subject_matches_both() {
        for (one, other) in [("bik.>", "bik.*.*"), (">", "a"), ("bik.shop.*", "bik.*.*"), ("a.b", "a.b")] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [("bik.*", "bik.*.*"), ("bik", "bik.>"), ("a.b", "a.c"), ("crm.>", "bik.*.*")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
        }
    }
}
