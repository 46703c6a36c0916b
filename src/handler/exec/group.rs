//! A process and all that it starts: killed together, at the latest when this is dropped.

use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
};

/// As much of what it says on standard error is kept: the end.
const TAIL_BYTES: usize = 4 * 1024;

/// A child that leads a process group.
pub(super) struct Group {
    pub(super) child: Child,
    leader: Option<Pid>,
}

impl Group {
    pub(super) fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, leader }
    }

    /// Waits for its end, and ends what it left running: that might hold the pipes for ever.
    pub(super) async fn end(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill();
        status
    }

    /// Once: its number may be another's later.
    pub(super) fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            // Who is gone already needs no killing.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of what a process said on standard error.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Reads to the end. May be given up and called again.
    pub(super) async fn read(&mut self, mut from: impl AsyncRead + Unpin) {
        let mut chunk = [0; 1024];
        while let Ok(bytes @ 1..) = from.read(&mut chunk).await {
            self.0.extend_from_slice(&chunk[..bytes]);
            self.0.drain(..self.0.len().saturating_sub(TAIL_BYTES));
        }
    }

    /// A story, and what was said.
    pub(super) fn tell(&self, story: &str) -> String {
        let said = String::from_utf8_lossy(&self.0);
        let said = said.trim();
        if said.is_empty() { story.to_owned() } else { format!("{story}: {said}") }
    }
}
