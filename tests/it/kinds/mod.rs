//! Every kind of handler, with the real thing that it delivers to.

mod jsonl;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "s3")]
pub mod s3;
