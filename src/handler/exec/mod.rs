//! `kind = "exec"`: passes each event to the standard input of a configured program.
//!
//! By default the program runs once for each event, and its exit code decides the outcome. With `mode = "lines"` it
//! keeps running, reads one line for each event, and answers each with a line: `ok`, `refuse TEXT` or `retry TEXT`.
//!
//! The program leads its own process group. The whole group is killed when the program ends, when a delivery times out,
//! when an answer is invalid, and when the receiver stops. So processes that the program started do not outlive it,
//! unless they leave the group. If the receiver itself is killed, the next receiver kills the leftover programs before
//! its first delivery.

mod command;
mod group;
mod lines;
mod once;
mod orphans;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::warn;

use super::{Delivery, Failure, Kind, OpenError, Wrong, body::Body};
use crate::secret::Secret;
use command::Program;
use lines::Worker;
use orphans::Mark;

/// A handler that runs a program.
pub(super) struct Exec {
    program: Program,
    body: Body,
    mode: Mode,
    /// The process of `mode = "lines"` between deliveries. A delivery takes the process out, and puts it back at the
    /// end. If the delivery is cancelled, the process is killed, because it is unknown to which event its next answer
    /// would belong.
    worker: Mutex<Option<Worker>>,
}

/// The kind's own configuration keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether the program runs once for each event or keeps running.
    #[serde(default)]
    pub mode: Mode,
    /// The format of an event on standard input. `raw` is only for `mode = "once"`, because the received bytes of an
    /// event may contain line breaks.
    #[serde(default)]
    pub body: Body,
    /// The working directory; by default that of the receiver.
    pub dir: Option<PathBuf>,
    /// Environment variables in addition to PATH and the handler's `BIKHOOK_…`. They may replace PATH.
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
}

/// How often the program is started.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Once for each event.
    #[default]
    Once,
    /// Once for many events; it answers each with a line.
    Lines,
}

impl Kind for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str =
        "runs a program for each event, or feeds a long-running one, on standard input";
    const CONCURRENCY: usize = 1;
    const BATCH: usize = 1;
    const HARMLESS: &'static [&'static str] = &["mode", "body", "dir"];
    type Keys = Settings;
    type Settings = Settings;

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        if keys.command.first().is_none_or(String::is_empty) {
            let wrong = Wrong::new(&["command"], "must begin with the name of a program");
            return Err(wrong.help("write [\"PROGRAM\", \"ARGUMENT\", …]"));
        }
        if (keys.body, keys.mode) == (Body::Raw, Mode::Lines) {
            let what = "\"raw\" may contain line breaks: use \"envelope\" with mode = \"lines\"";
            return Err(Wrong::new(&["body"], what));
        }
        Ok(keys)
    }

    fn destination(settings: &Settings) -> String {
        // Arguments are hidden, because one may be a token.
        let program = settings.command.first().map_or("", String::as_str);
        let arguments = if settings.command.len() > 1 { " …" } else { "" };
        let mode = match settings.mode {
            Mode::Once => "run for each event",
            Mode::Lines => "long-running",
        };
        format!("{program}{arguments}, {mode}")
    }

    /// For `mode = "lines"`, the line that the program gets. For `mode = "once"`, the variables that describe the
    /// delivery, and the standard input.
    fn shown(settings: &Settings, delivery: &Delivery) -> String {
        #[derive(Serialize)]
        struct ShownRun {
            env: BTreeMap<&'static str, String>,
            stdin: String,
        }
        if settings.mode == Mode::Lines {
            return delivery.to_envelope();
        }
        let env = command::variables(delivery).into();
        // Serializing texts cannot fail.
        serde_json::to_string(&ShownRun { env, stdin: once::input(delivery, settings.body) })
            .unwrap_or_default()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let (body, mode) = (settings.body, settings.mode);
        let handler = name.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let mark = end_orphans(&handler)?;
            Program::find(handler, settings.command, settings.dir, settings.env, mark)
        });
        let program = found.await??;
        Ok(Self { program, body, mode, worker: Mutex::new(None) })
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        match self.mode {
            Mode::Once => {
                for delivery in events {
                    delivery.mark_sent();
                    once::run(&self.program, delivery, self.body).await?;
                    delivery.mark_accepted();
                }
                Ok(())
            }
            Mode::Lines => self.feed(events).await,
        }
    }
}

/// Kills the programs that a killed receiver left running. Returns the [`Mark`] that identifies this receiver; `None` if
/// the mark cannot be read from /proc. Then nothing is killed.
fn end_orphans(handler: &str) -> Result<Option<Mark>, String> {
    let mark = match Mark::own() {
        Ok(mark) => mark,
        Err(error) => {
            warn!(
                handler,
                %error,
                "/proc cannot be read: programs left running by a killed receiver are not killed"
            );
            return Ok(None);
        }
    };
    let killed = orphans::kill(&mark, handler)?;
    if killed > 0 {
        warn!(handler, processes = killed, "programs left running by a killed receiver were killed");
    }
    Ok(Some(mark))
}

impl Exec {
    async fn feed(&self, events: &[Delivery]) -> Result<(), Failure> {
        let mut place = self.worker.lock().await;
        // If the process ended since the last delivery, another one is started, so that this delivery does not fail.
        let mut worker = match place.take().and_then(Worker::if_alive) {
            Some(worker) => worker,
            None => Worker::start(&self.program)?,
        };
        let mut outcome = Ok(());
        // The process may print an extra answer to an event. `hand` detects it only when the next event is sent. So an
        // event is not marked as accepted before the next one is answered. The last event is marked without this check.
        let mut unproven: Option<&Delivery> = None;
        for delivery in events {
            delivery.mark_sent();
            outcome = worker.hand(delivery).await.map_err(|broken| broken.0)?;
            if let Some(proven) = unproven.take() {
                proven.mark_accepted();
            }
            if outcome.is_err() {
                break;
            }
            unproven = Some(delivery);
        }
        if let Some(last) = unproven {
            last.mark_accepted();
        }
        *place = Some(worker);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_a_program_is_wrong() {
        for command in ["[]", "['']", "['', 'ARGUMENT']"] {
            let wrong = Exec::check(toml::from_str(&format!("command = {command}")).unwrap()).err().unwrap();
            assert!(wrong.to_string().starts_with("command: must begin with"), "{command}: {wrong}");
            assert!(wrong.help.is_some_and(|help| help.contains("PROGRAM")), "{command}");
        }
    }
}
