//! One integration binary: a module per feature, plus contracts, faults, model, tidy.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod admin;
mod cli;
mod config;
mod crash;
mod dispatch;
mod event;
mod handlers;
mod http;
mod journal;
mod model;
mod packaging;
mod process;
mod readme;
mod support;
mod tidy;
