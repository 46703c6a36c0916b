//! Waits for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than a start or a stop takes on a loaded machine.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits until a condition is true. Panics with its description if it never is.
pub fn eventually(otherwise: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "{otherwise}");
        thread::sleep(Duration::from_millis(5));
    }
}
