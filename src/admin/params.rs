//! The parameters of a request: in its URL and in its JSON body.

use std::{borrow::Cow, fmt::Display, str::FromStr, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{HeaderMap, header::CONTENT_LENGTH, request::Parts},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{error::RequestError, selection::EventSelection, wire::LIMIT};
use crate::{
    clock::Timestamp,
    handler::{Filter, FilterSettings},
    settings::nearest,
};

/// The default number of rows in a list.
const LIMIT_DEFAULT: usize = 100;
/// The maximum size of a body, in bytes. A body with the maximum number of ids ([`LIMIT`]) takes 20 KiB.
const BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// The parameters of a URL, as a `T`.
pub(super) struct Parameters<T>(pub T);

/// The parameters of a route; `()` for a route without parameters.
pub(super) trait TakeParameters: Sized {
    /// Takes every parameter of the route, also those that the request does not give. The OpenAPI document lists the
    /// parameters that this function takes.
    fn take(query: &mut UrlQuery) -> Result<Self, RequestError>;
}

impl TakeParameters for () {
    fn take(_query: &mut UrlQuery) -> Result<Self, RequestError> {
        Ok(())
    }
}

impl<T: TakeParameters, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RequestError> {
        let Query(given) = Query::try_from_uri(&parts.uri)
            .map_err(|_invalid| RequestError::parameter("the query", "cannot be parsed"))?;
        let mut query = UrlQuery { given, descriptions: None };
        let taken = T::take(&mut query)?;
        match query.given.into_iter().next() {
            None => Ok(Self(taken)),
            Some((name, _)) => Err(RequestError::parameter(name, "is not a parameter of this path")),
        }
    }
}

/// The query of a URL. A route takes its parameters from the query. A given parameter that the route does not take is
/// an error.
pub(super) struct UrlQuery {
    given: Vec<(String, String)>,
    /// The OpenAPI descriptions of the parameters taken so far. `Some` only in [`UrlQuery::descriptions_of`]; `None`
    /// while a request is handled.
    descriptions: Option<Vec<Value>>,
}

impl UrlQuery {
    /// The OpenAPI descriptions of the parameters that `T` takes.
    pub(super) fn descriptions_of<T: TakeParameters>() -> Vec<Value> {
        let mut query = Self { given: Vec::new(), descriptions: Some(Vec::new()) };
        // No parameter is given, so none is wrong.
        let _taken = T::take(&mut query);
        query.descriptions.unwrap_or_default()
    }

    /// The parsed value of a parameter, or `None` if it is not given. A repeated parameter is an error.
    pub(super) fn take<T: FromStr<Err: Display> + JsonSchema>(
        &mut self,
        name: &'static str,
        description: &str,
    ) -> Result<Option<T>, RequestError> {
        self.describe(name, description, || SchemaGenerator::default().subschema_for::<T>());
        self.one(name)
    }

    /// The parameter `since`.
    pub(super) fn since(&mut self) -> Result<Option<Timestamp>, RequestError> {
        self.take("since", "At this time or later. A date without a time means midnight UTC.")
    }

    /// The parameter `until`.
    pub(super) fn until(&mut self) -> Result<Option<Timestamp>, RequestError> {
        self.take("until", "Before this time. A date without a time means midnight UTC.")
    }

    /// The parameter `before`, which continues a list after the previous page.
    pub(super) fn before<T: FromStr<Err: Display> + JsonSchema>(
        &mut self,
    ) -> Result<Option<T>, RequestError> {
        self.take("before", "`next` of the previous page.")
    }

    /// The parameter `limit`, from 1 to [`LIMIT`].
    pub(super) fn limit(&mut self) -> Result<usize, RequestError> {
        self.describe(
            "limit",
            "The maximum number of rows.",
            || json_schema!({"type": "integer", "minimum": 1, "maximum": LIMIT, "default": LIMIT_DEFAULT}),
        );
        match self.one("limit")? {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT) => Ok(limit),
            Some(_) => Err(RequestError::parameter("limit", format!("must be from 1 to {LIMIT}"))),
        }
    }

    /// A parameter that is `1` for on and `0` for off; off by default.
    pub(super) fn flag(&mut self, name: &'static str, description: &str) -> Result<bool, RequestError> {
        Ok(self.either(name, description)?.unwrap_or(false))
    }

    /// A parameter that selects one of two kinds of rows: `1` for the one, `0` for the other. If the parameter is not
    /// given, both kinds are selected.
    pub(super) fn either(
        &mut self,
        name: &'static str,
        description: &str,
    ) -> Result<Option<bool>, RequestError> {
        self.describe(name, description, || json_schema!({"type": "integer", "enum": [0, 1]}));
        match self.one::<String>(name)?.as_deref() {
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
        description: &str,
        read: impl FnOnce(&str) -> Option<T>,
        words: &[&str],
    ) -> Result<Option<T>, RequestError> {
        self.describe(name, description, || json_schema!({"type": "string", "enum": words}));
        let Some(text) = self.one::<String>(name)? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| no_such_word(name, &text, words))
    }

    /// A parameter with a comma-separated list of values from a fixed set. A repeated value is an error.
    pub(super) fn words<T: PartialEq>(
        &mut self,
        name: &'static str,
        description: &str,
        read: impl Fn(&str) -> Option<T>,
        words: &[&str],
    ) -> Result<Vec<T>, RequestError> {
        self.describe(name, description, || {
            let items = json_schema!({"type": "string", "enum": words});
            json_schema!({"type": "array", "items": items, "uniqueItems": true})
        });
        let given = self.one::<String>(name)?.filter(|text| !text.is_empty());
        let Some(text) = given else { return Ok(Vec::new()) };
        let mut list = Vec::new();
        for word in text.split(',').map(str::trim) {
            let value = read(word).ok_or_else(|| no_such_word(name, word, words))?;
            if list.contains(&value) {
                return Err(RequestError::parameter(name, format!("{word} is given more than once")));
            }
            list.push(value);
        }
        Ok(list)
    }

    /// The filter that consists of the parameters `event`, `status`, `message` and `phone`. Each of them may be
    /// repeated. `None` if none is given.
    pub(super) fn filter(&mut self) -> Result<Option<Filter>, RequestError> {
        let settings = FilterSettings {
            events: self.all("event", "Event names, with the wildcards `*` and `?`."),
            statuses: self
                .all("status", "Statuses, ignoring case. `failed` also matches `undelivered` and `bounced`."),
            messages: self.all("message", "BIK's ids of messages."),
            phones: self
                .all("phone", "Phone numbers, compared by their digits, or other complete addresses."),
            ..FilterSettings::default()
        };
        if settings == FilterSettings::default() {
            return Ok(None);
        }
        let filter = Filter::new(&settings);
        filter.map(Some).map_err(|error| RequestError::parameter("event", error.to_string()))
    }

    /// The parameters `since`, `until`, and those of [`UrlQuery::filter`].
    pub(super) fn selection(&mut self) -> Result<EventSelection, RequestError> {
        let (since, until) = (self.since()?, self.until()?);
        Ok(EventSelection { since, until, filter: self.filter()?.unwrap_or_default() })
    }

    /// All values of a parameter, or `None` if it is not given.
    fn all(&mut self, name: &'static str, description: &str) -> Option<Vec<String>> {
        self.describe(name, description, || json_schema!({"type": "array", "items": {"type": "string"}}));
        let values: Vec<String> =
            self.given.extract_if(.., |(given, _)| given == name).map(|(_, text)| text).collect();
        (!values.is_empty()).then_some(values)
    }

    fn one<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, RequestError> {
        let Some(at) = self.given.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, text) = self.given.swap_remove(at);
        if self.given.iter().any(|(given, _)| given == name) {
            return Err(RequestError::parameter(name, "given more than once"));
        }
        text.parse().map(Some).map_err(|error: T::Err| RequestError::parameter(name, error.to_string()))
    }

    fn describe(&mut self, name: &str, description: &str, schema: impl FnOnce() -> Schema) {
        if let Some(descriptions) = &mut self.descriptions {
            let schema = schema();
            // Only `words` sets `uniqueItems`. Its values are given in one parameter, separated by commas. The values
            // of any other array are given by repeating the parameter.
            let commas = schema.get("uniqueItems").is_some();
            let mut parameter =
                json!({"name": name, "in": "query", "description": description, "schema": schema});
            if commas {
                parameter["explode"] = false.into();
            }
            descriptions.push(parameter);
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
pub(super) struct Segment<T>(pub T);

impl<T: FromStr, S: Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let variables = RawPathParams::from_request_parts(parts, &state)
            .await
            .map_err(|_invalid| RequestError::parameter("the path", "is not UTF-8"))?;
        let (name, text) = variables.iter().next().ok_or(RequestError::Internal)?;
        parse_number(name.to_owned(), text).map(Self)
    }
}

/// Parses a path segment as a `T`: a number or a `String`. Every segment is a valid `String`, so only a number can be
/// invalid.
pub(super) fn parse_number<T: FromStr>(
    name: impl Into<Cow<'static, str>>,
    text: &str,
) -> Result<T, RequestError> {
    text.parse().map_err(|_invalid| RequestError::parameter(name, "is not a number"))
}

/// A JSON body of at most [`BODY_BYTES`] that arrives within [`BODY_TIMEOUT`].
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

/// Reads a body of at most [`BODY_BYTES`] that arrives within [`BODY_TIMEOUT`].
pub(super) async fn body_of(headers: &HeaderMap, body: Body) -> Result<Bytes, RequestError> {
    let declared = headers.get(CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES) {
        return Err(RequestError::TooLarge(BODY_BYTES));
    }
    tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES))
        .await
        .map_err(|_elapsed| RequestError::TooSlow)?
        .map_err(|error| {
            let too_large = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            if too_large {
                RequestError::TooLarge(BODY_BYTES)
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
