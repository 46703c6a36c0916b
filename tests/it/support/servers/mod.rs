//! Real servers, private to a test: each on a free port of the loopback, with its data in a folder of its own.

pub mod certificate;
#[cfg(feature = "otel")]
pub mod collector;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "nats")]
pub mod nats_operator;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "nats", feature = "redis"))]
pub mod process;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "s3")]
pub mod s3;
pub mod web;

use std::net::TcpListener;

/// Ports that nobody listens at, all different.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
