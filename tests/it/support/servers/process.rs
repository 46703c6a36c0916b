//! A server as a process, with what it says in a file of its folder.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::patience::eventually;

/// Killed, as by SIGKILL, when it is dropped.
pub struct ServerProcess {
    child: Child,
}

impl ServerProcess {
    /// Starts a program, which Debian's package of the same name brings, and waits until it answers.
    pub fn start(command: &mut Command, folder: &Path, answers: impl FnMut() -> bool) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap_or_else(
                |error| panic!("{:?}: {error}: tests/run installs it", command.get_program()),
            );
        let started = Self { child };
        eventually(&format!("{:?} does not start", command.get_program()), answers);
        started
    }

    /// Stops and continues it: what hangs, and what comes back.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        if signal == Signal::STOP {
            // Its threads stop one after the other, and one of them may answer meanwhile.
            eventually("it does not stop", || self.is_stopped());
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("stat"))).all(|stat| {
            stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T")))
        })
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
