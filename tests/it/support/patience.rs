//! Waiting for what is bound to become true.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than a start or a stop takes on a loaded machine.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits for what is bound to become true, and says what did not happen.
pub fn eventually(otherwise: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "{otherwise}");
        thread::sleep(Duration::from_millis(5));
    }
}
