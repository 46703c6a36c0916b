//! Calls of the `http` handler, eight at a time, to a server that needs 100 ms per call.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    Args,
    drain::drain,
    servers::web::{Answer, Request, Web},
    support::{
        disk, events,
        fill::fill_with,
        report::{Bound, Report, median},
        run::Failed,
    },
};

const A_CALL: Duration = Duration::from_millis(100);
const AT_ONCE: u64 = 8;
const POSSIBLE: f64 = 80.0;

pub fn calls(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let calls = if args.quick { 160 } else { 1_600 };
    println!(
        "\n{calls} calls of the http handler, {AT_ONCE} at a time, to a server that needs 100 ms per call"
    );
    println!("  four statuses per message; checked at the server: every event once, in order per message");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (how, batch, body) in [("batches of 100", 100, "envelopes"), ("one by one", 1, "envelope")] {
        let count = calls * batch;
        let folder = disk::folder(count * 4_096 + (1 << 30))?;
        fill_with(&folder.path().join("journal.db"), 0, count, events::messages)?;
        let mut rates = Vec::new();
        for round in 1..=args.rounds {
            let seen = Arc::new(Mutex::new(Seen::default()));
            let server = slow_server(&seen);
            let settings = format!(
                "kind = \"http\"\nurl = \"http://{}/\"\nbody = {body:?}\nbatch = {batch}\nconcurrency = {AT_ONCE}",
                server.address()
            );
            let took = drain(&runtime, folder.path(), &format!("round{round}"), &settings, count)?;
            let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
            seen.verify(count)?;
            // The rate counts full batches, so partial batches do not raise it.
            let rate = count as f64 / batch as f64 / took.as_secs_f64();
            println!(
                "  round {round}: {how}: {rate:.1} calls/s, {} calls, at most {} at once",
                seen.calls, seen.most_at_once
            );
            rates.push(rate);
        }
        let ratio = median(rates) / POSSIBLE;
        report.figure(
            &format!("http, {how}: ratio to the possible {POSSIBLE} calls/s"),
            format!("{ratio:.3}"),
            Bound::AtLeast { value: ratio, least: 0.9, goal: 0.9 },
        );
    }
    Ok(())
}

/// The events that the server has received.
#[derive(Default)]
struct Seen {
    seqs: HashSet<u64>,
    /// The last seq of each message.
    last: HashMap<String, u64>,
    /// Messages of calls that are not answered yet.
    under_way: HashSet<String>,
    at_once: u64,
    most_at_once: u64,
    calls: u64,
    wrong: Option<String>,
}

impl Seen {
    fn came(&mut self, events: &[(String, u64)]) {
        self.calls += 1;
        self.at_once += 1;
        self.most_at_once = self.most_at_once.max(self.at_once);
        for (message, seq) in events {
            if self.under_way.contains(message) || self.last.get(message).is_some_and(|last| last >= seq) {
                self.wrong.get_or_insert(format!("event {seq} arrived out of order"));
            }
            if !self.seqs.insert(*seq) {
                self.wrong.get_or_insert(format!("event {seq} arrived twice"));
            }
            self.last.insert(message.clone(), *seq);
        }
        self.under_way.extend(events.iter().map(|(message, _)| message.clone()));
    }

    fn answered(&mut self, events: &[(String, u64)]) {
        self.at_once -= 1;
        for (message, _) in events {
            self.under_way.remove(message);
        }
    }

    fn verify(&self, count: u64) -> Result<(), Failed> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone().into());
        }
        let (seen, most) = (self.seqs.len() as u64, self.most_at_once);
        if seen != count || most > AT_ONCE {
            return Err(format!("{seen} of {count} events arrived, with at most {most} calls at once").into());
        }
        Ok(())
    }
}

fn slow_server(seen: &Arc<Mutex<Seen>>) -> Web {
    let seen = Arc::clone(seen);
    Web::new(move |request: &Request| {
        let came_at = Instant::now();
        let Some(events) = events_of(&request.body) else { return Answer::status(422) };
        seen.lock().unwrap_or_else(PoisonError::into_inner).came(&events);
        // The checks above count towards the time of the call.
        thread::sleep(A_CALL.saturating_sub(came_at.elapsed()));
        seen.lock().unwrap_or_else(PoisonError::into_inner).answered(&events);
        Answer::status(204)
    })
}

/// Returns the message and the seq of each event in a body, which is an envelope or an array of envelopes.
fn events_of(body: &str) -> Option<Vec<(String, u64)>> {
    let body: Value = serde_json::from_str(body).ok()?;
    let envelopes = body.as_array().map_or(std::slice::from_ref(&body), Vec::as_slice);
    let event = |envelope: &Value| {
        let message = envelope["event"]["eventInfo"]["messageId"].as_str()?;
        Some((message.to_owned(), envelope["seq"].as_u64()?))
    };
    envelopes.iter().map(event).collect()
}
