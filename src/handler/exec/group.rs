//! A process and its process group, which are killed together, at the latest when the [`Group`] is dropped.

use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
};

use crate::handler::Failure;

/// How much of standard error is kept, in bytes, counted from its end.
const TAIL_BYTES: usize = 4 * 1024;

/// A child process that leads a process group.
pub(super) struct Group {
    pub(super) child: Child,
    leader: Option<Pid>,
}

/// The standard streams of a process.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Group {
    pub(super) fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, leader }
    }

    /// Waits until the process ends, then kills the rest of its group. A process left in the group could keep the pipes
    /// open forever.
    pub(super) async fn end(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill();
        status
    }

    /// Kills the group, but only once, because its id may later belong to another group.
    pub(super) fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            // An error is ignored, because it nearly always means that the group has already ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last part of a process's standard error.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Reads to the end of the stream, or to an error. May be cancelled and called again.
    pub(super) async fn read(&mut self, mut from: impl AsyncRead + Unpin) {
        let mut chunk = [0; 1024];
        while let Ok(bytes @ 1..) = from.read(&mut chunk).await {
            self.0.extend_from_slice(&chunk[..bytes]);
            self.0.drain(..self.0.len().saturating_sub(TAIL_BYTES));
        }
    }

    /// Adds the captured text to a failure, unless the text is blank.
    pub(super) fn append_to(&self, failure: Failure) -> Failure {
        let said = String::from_utf8_lossy(&self.0);
        let said = said.trim();
        if said.is_empty() { failure } else { failure.saying(said) }
    }
}
