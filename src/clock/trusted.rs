//! The trusted clock of a running receiver.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ClockReading, Correction, LastKnown, Machine, Timestamp,
    machine::System,
    trust::{Finding, Trust},
};

/// If the trusted wall clock has drifted by at most this, [`Clock::now`] returns it without a lock. Otherwise
/// [`Clock::now`] takes the lock and checks whether the wall clock is still trusted.
const NEAR_MS: i64 = 5 * 60_000;

/// The trusted clock. When a journal is opened, the wall clock is compared with the latest time in the journal. The
/// journal records the corrections of the trusted clock. Code that stores times, deletes by age or compares with stored
/// times must read the trusted clock. Clones share one state.
#[derive(Clone)]
pub struct Clock(Arc<ClockState>);

struct ClockState {
    machine: Box<dyn Machine>,
    /// Copies of values in `trust`, to be read without the lock: whether the wall clock is trusted, and the offset from
    /// which its drift is measured.
    trusted: AtomicBool,
    reference_ms: AtomicI64,
    trust: Mutex<Trust>,
}

/// The state of the clock, as shown to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Clock")]
pub struct ClockStatus {
    /// The trusted time now.
    pub now: Timestamp,
    /// The wall clock, trusted or not.
    pub wall: Timestamp,
    /// True if the wall clock is trusted.
    pub trusted: bool,
    /// The time against which age is measured when rows are deleted.
    pub deletion: Timestamp,
    /// Until this time, `deletion` advances no faster than real time and does not catch up with `now`, unless an
    /// operator accepts the clock. Null if `deletion` may catch up.
    pub unconfirmed_until: Option<Timestamp>,
}

impl Clock {
    /// The clock of the operating system.
    pub fn system() -> Self {
        Self::of(System)
    }

    /// A clock that reads from `machine`.
    pub fn of(machine: impl Machine) -> Self {
        let first = machine.read();
        Self(Arc::new(ClockState {
            machine: Box::new(machine),
            trusted: AtomicBool::new(true),
            reference_ms: AtomicI64::new(first.offset_ms()),
            trust: Mutex::new(Trust::new(first)),
        }))
    }

    /// The trusted time now. Cheap: it reads both clocks without a system call, and takes no lock unless the wall clock
    /// has drifted or is not trusted.
    pub fn now(&self) -> Timestamp {
        let reading = self.0.machine.read();
        let drift = reading.offset_ms() - self.0.reference_ms.load(Relaxed);
        if drift.abs() <= NEAR_MS && self.0.trusted.load(Relaxed) {
            return reading.wall;
        }
        self.compare(reading).trusted(reading)
    }

    /// The current state of the clock, for operators.
    pub fn status(&self) -> ClockStatus {
        let reading = self.0.machine.read();
        let mut trust = self.compare(reading);
        ClockStatus {
            now: trust.trusted(reading),
            wall: reading.wall,
            trusted: trust.doubt.is_none(),
            deletion: trust.deletion(reading),
            unconfirmed_until: trust.unconfirmed_until(reading),
        }
    }

    /// The time against which age is measured when rows are deleted; never later than [`Clock::now`].
    pub fn deletion(&self) -> Timestamp {
        let reading = self.0.machine.read();
        self.compare(reading).deletion(reading)
    }

    /// Compares the wall clock with the last times that the previous run of the receiver stored in the journal.
    pub fn start(&self, known: LastKnown) {
        let reading = self.0.machine.read();
        let (started, finding) = Trust::start(reading, known);
        let mut trust = self.trust();
        *trust = started;
        self.publish(&trust);
        drop(trust);
        log_finding(finding, reading);
    }

    /// Returns a correction if the wall clock is in doubt and may be trusted again. It may be trusted again if an
    /// operator has `accepted` it, or after an hour without another jump. The journal records the correction and then
    /// applies it with [`Clock::correct`].
    pub fn correction(&self, accepted: bool) -> Option<Correction> {
        let reading = self.0.machine.read();
        self.compare(reading).correction(reading, accepted)
    }

    /// Applies a correction that the journal has recorded.
    pub fn correct(&self, correction: &Correction) {
        let reading = self.0.machine.read();
        let mut trust = self.trust();
        trust.correct(reading, correction);
        self.publish(&trust);
    }

    /// Confirms the wall clock after a start at which the deletion time was behind the trusted time. The deletion time
    /// may then catch up. Returns `false` if the deletion time was not waiting for a confirmation.
    pub fn confirm(&self) -> bool {
        let reading = self.0.machine.read();
        self.compare(reading).confirm(reading)
    }

    fn compare(&self, reading: ClockReading) -> MutexGuard<'_, Trust> {
        let mut trust = self.trust();
        let finding = trust.compare(reading);
        self.publish(&trust);
        log_finding(finding, reading);
        trust
    }

    fn publish(&self, trust: &Trust) {
        self.0.reference_ms.store(trust.reference_ms, Relaxed);
        self.0.trusted.store(trust.doubt.is_none(), Relaxed);
    }

    fn trust(&self) -> MutexGuard<'_, Trust> {
        // No code under this lock panics half-way through a change.
        self.0.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_finding(finding: Finding, reading: ClockReading) {
    let wall = reading.wall;
    let seconds = |ms: i64| ms / 1_000;
    match finding {
        Finding::Nothing => {}
        Finding::Jumped(ms) => tracing::error!(
            jump_seconds = seconds(ms), %wall,
            "wall clock jumped and is not trusted: times continue from the last trusted time, and nothing is deleted \
             because of the jump; repair the clock, or run `bikhook clock accept`"
        ),
        Finding::JumpedAgain(ms) => tracing::warn!(
            off_seconds = seconds(ms), %wall, "wall clock jumped again and is still not trusted"
        ),
        Finding::CameBack => tracing::info!(%wall, "wall clock came back and is trusted again"),
        Finding::Downtime(ms) => tracing::info!(
            gap_seconds = seconds(ms), %wall, "receiver was down; deletion by age starts to catch up in an hour"
        ),
        Finding::Implausible(ms) => tracing::error!(
            gap_seconds = seconds(ms), %wall,
            "wall clock does not fit the last known time and is not trusted: times continue from the last known time; \
             repair the clock, or run `bikhook clock accept`"
        ),
    }
}
