//! The outcome of a message, computed only from its statuses, which are merged.
//!
//! Statuses come in any order, late, and more than once (BIK §4). So the merge keeps only values that do not depend on
//! the order: the highest [`MessageStep`], a flag for a failure, a flag for a deletion, and the alphabetically first
//! reason for a failure. The same statuses give the same state in any order and with any repetitions.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{event::Status, names::names};

/// How far a message got; each step implies the steps before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum MessageStep {
    /// BIK has the message.
    #[default]
    Accepted,
    /// The message was handed over to the channel.
    Sent,
    /// The message reached a device.
    Delivered,
    /// The customer opened the message.
    Read,
    /// The customer played the message.
    Played,
}

impl MessageStep {
    /// All steps; each one implies those before it.
    pub const ALL: [Self; 5] = [Self::Accepted, Self::Sent, Self::Delivered, Self::Read, Self::Played];

    /// The step that a status reports; `None` for a status without a step, such as `failed`.
    pub const fn of(status: &Status) -> Option<Self> {
        match status {
            Status::Sent => Some(Self::Sent),
            Status::Delivered => Some(Self::Delivered),
            Status::Read => Some(Self::Read),
            Status::Played => Some(Self::Played),
            // An unknown status shows at least that BIK has the message.
            Status::Other(_) => Some(Self::Accepted),
            Status::Failed | Status::Undelivered | Status::Bounced | Status::Deleted => None,
        }
    }
}

// Insight's file stores a state as its position in this list.
names! {
    /// The state of a message, as its statuses give it.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[schemars(rename = "State")]
    pub enum MessageState {
        /// BIK has the message.
        Accepted = "accepted",
        /// The message was handed over to the channel.
        Sent = "sent",
        /// The message reached a device.
        Delivered = "delivered",
        /// The customer opened the message.
        Read = "read",
        /// The customer played the message.
        Played = "played",
        /// The message failed, and no status shows that it arrived.
        Failed = "failed",
    }
}

impl MessageState {
    /// Returns the state with this name, ignoring case.
    pub fn from_any_case(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(name))
    }
}

/// The statuses of a message, merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct MergedStatuses {
    /// The highest step that was reported.
    pub reached: MessageStep,
    /// Whether a failure was reported: `failed`, `undelivered` or `bounced`.
    pub failed: bool,
    pub deleted: bool,
    /// Why the message failed. If there are several reasons, this is the first in alphabetical order, so that the order
    /// of arrival does not matter.
    pub reason: Option<String>,
}

impl MergedStatuses {
    /// Merges one more status, and the reason that came with it.
    pub(super) fn merge(&mut self, status: &Status, reason: Option<&str>) {
        match status {
            failure if failure.is_failure() => {
                self.failed = true;
                if let Some(reason) = reason
                    && self.reason.as_deref().is_none_or(|known| reason < known)
                {
                    self.reason = Some(reason.to_owned());
                }
            }
            Status::Deleted => self.deleted = true,
            _ => self.reached = self.reached.max(MessageStep::of(status).unwrap_or_default()),
        }
    }

    /// The state that the statuses give. A failure may come from one of several devices, so the message counts as
    /// failed only if no status shows that it arrived.
    pub(super) fn state(&self) -> MessageState {
        match self.reached {
            MessageStep::Accepted | MessageStep::Sent if self.failed => MessageState::Failed,
            MessageStep::Accepted => MessageState::Accepted,
            MessageStep::Sent => MessageState::Sent,
            MessageStep::Delivered => MessageState::Delivered,
            MessageStep::Read => MessageState::Read,
            MessageStep::Played => MessageState::Played,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    fn merged(statuses: &[(Status, Option<&str>)]) -> MergedStatuses {
        let mut merged = MergedStatuses::default();
        for (status, reason) in statuses {
            merged.merge(status, *reason);
        }
        merged
    }

    fn any_status() -> impl Strategy<Value = (Status, Option<&'static str>)> {
        let word = prop_oneof![
            Just("sent"),
            Just("delivered"),
            Just("read"),
            Just("played"),
            Just("failed"),
            Just("bounced"),
            Just("deleted"),
            Just("queued")
        ];
        (word, prop_oneof![Just(None), Just(Some("spam rate limit")), Just(Some("undeliverable"))])
            .prop_map(|(word, reason)| (Status::from(word), reason))
    }

    proptest! {
        #[test]
        fn every_order_with_every_repetition_gives_the_same_state(
            (statuses, other) in (vec(any_status(), 0..8), vec(any::<Index>(), 0..4))
                .prop_flat_map(|(statuses, again)| {
                    let again = again.iter().filter(|_| !statuses.is_empty()).map(|at| at.get(&statuses));
                    let all: Vec<_> = statuses.iter().chain(again).cloned().collect();
                    (Just(statuses), Just(all).prop_shuffle())
                })
        ) {
            prop_assert_eq!(merged(&statuses), merged(&other));
        }
    }

    /// Tests all 5,040 orders of seven statuses, not a sample.
    #[test]
    fn every_permutation_of_all_statuses_gives_the_same_state() {
        fn permute(
            rest: &[(Status, Option<&'static str>)],
            merged: &MergedStatuses,
            seen: &mut Vec<MergedStatuses>,
        ) {
            if rest.is_empty() {
                seen.push(merged.clone());
            }
            for at in 0..rest.len() {
                let (mut rest, mut merged) = (rest.to_vec(), merged.clone());
                let (status, reason) = rest.remove(at);
                merged.merge(&status, reason);
                permute(&rest, &merged, seen);
            }
        }
        let mut all: Vec<_> = ["sent", "delivered", "read", "played", "failed", "deleted"]
            .map(|word| (Status::from(word), Some("b")))
            .into();
        all.push((Status::Failed, Some("a")));
        let mut seen = Vec::new();
        permute(&all, &MergedStatuses::default(), &mut seen);
        assert_eq!(seen.len(), 5_040);
        assert!(seen.iter().all(|merged| *merged == seen[0]));
        assert_eq!((seen[0].state(), seen[0].reason.as_deref()), (MessageState::Played, Some("a")));
    }

    #[test]
    fn statuses_merge_into_the_expected_state() {
        let state = |words: &[&str]| {
            merged(&words.iter().map(|word| (Status::from(*word), None)).collect::<Vec<_>>()).state()
        };
        assert_eq!(state(&[]), MessageState::Accepted);
        assert_eq!(state(&["sent"]), MessageState::Sent);
        // Delivery and opening may coincide; then BIK leaves out `delivered`.
        assert_eq!(state(&["read", "sent"]), MessageState::Read);
        assert_eq!(state(&["failed"]), MessageState::Failed);
        assert_eq!(state(&["sent", "failed"]), MessageState::Failed);
        // The message failed on one of several devices.
        assert_eq!(state(&["failed", "delivered"]), MessageState::Delivered);
        assert_eq!(state(&["read", "failed"]), MessageState::Read);
        // Failures of an SMS and of an email.
        assert_eq!(state(&["undelivered"]), MessageState::Failed);
        assert_eq!(state(&["sent", "bounced"]), MessageState::Failed);
        assert_eq!(state(&["queued"]), MessageState::Accepted);
        assert_eq!(state(&["sent", "deleted"]), MessageState::Sent);
    }

    #[test]
    fn every_state_is_found_by_its_name() {
        for (number, state) in MessageState::ALL.into_iter().enumerate() {
            assert_eq!(MessageState::from_any_case(&state.as_str().to_uppercase()), Some(state));
            assert_eq!(state as usize, number);
        }
        for (number, step) in MessageStep::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, number);
        }
    }
}
