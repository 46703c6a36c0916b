//! The program of the handler. It is located when the handler opens, and started with a minimal environment.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::fs::{Access, access};
use tokio::process::Command;

use super::{
    group::{Group, Pipes},
    orphans::{HANDLER, MARK, Mark},
};
use crate::{
    handler::{Delivery, Failure},
    secret::Secret,
};

/// Maximum length in bytes of each of three values in the environment: the source, the event name and the id. The
/// system limits the size of the environment.
const VARIABLE_BYTES: usize = 1024;

/// The program to start, with its arguments, working directory and environment.
pub(super) struct Program {
    handler: String,
    path: PathBuf,
    arguments: Vec<String>,
    dir: Option<PathBuf>,
    env: BTreeMap<String, Secret>,
    search: Option<OsString>,
    /// The mark by which the next receiver finds programs that this receiver leaves running; `None` if /proc cannot be
    /// read.
    mark: Option<String>,
}

impl Program {
    /// Locates the program. A name with a slash is a path, relative to the receiver's working directory unless it is
    /// absolute. A name without a slash is looked up in the PATH of `env`. If `env` has no PATH, the receiver's PATH is
    /// used.
    ///
    /// # Errors
    /// Returns which configuration key is wrong, and why.
    pub(super) fn find(
        handler: String,
        command: Vec<String>,
        dir: Option<PathBuf>,
        env: BTreeMap<String, Secret>,
        mark: Option<Mark>,
    ) -> Result<Self, String> {
        let mut words = command.into_iter();
        // The check of the settings refuses a command without a program.
        let name = words.next().unwrap_or_default();
        let arguments: Vec<String> = words.collect();
        if arguments.iter().chain([&name]).any(|word| word.contains('\0')) {
            return Err("command: must not contain a NUL character".to_owned());
        }
        if let Some(name) = env.iter().find_map(|(name, value)| (!is_variable(name, value)).then_some(name)) {
            return Err(format!(
                "env.{name}: invalid variable: its name is empty, has = or starts with BIKHOOK_, or it has NUL"
            ));
        }
        if let Some(dir) = dir.as_deref().filter(|dir| !dir.is_dir()) {
            return Err(format!("dir: {} is not a directory: create it, or set another", dir.display()));
        }
        let search = env.get("PATH").map(|path| path.expose().into()).or_else(|| env::var_os("PATH"));
        let path = locate(&name, search.as_ref())?;
        let mark = mark.map(|mark| mark.to_text());
        Ok(Self { handler, path, arguments, dir, env, search, mark })
    }

    /// Builds a command with pipes for all three standard streams. The environment describes `delivery`, if given.
    pub(super) fn command(&self, delivery: Option<&Delivery>) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command.envs(self.search.iter().map(|path| ("PATH", path)));
        command.envs(self.env.iter().map(|(name, value)| (name, value.expose())));
        command.env(HANDLER, &self.handler);
        command.envs(self.mark.iter().map(|mark| (MARK, mark)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        if let Some(delivery) = delivery {
            command.envs(variables(delivery));
        }
        command
    }

    /// Starts the program.
    ///
    /// # Errors
    /// Returns [`Failure::Misconfigured`] if the program or its working directory is missing or may not be used, and
    /// [`Failure::Retry`] for other errors.
    pub(super) fn start(&self, delivery: Option<&Delivery>) -> Result<(Group, Pipes), Failure> {
        let mut child = self.command(delivery).spawn().map_err(|error| {
            let story = format!("cannot start {}", self.path.display());
            let failure = match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => {
                    Failure::misconfigured("program", story)
                }
                _ => Failure::retry("start", story),
            };
            failure.saying(error)
        })?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                Ok((Group::of(child), Pipes { stdin, stdout, stderr }))
            }
            _ => Err(Failure::retry("start", "the program was started without pipes")),
        }
    }
}

fn is_variable(name: &str, value: &Secret) -> bool {
    let odd = name.is_empty() || name.contains(['=', '\0']) || name.starts_with("BIKHOOK_");
    !odd && !value.expose().contains('\0')
}

fn locate(name: &str, search: Option<&OsString>) -> Result<PathBuf, String> {
    if name.contains('/') {
        let path = std::path::absolute(name).map_err(|error| format!("command: {name}: {error}"))?;
        return match access(&path, Access::EXEC_OK) {
            Ok(()) if path.is_file() => Ok(path),
            Ok(()) => Err(format!("command: {} is not a file", path.display())),
            Err(rustix::io::Errno::ACCESS) => {
                Err(format!("command: {} is not executable: run `chmod +x` on it", path.display()))
            }
            Err(error) => Err(format!("command: {}: {error}", path.display())),
        };
    }
    let found =
        search.iter().flat_map(env::split_paths).map(|folder| folder.join(name)).find(|it| is_program(it));
    found
        .ok_or_else(|| format!("command: {name:?} was not found in PATH: install it, or write its full path"))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// The variables that describe a delivery.
pub(super) fn variables(delivery: &Delivery) -> [(&'static str, String); 8] {
    let event = &delivery.event;
    [
        ("BIKHOOK_KEY", delivery.key().to_string()),
        ("BIKHOOK_SEQ", event.seq.to_string()),
        ("BIKHOOK_RECEIVED_AT", event.came_at.to_string()),
        ("BIKHOOK_SOURCE", value(&event.source)),
        ("BIKHOOK_EVENT_NAME", value(event.element.name())),
        ("BIKHOOK_ID", value(event.element.id().unwrap_or_default())),
        ("BIKHOOK_ATTEMPT", delivery.attempt.to_string()),
        ("BIKHOOK_REPLAY", delivery.replay.to_string()),
    ]
}

fn value(text: &str) -> String {
    // The text is cut before `replace` copies it, because an id may be long. It is cut again afterwards, because each
    // NUL becomes three bytes.
    let mut text = text[..text.floor_char_boundary(VARIABLE_BYTES)].replace('\0', "\u{fffd}");
    text.truncate(text.floor_char_boundary(VARIABLE_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_grows_without_its_nuls_keeps_its_limit() {
        assert_eq!(value("a\0b"), "a\u{fffd}b");
        assert_eq!(value(&"\0".repeat(VARIABLE_BYTES)).len(), VARIABLE_BYTES / 3 * 3);
    }
}
