//! Every kind of handler, with the real thing that it delivers to.

mod jsonl;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;
