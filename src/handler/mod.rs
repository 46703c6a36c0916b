//! Handlers deliver events to destinations. This module has the [`Kind`] trait and [`KINDS`], the table of all kinds.
//!
//! The configuration, `bikhook kinds`, the setup of the log and the contract tests read the table. `CONTRIBUTING.md`
//! lists the steps to add a kind.
//!
//! A handler does not know the journal, so it cannot record there how its deliveries ended. Its [`Filter`] selects the
//! events, and dispatch decides when and how often they are delivered. A kind only delivers events, or returns why it
//! could not.

mod ack;
mod body;
mod ca;
mod condition;
mod deferred;
mod envelope;
mod exec;
mod failure_text;
mod filter;
mod given_up;
mod http;
mod jsonl;
#[cfg(feature = "kafka")]
mod kafka;
mod log;
mod mask;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
pub mod row;
#[cfg(feature = "s3")]
mod s3;
mod safe_text;
mod sqlite;
mod table;
mod template;
mod tls;
#[allow(dead_code, reason = "a build may have no kind that uses it")]
mod waves;

pub use condition::{ConditionSettings, Scalar};
pub use deferred::Deferred;
pub use failure_text::FailureText;
pub use filter::{Filter, FilterError, FilterSettings, Takes};
pub use log::TARGET as LOG_TARGET;
pub use mask::{Mask, MaskSettings};
pub use table::{ABSENT, Configured, Handler, KINDS, KindRow, Opener, Preview, Readiness};
pub use template::{Template, TemplateError};

use std::{fmt, future::Future, path::PathBuf, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use tokio::task::JoinError;

use crate::{
    event::{Event, Key, OrderKey, Unreadable},
    panics,
    settings::Wrong,
};
use ack::Ack;

/// A kind of handler: how it is configured and opened, and how it delivers events.
pub trait Kind: Sized + Send + Sync + 'static {
    /// The value of `kind = "…"` in the configuration.
    const NAME: &'static str;
    /// One-line description for `bikhook kinds`.
    const ABOUT: &'static str;
    /// Default for the maximum number of concurrent deliveries.
    const CONCURRENCY: usize;
    /// Default for the maximum number of events per delivery.
    const BATCH: usize;
    /// The kind's own configuration keys whose values bikhook may show. The values of the kind's other keys are hidden,
    /// because they may contain a secret.
    const HARMLESS: &'static [&'static str];
    /// The kind's own keys that hold a secret: a text, `{ env = … }`, `{ file = … }` or `{ generate = … }`.
    const SECRET: &'static [&'static str] = &[];
    /// Log targets of the kind's client library, off by default. Their lines may quote payloads, and some have level
    /// ERROR although nothing needs attention.
    const QUIET: &'static [&'static str] = &[];
    /// The kind's own keys of `[handlers.NAME]`, without the keys common to all kinds. The type must have
    /// `#[serde(deny_unknown_fields)]`.
    type Keys: DeserializeOwned;
    /// The checked keys, from which the handler is opened.
    type Settings: Clone + Send + Sync + 'static;

    /// Checks the keys after they are deserialized, without contacting the destination.
    ///
    /// # Errors
    /// Returns [`Wrong`] with the wrong key, and what to write instead.
    fn check(keys: Self::Keys) -> Result<Self::Settings, Wrong>;

    /// The files that the handler writes, each with the key that names it. No other part of the configuration may use
    /// them.
    fn files(_settings: &Self::Settings) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }

    /// A short description of the destination, for the log and for `check`. It contains no secret, and no path or query
    /// of a URL, because these may hold a token.
    fn destination(settings: &Self::Settings) -> String;

    /// The event as the destination receives it, as one line of JSON, for `check --show`. It contains no secret of the
    /// settings.
    fn shown(_settings: &Self::Settings, delivery: &Delivery) -> String {
        delivery.to_envelope()
    }

    /// Makes the handler from its settings and reads the files that they name. Does not contact the destination;
    /// [`Kind::look`] does. After a failure, `open` is called again. Intake never waits for `open`.
    ///
    /// # Errors
    /// Returns [`OpenError`] if the handler cannot be made, for example because a file in the settings is missing or
    /// invalid. The error says what to do about it.
    fn open(name: &str, settings: Self::Settings) -> impl Future<Output = Result<Self, OpenError>> + Send;

    /// Connects to the destination and checks it without delivering anything, so that problems show before the first
    /// event.
    ///
    /// # Errors
    /// Returns a [`Failure`], as a delivery does. Its text must be safe for logs: it quotes no event and no secret.
    fn look(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

    /// Delivers events in order; there is at least one. Returns `Ok` only when the destination has stored all of them
    /// durably.
    ///
    /// If a destination may accept only a part of a batch, the kind marks each event with [`Delivery::mark_sent`] and
    /// [`Delivery::mark_accepted`]. After a failure, accepted events count as delivered, and unsent ones as untried.
    /// Such a kind sends an event only after all earlier events of the same message are accepted.
    ///
    /// # Errors
    /// Returns a [`Failure`], which is about the events that were not accepted.
    fn deliver(&self, events: &[Delivery]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Reads and checks the keys of a kind, for tests.
#[cfg(test)]
fn settings_of<K: Kind>(toml: &str) -> Result<K::Settings, String> {
    let keys = toml::from_str(toml).map_err(|error| error.message().to_owned())?;
    K::check(keys).map_err(|wrong| wrong.to_string())
}

/// Asserts, for tests, that the settings of each case are wrong. The error must contain the word of the case, but not
/// the password `sesame`.
#[cfg(test)]
#[allow(dead_code, reason = "a build may have no kind that uses it")]
fn assert_wrong<K: Kind>(cases: &[(&str, &str)]) {
    for (toml, word) in cases {
        let error = settings_of::<K>(toml).err().unwrap_or_else(|| panic!("took {toml:?}"));
        assert!(error.contains(word) && !error.contains("sesame"), "{toml:?}: {error}");
    }
}

/// One event to be delivered by a handler.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event as the destination may see it: masked if the handler has a mask.
    pub event: Arc<Event>,
    /// Number of this attempt, counted from 1.
    pub attempt: u32,
    /// True if this delivery belongs to a replay, which an operator has requested.
    pub replay: bool,
    /// The event as it was received, if `event` is masked.
    received: Option<Arc<Event>>,
    /// The mark of this attempt: unsent, sent or accepted. The masked and the unmasked delivery of an event share it.
    ack: Ack,
}

impl Delivery {
    /// A delivery of the event as it was received; `attempt` counts from 1.
    pub fn new(event: Arc<Event>, attempt: u32, replay: bool) -> Self {
        Self { event, attempt, replay, received: None, ack: Ack::one() }
    }

    /// The deliveries of a batch: events as they were received, each with the number of its attempt.
    pub fn batch(events: Vec<(Arc<Event>, u32)>, replay: bool) -> Vec<Self> {
        let acks = Ack::batch(events.len());
        let deliveries = events.into_iter().zip(acks);
        deliveries
            .map(|((event, attempt), ack)| Self { event, attempt, replay, received: None, ack })
            .collect()
    }

    /// Returns this delivery with the event masked.
    ///
    /// # Errors
    /// Returns [`Unreadable`] if the masked text is not a valid event. Such an event must not be delivered.
    pub fn masked(&self, mask: &Mask) -> Result<Self, Unreadable> {
        if mask.is_empty() {
            return Ok(self.clone()); // keeps the received bytes, which a mask would render anew
        }
        let event = mask.apply(&self.event)?;
        Ok(Self { event, received: Some(Arc::clone(&self.event)), ..self.clone() })
    }

    /// Returns this delivery with the attempt number increased by one.
    #[must_use]
    pub(crate) fn next_attempt(&self) -> Self {
        Self { attempt: self.attempt.saturating_add(1), ..self.clone() }
    }

    /// The order key of the event, computed from the unmasked event. Events with the same order key get their first
    /// attempt in order, within a lane. `None` if the event has no `messageId`.
    pub fn order_key(&self) -> Option<OrderKey> {
        self.received.as_ref().unwrap_or(&self.event).order_key()
    }

    /// The key by which the destination recognizes a duplicate. It is the same in every delivery of this event, because
    /// it is computed from the unmasked event.
    pub fn key(&self) -> Key {
        self.received.as_ref().unwrap_or(&self.event).key()
    }
}

/// Why a delivery failed. The texts are stored in the journal. They are not logged, because they may quote the payload.
/// The texts of [`Kind::look`] are logged, because they quote no event.
///
/// While personal data is hidden, the operator's page shows nothing of `error` except [`FailureText::own`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The destination did not accept the events now. The same events may succeed later.
    #[error("{}", error.whole())]
    Retry {
        /// Error class that is safe for logs, such as `timeout` or `status 503`.
        class: String,
        /// The handler's text, and what it quotes.
        error: FailureText,
        /// How long the destination asked to wait before the next attempt; `None` if it did not ask.
        after: Option<Duration>,
        /// Whether the failure is about the event or the destination.
        about: About,
    },
    /// The destination will never accept these events.
    #[error("{}", error.whole())]
    Refuse {
        /// Error class that is safe for logs, such as `status 422`.
        class: String,
        /// The handler's text, and what it quotes.
        error: FailureText,
    },
    /// The destination does not match the handler's settings, for example because credentials, a permission or a name
    /// is wrong. An operator must correct the settings or the destination. Meanwhile the same events are retried.
    #[error("{}", error.whole())]
    Misconfigured {
        /// Error class that is safe for logs, such as `status 401`.
        class: String,
        /// The handler's text, and what it quotes.
        error: FailureText,
        /// Whether the failure is about the event or the destination.
        about: About,
    },
    /// The destination says that something is permanently gone, such as the URL. Perhaps only these events need it, so
    /// dispatch tries other messages. If they fail too, the handler pauses until an operator resumes it.
    #[error("{}", error.whole())]
    Gone {
        /// Error class that is safe for logs, such as `status 410`.
        class: String,
        /// The handler's text, and what it quotes.
        error: FailureText,
    },
}

/// Whether a failure is about the event or the destination. A kind that cannot distinguish them uses
/// [`About::Destination`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// About the event: the destination answered, and may accept another event. Dispatch tries another message at once.
    Event,
    /// About the destination: it accepts nothing now. Dispatch waits before the next attempt.
    #[default]
    Destination,
    /// Like [`About::Destination`], but no answer came: the destination may have accepted the events.
    Unanswered,
    /// About the event: the destination says that it already has the event. If one attempt got no answer, and two
    /// attempts get this answer, the event counts as delivered.
    Repetition,
}

impl Failure {
    /// [`Failure::Retry`] about the destination, without a wait time requested by it.
    pub fn retry(class: impl Into<String>, error: impl Into<FailureText>) -> Self {
        Self::retry_about(About::Destination, class, error)
    }

    /// [`Failure::Retry`] without a wait time requested by the destination.
    pub fn retry_about(about: About, class: impl Into<String>, error: impl Into<FailureText>) -> Self {
        Self::Retry { class: class.into(), error: error.into(), after: None, about }
    }

    /// [`Failure::Refuse`] with this class and text.
    pub fn refuse(class: impl Into<String>, error: impl Into<FailureText>) -> Self {
        Self::Refuse { class: class.into(), error: error.into() }
    }

    /// [`Failure::Misconfigured`] about the destination, with this class and text.
    pub fn misconfigured(class: impl Into<String>, error: impl Into<FailureText>) -> Self {
        Self::Misconfigured { class: class.into(), error: error.into(), about: About::Destination }
    }

    /// Adds a quoted text of the destination or the event. A page shows this text only while the page shows personal
    /// data.
    #[must_use]
    pub(crate) fn saying(mut self, said: impl fmt::Display) -> Self {
        self.text().quote(said);
        self
    }

    /// Prepends a location, such as the server's address, to the text.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        let text = self.text();
        text.own = format!("{place}: {}", text.own);
        self
    }

    /// Appends advice for the operator to the text.
    #[must_use]
    pub(crate) fn advised(mut self, advice: &str) -> Self {
        self.text().advise(advice);
        self
    }

    /// The name of the variant, and the class, for tests.
    #[cfg(test)]
    #[allow(dead_code, reason = "a build may have no kind that uses it")]
    fn outcome(&self) -> (&'static str, &str) {
        match self {
            Self::Retry { class, .. } => ("retry", class),
            Self::Refuse { class, .. } => ("refuse", class),
            Self::Misconfigured { class, .. } => ("misconfigured", class),
            Self::Gone { class, .. } => ("gone", class),
        }
    }

    const fn text(&mut self) -> &mut FailureText {
        let (Self::Retry { error, .. }
        | Self::Refuse { error, .. }
        | Self::Misconfigured { error, .. }
        | Self::Gone { error, .. }) = self;
        error
    }
}

/// Converts the error of a task that panicked or was cancelled: the delivery is retried.
impl From<JoinError> for Failure {
    fn from(ended: JoinError) -> Self {
        Self::retry("interrupted", panics::why_ended(&ended))
    }
}

/// Why a handler could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct OpenError {
    /// The problem, and what to do about it.
    pub what: String,
    /// True if another process or handler uses a resource that this handler needs. If a command opens this handler, the
    /// other process may be the running receiver.
    pub in_use: bool,
}

/// Makes an error that is not about a resource in use.
impl From<String> for OpenError {
    fn from(what: String) -> Self {
        Self { what, in_use: false }
    }
}

impl From<JoinError> for OpenError {
    fn from(ended: JoinError) -> Self {
        panics::why_ended(&ended).to_owned().into()
    }
}

#[cfg(test)]
impl Delivery {
    /// The first attempt to deliver an event, for unit tests. The event's source is `bik`.
    pub(crate) fn sample(seq: u64, raw: &str) -> Self {
        let time = crate::clock::Timestamp::default();
        let element = Arc::new(crate::event::Element::read(raw.as_bytes()).unwrap());
        let event = Event { seq, came_at: time, received_at: time, source: "bik".into(), element };
        Self::new(Arc::new(event), 1, false)
    }
}
