//! bikhook

pub mod cli;

pub mod config;

pub mod admin;
pub mod dispatch;
pub mod http;

pub mod handler;

pub mod journal;

pub mod event;

pub mod settings;

pub mod clock;
pub mod metrics;
pub mod secret;
