//! `mode = "once"`: one process for each event. Exit code 0 is success, 65 (EX_DATAERR of sysexits.h) refuses the
//! event, and after any other code or a signal the event is retried.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use tokio::io::AsyncWriteExt;

use super::{
    command::Program,
    group::{Group, Pipes, Tail},
};
use crate::handler::{About, Delivery, Failure, body::Body};

const REFUSED: i32 = 65;
/// How long to wait until the pipes close after the program ended. A child that left the program's process group may
/// keep them open.
const PIPES: Duration = Duration::from_secs(1);

/// Runs the program with one event, until it ends.
///
/// # Errors
/// Returns a failure if the program cannot be started, exits with a code other than 0, or is ended by a signal. For an
/// exit code or a signal, the failure's text contains the end of standard error.
pub(super) async fn run(program: &Program, delivery: &Delivery, body: Body) -> Result<(), Failure> {
    let input = input(delivery, body);
    let (mut group, pipes) = program.start(Some(delivery))?;
    let mut tail = Tail::default();
    let status = converse(&mut group, pipes, input.as_bytes(), &mut tail).await;
    judge(status.map_err(wait_failure)?, &tail)
}

/// The standard input of the program.
pub(super) fn input(delivery: &Delivery, body: Body) -> String {
    match body {
        Body::Envelope => delivery.to_envelope() + "\n",
        Body::Raw => delivery.event.element.raw().to_owned(),
    }
}

async fn converse(
    group: &mut Group,
    pipes: Pipes,
    input: &[u8],
    tail: &mut Tail,
) -> std::io::Result<ExitStatus> {
    let Pipes { mut stdin, stdout, stderr } = pipes;
    let mut ignored = Tail::default();
    let talk = async {
        let feed = async {
            // The program may end without reading all its input.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        tokio::join!(feed, tail.read(stderr), ignored.read(stdout))
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

/// The failure if waiting for the program failed. The program's exit code is then unknown.
fn wait_failure(error: std::io::Error) -> Failure {
    Failure::retry("wait", "waiting for the program failed").saying(error)
}

fn judge(status: ExitStatus, tail: &Tail) -> Result<(), Failure> {
    let failure = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(REFUSED), _) => Failure::refuse("exit 65", "the program refused the event (exit 65)"),
        (Some(code), _) => {
            let story = format!("the program ended with exit code {code}");
            Failure::retry_about(About::Event, format!("exit {code}"), story)
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            let story = format!("the program was terminated by signal {signal}");
            Failure::retry_about(About::Event, format!("signal {signal}"), story)
        }
    };
    Err(tail.append_to(failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::FailureText;

    #[test]
    fn an_error_of_the_system_comes_after_the_handlers_words() {
        let stored = wait_failure(std::io::Error::other("no child Asha")).to_string();
        assert!(stored.ends_with("no child Asha"), "{stored}");
        assert_eq!(FailureText::read(&stored).own, "waiting for the program failed");
    }
}
