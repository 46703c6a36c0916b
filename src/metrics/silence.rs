//! A gauge that grows by itself: for how long nothing was heard.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric},
};

use crate::clock::{self, Timestamp};

/// Seconds since something was heard, or since this was made where nothing ever was. Clones are the same.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Milliseconds since the Unix epoch; `i64::MIN` while nothing was heard.
    heard_ms: Arc<AtomicI64>,
    made: Timestamp,
}

impl Default for Silence {
    fn default() -> Self {
        Self { heard_ms: Arc::new(AtomicI64::new(i64::MIN)), made: clock::now() }
    }
}

impl Silence {
    /// Something was heard at this time; what was heard later counts.
    pub fn heard(&self, at: Timestamp) {
        self.heard_ms.fetch_max(at.as_ms(), Relaxed);
    }

    /// For how long nothing was heard, at this time; never negative.
    pub fn seconds(&self, now: Timestamp) -> i64 {
        let heard = self.heard_ms.load(Relaxed);
        let since = if heard == i64::MIN { self.made } else { Timestamp::from_ms(heard) };
        now.ms_since(since).max(0) / 1_000
    }
}

impl EncodeMetric for Silence {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.seconds(clock::now()))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Silence {
    const TYPE: MetricType = MetricType::Gauge;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_what_was_heard_last_whatever_is_told_afterwards() {
        let silence = Silence::default();
        let at = Timestamp::from_ms;
        assert_eq!(silence.seconds(silence.made.plus_ms(7_900)), 7);
        silence.heard(at(5_000));
        assert_eq!(silence.seconds(at(9_000)), 4);
        silence.heard(at(2_000));
        assert_eq!(silence.seconds(at(9_000)), 4);
        silence.clone().heard(at(8_000));
        assert_eq!((silence.seconds(at(9_000)), silence.seconds(at(7_000))), (1, 0));
    }
}
