//! A source: a URL that BIK posts to, as it runs.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::http::{HeaderMap, header::AUTHORIZATION};

use super::{
    auth::{CredentialStatus, Keyring},
    limits::{Failures, Places, Rate, Ticks},
    refusal::Refusal,
    settings::{AuthMode, Settings, SourceSettings},
    tally::Tally,
};
use crate::{
    clock,
    journal::Journal,
    metrics::{Metrics, Silence},
};

/// Why the sources of a configuration cannot be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SourceError {
    /// A path that no request can have.
    #[error(
        "source {source_name:?}: the path {path:?} must begin with / and hold only characters of a URL's path"
    )]
    Path {
        /// The source.
        source_name: String,
        /// Its path.
        path: String,
    },
    /// Two sources at one path.
    #[error("sources {first:?} and {second:?} have the same path {path:?}")]
    SamePath {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// The path.
        path: String,
    },
    /// Anybody could post.
    #[error("source {source_name:?} has no credentials; if everybody may post to it, say auth = \"none\"")]
    NoCredentials {
        /// The source.
        source_name: String,
    },
    /// Credentials that nobody would ask for.
    #[error("source {source_name:?} has credentials, and auth = \"none\", which never asks for them")]
    Unasked {
        /// The source.
        source_name: String,
    },
    /// A credential that cannot work.
    #[error("source {source_name:?}: credential {credential:?} {what}")]
    Credential {
        /// The source.
        source_name: String,
        /// The credential's name.
        credential: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A bound that would let nothing in.
    #[error("{key} must be at least {least}")]
    Bound {
        /// Its key in the configuration.
        key: String,
        /// The least that works.
        least: u64,
    },
}

/// What all sources share.
pub(super) struct Shared {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) places: Places,
    pub(super) failures: Failures,
    pub(super) body_limit: u64,
    pub(super) body_timeout: Duration,
    pub(super) deadline: Duration,
}

impl Shared {
    pub(super) fn new(
        settings: &Settings,
        journal: Arc<dyn Journal>,
        metrics: &Metrics,
    ) -> Result<Self, SourceError> {
        for (key, value, least) in [
            ("http.body_limit", settings.body_limit.0, 1),
            ("http.header_limit", settings.header_limit.0, 1024),
            ("http.in_flight", settings.in_flight as u64, 1),
            ("http.in_flight_bytes", settings.in_flight_bytes.0, 1),
            ("http.connections", settings.connections as u64, 1),
        ] {
            if value < least {
                return Err(SourceError::Bound { key: key.to_owned(), least });
            }
        }
        Ok(Self {
            journal,
            places: Places::new(
                settings.in_flight,
                settings.in_flight_bytes.as_usize(),
                metrics.in_flight.clone(),
            ),
            failures: Failures::new(settings.auth_failures_per_minute),
            body_limit: settings.body_limit.0,
            body_timeout: *settings.body_timeout,
            deadline: *settings.deadline,
        })
    }
}

/// One source.
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) path: String,
    pub(super) shared: Arc<Shared>,
    pub(super) tally: Tally,
    pub(super) silence: Silence,
    /// `None` lets everybody in.
    keyring: Option<Keyring>,
    pace: Option<Pace>,
}

struct Pace {
    rate: Rate,
    ticks: Ticks,
    due_ns: AtomicU64,
}

impl Source {
    pub(super) fn new(
        name: &str,
        settings: &SourceSettings,
        shared: &Arc<Shared>,
        metrics: &Metrics,
    ) -> Result<Self, SourceError> {
        if !is_path(&settings.path) {
            return Err(SourceError::Path { source_name: name.to_owned(), path: settings.path.clone() });
        }
        if settings.rate == Some(0) {
            return Err(SourceError::Bound { key: format!("sources.{name}.rate"), least: 1 });
        }
        let label: Arc<str> = name.into();
        Ok(Self {
            keyring: keyring(&label, settings, metrics)?,
            path: settings.path.clone(),
            shared: Arc::clone(shared),
            tally: Tally::new(&label, metrics),
            silence: metrics.silence.get_or_create_owned(&vec![("source", Arc::clone(&label))]),
            pace: settings.rate.map(|rate| Pace {
                rate: Rate::per(rate, Duration::from_secs(1)),
                ticks: Ticks::start(),
                due_ns: AtomicU64::new(0),
            }),
            name: label,
        })
    }

    /// Whether this sender may post here. One that may is never held back by what others at its address got wrong.
    pub(super) fn authenticate(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(keyring) = &self.keyring else { return Ok(()) };
        keyring.judge(headers.get(AUTHORIZATION), clock::now()).map_err(|denied| {
            match peer.map_or(Ok(()), |peer| self.shared.failures.count(peer)) {
                Ok(()) => Refusal::NotAuthenticated(denied),
                Err(wait) => Refusal::TooManyFailures(denied, wait),
            }
        })
    }

    /// Whether the source is within its `rate`.
    pub(super) fn pace(&self) -> Result<(), Refusal> {
        let Some(pace) = &self.pace else { return Ok(()) };
        pace.rate.take(&pace.due_ns, pace.ticks.now_ns()).map_err(Refusal::TooFast)
    }

    /// Whether everybody may post to it.
    pub(super) const fn is_open(&self) -> bool {
        self.keyring.is_none()
    }

    /// What is known of its credentials.
    pub(super) fn credentials(&self) -> impl Iterator<Item = CredentialStatus> {
        self.keyring.iter().flat_map(|keyring| keyring.status(&self.name))
    }
}

fn keyring(
    name: &Arc<str>,
    settings: &SourceSettings,
    metrics: &Metrics,
) -> Result<Option<Keyring>, SourceError> {
    let source_name = name.as_ref().to_owned();
    match (settings.auth, settings.credentials.is_empty()) {
        (AuthMode::None, true) => Ok(None),
        (AuthMode::None, false) => Err(SourceError::Unasked { source_name }),
        (AuthMode::Basic, true) => Err(SourceError::NoCredentials { source_name }),
        (AuthMode::Basic, false) => Keyring::new(name, &settings.credentials, metrics)
            .map(Some)
            .map_err(|(credential, what)| SourceError::Credential { source_name, credential, what }),
    }
}

/// RFC 3986, `path-absolute`: no braces, so that none is a pattern to the router.
fn is_path(path: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    path.starts_with('/') && path.bytes().all(is_legal)
}

/// Every source of a configuration, by name.
pub(super) fn all(
    settings: &BTreeMap<String, SourceSettings>,
    shared: &Arc<Shared>,
    metrics: &Metrics,
) -> Result<Vec<Arc<Source>>, SourceError> {
    let mut by_path = BTreeMap::new();
    for (name, source) in settings {
        if let Some(first) = by_path.insert(&source.path, name) {
            return Err(SourceError::SamePath {
                first: first.clone(),
                second: name.clone(),
                path: source.path.clone(),
            });
        }
    }
    settings
        .iter()
        .map(|(name, settings)| Source::new(name, settings, shared, metrics).map(Arc::new))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_a_url_can_have() {
        for good in ["/", "/webhook", "/a/b-c/~d", "/%20", "/:x", "/*"] {
            assert!(is_path(good), "{good}");
        }
        for bad in ["", "webhook", "/a b", "/{x}", "/a?b", "/a#b", "/ä", "/a\\b"] {
            assert!(!is_path(bad), "{bad}");
        }
    }
}
