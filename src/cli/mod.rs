//! The command line, one file or folder per command. A command that fails returns an [`Error`]. `main` prints it and
//! exits with its code.

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
mod settings;
mod signals;
mod stats;
mod store;
mod stream;
mod tail;
mod terminal;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Parser, Subcommand};

use settings::ConfigError;

/// A webhook receiver for BIK: it stores each event once, durably, before it answers, and delivers it to pluggable
/// handlers.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
pub struct Cli {
    /// The configuration file. Without this option, BIKHOOK_CONFIG names the file; if neither is set, the defaults
    /// apply. BIKHOOK_… variables override the keys of the file and the defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Receive events and deliver them to the handlers (the default command)
    Serve,
    /// Check the configuration and show the effective settings
    Check(check::CheckArgs),
    /// Show what to paste into BIK's developer portal (prints secrets)
    Auth,
    /// Post files or generated traffic to a receiver
    Send(send::SendArgs),
    /// List received events
    Events(events::Args),
    /// Follow new events as they arrive, until interrupted
    Tail(tail::TailArgs),
    /// Show a message: its state and the events about it (contains personal data)
    Message(message::MessageArgs),
    /// Show figures: message outcomes, causes of failures, sources, and the lag of handlers and insight
    Stats(Box<stats::StatsArgs>),
    /// Rebuild insight from the journal
    Rebuild(rebuild::RebuildArgs),
    /// Write stored events, oldest first, as JSON lines, CSV or Parquet
    Export(export::Args),
    /// List the handlers and their progress, or change one (pause, resume, retry, skip, believe, rename)
    Handlers(handlers::HandlersArgs),
    /// List, show, retry or drop dead letters: events that a handler does not get unless an operator retries them
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Deliver stored events to a handler again
    Replay(Box<replay::ReplayArgs>),
    /// List, show, retry or drop bodies and elements that could not be stored as events
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Check whether the receiver is alive (exit code 0 or 1)
    Health(health::HealthArgs),
    /// Show whether the wall clock is trusted; accept it after a jump
    Clock(clock::ClockArgs),
    /// List the kinds of handlers and their configuration keys
    Kinds(kinds::KindsArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

impl Cli {
    /// Runs the command, or `serve` if none is given.
    ///
    /// # Errors
    /// Returns an [`Error`], which determines the exit code.
    pub fn run(self) -> Result<(), Error> {
        // Standard output is not locked here. Most commands write to it through another handle, and the lock would
        // block that handle on other threads.
        let out = &mut anstream::stdout();
        match self.dispatch(out).and_then(|()| Ok(out.flush()?)) {
            // A reader that closes the pipe early (`| head`) is not an error.
            Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    fn dispatch(&self, out: &mut impl Write) -> Result<(), Error> {
        match self.command.as_ref().unwrap_or(&CliCommand::Serve) {
            CliCommand::Serve => serve::run(self),
            CliCommand::Check(args) => check::run(args, self, out),
            CliCommand::Auth => auth::run(self, out),
            CliCommand::Send(args) => send::run(args, self),
            CliCommand::Events(args) => events::run(args, self),
            CliCommand::Tail(args) => tail::run(args, self),
            CliCommand::Message(args) => message::run(args, self),
            CliCommand::Stats(args) => stats::run(args, self),
            CliCommand::Rebuild(args) => rebuild::run(args, self),
            CliCommand::Export(args) => export::run(args, self),
            CliCommand::Handlers(args) => handlers::run(args, self),
            CliCommand::Dead(command) => dead::run(command, self),
            CliCommand::Replay(args) => replay::run(args, self),
            CliCommand::Quarantine(command) => quarantine::run(command, self),
            CliCommand::Health(args) => health::run(args, self),
            CliCommand::Clock(args) => clock::run(args, self),
            CliCommand::Kinds(args) => kinds::run(args, out),
            CliCommand::Completions(args) => completions::run(args, out),
        }
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
    /// A resource, for example a journal from a newer version of bikhook, cannot be used until an operator changes
    /// something. A retry does not help.
    #[error("{0}")]
    Unusable(String),
    /// The journal of a stopped receiver cannot be read.
    #[error(transparent)]
    Journal(#[from] crate::journal::Error),
    /// Any other failure; the text says what to do.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The exit code: 2 if something must be changed before a retry can succeed, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Unusable(_) => 2,
            Self::Output(_) | Self::Journal(_) | Self::Failed(_) => 1,
        }
    }

    /// The text to print. It may have colors. Print it through `anstream`, which strips them if the output is not a
    /// terminal.
    pub fn report(&self) -> String {
        match self {
            Self::Config(ConfigError::Invalid(report)) => report.render(true),
            other => format!("error: {other}"),
        }
    }
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
            assert!(matches!(cli.command, Some(CliCommand::Check(_))));
        }
    }
}
