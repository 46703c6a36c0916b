//! `bikhook check --connect`: opens all destinations concurrently.

use std::{io::Write, time::Duration};

use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Error,
    client::runtime,
    output::{json_line, plain},
    settings::HandlerConfig,
};
use crate::handler::OpenError;

/// The result of opening a destination.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectRow {
    handler: String,
    kind: &'static str,
    destination: String,
    ok: bool,
    /// The error. It is also set if another handler or process uses the destination file, but `ok` is then true.
    error: Option<String>,
    took_ms: u64,
}

/// Opens every destination and prints the results. Returns an error if any of them fails.
pub(super) fn run(handlers: Vec<HandlerConfig>, json: bool, out: &mut impl Write) -> Result<(), Error> {
    let runtime = runtime(&mut tokio::runtime::Builder::new_multi_thread())?;
    let rows = runtime.block_on(async {
        let mut checks = JoinSet::new();
        for (at, handler) in handlers.into_iter().enumerate() {
            checks.spawn(async move { (at, try_open(handler).await) });
        }
        let mut rows = checks.join_all().await;
        rows.sort_by_key(|(at, _)| *at);
        rows
    });
    // A hanging destination may block a thread. Do not wait for that thread.
    runtime.shutdown_background();
    for (_, row) in &rows {
        if json {
            json_line(out, row)?;
        } else {
            let ConnectRow { handler, ok, error, took_ms, .. } = row;
            let result = match error {
                None => "ok".to_owned(),
                Some(error) if *ok => format!("ok, but {}", plain(error)),
                Some(error) => format!("FAILED: {}", plain(error)),
            };
            writeln!(out, "connect  {handler}: {result} ({took_ms} ms)")?;
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

async fn try_open(handler: HandlerConfig) -> ConnectRow {
    let started = Instant::now();
    let limit: Duration = *handler.dispatch.timeout;
    let opened = timeout(limit, open(&handler))
        .await
        .unwrap_or_else(|_elapsed| Err(format!("no answer within {} s", limit.as_secs_f64()).into()));
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failure = opened.err();
    let ok = failure.as_ref().is_none_or(|failure| failure.in_use);
    let error = failure.map(|failure| failure.what);
    let HandlerConfig { name, kind, destination, .. } = handler;
    ConnectRow { handler: name.to_string(), kind: kind.name, destination, ok, error, took_ms }
}

async fn open(handler: &HandlerConfig) -> Result<(), OpenError> {
    let handler = (handler.opener)(handler.name.to_string()).await?;
    handler.look().await.map_err(|failure| failure.to_string().into())
}
