//! The parameters of a request: in its URL and in its JSON body.

use std::{fmt::Display, str::FromStr, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header::CONTENT_LENGTH, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{decision::dead::Matching, fault::Fault, narrow::Narrowed, wire::RowsRequest};
use crate::{
    handler::{Filter, FilterSettings},
    settings::{keys_of, nearest},
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
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Fault> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(parameters)| Self(parameters))
            .map_err(|_invalid| Fault::parameter("the query", "cannot be parsed"))
    }
}

impl Parameters {
    /// The parsed value of a parameter, or `None` if it is not given. A repeated parameter is an error.
    pub(super) fn take<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Fault> {
        let Some(at) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, text) = self.0.swap_remove(at);
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(Fault::parameter(name, "given more than once"));
        }
        text.parse().map(Some).map_err(|error: T::Err| Fault::parameter(name, error.to_string()))
    }

    /// The parameter `limit`, from 1 to [`LIMIT`].
    pub(super) fn limit(&mut self) -> Result<usize, Fault> {
        match self.take("limit")? {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT) => Ok(limit),
            Some(_) => Err(Fault::parameter("limit", format!("must be from 1 to {LIMIT}"))),
        }
    }

    /// A parameter that is `1` for on and `0` for off; off by default.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Fault> {
        Ok(self.either(name)?.unwrap_or(false))
    }

    /// A parameter that selects one kind with `1`, the other with `0`, and both if it is not given.
    pub(super) fn either(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        match self.take::<String>(name)?.as_deref() {
            None => Ok(None),
            Some("0") => Ok(Some(false)),
            Some("1") => Ok(Some(true)),
            Some(_) => Err(Fault::parameter(name, "must be 0 or 1")),
        }
    }

    /// A parameter with a fixed set of values.
    pub(super) fn word<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
        words: &[&str],
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.take::<String>(name)? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| no_such_word(name, &text, words))
    }

    /// A filter from `event`, `status`, `message` and `phone`, each of which may be repeated; `None` if none is given.
    pub(super) fn filter(&mut self) -> Result<Option<Filter>, Fault> {
        let settings = FilterSettings {
            events: self.all("event"),
            statuses: self.all("status"),
            messages: self.all("message"),
            phones: self.all("phone"),
            ..FilterSettings::default()
        };
        let FilterSettings { events: None, statuses: None, messages: None, phones: None, .. } = settings
        else {
            let filter = Filter::new(&settings);
            return filter.map(Some).map_err(|error| Fault::parameter("event", error.to_string()));
        };
        Ok(None)
    }

    /// The parameters `since`, `until`, and those of [`Parameters::filter`].
    pub(super) fn narrowed(&mut self) -> Result<Narrowed, Fault> {
        let (since, until) = (self.take("since")?, self.take("until")?);
        Ok(Narrowed { since, until, filter: self.filter()?.unwrap_or_default() })
    }

    /// All values of a parameter, or `None` if it is not given.
    fn all(&mut self, name: &str) -> Option<Vec<String>> {
        let values: Vec<String> =
            self.0.extract_if(.., |(given, _)| given == name).map(|(_, text)| text).collect();
        (!values.is_empty()).then_some(values)
    }

    /// Returns an error if a parameter was not taken.
    pub(super) fn end(self) -> Result<(), Fault> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Fault::parameter(name, "is not a parameter of this path")),
        }
    }
}

/// The error for an unknown value of a parameter; it lists the valid values.
pub(super) fn no_such_word(name: &'static str, text: &str, words: &[&str]) -> Fault {
    let near = nearest(text, words.iter().copied());
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Fault::parameter(name, format!("unknown value {text:?}{near} (valid values: {})", words.join(", ")))
}

/// The variable segment of the path.
pub(super) struct Segment(pub String);

impl<S: Sync> FromRequestParts<S> for Segment {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let read = Path::from_request_parts(parts, &state).await;
        read.map(|Path(text)| Self(text)).map_err(|_invalid| Fault::parameter("the path", "is not UTF-8"))
    }
}

/// A JSON body. Its size and the time to receive it are bounded.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Asked<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Fault> {
        let (parts, body) = request.into_parts();
        let body = body_of(&parts.headers, body).await?;
        serde_json::from_slice(&body).map(Self).map_err(|error| Fault::Body(error.to_string()))
    }
}

/// Reads a body with a bound on its size and on the time to receive it.
pub(super) async fn body_of(headers: &HeaderMap, body: Body) -> Result<Bytes, Fault> {
    let declared = headers.get(CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES) {
        return Err(Fault::TooLarge { limit: BODY_BYTES });
    }
    tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES))
        .await
        .map_err(|_elapsed| Fault::TooSlow)?
        .map_err(|error| {
            let too_large = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            if too_large {
                Fault::TooLarge { limit: BODY_BYTES }
            } else {
                Fault::Body("it could not be read to its end".to_owned())
            }
        })
}

/// The rows that a changing request selects: `{"ids":[…]}`.
#[derive(Deserialize)]
#[serde(try_from = "RowsRequest<Chosen>")]
pub(super) struct Ids {
    /// From 1 to [`LIMIT`] ids.
    pub(super) ids: Vec<i64>,
}

/// A filter with the keys of a handler's filters: `{"statuses":["failed"]}`.
#[derive(Default, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub(super) struct Chosen {
    /// The filter as requested.
    pub(super) settings: FilterSettings,
    /// The compiled filter.
    pub(super) filter: Filter,
}

impl TryFrom<FilterSettings> for Chosen {
    type Error = String;

    fn try_from(settings: FilterSettings) -> Result<Self, String> {
        let filter = Filter::new(&settings).map_err(|error| format!("filter: {error}"))?;
        Ok(Self { settings, filter })
    }
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for Chosen {
    type Error = String;

    fn try_from(given: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        let known = keys_of::<FilterSettings>();
        if let Some(unknown) = given.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("filter: unknown key {unknown:?}; valid keys: {}", known.join(", ")));
        }
        let settings: FilterSettings =
            serde_json::from_value(given.into()).map_err(|error| format!("filter: {error}"))?;
        Self::try_from(settings)
    }
}

/// A request to change dead letters: `{"ids":[…]}`, or `{"handler":"x","all":true}`, optionally with `since`, `until`
/// and `filter`. Either form may have `"dryRun":true`.
#[derive(Deserialize)]
#[serde(try_from = "RowsRequest<Chosen>")]
pub(super) struct Wish {
    pub(super) which: Which,
    /// Only count the dead letters; change nothing.
    pub(super) dry_run: bool,
}

/// The dead letters that a changing request selects.
pub(super) enum Which {
    /// From 1 to [`LIMIT`] ids.
    Ids(Vec<i64>),
    /// All dead letters that match.
    Of(Box<Matching>),
}

impl TryFrom<RowsRequest<Chosen>> for Wish {
    type Error = String;

    fn try_from(mut written: RowsRequest<Chosen>) -> Result<Self, String> {
        let dry_run = written.dry_run.take().unwrap_or(false);
        let which = match written {
            RowsRequest {
                ids: None, handler: Some(handler), all: Some(true), since, until, filter, ..
            } => {
                let filter = filter.map(|chosen| chosen.filter).unwrap_or_default();
                let narrowed = Narrowed { since, until, filter };
                Which::Of(Box::new(Matching { handler: Some(handler), narrowed, ..Matching::default() }))
            }
            RowsRequest { ids: Some(_), .. } => Which::Ids(Ids::try_from(written)?.ids),
            _ => return Err("give either \"ids\", or \"handler\" and \"all\": true".to_owned()),
        };
        Ok(Self { which, dry_run })
    }
}

impl TryFrom<RowsRequest<Chosen>> for Ids {
    type Error = String;

    fn try_from(written: RowsRequest<Chosen>) -> Result<Self, String> {
        match written {
            RowsRequest {
                ids: Some(ids),
                handler: None,
                all: None,
                since: None,
                until: None,
                filter: None,
                dry_run: None,
            } if (1..=LIMIT).contains(&ids.len()) => Ok(Self { ids }),
            _ => Err(format!("ids: give 1 to {LIMIT} ids, and no other member")),
        }
    }
}
