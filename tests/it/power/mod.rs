//! Nothing that got a 200 is lost by a power cut, and nothing that is settled is missing at a destination.
//!
//! The real binary runs with a library that records every write, sync, rename and answer. From the record, the test
//! builds disks as a power cut may leave them: data that was not synced is lost, torn or reordered. The receiver starts
//! on each disk.
//!
//! `BIKHOOK_POWER_CUTS=1000` makes 1,000 cuts; `BIKHOOK_POWER_SEED=…` makes other cuts.

mod disk;
mod log;
mod recording;
mod restart;

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use tempfile::TempDir;

use self::{
    disk::{Disk, Ignored},
    log::{Log, What},
    recording::{Recorder, Recording, record},
};
use crate::support::{
    dice::Dice,
    home::{eventually, strace},
    load::Load,
};

/// The default number of cuts after which the receiver is started.
const CUTS: u64 = 60;
/// Receivers that start at once: each mostly waits.
const WORKERS: u64 = 6;

/// One record for all tests. Syncs that were recorded can be ignored later.
static RECORDING: LazyLock<Recording> = LazyLock::new(|| record(seed()));

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect("a number"))
}

fn seed() -> u64 {
    number("BIKHOOK_POWER_SEED", 12)
}

/// Makes this many cuts, and returns the faults by cut. Stops at the first fault if `first_only` is set.
fn cut(cuts: u64, ignored: Ignored, first_only: bool) -> BTreeMap<u64, String> {
    let recording = &*RECORDING;
    let disk = Disk::new(&recording.log, &recording.root);
    let (next, found) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let cut = next.fetch_add(1, SeqCst);
            if cut >= cuts || (first_only && !found.lock().unwrap().is_empty()) {
                return;
            }
            let mut dice = Dice::new(seed() ^ cut.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let (at, worst) = moment(&recording.log, &mut dice);
            let state = disk.cut(at, worst, ignored, &mut dice);
            let faults = restart::faults(recording, &state, at);
            if !faults.is_empty() {
                found.lock().unwrap().insert(cut, format!("{}: {}", state.story, faults.join("; ")));
            }
        }
    };
    thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().unwrap()
}

/// The time of a power cut: at random; near a sync, an answer or a change of names; or right after an answer, with the
/// worst result.
fn moment(log: &Log, dice: &mut Dice) -> (usize, bool) {
    let any = dice.below(log.end as u64) as usize;
    let next =
        |is_one: fn(&What) -> bool| log.operations.iter().find(|one| one.begun >= any && is_one(&one.what));
    match dice.below(3) {
        0 => (any, false),
        1 => {
            let one =
                next(|what| !matches!(what, What::Write { .. } | What::Resize { .. } | What::Grow { .. }));
            (one.map_or(any, |one| one.ended.min(log.end)) + dice.below(3) as usize, false)
        }
        _ => (next(|what| matches!(what, What::Answer { .. })).map_or(any, |one| one.begun + 1), true),
    }
}

#[test]
fn everything_answered_or_settled_outlives_a_power_cut() {
    let cuts = number("BIKHOOK_POWER_CUTS", CUTS);
    println!("BIKHOOK_POWER_SEED={} BIKHOOK_POWER_CUTS={cuts}", seed());
    let found = cut(cuts, Ignored::Nothing, false);
    let log = &RECORDING.log;
    println!(
        "{} operations, {} events, {cuts} cuts, {} with faults",
        log.operations.len(),
        RECORDING.seqs.len(),
        found.len()
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_disk_that_ignores_the_syncs_of_a_file_is_found_out() {
    for file in ["journal.db-wal", "journal.db", "events.jsonl", "rows.db-wal"] {
        assert_found_out(Ignored::File(file));
    }
    assert_found_out(Ignored::Folders);
}

fn assert_found_out(ignored: Ignored) {
    let found = cut(CUTS, ignored, true);
    let Some((cut, fault)) = found.first_key_value() else { panic!("nothing is lost without: {ignored:?}") };
    println!("{ignored:?}: cut {cut}: {fault}");
}

#[test]
fn the_recording_contains_checkpoints_rotations_and_restarts() {
    let disk = Disk::new(&RECORDING.log, &RECORDING.root);
    let restarted = disk.written_from_the_beginning("journal.db-wal");
    assert!(restarted > 2, "the journal's log was begun {restarted} times");
    let rotated =
        RECORDING.log.operations.iter().filter(|one| matches!(one.what, What::Rename { .. })).count();
    assert!(rotated > 2, "{rotated} files were renamed");
}

#[test]
fn the_recorder_sees_every_change_that_strace_sees() {
    const CALLS: [(&str, &[&str]); 7] = [
        ("write", &["write", "writev", "pwrite64", "pwritev", "pwritev2"]),
        ("sync", &["fsync", "fdatasync"]),
        ("resize", &["ftruncate", "truncate"]),
        ("grow", &["fallocate"]),
        ("rename", &["rename", "renameat", "renameat2"]),
        ("link", &["link", "linkat", "symlink", "symlinkat"]),
        ("unlink", &["unlink", "unlinkat"]),
    ];
    let folder = TempDir::new().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap().join("home");
    fs::create_dir(&root).unwrap();
    let mut home = recording::home(root.clone());
    home.audit_keys = "rotate_size = \"4KiB\"\ngzip = true";
    let recorder = Recorder::build(folder.path());
    let trace = folder.path().join("trace");
    let receiver = recorder.watch(&home, &root);
    let mut watched = strace();
    let calls: Vec<&str> = CALLS.iter().flat_map(|(_, calls)| calls.iter().copied()).collect();
    watched
        .args(["-D", "-f", "-y", "-z", "-s", "0", "-e", &format!("trace={}", calls.join(",")), "-o"])
        .arg(&trace);
    watched.arg(receiver.get_program()).args(receiver.get_args());
    let mut process = home.spawn(watched);
    process.wait_until_ready();
    let load = Load::new(2, seed());
    load.aim(process.address());
    load.wait_for_answers(20);
    load.finish();
    home.wait_until_delivered();
    process.stop();
    let pid = process.pid().to_string();
    let mut lines = String::new();
    eventually("strace did not finish its trace", || {
        lines = fs::read_to_string(&trace).unwrap();
        lines.lines().last().is_some_and(|last| last.starts_with(&pid) && last.contains("exited with 0"))
    });
    let inside = format!("{}/", root.display());
    let named = [format!("<{inside}"), format!("\"{inside}"), format!("<{}>", root.display())];
    let seen = |calls: &[&str]| {
        let is_one = |line: &str| {
            let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
            calls.iter().any(|name| call.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
                && named.iter().any(|name| call.contains(name))
        };
        // The receiver's own log is no file that it opened.
        lines.lines().filter(|line| is_one(line) && !line.contains(&format!("<{inside}log>"))).count()
    };
    let log = Log::read(fs::read(&recorder.log).unwrap());
    let recorded = |name: &str| log.operations.iter().filter(|one| one.what.name() == name).count();
    let both: Vec<_> = CALLS.iter().map(|(name, calls)| (*name, seen(calls), recorded(name))).collect();
    println!("{both:?}");
    assert!(both.iter().all(|(_, seen, recorded)| seen == recorded && *seen > 0), "{both:?}");
}
