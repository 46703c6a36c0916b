//! The `exec` kind, with small programs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bikhook::handler::{Delivery, Failure};
use serde::Deserialize;
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::{
    contract::{Arrival, Destination, hold_to},
    handlers::{delivery, open},
    kinds::Fixture,
    support::{
        events::status,
        home::{Home, eventually},
    },
};

/// A program that appends its input to a file, and fails while the destination counts as unreachable.
struct Script {
    own: TempDir,
    lines: bool,
    /// Keys that every handler has.
    common: &'static str,
}

const ONCE: &str = r#"
IFS= read -r line || exit 1
[ -e is-away ] && { echo "it is away" >&2; exit 1; }
case $line in *'"id":"poison"'*) echo "not this one" >&2; exit 65;; esac
printf '%s\n' "$line" >> "$OUT"
"#;

const LINES: &str = r#"
while IFS= read -r line; do
  [ -e is-away ] && exit 1
  case $line in *'"id":"poison"'*) echo "refuse not this one"; continue;; esac
  printf '%s\n' "$line" >> "$OUT"
  echo ok
done
"#;

impl Script {
    fn new(lines: bool, common: &'static str) -> Self {
        Self { own: TempDir::new().unwrap(), lines, common }
    }

    fn out(&self, scene: &str) -> PathBuf {
        self.own.path().join(scene)
    }
}

impl Destination for Script {
    fn settings(&self, scene: &str) -> String {
        let (mode, script) = if self.lines { ("lines", LINES) } else { ("once", ONCE) };
        format!(
            "kind = \"exec\"\ncommand = [\"sh\", \"-c\", '''{script}''']\nmode = \"{mode}\"\ndir = {:?}\nenv.OUT = {:?}\n{}",
            self.own.path(),
            self.out(scene),
            self.common
        )
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        #[derive(Deserialize)]
        struct Line<'a> {
            key: String,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        let text = fs::read_to_string(self.out(scene)).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let arrival = |line: &str| {
            let Line { key, event } = serde_json::from_str(line).unwrap();
            Arrival { key, event: event.get().to_owned() }
        };
        whole.lines().map(arrival).collect()
    }

    fn kill(&mut self) {
        fs::write(self.own.path().join("is-away"), "").unwrap();
    }

    fn start(&mut self) {
        fs::remove_file(self.own.path().join("is-away")).unwrap();
    }

    fn poison(&self) -> Option<String> {
        Some(status("poison", "m-poison", "sent"))
    }

    fn is_idempotent(&self) -> bool {
        false
    }
}

pub const FIXTURE: Fixture = Fixture {
    kind: "exec",
    destination: Some(destination),
    wrong: &[
        ("", "command"),
        ("command = []", "command"),
        ("command = [\"no-such-program\"]", "no-such-program"),
        ("command = [\"/etc/passwd\"]", "chmod"),
        ("command = [\"cat\"]\ndir = \"/no/such/folder\"", "dir"),
        ("command = [\"cat\"]\nmode = \"lines\"\nbody = \"raw\"", "body"),
        ("command = [\"cat\"]\nenv.BIKHOOK_KEY = \"x\"", "env.BIKHOOK_KEY"),
    ],
};

fn destination() -> Box<dyn Destination> {
    Box::new(Script::new(false, ""))
}

#[test]
fn exec_keeps_the_contract_with_a_process_for_each_event() {
    hold_to(&mut Script::new(false, "concurrency = 4"));
}

#[test]
fn exec_keeps_the_contract_with_a_process_that_runs_on() {
    hold_to(&mut Script::new(true, "batch = 50"));
}

fn shell(dir: &Path, script: &str, more: &str) -> String {
    format!("command = [\"sh\", \"-c\", '''{script}''']\ndir = {dir:?}\n{more}")
}

#[tokio::test]
async fn a_program_gets_the_event_on_stdin_and_a_minimal_environment() {
    let dir = TempDir::new().unwrap();
    let script = "cat > input; env | sort > environment";
    let settings = shell(dir.path(), script, "body = \"raw\"\nenv.TOKEN = \"sesame\"");
    let handler = open("exec", &settings).await.unwrap();
    let event = delivery(7, "{ \"eventName\": \"a b\", \"id\": 5, }");
    handler.deliver(std::slice::from_ref(&event)).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("input")).unwrap(), event.event.element.raw());
    let environment = fs::read_to_string(dir.path().join("environment")).unwrap();
    for line in [
        &format!("BIKHOOK_KEY={}\n", event.key()),
        "BIKHOOK_SEQ=7\n",
        "BIKHOOK_ID=5\n",
        "BIKHOOK_SOURCE=bik\n",
        "BIKHOOK_ATTEMPT=1\n",
        "BIKHOOK_REPLAY=false\n",
        "BIKHOOK_HANDLER=under-test\n",
        "BIKHOOK_EVENT_NAME=a b\n",
        "TOKEN=sesame\n",
        "PATH=",
    ] {
        assert!(environment.contains(line), "no {line:?} in {environment}");
    }
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn an_exit_code_decides_and_the_end_of_standard_error_tells_why() {
    let dir = TempDir::new().unwrap();
    for (script, class, refused) in [
        ("exit 3", "exit 3", false),
        ("exit 65", "exit 65", true),
        ("kill -9 $$", "signal 9", false),
        ("yes noise | head -c 100000 >&2; echo the reason >&2; exit 3", "exit 3", false),
    ] {
        let handler = open("exec", &shell(dir.path(), script, "")).await.unwrap();
        let failure = handler.deliver(&[delivery(1, r#"{"eventName":"x"}"#)]).await.unwrap_err();
        let (Failure::Retry { class: had, error, .. } | Failure::Refuse { class: had, error }) = &failure
        else {
            panic!("{failure:?}")
        };
        assert_eq!((had.as_str(), matches!(failure, Failure::Refuse { .. })), (class, refused));
        let error = error.whole();
        assert!(error.len() < 4500, "{} bytes", error.len());
        assert!(!script.contains("reason") || error.ends_with("the reason"), "{error}");
    }
}

#[tokio::test]
async fn a_program_that_ignores_its_input_or_leaves_a_process_has_delivered() {
    let dir = TempDir::new().unwrap();
    let large = format!(r#"{{"eventName":"x","text":"{}"}}"#, "y".repeat(1 << 20));
    let handler = open("exec", &shell(dir.path(), "sleep 1000 & echo $! > pid", "")).await.unwrap();
    handler.deliver(&[delivery(1, &large)]).await.unwrap();
    eventually("what it left is not killed", || !runs(&dir.path().join("pid")));
}

#[tokio::test]
async fn a_delivery_that_is_given_up_ends_the_program_and_all_that_it_started() {
    for mode in ["once", "lines"] {
        let dir = TempDir::new().unwrap();
        let script = "[ -e second ] && { read line; echo ok; exit 0; }; sleep 1000 & echo $! > pid; wait";
        let handler = open("exec", &shell(dir.path(), script, &format!("mode = {mode:?}"))).await.unwrap();
        let event = [delivery(1, r#"{"eventName":"x"}"#)];
        let given_up = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                outcome = handler.deliver(&event) => panic!("{outcome:?}"),
                () = async {
                    while !runs(&dir.path().join("pid")) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                } => {}
            }
        });
        given_up.await.unwrap();
        eventually("what it started is not killed", || !runs(&dir.path().join("pid")));
        fs::write(dir.path().join("second"), "").unwrap();
        handler.deliver(&event).await.unwrap();
    }
}

#[tokio::test]
async fn a_long_running_process_answers_by_line_and_restarts_when_it_ended() {
    let dir = TempDir::new().unwrap();
    let script = r#"echo started >> starts
        while read -r line; do case $line in
        *refused*) echo "refuse no such order";;
        *later*) echo "retry in a minute";;
        *nonsense*) echo "whatever";;
        *silent*) echo "last words" >&2; exit 4;;
        *) echo ok;;
        esac; done"#;
    let handler = open("exec", &shell(dir.path(), script, "mode = \"lines\"")).await.unwrap();
    let starts = || fs::read_to_string(dir.path().join("starts")).unwrap().lines().count();
    let event = |name: &str| [delivery(1, &format!(r#"{{"eventName":"{name}"}}"#))];
    handler.deliver(&event("fine")).await.unwrap();
    let refused = handler.deliver(&event("refused")).await.unwrap_err();
    assert!(
        matches!(&refused, Failure::Refuse { error, .. } if error.whole().contains("no such order")),
        "{refused:?}"
    );
    let later = handler.deliver(&event("later")).await.unwrap_err();
    assert!(
        matches!(&later, Failure::Retry { error, .. } if error.whole().contains("in a minute")),
        "{later:?}"
    );
    assert_eq!(starts(), 1);
    let nonsense = handler.deliver(&event("nonsense")).await.unwrap_err();
    // The program's output is after a colon.
    assert!(
        matches!(&nonsense, Failure::Retry { class, error, .. }
            if class == "answer" && error.whole().starts_with("the program's answer must be ok, refuse TEXT or retry TEXT: \"")),
        "{nonsense:?}"
    );
    let silent = handler.deliver(&event("silent")).await.unwrap_err();
    assert!(
        matches!(&silent, Failure::Retry { class, error, .. } if class == "ended" && error.whole().contains("last words")),
        "{silent:?}"
    );
    handler.deliver(&event("fine")).await.unwrap();
    assert_eq!(starts(), 3);
}

#[tokio::test]
async fn events_accepted_before_a_failed_one_are_reported() {
    let dir = TempDir::new().unwrap();
    let once = "if grep -q later; then exit 7; fi";
    let lines = r#"while read -r line; do case $line in
        *later*) echo "retry in a minute";;
        *) echo ok;;
        esac; done"#;
    for (script, mode) in [(once, "once"), (lines, "lines")] {
        let settings = shell(dir.path(), script, &format!("mode = {mode:?}"));
        let handler = open("exec", &settings).await.unwrap();
        let events = [(1, "fine"), (2, "later"), (3, "fine")]
            .map(|(seq, name)| delivery(seq, &format!(r#"{{"eventName":"{name}"}}"#)));
        handler.deliver(&events).await.unwrap_err();
        assert_eq!(events.each_ref().map(Delivery::is_accepted), [true, false, false], "{mode}");
        assert_eq!(events.each_ref().map(Delivery::is_sent), [true, true, false], "{mode}");
    }
}

/// A program that prints one answer too many would stay one answer ahead. An event that it loses would then count as
/// delivered.
#[tokio::test]
async fn an_answer_too_many_is_not_taken_for_the_next_events() {
    let dir = TempDir::new().unwrap();
    let script = r#"while read -r line; do echo "$line" >> got; case $line in
        *twice*) printf 'ok\nok\n';;
        *) echo "refuse it all";;
        esac; done"#;
    let handler = open("exec", &shell(dir.path(), script, "mode = \"lines\"")).await.unwrap();
    let event = |name: &str| [delivery(1, &format!(r#"{{"eventName":"{name}"}}"#))];
    handler.deliver(&event("twice")).await.unwrap();
    let ahead = handler.deliver(&event("next")).await.unwrap_err();
    assert!(matches!(&ahead, Failure::Retry { class, .. } if class == "answer"), "{ahead:?}");
    // The event was not sent to that process; a new process gets it.
    assert_eq!(fs::read_to_string(dir.path().join("got")).unwrap().lines().count(), 1);
    let refused = handler.deliver(&event("next")).await.unwrap_err();
    assert!(matches!(&refused, Failure::Refuse { .. }), "{refused:?}");
}

/// Returns whether the process whose id is in a file runs. A dead process that was not reaped does not count.
fn runs(pid_file: &Path) -> bool {
    let Ok(pid) = fs::read_to_string(pid_file) else { return false };
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !pid.trim().is_empty()
        && stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim().starts_with(['Z', 'X']))
}

/// Writes down its id, and whether an earlier process still runs. Then it runs for a while, even if its input is
/// closed.
const SLOW: &str = r#"
note() {
  for other in $(cat "$OUT/ids" 2>/dev/null); do
    grep -qs '^State:.[^Z]' "/proc/$other/status" && echo "$other beside $$" >> "$OUT/beside"
  done
  sleep 600 &
  echo "$$" "$!" >> "$OUT/ids"
}
trap '' PIPE
if [ "$1" = lines ]; then while IFS= read -r line; do note; wait; done; else note; wait; fi
wait
"#;

/// The processes that wrote down their ids, and their children.
fn noted(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("ids")).unwrap_or_default();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Returns whether a process runs. A process that has ended may still be listed until it is reaped.
fn is_running(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[test]
fn a_program_does_not_outlive_a_killed_receiver_beyond_the_next_start() {
    for mode in ["once", "lines"] {
        let dir = TempDir::new().unwrap();
        let mut home = Home::new();
        home.more = format!(
            // The name is unique, because a handler of the same name in another test would kill the remaining
            // processes.
            "[handlers.slow_{}]\nkind = \"exec\"\ncommand = [\"sh\", \"-c\", '''{SLOW}''', \"slow\", \"{mode}\"]\n\
             mode = \"{mode}\"\nenv.OUT = {:?}\nstart = \"beginning\"\ntimeout = \"10m\"\n",
            std::process::id(),
            dir.path()
        );
        let mut receiver = home.start();
        assert_eq!(receiver.connect().post(&status("e1", "m1", "sent")).unwrap().status, 200);
        for life in 1..=3 {
            eventually("the program does not run", || noted(dir.path()).len() == 2 * life);
            receiver.kill();
            let left = noted(dir.path()).split_off(2 * (life - 1));
            assert!(left.iter().all(|id| is_running(*id)), "{mode}: nothing is left to be killed");
            receiver = home.start();
        }
        eventually("the program does not run", || noted(dir.path()).len() == 8);
        assert!(!dir.path().join("beside").exists(), "{mode}: a program of the event ran beside another");
        receiver.stop();
        let log = home.log();
        assert_eq!(log.matches("programs left running by a killed receiver were killed").count(), 3, "{log}");
        eventually("a program runs on", || !noted(dir.path()).into_iter().any(is_running));
    }
}
