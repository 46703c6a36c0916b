//! Root privileges for the programs that need them.

use std::{fs, os::unix::fs::MetadataExt, process::Command};

/// Runs a program as root; with sudo if the tests do not run as root.
pub fn as_root(program: &str) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
