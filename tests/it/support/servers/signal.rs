//! Signals to a server of a test.

use std::{fs, process::Child};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::patience::eventually;

/// Sends a signal. A process that is to stop has stopped, with all its threads: on a loaded machine some go on for a while.
pub fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
    if signal == Signal::STOP {
        eventually("it does not stop", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
            tasks.flatten().all(|task| {
                fs::read_to_string(task.path().join("stat"))
                    .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
            })
        });
    }
}
