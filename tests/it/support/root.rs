//! Every right, for what needs it.

use std::{fs, os::unix::fs::MetadataExt, process::Command};

/// A program with every right: by sudo where the tests are not root.
pub fn as_root(program: &str) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
