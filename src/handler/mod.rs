//! Where events go: the [`Kind`] of a handler, and the table of kinds.
//!
//! A new kind is one file, its `mod` line, and its row in [`KINDS`]: configuration, `bikhook kinds`, `check`, metrics
//! and the contract tests read the table (these ask for its least settings and for some that are wrong). A handler does
//! not know the journal: it cannot acknowledge itself. Which events it gets is its [`Filter`]'s to say, and when and
//! how often is dispatch's; a kind only delivers, or says why not.

#[cfg(any(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod body;
mod ca;
mod condition;
mod deferred;
mod envelope;
mod exec;
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
mod row;
#[cfg(feature = "s3")]
mod s3;
mod safe_text;
mod sqlite;
mod table;
mod template;
mod tls;
#[cfg(any(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod waves;

pub use condition::{ConditionError, ConditionSettings, Scalar};
pub use deferred::Deferred;
pub use filter::{Filter, FilterError, FilterSettings, Takes};
pub use log::TARGET as LOG_TARGET;
pub use mask::{Mask, MaskError, MaskSettings};
pub use table::{ABSENT, AbsentKind, Configured, Handler, KINDS, KindRow, Opener, Readiness};
pub use template::{Part, Placeholder, Template, TemplateError};

use std::{fmt, future::Future, path::PathBuf, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use crate::event::{Event, Key, OrderKey, Unreadable};

/// Parts of client libraries that say nothing unless they are asked: their lines may quote payloads, and call an ERROR what
/// is none. As in `[log] level`.
pub const QUIET: &str = "lapin=off,async_nats=off,librdkafka=off,rdkafka=off";

/// A kind of handler: how it is configured, opened, and given events.
pub trait Kind: Sized + Send + Sync + 'static {
    /// As in `kind = "…"`.
    const NAME: &'static str;
    /// One line for `bikhook kinds`.
    const ABOUT: &'static str;
    /// How many deliveries may be under way at once, unless the configuration says otherwise.
    const CONCURRENCY: usize;
    /// How many events a delivery has at most, unless the configuration says otherwise.
    const BATCH: usize;
    /// Its own keys of `[handlers.NAME]`, with `deny_unknown_fields`; the common keys are not among them.
    type Settings: DeserializeOwned + Clone + Send + Sync + 'static;

    /// The files that it writes, with the keys that name them: nothing else may have them.
    fn files(_settings: &Self::Settings) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }

    /// Where its events go, in a few words for the log and for `check`: no secret, and no path or query of a URL, which
    /// may hold a token.
    fn destination(settings: &Self::Settings) -> String;

    /// Judges settings that can each be read, without a look at the destination: the key at fault, and what to write
    /// (`key: what`).
    ///
    /// # Errors
    /// What is wrong.
    fn check(_settings: &Self::Settings) -> Result<(), String> {
        Ok(())
    }

    /// An event as its destination has it, as one line of JSON: for `check --show`.
    fn shown(delivery: &Delivery) -> String {
        delivery.to_envelope()
    }

    /// Makes the handler from its settings: reads the files that they name. Called again after each failure, never on the
    /// way of intake. The destination is [`Kind::look`]'s.
    ///
    /// # Errors
    /// [`OpenError`] where what the settings name is wrong; it says what to do about it.
    fn open(name: &str, settings: Self::Settings) -> impl Future<Output = Result<Self, OpenError>> + Send;

    /// Connects to the destination and checks it without delivering anything: so trouble is shown before the first event.
    ///
    /// # Errors
    /// [`Failure`], as of a delivery. Its text is safe for logs: it quotes no event and no secret.
    fn look(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

    /// Delivers events, in order; `Ok` only when the destination has all of them for good.
    ///
    /// # Errors
    /// [`Failure`]: the whole of what dispatch needs to know.
    fn deliver(&self, events: &[Delivery]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// One event on its way to a handler.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event, as the destination may see it: masked where the handler masks.
    pub event: Arc<Event>,
    /// Which try this is, counted from 1.
    pub attempt: u32,
    /// It was delivered before, and is delivered again because somebody asked for it.
    pub replay: bool,
    /// The event as it was received, where `event` is not that.
    received: Option<Arc<Event>>,
}

impl Delivery {
    /// An event as it was received; `attempt` counts from 1.
    pub const fn new(event: Arc<Event>, attempt: u32, replay: bool) -> Self {
        Self { event, attempt, replay, received: None }
    }

    /// The same, with the event as the mask leaves it.
    ///
    /// # Errors
    /// [`Unreadable`]: masked, it would be no event, and must not be delivered.
    pub fn masked(&self, mask: &Mask) -> Result<Self, Unreadable> {
        let event = mask.apply(&self.event)?;
        Ok(Self { event, received: Some(Arc::clone(&self.event)), ..self.clone() })
    }

    /// The same, as it is tried once more.
    #[must_use]
    pub fn next_attempt(&self) -> Self {
        Self { attempt: self.attempt.saturating_add(1), ..self.clone() }
    }

    /// What the event is ordered by, whatever is masked.
    pub fn order_key(&self) -> Option<OrderKey> {
        self.received.as_ref().unwrap_or(&self.event).order_key()
    }

    /// The id by which the destination knows a repetition: the same in every delivery of this event, whatever is masked.
    pub fn key(&self) -> Key {
        self.received.as_ref().unwrap_or(&self.event).key()
    }
}

/// Why a delivery did not succeed. The texts may quote the payload: they go into rows, never into logs.
///
/// A whole story begins with words of the handler's own, and has whatever was quoted or said by the destination behind its
/// first colon: the operator's page shows what is before it even while personal data is hidden.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The destination is unwell; the same events may succeed later.
    #[error("{error}")]
    Retry {
        /// A class that is safe for logs, such as `timeout` or `status 503`.
        class: String,
        /// The whole story.
        error: String,
        /// How long the destination asked to be left alone.
        after: Option<Duration>,
        /// Whether the event or the destination is in question.
        about: About,
    },
    /// The destination will never take these events.
    #[error("{error}")]
    Refuse {
        /// A class that is safe for logs, such as `status 422`.
        class: String,
        /// The whole story.
        error: String,
    },
    /// The destination is not as the handler's settings say (credentials, permission, name): a person must look. The same
    /// events are tried again meanwhile.
    #[error("{error}")]
    Misconfigured {
        /// A class that is safe for logs, such as `status 401`.
        class: String,
        /// The whole story.
        error: String,
        /// Whether the event or the destination is in question.
        about: About,
    },
    /// The destination is gone for good, and says so: the handler pauses until somebody resumes it.
    #[error("{error}")]
    Gone {
        /// A class that is safe for logs, such as `status 410`.
        class: String,
        /// The whole story.
        error: String,
    },
}

/// What a failed delivery is about. A kind that cannot tell says [`About::Destination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The event: the destination answered, and may take another one. Another message is tried at once.
    Event,
    /// The destination: it takes nothing now. It is left alone for a while first.
    Destination,
    /// As [`About::Destination`], but no answer came: it may have taken the events.
    Unanswered,
    /// The event: the destination says that it has it already. Where an attempt before had no answer and it says so twice,
    /// the event counts as delivered.
    Repetition,
}

impl Failure {
    /// [`Failure::Retry`] about the destination, without a time that it asked for.
    pub fn retry(class: impl Into<String>, error: impl fmt::Display) -> Self {
        Self::retry_about(About::Destination, class, error)
    }

    /// [`Failure::Retry`], without a time that the destination asked for.
    pub fn retry_about(about: About, class: impl Into<String>, error: impl fmt::Display) -> Self {
        Self::Retry { class: class.into(), error: error.to_string(), after: None, about }
    }

    /// [`Failure::Refuse`].
    pub fn refuse(class: impl Into<String>, error: impl fmt::Display) -> Self {
        Self::Refuse { class: class.into(), error: error.to_string() }
    }

    /// [`Failure::Misconfigured`] about the destination.
    pub fn misconfigured(class: impl Into<String>, error: impl fmt::Display) -> Self {
        Self::Misconfigured { class: class.into(), error: error.to_string(), about: About::Destination }
    }

    /// The same failure, its story told in other words.
    #[must_use]
    pub fn retold(mut self, tell: impl FnOnce(String) -> String) -> Self {
        let (Self::Retry { error, .. }
        | Self::Refuse { error, .. }
        | Self::Misconfigured { error, .. }
        | Self::Gone { error, .. }) = &mut self;
        *error = tell(std::mem::take(error));
        self
    }
}

/// Why a handler could not be opened; says what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("handler {handler:?} ({kind}): {what}")]
pub struct OpenError {
    /// Its name in the configuration.
    pub handler: String,
    /// Its kind.
    pub kind: &'static str,
    /// What is wrong.
    pub what: String,
    /// Another process has what it needs: the receiver that runs, perhaps.
    pub in_use: bool,
}

impl OpenError {
    /// Of what nobody else has.
    pub fn new(handler: &str, kind: &'static str, what: String) -> Self {
        Self { handler: handler.to_owned(), kind, what, in_use: false }
    }
}
