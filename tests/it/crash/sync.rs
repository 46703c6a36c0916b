//! The real binary under strace: each 200 is sent after the sync of its events has returned, and a start syncs what a
//! killed process wrote.

use std::{fs, path::Path, process::Command, thread};

use tempfile::TempDir;

use super::trace::{Acknowledged, answers, begins_with_a_sync, faults};
use crate::support::{
    client::Client,
    dice::Dice,
    events::{incoming, status},
    home::{Home, Process, eventually, strace},
};

const CONNECTIONS: u64 = 6;
const POSTS: u64 = 40;

/// The system calls that could write, sync or answer.
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,\
                     io_uring_enter,fsync,fdatasync,sync_file_range,msync";

#[test]
fn a_200_is_sent_after_the_sync_of_its_events_has_returned() {
    let home = Home::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("trace");
    let mut process = home.spawn(watched(&home, &file));
    process.wait_until_ready();
    let seed = Dice::seed("BIKHOOK_CRASH_SEED");
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|name| {
            let client = process.connect();
            thread::spawn(move || send(client, name, &mut Dice::new(seed ^ name)))
        })
        .collect();
    let acknowledged: Vec<Acknowledged> =
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    process.stop();
    let trace = whole(&file, &process);
    assert_eq!(
        answers(&trace),
        acknowledged.len(),
        "answers of 200 that nobody waited for, or that went unseen"
    );
    assert_eq!(acknowledged.len() as u64, CONNECTIONS * POSTS);
    assert_eq!(faults(&trace, &acknowledged), []);
}

#[test]
fn a_start_syncs_the_log_of_a_killed_process_before_all_else() {
    let home = Home::new();
    let mut process = home.start();
    assert_eq!(process.connect().post(&status("e-1", "m-1", "sent")).expect("an answer").status, 200);
    process.kill();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("trace");
    let mut process = home.spawn(watched(&home, &file));
    process.wait_until_ready();
    process.stop();
    assert!(begins_with_a_sync(&whole(&file, &process)));
}

/// Posts bodies of some events, of which one is the marked one.
fn send(mut client: Client, name: u64, dice: &mut Dice) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for post in 0..POSTS {
        let id = |event| format!("watched-{name}-{post}-{event}.");
        let events = 1 + dice.below(4);
        let elements: Vec<String> = (0..events)
            .map(|event| match event % 2 {
                0 => status(&id(event), &format!("m-{}", id(event)), "sent"),
                _ => incoming(&id(event), &format!("m-{}", id(event))),
            })
            .collect();
        let answer = client.post(&format!("[{}]", elements.join(","))).expect("an answer");
        let seq = answer.receipt().seq.expect("a seq");
        acknowledged.push(Acknowledged { marker: id(dice.below(events)), seq });
    }
    acknowledged
}

/// The receiver under strace. With `-D` it stays a child of this process.
fn watched(home: &Home, trace: &Path) -> Command {
    let receiver = home.command();
    let mut command = strace();
    // Strings are recorded up to more than a page of the journal, so none is truncated.
    command.args(["-D", "-f", "-yy", "-ttt", "-s", "5000", "-e", CALLS, "-o"]).arg(trace);
    command.arg(receiver.get_program()).args(receiver.get_args());
    command
}

/// The trace, once strace has written all of it.
fn whole(file: &Path, process: &Process) -> String {
    let pid = process.pid().to_string();
    let mut trace = String::new();
    eventually("strace did not finish its trace", || {
        trace = fs::read_to_string(file).unwrap();
        let last = trace.lines().last().unwrap_or_default();
        last.starts_with(&pid) && last.ends_with("+++ exited with 0 +++")
    });
    trace
}
