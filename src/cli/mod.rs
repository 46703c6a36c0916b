//! The command line, one file per command. A command returns an [`Error`]; `main` prints it and exits with its code.

mod against;
mod auth;
mod changes;
mod check;
mod client;
mod clock;
mod completions;
mod connect;
mod dead;
mod events;
mod export;
mod handlers;
mod health;
mod kinds;
mod line;
mod log;
mod message;
mod output;
mod quarantine;
mod rebuild;
mod replay;
mod selection;
mod send;
mod serve;
mod signals;
mod stats;
mod store;
mod stream;
mod tail;
mod terminal;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Parser, Subcommand};

use crate::{
    admin,
    config::{Config, ConfigError},
};

pub use auth::instructions;

/// A webhook receiver for BIK: it stores each event once, durably, before it answers, and delivers it to pluggable
/// handlers.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
pub struct Cli {
    /// The configuration file; if absent, the file that BIKHOOK_CONFIG names, else the defaults. BIKHOOK_… variables
    /// override its keys
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Receive events and deliver them to the handlers (the default command)
    Serve,
    /// Check the configuration and show the effective settings
    Check(check::Args),
    /// Show what to paste into BIK's developer portal (prints secrets)
    Auth,
    /// Post files or generated traffic to a receiver
    Send(send::Args),
    /// List received events
    Events(events::Args),
    /// Follow new events as they arrive, until interrupted
    Tail(tail::Args),
    /// Show a message: its state and the events about it (contains personal data)
    Message(message::Args),
    /// Show figures: message outcomes, causes of failures, sources, and the lag of handlers and insight
    Stats(Box<stats::Args>),
    /// Rebuild insight from the journal
    Rebuild(rebuild::Args),
    /// Write stored events, oldest first, as JSON lines, CSV or Parquet
    Export(export::Args),
    /// List the handlers and their progress; pause, resume, retry, skip or rename one
    Handlers(handlers::Args),
    /// List, show, retry or drop dead letters: events that a handler does not get unless an operator retries them
    Dead(dead::Args),
    /// Deliver stored events to a handler again
    Replay(Box<replay::Args>),
    /// List, show, retry or drop bodies and elements that could not be stored as events
    Quarantine(quarantine::Args),
    /// Check whether the receiver is alive (exit code 0 or 1)
    Health(health::Args),
    /// Show whether the wall clock is trusted; accept it after a jump
    Clock(clock::Args),
    /// List the kinds of handlers and their keys
    Kinds(kinds::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

impl Cli {
    /// Runs the command, or `serve` if none is given.
    ///
    /// # Errors
    /// Returns an [`Error`], which determines the exit code.
    pub fn run(self) -> Result<(), Error> {
        // Standard output is not locked, because `serve` writes from many threads.
        let out = &mut anstream::stdout();
        match self.dispatch(out).and_then(|()| Ok(out.flush()?)) {
            // A reader that closes the pipe early (`| head`) is not an error.
            Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    fn dispatch(&self, out: &mut impl Write) -> Result<(), Error> {
        match self.command.as_ref().unwrap_or(&Command::Serve) {
            Command::Serve => serve::run(self.load()?),
            Command::Check(args) => check::run(args, self, out),
            Command::Auth => auth::run(&self.load()?, out),
            Command::Send(args) => send::run(args, self),
            Command::Events(args) => events::run(args, self),
            Command::Tail(args) => tail::run(args, self),
            Command::Message(args) => message::run(args, self),
            Command::Stats(args) => stats::run(args, self),
            Command::Rebuild(args) => rebuild::run(args, self),
            Command::Export(args) => export::run(args, self),
            Command::Handlers(args) => handlers::run(args, self),
            Command::Dead(args) => dead::run(args, self),
            Command::Replay(args) => replay::run(args, self),
            Command::Quarantine(args) => quarantine::run(args, self),
            Command::Health(args) => health::run(args, self),
            Command::Clock(args) => clock::run(args, self),
            Command::Kinds(args) => kinds::run(args, out),
            Command::Completions(args) => completions::run(args, out),
        }
    }

    fn load(&self) -> Result<Config, Error> {
        Ok(Config::load(self.file().as_deref(), std::env::vars_os())?)
    }

    fn load_admin(&self) -> Result<admin::Settings, Error> {
        Ok(Config::load_admin(self.file().as_deref(), std::env::vars_os())?)
    }

    fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| variable("BIKHOOK_CONFIG").map(PathBuf::from))
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// A configured resource cannot be used, such as a journal of a newer version. A retry does not help.
    #[error("{0}")]
    Unusable(String),
    /// Any other failure; the text says what to do.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The exit code: 2 if something must be changed before a retry can succeed, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Unusable(_) => 2,
            Self::Output(_) | Self::Failed(_) => 1,
        }
    }

    /// The text to print. It has colors, which the stream strips if it is not a terminal.
    pub fn report(&self) -> String {
        match self {
            Self::Config(ConfigError::Invalid(report)) => report.render(true),
            other => format!("error: {other}"),
        }
    }
}

/// An environment variable. An empty one counts as not set, because container tools leave empty variables.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Prints the warnings of a valid configuration on standard error.
fn warn(config: &Config) -> io::Result<()> {
    if config.warnings.is_empty() {
        return Ok(());
    }
    writeln!(anstream::stderr().lock(), "{}", config.warnings.render(true))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_configuration_may_be_named_before_or_after_the_command() {
        for line in [["bikhook", "--config", "a.toml", "check"], ["bikhook", "check", "--config", "a.toml"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.config, Some(PathBuf::from("a.toml")));
            assert!(matches!(cli.command, Some(Command::Check(_))));
        }
    }
}
