//! Measures when events arrive in the file of a `jsonl` handler.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bikhook::clock::{self, Timestamp};

use super::{
    lines::Lines,
    support::{latency::Latencies, run::Failed},
};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Watches a file in its own thread.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<u32>, Failed>>,
}

impl Watch {
    /// Measures the delay from receipt to line for each event with a seq above `after` whose line is `wanted`.
    pub fn new(path: PathBuf, after: u64, wanted: fn(&[u8]) -> bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut lines = Lines::of(path);
            let mut delays = Vec::new();
            loop {
                // Loaded before the last read, so that nothing stays unread.
                let last = told.load(Relaxed);
                lines.read(|line| {
                    if let Some((seq, received_ms)) = head(line)
                        && seq > after
                        && wanted(line)
                    {
                        let delay_ms = clock::now().as_ms().saturating_sub(received_ms).max(0);
                        delays.push(u32::try_from(delay_ms.saturating_mul(1_000)).unwrap_or(u32::MAX));
                    }
                })?;
                if last {
                    return Ok(delays);
                }
                thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, thread }
    }

    /// Reads the file to its end and returns the delays from receipt to line.
    pub fn finish(self) -> Result<Latencies, Failed> {
        self.stop.store(true, Relaxed);
        let delays = self.thread.join().map_err(|_panic| "the thread that watches the file panicked")??;
        Ok(Latencies::new(delays))
    }
}

/// Returns the seq and the time in ms of a line such as `{"seq":17,"receivedAt":"2026-11-24T10:00:00.000Z",…`.
fn head(line: &[u8]) -> Option<(u64, i64)> {
    let text = std::str::from_utf8(line.get(..80.min(line.len()))?).ok()?;
    let (seq, rest) = text.strip_prefix("{\"seq\":")?.split_once(',')?;
    let (time, _) = rest.strip_prefix("\"receivedAt\":\"")?.split_once('"')?;
    Some((seq.parse().ok()?, time.parse::<Timestamp>().ok()?.as_ms()))
}
