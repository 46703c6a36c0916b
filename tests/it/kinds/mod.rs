//! Every kind of handler, with a real destination.

pub mod ca;
pub mod exec;
pub mod http;
pub mod jsonl;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod log;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
mod pgbouncer;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "s3")]
pub mod s3;
pub mod sqlite;

use crate::contract::Destination;

/// The fixture of a kind for the contract tests.
pub struct Fixture {
    pub kind: &'static str,
    /// A destination of its own; `None` if the destination cannot be unreachable.
    pub destination: Option<fn() -> Box<dyn Destination>>,
    /// Settings that are wrong, and a word that the error must have.
    pub wrong: &'static [(&'static str, &'static str)],
}

pub const FIXTURES: &[Fixture] = &[
    log::FIXTURE,
    jsonl::FIXTURE,
    http::FIXTURE,
    exec::FIXTURE,
    sqlite::FIXTURE,
    #[cfg(feature = "postgres")]
    postgres::FIXTURE,
    #[cfg(feature = "nats")]
    nats::FIXTURE,
    #[cfg(feature = "redis")]
    redis::FIXTURE,
    #[cfg(feature = "rabbitmq")]
    rabbitmq::FIXTURE,
    #[cfg(feature = "s3")]
    s3::FIXTURE,
    #[cfg(feature = "kafka")]
    kafka::FIXTURE,
];
