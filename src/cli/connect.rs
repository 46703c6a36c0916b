//! `bikhook check --connect`: opens all destinations concurrently.

use std::{io::Write, time::Duration};

use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Error, client::runtime, output::plain};
use crate::{
    config::HandlerConfig,
    handler::{Failure, OpenError},
};

/// The result of opening a destination.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    handler: String,
    kind: &'static str,
    destination: String,
    ok: bool,
    /// The error; for a file that is in use, the process that uses it.
    error: Option<String>,
    took_ms: u64,
}

enum Trouble {
    /// The running receiver or another process uses the destination.
    InUse(String),
    Refused(String),
}

/// Opens every destination and prints the results. Returns an error if any of them fails.
pub(super) fn run(handlers: Vec<HandlerConfig>, json: bool, out: &mut impl Write) -> Result<(), Error> {
    let runtime = runtime(&mut tokio::runtime::Builder::new_multi_thread())?;
    let rows = runtime.block_on(async {
        let mut looks = JoinSet::new();
        for (at, handler) in handlers.into_iter().enumerate() {
            looks.spawn(async move { (at, look(handler).await) });
        }
        let mut rows = looks.join_all().await;
        rows.sort_by_key(|(at, _)| *at);
        rows
    });
    // A hanging destination may block a thread. Do not wait for it.
    runtime.shutdown_background();
    for (_, row) in &rows {
        if json {
            writeln!(out, "{}", serde_json::to_string(row).map_err(std::io::Error::from)?)?;
        } else {
            let Row { handler, ok, error, took_ms, .. } = row;
            let said = match (ok, error) {
                (true, None) => "ok".to_owned(),
                (true, Some(error)) => format!("ok, but {}", plain(error)),
                (false, error) => format!("FAILED: {}", plain(error.as_deref().unwrap_or_default())),
            };
            writeln!(out, "connect  {handler}: {said} ({took_ms} ms)")?;
        }
    }
    match rows.iter().filter(|(_, row)| !row.ok).count() {
        0 => Ok(()),
        failed => {
            out.flush()?;
            Err(Error::Failed(format!("{failed} of {} destinations failed", rows.len())))
        }
    }
}

async fn look(handler: HandlerConfig) -> Row {
    let began = Instant::now();
    let in_time: Duration = *handler.dispatch.timeout;
    let looked = timeout(in_time, open(&handler)).await.unwrap_or_else(|_elapsed| {
        Err(Trouble::Refused(format!("no answer within {} s", in_time.as_secs_f64())))
    });
    let (ok, error) = match looked {
        Ok(()) => (true, None),
        Err(Trouble::InUse(by)) => (true, Some(by)),
        Err(Trouble::Refused(error)) => (false, Some(error)),
    };
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let HandlerConfig { name, kind, destination, .. } = handler;
    Row { handler: name.to_string(), kind: kind.name, destination, ok, error, took_ms }
}

async fn open(handler: &HandlerConfig) -> Result<(), Trouble> {
    let opened = (handler.opener)(handler.name.to_string()).await;
    let handler = opened.map_err(
        |OpenError { what, in_use, .. }| {
            if in_use { Trouble::InUse(what) } else { Trouble::Refused(what) }
        },
    )?;
    handler.look().await.map_err(|failure: Failure| Trouble::Refused(failure.to_string()))
}
