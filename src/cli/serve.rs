//! `bikhook serve`: what happens without a command.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use tokio::sync::oneshot;

use super::{
    Error,
    auth::{fresh, instructions},
    log::Log,
    signals::Signals,
    warn,
};
use crate::{app, config::Config, http::SourceSettings, metrics::Metrics};

pub(super) fn run(config: Config) -> Result<(), Error> {
    let metrics = Metrics::new();
    let _log = Log::start(&config.log, &metrics)?;
    // A warning is a help: an output that takes nothing must not keep the receiver from starting.
    drop(warn(&config));
    let fresh = fresh(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let (stop, told) = oneshot::channel();
        let sources = config.sources.clone();
        let ready = |addresses: app::Addresses| {
            // A greeting is a help: a closed output must not end the receiver.
            drop(greet(&sources, &fresh, addresses));
        };
        let serving = app::serve(config, metrics, ready, async { drop(told.await) });
        let signalled = async {
            // The first asks for a stop, the second ends the process at once.
            signals.next().await;
            // Nobody hears it where serving has ended by itself.
            let _ = stop.send(());
            signals.next().await;
        };
        tokio::select! {
            served = serving => served.map_err(|error| {
                let told = error.to_string();
                if error.is_lasting() { Error::Unusable(told) } else { Error::Failed(told) }
            }),
            () = signalled => Err(Error::Failed("ended at once, as a second signal asked".to_owned())),
        }
    });
    // A destination that hangs may hold a thread for ever: it must not hold the process.
    runtime.shutdown_background();
    served
}

/// Secrets are shown once, by the start that makes them; later ones point to `bikhook auth`. What is kept elsewhere is
/// never shown: the output may be a log.
fn greet(
    sources: &BTreeMap<String, SourceSettings>,
    fresh: &BTreeMap<String, SourceSettings>,
    addresses: app::Addresses,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if fresh.is_empty() {
        for source in sources.values() {
            writeln!(out, "bikhook is ready: http://{}{}", addresses.http, source.path)?;
        }
        writeln!(out, "`bikhook auth` shows what to paste into BIK's developer portal.")?;
    } else {
        writeln!(
            out,
            "bikhook is ready. Paste this into BIK's developer portal (shown once; `bikhook auth` shows it again):"
        )?;
        write!(out, "{}", instructions(fresh, addresses.http))?;
    }
    out.flush()
}
