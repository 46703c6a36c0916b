//! Starts of replays: a form that is sent twice starts one.

use std::collections::VecDeque;

use tokio::sync::Mutex;

use crate::admin::{fault::Fault, page::seal::random};

/// Starts that are remembered: by then nobody has the page of an older one open.
const REMEMBERED: usize = 1_000;

/// The last starts: the number of the form, and the replay that it started.
pub(in crate::admin) struct Starts(Mutex<VecDeque<(u128, i64)>>);

/// What a start came to.
pub(super) enum Begun {
    /// This replay is started by it.
    Now(i64),
    /// This replay was started by the same form before.
    Already(i64),
}

impl Starts {
    /// None yet.
    pub(in crate::admin) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// The number of a form that starts a replay once; without one nothing is started.
    pub(super) fn number() -> Option<u128> {
        random().map(u128::from_le_bytes)
    }

    /// Starts a replay, unless the form of this number did already. One that fails may be sent once more.
    pub(super) async fn once(
        &self,
        number: u128,
        start: impl Future<Output = Result<i64, Fault>>,
    ) -> Result<Begun, Fault> {
        // Held while it starts: the second click of two waits until the first is known.
        let mut last = self.0.lock().await;
        if let Some((_, id)) = last.iter().find(|(known, _)| *known == number) {
            return Ok(Begun::Already(*id));
        }
        let id = start.await?;
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back((number, id));
        Ok(Begun::Now(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_starts_once_and_after_a_fault_once_more() {
        let starts = Starts::new();
        assert!(starts.once(7, async { Err(Fault::Inside) }).await.is_err());
        assert!(matches!(starts.once(7, async { Ok(1) }).await, Ok(Begun::Now(1))));
        assert!(matches!(starts.once(7, async { Ok(2) }).await, Ok(Begun::Already(1))));
        for number in 0..REMEMBERED as u128 {
            assert!(matches!(starts.once(1_000 + number, async { Ok(3) }).await, Ok(Begun::Now(3))));
        }
        assert_eq!(starts.0.lock().await.len(), REMEMBERED);
    }
}
