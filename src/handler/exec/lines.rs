//! `mode = "lines"`: one long-running process. It reads one line for each event and answers each with one line.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
    time::timeout,
};

use super::{
    command::Program,
    group::{Group, Pipes, Tail},
};
use crate::handler::{About, Delivery, Failure, FailureText};

/// Maximum length of an answer with its line break, in bytes.
const ANSWER_BYTES: u64 = 4 * 1024;
/// How long to wait for a process to end after it closed a pipe. Reading the rest of its standard error then has the
/// same timeout.
const END: Duration = Duration::from_secs(1);

/// The process and its pipes.
pub(super) struct Worker {
    group: Group,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
    tail: Tail,
}

/// Why a process can no longer be used.
pub(super) struct Broken(pub(super) Failure);

impl Worker {
    pub(super) fn start(program: &Program) -> Result<Self, Failure> {
        let (group, Pipes { stdin, stdout, stderr }) = program.start(None)?;
        Ok(Self { group, stdin, stdout: BufReader::new(stdout), stderr, tail: Tail::default() })
    }

    /// Returns the worker if its process is still running.
    pub(super) fn if_alive(mut self) -> Option<Self> {
        matches!(self.group.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Sends an event to the process and waits for its answer. The inner result is the answer.
    ///
    /// # Errors
    /// Returns [`Broken`] if the process ended, closed a pipe, or wrote an invalid or an extra answer. The caller must
    /// start another process.
    pub(super) async fn hand(&mut self, delivery: &Delivery) -> Result<Result<(), Failure>, Broken> {
        // Earlier unsolicited output would be taken for the answer to this event.
        if let Ok(Ok([_, ..])) = timeout(Duration::ZERO, self.stdout.fill_buf()).await {
            return Err(self.broken("answer", "the program wrote more answers than it got events"));
        }
        let line = delivery.to_envelope() + "\n";
        let mut answer = Vec::new();
        let Self { stdin, stdout, stderr, tail, .. } = self;
        let ask = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await?;
            stdout.take(ANSWER_BYTES).read_until(b'\n', &mut answer).await
        };
        // Standard error is read at the same time, because a full pipe would block the process.
        let asked = {
            tokio::pin!(ask);
            let listen = tail.read(stderr);
            tokio::pin!(listen);
            tokio::select! {
                biased;
                asked = &mut ask => asked,
                () = &mut listen => ask.await,
            }
        };
        match asked {
            Ok(1..) => self.read(&answer),
            Ok(0) | Err(_) => Err(self.ended().await),
        }
    }

    fn read(&self, answer: &[u8]) -> Result<Result<(), Failure>, Broken> {
        let text = String::from_utf8_lossy(answer);
        let Some(line) = text.strip_suffix('\n') else {
            return Err(self.broken("answer", "the program's answer has no line break within 4 KiB"));
        };
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match word {
            "ok" => Ok(Ok(())),
            "refuse" => {
                let refused = Failure::refuse("refused", "the program refused the event");
                Ok(Err(self.tail.append_to(refused.saying(rest))))
            }
            "retry" => {
                let story = "the program asked for a retry";
                let asked = Failure::retry_about(About::Event, "asked for a retry", story);
                Ok(Err(self.tail.append_to(asked.saying(rest))))
            }
            _ => {
                let story = FailureText::from("the program's answer must be ok, refuse TEXT or retry TEXT");
                Err(self.broken("answer", story.saying(format_args!("{line:?}"))))
            }
        }
    }

    async fn ended(&mut self) -> Broken {
        let status = tokio::time::timeout(END, self.group.end()).await;
        self.group.kill();
        // The last output may still be in the pipe of standard error.
        let _ = tokio::time::timeout(END, self.tail.read(&mut self.stderr)).await;
        let story = match status {
            Ok(Ok(status)) => format!("the program ended without an answer ({status})"),
            _ => "the program closed its standard input or output".to_owned(),
        };
        self.broken("ended", story)
    }

    /// Makes a failure about the event, because the event may be why the process ended or misbehaved.
    fn broken(&self, class: &str, story: impl Into<FailureText>) -> Broken {
        Broken(self.tail.append_to(Failure::retry_about(About::Event, class, story)))
    }
}
