//! The summary of a run of `bikhook send`.

use std::{collections::BTreeMap, io::Write, time::Duration};

use serde_json::json;

use super::answer::{PostReceipt, PostResult};
use crate::{cli::Error, plural::counted};

/// Counts and latencies of the answers.
#[derive(Default)]
pub(super) struct PostSummary {
    /// Time from the first request to the last answer.
    pub(super) took: Duration,
    requests: u64,
    events: u64,
    by_status: BTreeMap<u16, u64>,
    unanswered: u64,
    receipt: PostReceipt,
    /// Answers with status 400 to bodies with garbage.
    expected: u64,
    /// Unexpected results: no usable answer, or a status other than 200, except for 400 to a body with garbage.
    failed: u64,
    first_failed: Option<String>,
    latencies_us: Vec<u32>,
}

impl PostSummary {
    /// Counts the result of a posted body. Records the latency only if the answer is usable.
    pub(super) fn count(&mut self, events: u64, garbage: bool, answer: PostResult, latency: Duration) {
        self.requests += 1;
        self.events += events;
        if !matches!(answer, PostResult::Unanswered(_)) {
            self.latencies_us.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
        let failed = match answer {
            PostResult::Accepted(receipt) => {
                *self.by_status.entry(200).or_default() += 1;
                self.receipt.accepted += receipt.accepted;
                self.receipt.duplicates += receipt.duplicates;
                self.receipt.quarantined += receipt.quarantined;
                None
            }
            PostResult::Rejected(status, detail) => {
                *self.by_status.entry(status.as_u16()).or_default() += 1;
                let expected = garbage && status.as_u16() == 400;
                self.expected += u64::from(expected);
                (!expected).then(|| format!("{}: {detail}", status.as_u16()))
            }
            PostResult::Unanswered(why) => {
                self.unanswered += 1;
                Some(why)
            }
        };
        if let Some(failed) = failed {
            self.failed += 1;
            self.first_failed.get_or_insert(failed);
        }
    }

    /// Returns whether at least `unanswered` bodies were posted and none got a usable answer.
    pub(super) fn nothing_answered(&self, unanswered: u64) -> bool {
        self.by_status.is_empty() && self.unanswered >= unanswered
    }

    /// The first unexpected result.
    pub(super) fn first_failure(&self) -> &str {
        self.first_failed.as_deref().unwrap_or("nothing")
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// If any result was unexpected, returns [`Error::Failed`] after printing the summary.
    pub(super) fn report(
        mut self,
        out: &mut impl Write,
        seed: Option<u64>,
        rate: Option<f64>,
        as_json: bool,
    ) -> Result<(), Error> {
        self.latencies_us.sort_unstable();
        if as_json {
            writeln!(out, "{}", self.to_json(seed, rate))?;
        } else {
            self.to_text(out, seed, rate)?;
        }
        out.flush()?;
        if self.failed == 0 {
            return Ok(());
        }
        let Self { failed, requests, .. } = self;
        let first = self.first_failure();
        Err(Error::Failed(format!("{failed} of {requests} requests failed; the first: {first}")))
    }

    fn to_text(&self, out: &mut impl Write, seed: Option<u64>, rate: Option<f64>) -> Result<(), Error> {
        let secs = self.took.as_secs_f64();
        write!(out, "sent       {}", counted(self.requests, "request", "requests"))?;
        if let Some(seed) = seed {
            write!(out, " with {} (seed {seed})", counted(self.events, "event", "events"))?;
        }
        writeln!(out, " in {secs:.2} s: {:.0} requests/s", self.per_second())?;
        write!(out, "answers   ")?;
        for (status, count) in &self.by_status {
            write!(out, " {status}: {count}")?;
        }
        if self.unanswered > 0 {
            write!(out, " none: {}", self.unanswered)?;
        }
        if self.expected > 0 {
            write!(out, " ({} of the 400 expected: garbage)", self.expected)?;
        }
        let PostReceipt { accepted, duplicates, quarantined } = self.receipt;
        writeln!(
            out,
            "\nevents     accepted {accepted}, duplicates {duplicates}, quarantined {quarantined}"
        )?;
        if self.latencies_us.is_empty() {
            return Ok(());
        }
        let ms = |share| f64::from(self.latency_us(share)) / 1_000.0;
        let from = if rate.is_some() { "the intended start" } else { "the actual start" };
        Ok(writeln!(
            out,
            "latency    p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms (from {from})",
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(1.0)
        )?)
    }

    fn to_json(&self, seed: Option<u64>, rate: Option<f64>) -> serde_json::Value {
        json!({
            "requests": self.requests,
            "events": self.events,
            "seed": seed,
            "rate": rate,
            "tookSecs": self.took.as_secs_f64(),
            "requestsPerSec": self.per_second(),
            "answers": self.by_status,
            "unanswered": self.unanswered,
            "accepted": self.receipt.accepted,
            "duplicates": self.receipt.duplicates,
            "quarantined": self.receipt.quarantined,
            "latencyUs": {
                "p50": self.latency_us(0.5),
                "p90": self.latency_us(0.9),
                "p99": self.latency_us(0.99),
                "max": self.latency_us(1.0),
            },
        })
    }

    fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency that this share of the answers did not exceed, by nearest rank. The latencies must be sorted.
    fn latency_us(&self, share: f64) -> u32 {
        let rank = (share * self.latencies_us.len() as f64).ceil() as usize;
        self.latencies_us.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn report(summary: PostSummary) -> (String, Result<(), Error>) {
        let mut out = Vec::new();
        let ended = summary.report(&mut out, None, None, false);
        (String::from_utf8(out).unwrap(), ended)
    }

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut summary = PostSummary::default();
        for ms in (1..=100).rev() {
            summary.count(1, false, PostResult::Accepted(PostReceipt::default()), Duration::from_millis(ms));
        }
        summary.took = Duration::from_secs(2);
        let (text, ended) = report(summary);
        assert!(text.contains("p50 50.0 ms, p90 90.0 ms, p99 99.0 ms, max 100.0 ms"), "{text}");
        assert!(text.contains("100 requests in 2.00 s: 50 requests/s"), "{text}");
        assert!(ended.is_ok());
    }

    #[test]
    fn a_400_is_expected_of_garbage_and_of_nothing_else() {
        let refused = || PostResult::Rejected(StatusCode::BAD_REQUEST, "the body is not JSON".to_owned());
        let mut summary = PostSummary::default();
        summary.count(1, true, refused(), Duration::ZERO);
        let (text, ended) = report(summary);
        assert!(ended.is_ok() && text.contains("400: 1 (1 of the 400 expected: garbage)"), "{text}");
        let mut summary = PostSummary::default();
        summary.count(1, false, refused(), Duration::ZERO);
        summary.count(1, false, PostResult::Unanswered("connection reset".to_owned()), Duration::ZERO);
        let (text, ended) = report(summary);
        assert!(text.contains("400: 1 none: 1"), "{text}");
        let ended = ended.unwrap_err().to_string();
        assert_eq!(ended, "2 of 2 requests failed; the first: 400: the body is not JSON");
    }
}
