//! `mode = "once"`: a process for each event. 0 is done, 65 (EX_DATAERR of sysexits.h) refuses, the rest is tried again.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use tokio::io::AsyncWriteExt;

use super::{
    Body,
    command::Program,
    group::{Group, Tail},
};
use crate::handler::{About, Delivery, Failure};

const REFUSED: i32 = 65;
/// A process that left its group may hold the pipes: nobody waits for it longer than this.
const PIPES: Duration = Duration::from_secs(1);

/// Runs the program with one event, to its end.
///
/// # Errors
/// What its exit code says, with the end of its standard error.
pub(super) async fn run(program: &Program, delivery: &Delivery, body: Body) -> Result<(), Failure> {
    let input = match body {
        Body::Envelope => delivery.to_envelope() + "\n",
        Body::Raw => delivery.event.element.raw().to_owned(),
    };
    let mut group = program.start(Some(delivery))?;
    let mut tail = Tail::default();
    let status = converse(&mut group, input.as_bytes(), &mut tail).await;
    judge(status.map_err(|error| Failure::retry("wait", error))?, &tail)
}

async fn converse(group: &mut Group, input: &[u8], tail: &mut Tail) -> std::io::Result<ExitStatus> {
    let (stdin, stdout, stderr) =
        (group.child.stdin.take(), group.child.stdout.take(), group.child.stderr.take());
    let talk = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program need not read what it does not want.
                let _ = stdin.write_all(input).await;
            }
        };
        let listen = async {
            if let Some(stderr) = stderr {
                tail.read(stderr).await;
            }
        };
        let ignore = async {
            if let Some(stdout) = stdout {
                Tail::default().read(stdout).await;
            }
        };
        tokio::join!(feed, listen, ignore)
    };
    tokio::pin!(talk);
    let mut talked = false;
    let status = {
        let end = group.end();
        tokio::pin!(end);
        loop {
            tokio::select! {
                status = &mut end => break status,
                _ = &mut talk, if !talked => talked = true,
            }
        }
    };
    if !talked {
        let _ = tokio::time::timeout(PIPES, &mut talk).await;
    }
    status
}

fn judge(status: ExitStatus, tail: &Tail) -> Result<(), Failure> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(REFUSED), _) => Err(Failure::refuse("exit 65", tail.tell("it refused the event (exit 65)"))),
        (Some(code), _) => {
            let story = tail.tell(&format!("it ended with {code}"));
            Err(Failure::retry_about(About::Event, format!("exit {code}"), story))
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            let story = format!("it was ended by signal {signal}");
            Err(Failure::retry_about(About::Event, format!("signal {signal}"), tail.tell(&story)))
        }
    }
}
