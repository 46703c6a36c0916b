//! Every kind of handler, with the real thing that it delivers to.

pub mod jsonl;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "redis")]
pub mod redis;
