//! The table of kinds, and [`Handler`], which erases the type of a kind.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

use super::{Delivery, Failure, Kind, OpenError};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A handler of any kind.
pub trait Handler: Send + Sync + 'static {
    /// See [`Kind::deliver`] for the contract.
    fn deliver<'a>(&'a self, events: &'a [Delivery]) -> BoxFuture<'a, Result<(), Failure>>;

    /// See [`Kind::look`]. If the handler is not open, opens it first.
    fn look(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns whether the handler is open and its destination has answered.
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
        if events.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(Kind::deliver(self, events))
    }

    fn look(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(Kind::look(self))
    }
}

/// Opens a handler from settings that were read; takes the handler's name. May be called repeatedly.
pub type Opener = Arc<dyn Fn(String) -> Opening + Send + Sync>;
pub(super) type Opening = BoxFuture<'static, Result<Box<dyn Handler>, OpenError>>;

/// Renders an event as the destination of a handler receives it; see [`Kind::shown`].
pub type Preview = Arc<dyn Fn(&Delivery) -> String + Send + Sync>;

/// A handler whose settings were read, ready to be opened.
pub struct Configured {
    /// Opens the handler.
    pub opener: Opener,
    /// Renders an event for `check --show`.
    pub preview: Preview,
    /// See [`Kind::files`] for the meaning.
    pub files: Vec<(&'static str, PathBuf)>,
    /// See [`Kind::destination`] for the format.
    pub destination: String,
}

/// A row of the table of kinds. A field without a doc comment is the constant or function of [`Kind`] with the same
/// name.
pub struct KindRow {
    pub name: &'static str,
    pub about: &'static str,
    pub concurrency: usize,
    pub batch: usize,
    /// The names of the kind's own configuration keys.
    pub keys: fn() -> &'static [&'static str],
    pub harmless: &'static [&'static str],
    pub secret: &'static [&'static str],
    pub quiet: &'static [&'static str],
    /// Reads the kind's own settings from the handler's section of the configuration.
    pub read: fn(crate::settings::Section) -> Result<Configured, crate::settings::Invalid>,
}

/// All kinds in this binary.
pub const KINDS: &[KindRow] = &[
    row::<super::log::Log>(),
    row::<super::jsonl::Jsonl>(),
    row::<super::http::Http>(),
    row::<super::exec::Exec>(),
    row::<super::sqlite::Sqlite>(),
    #[cfg(feature = "postgres")]
    row::<super::postgres::Postgres>(),
    #[cfg(feature = "nats")]
    row::<super::nats::Nats>(),
    #[cfg(feature = "redis")]
    row::<super::redis::Redis>(),
    #[cfg(feature = "rabbitmq")]
    row::<super::rabbitmq::RabbitMq>(),
    #[cfg(feature = "s3")]
    row::<super::s3::S3>(),
    #[cfg(feature = "kafka")]
    row::<super::kafka::Kafka>(),
];

/// The kinds that this binary was built without. The cargo feature of such a kind has the same name.
pub const ABSENT: &[&str] = &[
    #[cfg(not(feature = "postgres"))]
    "postgres",
    #[cfg(not(feature = "nats"))]
    "nats",
    #[cfg(not(feature = "redis"))]
    "redis",
    #[cfg(not(feature = "rabbitmq"))]
    "rabbitmq",
    #[cfg(not(feature = "s3"))]
    "s3",
    #[cfg(not(feature = "kafka"))]
    "kafka",
];

const fn row<K: Kind>() -> KindRow {
    KindRow {
        name: K::NAME,
        about: K::ABOUT,
        concurrency: K::CONCURRENCY,
        batch: K::BATCH,
        keys: crate::settings::keys_of::<K::Keys>,
        harmless: K::HARMLESS,
        secret: K::SECRET,
        quiet: K::QUIET,
        read: |section| {
            let settings = section.read_checked(K::check)?;
            let files = K::files(&settings);
            let destination = K::destination(&settings);
            let shown = settings.clone();
            let preview: Preview = Arc::new(move |delivery| K::shown(&shown, delivery));
            let opener: Opener = Arc::new(move |name| {
                let settings = settings.clone();
                Box::pin(async move {
                    let handler = K::open(&name, settings).await?;
                    Ok(Box::new(handler) as Box<dyn Handler>)
                })
            });
            Ok(Configured { opener, preview, files, destination })
        },
    }
}
