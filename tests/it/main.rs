//! One integration binary: a module per feature, plus contracts, faults, model, tidy.
// Tests spawn, wait and look at the clock as they please: .clippy.toml's rules are for the receiver.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod admin;
mod browser;
mod cli;
mod clock;
mod config;
mod contract;
mod crash;
mod dispatch;
mod event;
mod faults;
mod handlers;
mod http;
mod insight;
mod journal;
mod kinds;
mod metrics;
mod model;
mod packaging;
mod power;
mod process;
mod readme;
mod secrets;
mod start;
mod support;
mod tidy;
#[cfg(feature = "otel")]
mod traces;
