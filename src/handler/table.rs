//! The table of kinds. Only here is the type of a kind erased.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

#[cfg(feature = "kafka")]
use super::kafka::Kafka;
#[cfg(feature = "nats")]
use super::nats::Nats;
#[cfg(feature = "postgres")]
use super::postgres::Postgres;
#[cfg(feature = "rabbitmq")]
use super::rabbitmq::RabbitMq;
#[cfg(feature = "redis")]
use super::redis::Redis;
#[cfg(feature = "s3")]
use super::s3::S3;
use super::{
    Delivery, Failure, Kind, OpenError, exec::Exec, http::Http, jsonl::Jsonl, log::Log, sqlite::Sqlite,
};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A handler of any kind, with its type erased.
pub trait Handler: Send + Sync + 'static {
    /// See [`Kind::deliver`] for the contract.
    fn deliver<'a>(&'a self, events: &'a [Delivery]) -> BoxFuture<'a, Result<(), Failure>>;

    /// See [`Kind::look`]. If the handler is not open, opens it first.
    fn look(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns whether the handler can deliver now.
    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }
}

/// Whether a handler is open and its destination has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The handler is not open; [`Handler::look`] opens it.
    Closed,
    /// The handler is open, but its destination has not answered yet.
    Unchecked,
    /// The handler is open and its destination has answered.
    Ready,
}

impl<K: Kind> Handler for K {
    fn deliver<'a>(&'a self, events: &'a [Delivery]) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(Kind::deliver(self, events))
    }

    fn look(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(Kind::look(self))
    }
}

/// Opens a handler from settings that were read. May be called repeatedly.
pub type Opener = Arc<dyn Fn(String) -> Opening + Send + Sync>;
/// The future of opening a handler.
pub(super) type Opening = BoxFuture<'static, Result<Box<dyn Handler>, OpenError>>;

/// A handler whose settings were read, ready to be opened.
pub struct Configured {
    /// Opens the handler; takes its name.
    pub opener: Opener,
    /// See [`Kind::files`] for the meaning.
    pub files: Vec<(&'static str, PathBuf)>,
    /// See [`Kind::destination`] for the format.
    pub destination: String,
}

/// A row of the table of kinds.
pub struct KindRow {
    /// The value of `kind = "…"` in the configuration.
    pub name: &'static str,
    /// One-line description for `bikhook kinds`.
    pub about: &'static str,
    /// Default for concurrent deliveries; see [`Kind::CONCURRENCY`].
    pub concurrency: usize,
    /// Default for events per delivery; see [`Kind::BATCH`].
    pub batch: usize,
    /// The names of the kind's own configuration keys.
    pub keys: fn() -> &'static [&'static str],
    /// See [`Kind::shown`] for the format.
    pub shown: fn(&Delivery) -> String,
    /// Reads the kind's own settings from the handler's section of the configuration.
    pub read: fn(crate::settings::Section) -> Result<Configured, crate::settings::Invalid>,
}

/// All kinds in this binary.
pub const KINDS: &[KindRow] = &[
    row::<Log>(),
    row::<Jsonl>(),
    row::<Http>(),
    row::<Exec>(),
    row::<Sqlite>(),
    #[cfg(feature = "postgres")]
    row::<Postgres>(),
    #[cfg(feature = "nats")]
    row::<Nats>(),
    #[cfg(feature = "redis")]
    row::<Redis>(),
    #[cfg(feature = "rabbitmq")]
    row::<RabbitMq>(),
    #[cfg(feature = "s3")]
    row::<S3>(),
    #[cfg(feature = "kafka")]
    row::<Kafka>(),
];

/// A kind that this binary was built without.
pub struct AbsentKind {
    /// The value of `kind = "…"` in the configuration.
    pub name: &'static str,
    /// The cargo feature that includes the kind.
    pub feature: &'static str,
}

/// The kinds whose cargo feature is disabled in this binary.
pub const ABSENT: &[AbsentKind] = &[
    #[cfg(not(feature = "nats"))]
    AbsentKind { name: "nats", feature: "nats" },
    #[cfg(not(feature = "redis"))]
    AbsentKind { name: "redis", feature: "redis" },
    #[cfg(not(feature = "rabbitmq"))]
    AbsentKind { name: "rabbitmq", feature: "rabbitmq" },
    #[cfg(not(feature = "s3"))]
    AbsentKind { name: "s3", feature: "s3" },
    #[cfg(not(feature = "kafka"))]
    AbsentKind { name: "kafka", feature: "kafka" },
    #[cfg(not(feature = "postgres"))]
    AbsentKind { name: "postgres", feature: "postgres" },
];

const fn row<K: Kind>() -> KindRow {
    KindRow {
        name: K::NAME,
        about: K::ABOUT,
        concurrency: K::CONCURRENCY,
        batch: K::BATCH,
        keys: crate::settings::keys_of::<K::Keys>,
        shown: K::shown,
        read: |section| {
            let settings = section.read_checked(K::check)?;
            let files = K::files(&settings);
            let destination = K::destination(&settings);
            let opener: Opener = Arc::new(move |name| {
                let settings = settings.clone();
                Box::pin(async move {
                    let handler = K::open(&name, settings).await?;
                    Ok(Box::new(handler) as Box<dyn Handler>)
                })
            });
            Ok(Configured { opener, files, destination })
        },
    }
}
