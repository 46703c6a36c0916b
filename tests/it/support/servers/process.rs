//! A server process, with its output in a file of its folder.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::patience::{LONG, eventually};

/// Killed, as by SIGKILL, when it is dropped.
pub struct ServerProcess {
    child: Child,
}

impl ServerProcess {
    /// Starts a program, which Debian's package of the same name brings, and waits until it answers.
    pub fn start(command: &mut Command, folder: &Path, answers: impl FnMut() -> bool) -> Self {
        let path = folder.join("log");
        let log = File::options().create(true).append(true).open(&path).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap_or_else(
                |error| panic!("{:?}: {error}: tests/run installs it", command.get_program()),
            );
        let mut started = Self { child };
        until_it_answers(command, &mut started.child, &path, answers);
        started
    }

    /// Suspends or continues it, to simulate a hanging server.
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

/// Waits until a server answers. If it ends or never answers, panics with its last output.
pub fn until_it_answers(command: &Command, child: &mut Child, log: &Path, mut answers: impl FnMut() -> bool) {
    let said = || {
        let log = fs::read(log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned()
    };
    let begun = Instant::now();
    while !answers() {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{:?} ended at its start ({status}):\n{}", command.get_program(), said());
        }
        assert!(begun.elapsed() < LONG, "{:?} does not answer:\n{}", command.get_program(), said());
        thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[should_panic(expected = "ended at its start (exit status: 3):\nthe port is taken")]
fn a_server_that_ends_at_its_start_is_shown_with_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo the port is taken; exit 3"]);
    ServerProcess::start(&mut command, folder.path(), || false);
}
