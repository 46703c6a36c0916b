//! `bikhook serve`, which is also the default command.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use tokio::sync::oneshot;

use super::{
    Cli, Error,
    auth::{instructions, reachable},
    log::ProcessLog,
    settings::{generated_credentials, warn},
    signals::Signals,
};
use crate::{app, http::SourceSettings, metrics::Metrics};

pub(super) fn run(cli: &Cli) -> Result<(), Error> {
    let config = cli.load()?;
    let metrics = Metrics::new();
    let _log = ProcessLog::start(&config.log, &metrics)?;
    // A warning that cannot be printed must not prevent the start.
    drop(warn(&config));
    let generated = generated_credentials(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let (stop, shutdown) = oneshot::channel();
        let sources = config.sources.clone();
        let ready = |addresses: app::Addresses| {
            // A closed standard output must not end the receiver.
            drop(print_ready(&sources, &generated, addresses));
        };
        let serving = app::serve(config, metrics, ready, async { drop(shutdown.await) });
        let signalled = async {
            // The first signal requests a shutdown; the second ends the process at once.
            signals.next().await;
            // The channel is closed if the server has already ended by itself.
            let _ = stop.send(());
            signals.next().await;
        };
        tokio::select! {
            served = serving => served.map_err(|error| {
                let text = error.to_string();
                if error.is_lasting() { Error::Unusable(text) } else { Error::Failed(text) }
            }),
            () = signalled => Err(Error::Failed("stopped at once by a second signal".to_owned())),
        }
    });
    // A hanging destination may block a thread forever. Do not wait for that thread.
    runtime.shutdown_background();
    served
}

/// Prints the URL of each source and of the admin page, and the secrets that this process generated. Configured secrets
/// are never shown, because the output may be a log.
fn print_ready(
    sources: &BTreeMap<String, SourceSettings>,
    generated: &BTreeMap<String, SourceSettings>,
    addresses: app::Addresses,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !generated.is_empty() {
        writeln!(
            out,
            "bikhook is ready. Paste this into BIK's developer portal (shown once; `bikhook auth` shows it again):"
        )?;
        write!(out, "{}", instructions(generated, addresses.http))?;
    }
    for source in sources.iter().filter(|(name, _)| !generated.contains_key(*name)).map(|(_, source)| source)
    {
        writeln!(out, "bikhook is ready: http://{}{}", addresses.http, source.path)?;
    }
    if generated.is_empty() {
        writeln!(out, "`bikhook auth` shows what to paste into BIK's developer portal.")?;
    }
    writeln!(out, "Page: http://{}/", reachable(addresses.admin))?;
    out.flush()
}
