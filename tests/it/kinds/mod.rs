//! Every kind of handler, with the real thing that it delivers to.

pub mod exec;
pub mod http;
pub mod jsonl;
