//! The starts of replays: a form that is submitted twice starts only one replay.

use std::collections::VecDeque;

use tokio::sync::Mutex;

use crate::admin::{error::RequestError, page::csrf::random};

/// How many starts are kept. A form that is older than these starts is unlikely to be submitted a second time.
const REMEMBERED: usize = 1_000;

/// The latest starts: the number of the form, and the id of the replay that it started.
pub(in crate::admin) struct Starts(Mutex<VecDeque<(u128, i64)>>);

/// The result of a start.
pub(super) enum ReplayStart {
    /// The start created this replay.
    Started(i64),
    /// The same form had already started this replay.
    AlreadyStarted(i64),
}

impl Starts {
    pub(in crate::admin) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// A random number with which a form can start one replay; `None` if the system has no random bytes.
    pub(super) fn number() -> Option<u128> {
        random().map(u128::from_le_bytes)
    }

    /// Starts a replay, unless the form with this number has already started one. A failed start can be repeated.
    pub(super) async fn once(
        &self,
        number: u128,
        start: impl Future<Output = Result<i64, RequestError>>,
    ) -> Result<ReplayStart, RequestError> {
        // The lock is held during the start, so that the second request of a double click waits for the result of the
        // first.
        let mut last = self.0.lock().await;
        if let Some((_, id)) = last.iter().find(|(known, _)| *known == number) {
            return Ok(ReplayStart::AlreadyStarted(*id));
        }
        let id = start.await?;
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back((number, id));
        Ok(ReplayStart::Started(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_starts_one_replay_and_again_after_a_failure() {
        let starts = Starts::new();
        assert!(starts.once(7, async { Err(RequestError::Internal) }).await.is_err());
        assert!(matches!(starts.once(7, async { Ok(1) }).await, Ok(ReplayStart::Started(1))));
        assert!(matches!(starts.once(7, async { Ok(2) }).await, Ok(ReplayStart::AlreadyStarted(1))));
        for number in 0..REMEMBERED as u128 {
            assert!(matches!(
                starts.once(1_000 + number, async { Ok(3) }).await,
                Ok(ReplayStart::Started(3))
            ));
        }
        assert_eq!(starts.0.lock().await.len(), REMEMBERED);
    }
}
