//! Secrets are not shown: in messages about a configuration, on the network, on a terminal, in a log and in files.

mod exposure;
mod files;
mod messages;
mod panics;
mod terminal;
mod travel;

use std::process::{Command, Output};

/// A credential about which `check` does not warn.
const LONG_KEY: &str = "k3-that-nobody-guesses";

/// `bikhook` in a folder, with nothing of this process's environment.
fn bikhook(folder: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
    command.args(args).current_dir(folder).env_clear();
    command
}

/// Both outputs of a command.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}
