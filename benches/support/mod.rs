//! Modules that the benches share.
#![allow(dead_code)] // compiled into each bench, and each uses only some of it

pub mod disk;
pub mod events;
pub mod fill;
pub mod floor;
pub mod in_turn;
pub mod latency;
pub mod open_loop;
#[path = "../../tests/it/support/patience.rs"]
pub mod patience;
pub mod probe;
pub mod report;
#[allow(clippy::unwrap_used)] // of the tests
#[path = "../../tests/it/support/root.rs"]
pub mod root;
pub mod run;
pub mod sender;
pub mod server;
pub mod wrk;
