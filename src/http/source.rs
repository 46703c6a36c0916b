//! A running source: a URL that BIK posts to.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::http::{HeaderMap, header::AUTHORIZATION};

use super::{
    auth::{CredentialStatus, Keyring},
    failures::AuthFailures,
    limits::Pace,
    places::{IntakeRoom, Places},
    refusal::Refusal,
    rules::{CheckedSource, Sources},
    settings::Settings,
    tally::Tally,
};
use crate::{
    journal::Journal,
    metrics::{Metrics, Silence},
};

/// The state that all sources share.
pub(super) struct Shared {
    pub(super) journal: Arc<dyn Journal>,
    room: IntakeRoom,
    failures: AuthFailures,
    pub(super) settings: Settings,
}

impl Shared {
    pub(super) fn new(
        settings: &Settings,
        sources: usize,
        journal: Arc<dyn Journal>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            journal,
            room: IntakeRoom::new(
                settings.in_flight,
                settings.in_flight_bytes.as_usize(),
                sources,
                metrics.in_flight.clone(),
            ),
            failures: AuthFailures::new(settings.auth_failures_per_minute),
            settings: settings.clone(),
        }
    }
}

/// A running source.
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) path: String,
    pub(super) shared: Arc<Shared>,
    pub(super) tally: Tally,
    pub(super) silence: Silence,
    pub(super) places: Places,
    /// `None` accepts every request.
    keyring: Option<Keyring>,
    pace: Option<Pace>,
}

impl Source {
    fn new(settings: &CheckedSource, shared: &Arc<Shared>, metrics: &Metrics) -> Self {
        let CheckedSource { name, path, credentials, rate } = settings;
        Self {
            keyring: credentials.as_ref().map(|credentials| Keyring::new(name, credentials, metrics)),
            path: path.clone(),
            places: shared.room.places(),
            shared: Arc::clone(shared),
            tally: Tally::new(name, metrics),
            silence: metrics.silence.get_or_create_owned(&vec![("source", Arc::clone(name))]),
            pace: rate.map(|rate| Pace::per(rate, Duration::from_secs(1))),
            name: Arc::clone(name),
        }
    }

    /// Checks the sender's credential. A valid credential is never delayed by failures of others at the same address.
    /// Too many failures from one address delay only the answers to failures.
    pub(super) async fn authenticate(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Refusal> {
        let Some(keyring) = &self.keyring else { return Ok(()) };
        let now = self.shared.journal.clock().now();
        let Err(denied) = keyring.judge(headers.get(AUTHORIZATION), now) else { return Ok(()) };
        Err(match self.shared.failures.count(peer).await {
            Ok(()) => denied.into(),
            Err(too_many) => Refusal::TooManyFailures { denied, too_many },
        })
    }

    /// Counts the request against the source's `rate`. Fails with [`Refusal::TooFast`] above it.
    pub(super) fn pace(&self) -> Result<(), Refusal> {
        self.pace.as_ref().map_or(Ok(()), Pace::take).map_err(Refusal::TooFast)
    }

    /// Returns whether the source needs no credential.
    pub(super) const fn is_open(&self) -> bool {
        self.keyring.is_none()
    }

    /// The status of the source's credentials; empty if it needs none.
    pub(super) fn credentials(&self) -> impl Iterator<Item = CredentialStatus> {
        self.keyring.iter().flat_map(|keyring| keyring.status(&self.name))
    }
}

/// All configured sources.
pub(super) fn all(sources: &Sources, shared: &Arc<Shared>, metrics: &Metrics) -> Vec<Arc<Source>> {
    sources.0.iter().map(|settings| Arc::new(Source::new(settings, shared, metrics))).collect()
}
