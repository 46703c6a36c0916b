//! The failed tries of an event, kept for the operator who examines its dead letter.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{clock::Timestamp, event::excerpt};

/// Maximum number of tries that a history keeps: the first one and the latest ones.
const KEPT: usize = 10;
/// The maximum length of the error text of a try, in characters. Set-aside events are in memory with their histories.
const TRY_CHARS: usize = 100;

/// A failed delivery of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Try {
    /// Number of the try, counted from 1.
    pub attempt: u32,
    /// When the try ended.
    pub at: Timestamp,
    /// The error text, which may quote the payload. A longer text is cut after 100 characters; a cut text ends with `…`.
    pub error: String,
}

/// The failed attempts to deliver one event, oldest first. Recording starts with the attempt after which the event was
/// set aside or became a dead letter. At most ten recorded attempts are kept: the first one and the latest nine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct History(Vec<Try>);

impl History {
    /// Adds a failed try. If ten are already stored, the second-oldest is dropped first.
    #[must_use]
    pub fn and(mut self, attempt: u32, at: Timestamp, error: &str) -> Self {
        if self.0.len() >= KEPT {
            self.0.remove(1);
        }
        self.0.push(Try { attempt, at, error: excerpt(error, TRY_CHARS).into_owned() });
        self
    }

    /// The failed tries, oldest first.
    pub fn tries(&self) -> &[Try] {
        &self.0
    }

    /// The form in which it is stored: `[[attempt, at, error], …]`.
    pub fn to_json(&self) -> String {
        let rows: Vec<_> = self.0.iter().map(|one| (one.attempt, one.at.as_ms(), &one.error)).collect();
        // Numbers and strings always serialize to JSON.
        serde_json::to_string(&rows).unwrap_or_default()
    }

    /// Parses the output of [`History::to_json`]. Any other text becomes an empty history.
    pub(super) fn from_json(json: &str) -> Self {
        let rows: Vec<(u32, i64, String)> = serde_json::from_str(json).unwrap_or_default();
        let rows = rows.into_iter();
        rows.fold(Self::default(), |all, (attempt, at, error)| {
            all.and(attempt, Timestamp::from_ms(at), &error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_keeps_the_first_and_last_attempts_and_reads_back() {
        let history = (1..=30).fold(History::default(), |history, attempt| {
            history.and(attempt, Timestamp::from_ms(i64::from(attempt)), &format!("\"{attempt}\"\n"))
        });
        let attempts: Vec<u32> = history.tries().iter().map(|one| one.attempt).collect();
        assert_eq!(attempts, [1, 22, 23, 24, 25, 26, 27, 28, 29, 30]);
        assert_eq!(History::from_json(&history.to_json()), history);
        assert_eq!(History::from_json("[]"), History::default());
    }
}
