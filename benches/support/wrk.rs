//! A closed loop of requests with `wrk`: each connection sends its next request after it has received an answer.

use std::{fmt::Write, net::SocketAddr, path::Path, process::Command, time::Duration};

use super::{
    events::{AUTHORIZATION, ID_DIGITS, STATUS},
    run::Failed,
};

/// One run.
pub struct Load {
    /// Number of connections.
    pub connections: u32,
    /// Number of threads of the generator.
    pub threads: u32,
    /// How long to send.
    pub duration: Duration,
    /// Events per body.
    pub events: u32,
    /// The prefix of the run's ids: less than 10,000, and unique among the runs on one journal.
    pub run: u32,
}

/// The results of a run.
pub struct Outcome {
    /// Number of answered requests.
    pub requests: f64,
    /// Answered requests per second.
    pub per_second: f64,
    /// The median latency in ms.
    pub p50_ms: f64,
    /// The p99 latency in ms.
    pub p99_ms: f64,
    /// The maximum latency in ms.
    pub max_ms: f64,
    /// Number of answers other than 2xx and 3xx, and of requests without an answer.
    pub failed: f64,
}

impl Load {
    /// Sends requests to a server. Writes the script for wrk to the folder.
    pub fn run(&self, address: SocketAddr, folder: &Path) -> Result<Outcome, Failed> {
        let script = folder.join("load.lua");
        std::fs::write(&script, self.script()?)?;
        let output = Command::new("wrk")
            .args(["--timeout", "30s"])
            .args(["--connections", &self.connections.to_string(), "--threads", &self.threads.to_string()])
            .args(["--duration", &format!("{}s", self.duration.as_secs().max(1))])
            .arg("--script")
            .arg(&script)
            .arg(format!("http://{address}/webhook"))
            .output()
            .map_err(|error| format!("wrk does not start: {error} (on Debian, install the package wrk)"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(line) = text.lines().find_map(|line| line.strip_prefix("figures ")) else {
            return Err(format!("wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
        };
        let figures: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [requests, micros, p50, p99, max, failed] = figures[..] else {
            return Err(format!("unexpected output of wrk: {line:?}").into());
        };
        Ok(Outcome {
            requests,
            per_second: requests / micros * 1_000_000.0,
            p50_ms: p50 / 1_000.0,
            p99_ms: p99 / 1_000.0,
            max_ms: max / 1_000.0,
            failed,
        })
    }

    /// The script that wrk runs for each request. It must be cheap, or wrk measures itself: it joins constant parts and the
    /// request's id with one call of `table.concat`.
    fn script(&self) -> Result<String, Failed> {
        let mut parts = vec![String::new()];
        for event in 0..self.events {
            let [head, middle, tail] = STATUS;
            if let Some(last) = parts.last_mut() {
                write!(last, "{}{head}{event:03}-", if event == 0 { '[' } else { ',' })?;
            }
            parts.push(format!("{middle}{event:03}-"));
            parts.push(tail.to_owned());
        }
        if let Some(last) = parts.last_mut() {
            last.push(']');
        }
        let length: usize = parts.iter().map(String::len).sum::<usize>() + (parts.len() - 1) * ID_DIGITS;
        parts[0].insert_str(
            0,
            &format!(
                "POST /webhook HTTP/1.1\r\nHost: bench\r\nAuthorization: {AUTHORIZATION}\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            ),
        );
        let quoted: Vec<String> = parts.iter().map(|part| lua_quoted(part)).collect();
        let (run, parts) = (self.run, quoted.join(",\n"));
        Ok(format!(
            r#"local parts = {{ {parts} }}
local concat, format = table.concat, string.format
local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end
local prefix, count = "", 0
function init(args)
  prefix = format("{run:04}%02d", number)
end
function request()
  count = count + 1
  return concat(parts, prefix .. format("%010d", count))
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(format("figures %d %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency.max, e.status + e.connect + e.read + e.write + e.timeout))
end
"#
        ))
    }
}

fn lua_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\r' => quoted.push_str("\\r"),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
