//! Lets the real receiver deliver a backlog, and polls its API until all of it is delivered.

use std::{path::Path, thread, time::Duration};

use serde_json::Value;
use tokio::runtime::Runtime;

use super::support::{run::Failed, server::Server};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// Starts the receiver on the journal in a folder, with one handler that starts at the beginning, and waits until both
/// lanes have passed this number of events. Returns the time since the receiver was ready.
pub fn drain(
    runtime: &Runtime,
    folder: &Path,
    handler: &str,
    settings: &str,
    events: u64,
) -> Result<Duration, Failed> {
    let server =
        Server::receiver(folder, &format!("[handlers.{handler}]\n{settings}\nstart = \"beginning\"\n"))?;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    let url = format!("http://{}/api/v1/handlers", server.admin);
    loop {
        let took = server.ready_at.elapsed();
        let answer = runtime.block_on(async { client.get(&url).send().await?.json::<Value>().await })?;
        let lanes =
            answer["handlers"].as_array().into_iter().flatten().flat_map(|row| row["lanes"].as_array());
        let lanes: Vec<&Value> = lanes.flatten().collect();
        if let Some(lane) = lanes.iter().find(|lane| lane["failures"] != 0 || lane["setAside"] != 0) {
            return Err(format!("a delivery failed: {lane}").into());
        }
        // The time counts up to the start of the poll that finds the backlog delivered.
        if lanes.len() == 2 && lanes.iter().all(|lane| lane["cursor"].as_u64() >= Some(events)) {
            return Ok(took);
        }
        if took > GIVE_UP_AFTER {
            return Err(format!("the backlog is not delivered after {} s: {answer}", took.as_secs()).into());
        }
        thread::sleep(LOOK_EVERY);
    }
}
