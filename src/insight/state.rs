//! What became of a message: the pure merge of its statuses.
//!
//! Statuses come in any order, late, and more than once (BIK §4). So a state is a join: the highest step, whether a failure
//! or a deletion was told, and the least of the reasons. Whatever the order and the repetitions, the same statuses give the
//! same state.

use serde::Serialize;

use crate::event::Status;

/// How far a message got; each step implies those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// BIK has it.
    #[default]
    Accepted,
    /// It was handed over to the channel.
    Sent,
    /// It reached a device.
    Delivered,
    /// The customer opened it.
    Read,
    /// The customer played it.
    Played,
}

impl Step {
    /// All of them, each implied by the next.
    pub const ALL: [Self; 5] = [Self::Accepted, Self::Sent, Self::Delivered, Self::Read, Self::Played];

    /// The step that a status tells of; `None` for one that tells of none, such as `failed`.
    pub const fn of(status: &Status) -> Option<Self> {
        match status {
            Status::Sent => Some(Self::Sent),
            Status::Delivered => Some(Self::Delivered),
            Status::Read => Some(Self::Read),
            Status::Played => Some(Self::Played),
            // A word that is not known yet tells that BIK has the message.
            Status::Other(_) => Some(Self::Accepted),
            Status::Failed | Status::Deleted => None,
        }
    }
}

/// What the statuses of a message come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// BIK has it.
    Accepted,
    /// Handed over to the channel.
    Sent,
    /// On a device.
    Delivered,
    /// Opened.
    Read,
    /// Played.
    Played,
    /// It failed, and nothing has shown since that it arrived all the same.
    Failed,
}

impl State {
    /// All of them, in the order of their numbers in the file.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Sent, Self::Delivered, Self::Read, Self::Played, Self::Failed];

    /// As shown and asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
        }
    }

    /// The state of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(name))
    }
}

/// Everything that the statuses of a message tell, merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Merged {
    /// The highest step.
    pub reached: Step,
    /// A `failed` was told.
    pub failed: bool,
    /// It was taken back.
    pub deleted: bool,
    /// Why it failed: of several reasons the first in the order of their texts, so that no order of arrival decides.
    pub reason: Option<String>,
}

impl Merged {
    /// Takes one more status, with the reason that came with it.
    pub fn see(&mut self, status: &Status, reason: Option<&str>) {
        match status {
            Status::Failed => {
                self.failed = true;
                if let Some(reason) = reason
                    && self.reason.as_deref().is_none_or(|known| reason < known)
                {
                    self.reason = Some(reason.to_owned());
                }
            }
            Status::Deleted => self.deleted = true,
            _ => self.reached = self.reached.max(Step::of(status).unwrap_or_default()),
        }
    }

    /// What it comes to. `failed` stands until something shows that the message arrived: one of several devices may fail.
    pub fn state(&self) -> State {
        match self.reached {
            Step::Accepted | Step::Sent if self.failed => State::Failed,
            Step::Accepted => State::Accepted,
            Step::Sent => State::Sent,
            Step::Delivered => State::Delivered,
            Step::Read => State::Read,
            Step::Played => State::Played,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merged(statuses: &[(Status, Option<&str>)]) -> Merged {
        let mut merged = Merged::default();
        for (status, reason) in statuses {
            merged.see(status, *reason);
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
            Just("deleted"),
            Just("queued")
        ];
        (word, prop_oneof![Just(None), Just(Some("spam rate limit")), Just(Some("undeliverable"))])
            .prop_map(|(word, reason)| (Status::from(word), reason))
    }

    proptest! {
        #[test]
        fn every_order_with_every_repetition_gives_the_same_state(
            (statuses, other) in prop::collection::vec(any_status(), 0..8).prop_flat_map(|statuses| {
                let again = prop::collection::vec(prop::sample::select(
                    if statuses.is_empty() { vec![(Status::Sent, None)] } else { statuses.clone() },
                ), 0..4);
                let repeats = if statuses.is_empty() { Just(vec![]).boxed() } else { again.boxed() };
                (Just(statuses.clone()), repeats).prop_flat_map(|(statuses, repeats)| {
                    let all = [statuses.clone(), repeats].concat();
                    (Just(statuses), Just(all).prop_shuffle())
                })
            })
        ) {
            prop_assert_eq!(merged(&statuses), merged(&other));
        }
    }

    /// All of the 5,040 orders of seven statuses, not a sample of them.
    #[test]
    fn every_permutation_of_all_statuses_gives_the_same_state() {
        fn permute(
            rest: &mut Vec<(Status, Option<&'static str>)>,
            taken: &mut Vec<(Status, Option<&'static str>)>,
            seen: &mut Vec<Merged>,
        ) {
            if rest.is_empty() {
                seen.push(merged(taken));
            }
            for at in 0..rest.len() {
                let one = rest.remove(at);
                taken.push(one.clone());
                permute(rest, taken, seen);
                taken.pop();
                rest.insert(at, one);
            }
        }
        let mut all: Vec<_> = ["sent", "delivered", "read", "played", "failed", "deleted"]
            .map(|word| (Status::from(word), Some("b")))
            .into();
        all.push((Status::Failed, Some("a")));
        let mut seen = Vec::new();
        permute(&mut all, &mut Vec::new(), &mut seen);
        assert_eq!(seen.len(), 5_040);
        assert!(seen.iter().all(|merged| *merged == seen[0]));
        assert_eq!((seen[0].state(), seen[0].reason.as_deref()), (State::Played, Some("a")));
    }

    #[test]
    fn states_are_what_a_person_would_expect() {
        let state = |words: &[&str]| {
            merged(&words.iter().map(|word| (Status::from(*word), None)).collect::<Vec<_>>()).state()
        };
        assert_eq!(state(&[]), State::Accepted);
        assert_eq!(state(&["sent"]), State::Sent);
        // Delivery and opening may coincide: then `delivered` is left out.
        assert_eq!(state(&["read", "sent"]), State::Read);
        assert_eq!(state(&["failed"]), State::Failed);
        assert_eq!(state(&["sent", "failed"]), State::Failed);
        // One of several devices failed.
        assert_eq!(state(&["failed", "delivered"]), State::Delivered);
        assert_eq!(state(&["read", "failed"]), State::Read);
        assert_eq!(state(&["queued"]), State::Accepted);
        assert_eq!(state(&["sent", "deleted"]), State::Sent);
    }

    #[test]
    fn every_state_is_found_by_its_name() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(State::from_name(&state.as_str().to_uppercase()), Some(state));
            assert_eq!(state as usize, number);
        }
        for (number, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, number);
        }
    }
}
