//! The table of kinds, and the one place where a kind's type is erased.

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

/// A handler of any kind.
pub trait Handler: Send + Sync + 'static {
    /// See [`Kind::deliver`].
    fn deliver<'a>(&'a self, events: &'a [Delivery]) -> BoxFuture<'a, Result<(), Failure>>;

    /// See [`Kind::look`]; opens the handler first where it is not open.
    fn look(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether it can deliver.
    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }
}

/// Whether a handler can deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is not open: [`Handler::look`] opens it.
    Closed,
    /// It is open, and its destination has not answered yet.
    Unchecked,
    /// Its destination has answered.
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

/// Opens a handler whose settings were read, as often as it is asked to.
pub type Opener = Arc<dyn Fn(String) -> Opening + Send + Sync>;
/// A handler that is being opened.
pub(super) type Opening = BoxFuture<'static, Result<Box<dyn Handler>, OpenError>>;

/// A handler whose settings were read.
pub struct Configured {
    /// Opens it.
    pub opener: Opener,
    /// See [`Kind::files`].
    pub files: Vec<(&'static str, PathBuf)>,
    /// See [`Kind::destination`].
    pub destination: String,
}

/// A row of the table.
pub struct KindRow {
    /// As in `kind = "…"`.
    pub name: &'static str,
    /// One line for `bikhook kinds`.
    pub about: &'static str,
    /// See [`Kind::CONCURRENCY`].
    pub concurrency: usize,
    /// See [`Kind::BATCH`].
    pub batch: usize,
    /// The names of the kind's own keys.
    pub keys: fn() -> &'static [&'static str],
    /// See [`Kind::shown`].
    pub shown: fn(&Delivery) -> String,
    /// Reads the kind's own settings from its part of the table.
    pub read: fn(crate::settings::Section) -> Result<Configured, crate::settings::Invalid>,
}

/// Every kind of this binary.
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
    /// As in `kind = "…"`.
    pub name: &'static str,
    /// The cargo feature that brings it.
    pub feature: &'static str,
}

/// The kinds that are behind a feature which this binary was built without.
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
        keys: crate::settings::keys_of::<K::Settings>,
        shown: K::shown,
        read: |section| {
            let settings: K::Settings = section.read_checked(K::check)?;
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
