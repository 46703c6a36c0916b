//! Starts the receiver on a disk after a power cut, and finds missing data.

use std::{
    any::Any,
    collections::HashSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    disk::State,
    recording::{self, Recording, id_of, rows_file},
};
use crate::support::{
    home::{Home, Process},
    load::{Ledger, Made},
    proof::Proof,
};

/// The number of events that are posted again after a start: their keys must be known.
const POSTED_AGAIN: usize = 5;

/// The faults. A receiver that does not start is a fault, too.
pub fn faults(recording: &Recording, state: &State, at: usize) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let home = restore(state, &recording.root, folder.path());
    catch_unwind(AssertUnwindSafe(|| look(recording, &home, folder.path(), at)))
        .unwrap_or_else(|panic| vec![said(&*panic)])
}

fn look(recording: &Recording, home: &Home, root: &Path, at: usize) -> Vec<String> {
    let answered = recording.log.answered(at);
    let is_answered = |made: &&Made| recording.seqs[&made.id] <= answered;
    let mut process = home.start();
    let mut faults = post_again(&process, recording.ledger.events.iter().filter(is_answered));
    home.wait_until_delivered();
    process.stop();

    let mut stored = Vec::new();
    home.each_stored(|row| stored.push(row));
    let found: HashSet<String> = stored.iter().map(id_of).collect();
    // An event in flight may be stored or not. If it is stored, it must be delivered.
    let expected = |made: &&Made| is_answered(made) || found.contains(&made.id);
    let events: Vec<Made> = recording.ledger.events.iter().filter(expected).cloned().collect();
    let ledger = Ledger { events, ..Ledger::default() };
    let mut proof = Proof::new(&ledger);
    stored.iter().for_each(|row| proof.stored(row));
    home.each_line(|line| proof.line(line));
    let violations = proof.violations();
    if !violations.is_empty() {
        faults.push(format!(
            "{} promises broken: {:?}",
            violations.len(),
            &violations[..violations.len().min(5)]
        ));
    }
    let rows = ids_of_rows(&rows_file(root));
    let lost: Vec<&str> = ledger
        .events
        .iter()
        .filter(|made| made.step.is_none() && !rows.contains(&made.id))
        .map(|made| made.id.as_str())
        .collect();
    if !lost.is_empty() {
        faults.push(format!("{} rows are missing: {:?}", lost.len(), &lost[..lost.len().min(5)]));
    }
    for file in [home.journal_file(), rows_file(root)] {
        faults.extend(damage(&file));
    }
    faults
}

/// Posts some of the newest events that got an answer: each is a duplicate.
fn post_again<'a>(process: &Process, answered: impl Iterator<Item = &'a Made>) -> Vec<String> {
    let small = answered.filter(|made| made.padding == 0);
    let mut again: Vec<String> = small.map(Made::element).collect();
    let again = again.split_off(again.len().saturating_sub(POSTED_AGAIN));
    if again.is_empty() {
        return Vec::new();
    }
    let receipt = process.connect().post(&format!("[{}]", again.join(","))).expect("an answer").receipt();
    let are_known = receipt.duplicates == again.len() as u64;
    if are_known { Vec::new() } else { vec![format!("of {} duplicates: {receipt:?}", again.len())] }
}

fn ids_of_rows(file: &Path) -> HashSet<String> {
    let rows = Connection::open(file).unwrap();
    let mut select = rows.prepare("SELECT bik_id FROM bik_events").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The errors that SQLite finds in a file.
fn damage(file: &Path) -> Option<String> {
    let database = Connection::open(file).unwrap();
    let found: String = database.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).unwrap();
    (found != "ok").then(|| format!("{}: {found}", file.display()))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Writes the state of a disk into a folder. Returns a receiver in that folder.
fn restore(state: &State, from: &Path, to: &Path) -> Home {
    let moved = |path: &Path| to.join(path.strip_prefix(from).unwrap());
    for folder in &state.folders {
        fs::create_dir_all(moved(folder)).unwrap();
    }
    for (path, content) in &state.files {
        fs::write(moved(path), content).unwrap();
    }
    let mut home = recording::home(to.to_owned());
    // On a busy machine, storing may take longer than the default allows. The answer would be 503, and the events posted
    // again may then be stored or not: the test could no longer tell whether they were lost.
    home.http_keys = "deadline = \"60s\"";
    home
}
