//! `bikhook serve`, which is also the default command.

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
    // A warning that cannot be printed must not prevent the start.
    drop(warn(&config));
    let fresh = fresh(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let (stop, told) = oneshot::channel();
        let sources = config.sources.clone();
        let ready = |addresses: app::Addresses| {
            // A closed standard output must not end the receiver.
            drop(greet(&sources, &fresh, addresses));
        };
        let serving = app::serve(config, metrics, ready, async { drop(told.await) });
        let signalled = async {
            // The first signal requests a shutdown; the second ends the process at once.
            signals.next().await;
            // The channel is closed if the server has already ended by itself.
            let _ = stop.send(());
            signals.next().await;
        };
        tokio::select! {
            served = serving => served.map_err(|error| {
                let told = error.to_string();
                if error.is_lasting() { Error::Unusable(told) } else { Error::Failed(told) }
            }),
            () = signalled => Err(Error::Failed("stopped at once by a second signal".to_owned())),
        }
    });
    // A hanging destination may block a thread forever. Do not wait for it.
    runtime.shutdown_background();
    served
}

/// Prints the URLs. Generated secrets are shown once, by the start that generates them; later starts point to
/// `bikhook auth`. Configured secrets are never shown, because the output may be a log.
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
