//! A gauge that grows with time: the seconds since something last arrived.

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

use crate::clock::since_boot_ms;

/// Seconds since something last arrived, or since this value was created if nothing ever did. Clones share one state.
#[derive(Clone, Debug)]
pub struct Silence {
    /// When something last arrived, or `i64::MIN` if nothing ever arrived. In ms since boot, because the wall clock may
    /// jump.
    last_ms: Arc<AtomicI64>,
    made_ms: i64,
}

impl Default for Silence {
    fn default() -> Self {
        Self { last_ms: Arc::new(AtomicI64::new(i64::MIN)), made_ms: since_boot_ms() }
    }
}

impl Silence {
    /// Records that something arrived `ago_ms` milliseconds ago. Only the latest arrival counts.
    pub fn record(&self, ago_ms: i64) {
        self.record_at(since_boot_ms().saturating_sub(ago_ms));
    }

    fn record_at(&self, boot_ms: i64) {
        self.last_ms.fetch_max(boot_ms, Relaxed);
    }

    fn seconds(&self, boot_ms: i64) -> i64 {
        let last = self.last_ms.load(Relaxed);
        let since = if last == i64::MIN { self.made_ms } else { last };
        boot_ms.saturating_sub(since).max(0) / 1_000
    }
}

impl EncodeMetric for Silence {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.seconds(since_boot_ms()))
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
    fn it_counts_from_the_latest_arrival_in_whatever_order_they_are_recorded() {
        let silence = Silence::default();
        assert_eq!(silence.seconds(silence.made_ms + 7_900), 7);
        silence.record_at(5_000);
        assert_eq!(silence.seconds(9_000), 4);
        silence.record_at(2_000);
        assert_eq!(silence.seconds(9_000), 4);
        silence.clone().record_at(8_000);
        assert_eq!((silence.seconds(9_000), silence.seconds(7_000)), (1, 0));
    }
}
