//! `bikhook serve`: what happens without a command.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Error, auth::instructions, warn};
use crate::{
    app,
    config::{Config, LogFormat, LogSettings},
    http::SourceSettings,
};

pub(super) fn run(mut config: Config) -> Result<(), Error> {
    start_log(&config.log)?;
    warn(&config)?;
    let made = config.store_generated().map_err(|error| Error::Failed(error.to_string()))?;
    // Secrets are shown once, when they were just made; later starts point to `bikhook auth`.
    let first_start = !made.is_empty();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, at_once) = (signalled(1)?, signalled(2)?);
        let sources = config.sources.clone();
        let ready = |addresses: app::Addresses| {
            // A greeting is a help: a closed output must not end the receiver.
            drop(greet(&sources, first_start, addresses));
        };
        tokio::select! {
            served = app::serve(config, ready, stop) => served.map_err(|error| Error::Failed(error.to_string())),
            () = at_once => Err(Error::Failed("a second signal: stopped at once, without waiting for deliveries".to_owned())),
        }
    })
}

fn greet(
    sources: &BTreeMap<String, SourceSettings>,
    first_start: bool,
    addresses: app::Addresses,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if first_start {
        writeln!(
            out,
            "bikhook is ready. Paste this into BIK's developer portal (shown once; `bikhook auth` shows it again):"
        )?;
        write!(out, "{}", instructions(sources, addresses.http))?;
    } else {
        for source in sources.values() {
            writeln!(out, "bikhook is ready: http://{}{}", addresses.http, source.path)?;
        }
        writeln!(out, "`bikhook auth` shows what to paste into BIK's developer portal.")?;
    }
    out.flush()
}

/// The log goes to the standard error: the standard output is for what a command is asked for.
fn start_log(settings: &LogSettings) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| Error::Failed(format!("[log] level: {error}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match settings.format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Error::Failed(format!("the log cannot be started: {error}")))
}

/// Resolves when SIGTERM or SIGINT has come so many times.
fn signalled(times: u32) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..times {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    })
}
