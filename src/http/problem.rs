//! Error answers as `application/problem+json` (RFC 9457), and the request id in answers and in the log.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use crate::clock;

/// The name of the header that carries the request id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error answer in the format of RFC 9457.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    place: Option<(usize, usize)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Creates a problem with that status. The detail is shown to the sender and must not quote the payload.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), place: None, headers: Vec::new() }
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(self, secs: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(secs))
    }

    /// Adds the members `line` and `column`, both counted from 1.
    #[must_use]
    pub fn at(mut self, line: usize, column: usize) -> Self {
        self.place = Some((line, column));
        self
    }

    /// Builds the HTTP response. With an id, it also has the header `x-request-id`.
    pub fn into_response<B: From<String>>(self, id: Option<RequestId>) -> Response<B> {
        let mut response = Response::new(B::from(self.body(id)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.extend(self.headers);
        if let Some(id) = id {
            headers.insert(X_REQUEST_ID, id.to_header());
        }
        response
    }

    /// The answer as raw HTTP/1.1, for a connection that closes after it. The headers added by [`Self::header`] are
    /// left out.
    pub(super) fn into_bytes(self, id: Option<RequestId>) -> Vec<u8> {
        let body = self.body(id);
        let mut head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n",
            self.status.as_u16(),
            title(self.status),
            body.len(),
        );
        if let Some(id) = id {
            head += &format!("{X_REQUEST_ID}: {id}\r\n");
        }
        if let Some(date) = clock::now().to_http_date() {
            head += &format!("date: {date}\r\n");
        }
        [head, "\r\n".to_owned(), body].concat().into_bytes()
    }

    fn body(&self, id: Option<RequestId>) -> String {
        let members = ProblemMembers {
            r#type: "about:blank",
            title: title(self.status),
            status: self.status.as_u16(),
            detail: &self.detail,
            line: self.place.map(|(line, _)| line),
            column: self.place.map(|(_, column)| column),
            request_id: id.map(|id| id.to_string()),
        };
        // Serialization fails only for non-string map keys or a failing impl; there are none here.
        let body = serde_json::to_string(&members).unwrap_or_default();
        // Ends with a newline, as the body of a 200 does, so that the prompt after curl starts on a new line.
        body + "\n"
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemMembers<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// The id of one request, in its answer and in the log. It does not reveal how many requests came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The id as a header value.
    pub(super) fn to_header(self) -> HeaderValue {
        // Hex digits are always a valid header value.
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static("-"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Generates request ids: a keyed hash of a counter, because random bytes would need a system call per request.
pub(super) struct RequestIds {
    key: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    /// Starts with a random key, so that two processes generate different ids.
    pub(super) fn new() -> Self {
        Self { key: RandomState::new(), next: AtomicU64::new(0) }
    }

    /// Returns a new id.
    pub(super) fn next(&self) -> RequestId {
        RequestId(self.key.hash_one(self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Rounds a wait up to whole seconds for `Retry-After`, at least 1.
pub(super) fn whole_secs(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_bytes_of_a_problem_are_a_complete_answer() {
        let ids = RequestIds::new();
        let id = ids.next();
        let bytes = Problem::new(StatusCode::REQUEST_TIMEOUT, "too \"slow\"").at(3, 7).into_bytes(Some(id));
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
        assert!(head.contains(" GMT"), "{head}");
        assert!(body.ends_with("}\n"), "the body ends with a newline: {body:?}");
        let members: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            members,
            serde_json::json!({"type": "about:blank", "title": "Request Timeout", "status": 408,
                "detail": "too \"slow\"", "line": 3, "column": 7, "requestId": id.to_string()})
        );
    }

    #[test]
    fn ids_do_not_repeat_and_reveal_no_count() {
        let ids = RequestIds::new();
        let first: Vec<RequestId> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), first.len());
        let steps: HashSet<u64> = first.windows(2).map(|pair| pair[1].0.wrapping_sub(pair[0].0)).collect();
        assert!(steps.len() > 9_900, "only {} different steps from one id to the next", steps.len());
        assert_eq!(first[0].to_string().len(), 16);
        assert_ne!(RequestIds::new().next(), first[0], "another process has other ids");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds_and_is_at_least_1() {
        assert_eq!(whole_secs(Duration::ZERO), 1);
        assert_eq!(whole_secs(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_secs(Duration::from_secs(60)), 60);
    }
}
