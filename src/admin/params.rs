//! The parameters of a request: in its URL and in its JSON body.

use std::{fmt::Display, str::FromStr, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header::CONTENT_LENGTH, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{error::RequestError, selection::EventSelection};
use crate::{
    handler::{Filter, FilterSettings},
    settings::nearest,
};

/// The maximum number of rows in a list.
pub(super) const LIMIT: usize = 1_000;
/// The default number of rows in a list.
const LIMIT_DEFAULT: usize = 100;
/// The maximum size of a body. A thousand ids take 20 KiB.
const BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// The parameters of a URL. Each is taken once; a parameter that is never taken is an error.
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RequestError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(parameters)| Self(parameters))
            .map_err(|_invalid| RequestError::parameter("the query", "cannot be parsed"))
    }
}

impl Parameters {
    /// The parsed value of a parameter, or `None` if it is not given. A repeated parameter is an error.
    pub(super) fn take<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, RequestError> {
        let Some(at) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, text) = self.0.swap_remove(at);
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(RequestError::parameter(name, "given more than once"));
        }
        text.parse().map(Some).map_err(|error: T::Err| RequestError::parameter(name, error.to_string()))
    }

    /// The parameter `limit`, from 1 to [`LIMIT`].
    pub(super) fn limit(&mut self) -> Result<usize, RequestError> {
        match self.take("limit")? {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT) => Ok(limit),
            Some(_) => Err(RequestError::parameter("limit", format!("must be from 1 to {LIMIT}"))),
        }
    }

    /// A parameter that is `1` for on and `0` for off; off by default.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, RequestError> {
        Ok(self.either(name)?.unwrap_or(false))
    }

    /// A parameter that selects one kind with `1`, the other with `0`, and both if it is not given.
    pub(super) fn either(&mut self, name: &'static str) -> Result<Option<bool>, RequestError> {
        match self.take::<String>(name)?.as_deref() {
            None => Ok(None),
            Some("0") => Ok(Some(false)),
            Some("1") => Ok(Some(true)),
            Some(_) => Err(RequestError::parameter(name, "must be 0 or 1")),
        }
    }

    /// A parameter with a fixed set of values.
    pub(super) fn word<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
        words: &[&str],
    ) -> Result<Option<T>, RequestError> {
        let Some(text) = self.take::<String>(name)? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| no_such_word(name, &text, words))
    }

    /// A filter from `event`, `status`, `message` and `phone`, each of which may be repeated; `None` if none is given.
    pub(super) fn filter(&mut self) -> Result<Option<Filter>, RequestError> {
        let settings = FilterSettings {
            events: self.all("event"),
            statuses: self.all("status"),
            messages: self.all("message"),
            phones: self.all("phone"),
            ..FilterSettings::default()
        };
        if settings == FilterSettings::default() {
            return Ok(None);
        }
        let filter = Filter::new(&settings);
        filter.map(Some).map_err(|error| RequestError::parameter("event", error.to_string()))
    }

    /// The parameters `since`, `until`, and those of [`Parameters::filter`].
    pub(super) fn selection(&mut self) -> Result<EventSelection, RequestError> {
        let (since, until) = (self.take("since")?, self.take("until")?);
        Ok(EventSelection { since, until, filter: self.filter()?.unwrap_or_default() })
    }

    /// All values of a parameter, or `None` if it is not given.
    fn all(&mut self, name: &str) -> Option<Vec<String>> {
        let values: Vec<String> =
            self.0.extract_if(.., |(given, _)| given == name).map(|(_, text)| text).collect();
        (!values.is_empty()).then_some(values)
    }

    /// Returns an error if a parameter was not taken.
    pub(super) fn end(self) -> Result<(), RequestError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(RequestError::parameter(name, "is not a parameter of this path")),
        }
    }
}

/// The error for an unknown value of a parameter; it lists the valid values.
pub(super) fn no_such_word(name: &'static str, text: &str, words: &[&str]) -> RequestError {
    let near = nearest(text, words.iter().copied());
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    RequestError::parameter(
        name,
        format!("unknown value {text:?}{near} (valid values: {})", words.join(", ")),
    )
}

/// The variable segment of the path.
pub(super) struct Segment(pub String);

impl<S: Sync> FromRequestParts<S> for Segment {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let read = Path::from_request_parts(parts, &state).await;
        read.map(|Path(text)| Self(text))
            .map_err(|_invalid| RequestError::parameter("the path", "is not UTF-8"))
    }
}

/// Parses a path segment as a number.
pub(super) fn parse_number<T: FromStr>(name: &'static str, text: &str) -> Result<T, RequestError> {
    text.parse().map_err(|_invalid| RequestError::parameter(name, "is not a number"))
}

/// A JSON body. Its size and the time to receive it are bounded.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = RequestError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, RequestError> {
        let (parts, body) = request.into_parts();
        let body = body_of(&parts.headers, body).await?;
        serde_json::from_slice(&body).map(Self).map_err(|error| RequestError::Body(in_json_words(&error)))
    }
}

/// The text of an error without names of Rust types.
fn in_json_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return text };
    let (kind, place) = expected.split_once(" at line ").unwrap_or((expected, ""));
    let kind = match kind {
        "i64" | "u64" => "an integer",
        "a nonzero u32" => "an integer from 1 to 4294967295",
        "a map" => "an object",
        _ if kind.starts_with("struct ") => "an object",
        _ => return text,
    };
    let place = if place.is_empty() { String::new() } else { format!(" at line {place}") };
    format!("{found}, expected {kind}{place}")
}

/// Reads a body with a bound on its size and on the time to receive it.
pub(super) async fn body_of(headers: &HeaderMap, body: Body) -> Result<Bytes, RequestError> {
    let declared = headers.get(CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES) {
        return Err(RequestError::TooLarge { limit: BODY_BYTES });
    }
    tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES))
        .await
        .map_err(|_elapsed| RequestError::TooSlow)?
        .map_err(|error| {
            let too_large = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            if too_large {
                RequestError::TooLarge { limit: BODY_BYTES }
            } else {
                RequestError::Body("it could not be read to its end".to_owned())
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::{EmptyBody, ReplayRequest, RowsRequest};

    fn text_of<T: DeserializeOwned>(body: &str) -> String {
        in_json_words(&serde_json::from_str::<T>(body).err().unwrap())
    }

    #[test]
    fn errors_of_a_body_name_no_rust_types() {
        assert_eq!(
            text_of::<EmptyBody>("7"),
            "invalid type: integer `7`, expected an object at line 1 column 1"
        );
        let rate = text_of::<ReplayRequest<()>>(r#"{"handler":"crm","rate":0}"#);
        assert!(rate.contains("integer `0`, expected an integer from 1 to 4294967295 at line 1"), "{rate}");
        let ids = text_of::<RowsRequest<()>>(r#"{"ids":["a"]}"#);
        assert!(ids.contains("string \"a\", expected an integer at line 1"), "{ids}");
        assert!(text_of::<EmptyBody>("{").starts_with("EOF while parsing an object"));
    }
}
