//! Resource usage of the process, under the names that the Prometheus client libraries use.

use std::{fmt, fs, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

use crate::clock::{self, Timestamp};

/// Reads the values at each scrape. Values that cannot be read are left out.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    started: Timestamp,
}

impl ProcessMetrics {
    /// Records the current time as the start of the process.
    pub(super) fn new() -> Self {
        Self { started: clock::now() }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut encode = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        #[allow(clippy::cast_precision_loss)] // milliseconds far below 2^52
        let started = self.started.as_ms() as f64 / 1_000.0;
        encode(
            "process_start_time_seconds",
            "Start time of the process, in seconds since the Unix epoch",
            &ConstGauge::new(started),
        )?;
        encode(
            "process_cpu_seconds",
            "Processor time used by the process, in seconds",
            &ConstCounter::new(cpu_seconds()),
        )?;
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let open = fs::read_dir("/proc/self/fd").ok().map(|open| whole(open.count() as u64));
        let most = getrlimit(Resource::Nofile).current.map(whole);
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory of the process in bytes", resident_bytes()),
            ("process_open_fds", "Number of open files", open),
            ("process_max_fds", "Maximum number of open files", most),
        ] {
            if let Some(value) = value {
                encode(name, help, &ConstGauge::new(value))?;
            }
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let took = clock_gettime(ClockId::ProcessCPUTime);
    let whole = Duration::from_secs(took.tv_sec.unsigned_abs());
    (whole + Duration::from_nanos(took.tv_nsec.unsigned_abs())).as_secs_f64()
}

/// Parses the line `VmRSS:     1234 kB` of proc_pid_status(5).
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1_024)
}
