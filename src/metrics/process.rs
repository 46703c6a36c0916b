//! Resource usage of the process, under the names that the Prometheus client libraries use.

use std::{fmt, fs, path::Path, time::Duration};

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
        if let Some(bytes) = resident_bytes(Path::new("/proc/self/status")) {
            encode(
                "process_resident_memory_bytes",
                "Resident memory of the process in bytes",
                &ConstGauge::new(bytes),
            )?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let open = i64::try_from(open.count()).unwrap_or(i64::MAX);
            encode("process_open_fds", "Number of open files", &ConstGauge::new(open))?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            encode("process_max_fds", "Maximum number of open files", &ConstGauge::new(most))?;
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
fn resident_bytes(status: &Path) -> Option<i64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1_024)
}
