//! Reports panics without their text, because the text of a panic may quote an event, a secret or a whole payload.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic, thread,
};

use tokio::task::JoinError;

/// Installs a panic hook that logs the location, the thread and, if `RUST_BACKTRACE` is set, the backtrace of every
/// panic.
pub fn log_places() {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let thread = thread::current();
        tracing::error!(at, thread = thread.name().unwrap_or("?"), backtrace, "thread panicked");
    }));
}

/// Returns why a task ended early. The `Display` of the error would quote the panic.
pub fn why_ended(task: &JoinError) -> &'static str {
    if task.is_panic() { "panicked (the log has the location)" } else { "cancelled" }
}
