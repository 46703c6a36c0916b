//! A disk that is full, and a disk that fails.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::{Body, Sender};
use crate::support::{
    client::{Answer, Client},
    disk::SmallDisk,
    home::{Home, eventually, strace},
    preload::FaultyDisk,
};

/// Room for the journal's file, which begins with 32 MiB, and some more.
const DISK: &str = "80m";

#[test]
fn a_disk_at_its_reserve_is_503_until_there_is_room_again() {
    let disk = SmallDisk::mount(DISK);
    let mut home = Home::at(disk.path().to_owned());
    home.journal_keys = "disk_reserve = \"8MiB\"";
    fill_up_and_make_room(&home, &disk, 4 << 20, 1);
}

#[test]
fn a_full_disk_is_503_until_there_is_room_again() {
    let disk = SmallDisk::mount(DISK);
    let mut home = Home::at(disk.path().to_owned());
    home.journal_keys = "disk_reserve = 0";
    home.audit_keys = "probe_first = \"50ms\"\nprobe_max = \"100ms\"";
    fill_up_and_make_room(&home, &disk, 100 << 10, 50);
}

#[test]
fn a_quota_is_503_until_there_is_room_again_without_a_restart() {
    let disk = FaultyDisk::new();
    let mut home = Home::new();
    let rows = home.journal_file().with_file_name("rows.db");
    home.more = format!("[handlers.rows]\nkind = \"sqlite\"\npath = {rows:?}");
    let mut process = home.spawn(disk.command(&home, &["journal.db", "events", "rows.db", "insight.db"]));
    process.wait_until_ready();
    let mut sender = Sender::default();
    let mut client = process.connect();
    sender.post_new(&mut client, 20);
    disk.begin("quota");

    let (mut body, refusal) = post_until_refused(&mut sender, &mut client, 50);
    let refusal = refusal.expect("an answer");
    refusal.assert_come_again();
    assert!(refusal.body.contains("the disk is full"), "{refusal:?}");
    // Longer than the interval of probes: a failed probe does not resume intake.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        sender.post(&mut client, &mut body).assert_come_again();
        assert_eq!((process.health("/healthz"), process.health("/readyz")), (200, 503));
    }
    assert!(process.is_alive());

    disk.end("quota");
    eventually("it takes nothing although there is room", || {
        sender.post(&mut client, &mut body).status == 200
    });
    assert_eq!(process.health("/readyz"), 200);
    sender.post_new(&mut client, 20);
    home.wait_until_delivered_to("rows");
    sender.assert_kept(&home, &mut process);
    assert_eq!(lines(&home, "intake stops"), 1, "{}", home.log());
    assert_eq!(lines(&home, "has room again"), 1, "{}", home.log());
    assert_quiet(&home);
}

#[test]
fn free_pages_do_not_use_up_the_file_system_and_the_log_says_so_once() {
    let disk = SmallDisk::mount("200m");
    let mut home = Home::at(disk.path().to_owned());
    home.journal_keys = "disk_reserve = \"8MiB\"\nretention = \"1s\"\n[insight]\nenabled = false";
    let mut process = home.start();
    let mut sender = Sender::default();
    let mut client = process.connect();
    // Events are deleted as soon as they are delivered, so the pages of the file become free.
    for _ in 0..60 {
        sender.post_new(&mut client, 1_000);
    }
    let free_pages = || {
        let journal =
            Connection::open_with_flags(home.journal_file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let pages: u64 = journal
            .query_row("SELECT freelist_count FROM pragma_freelist_count", [], |row| row.get(0))
            .unwrap();
        pages * 4_096
    };
    eventually("retention makes no room in the file", || free_pages() > 8 << 20);
    disk.fill_up_to(3 << 20);
    let (mut body, refusal) = post_until_refused(&mut sender, &mut client, 50);
    refusal.expect("an answer").assert_come_again();
    assert!(
        free_bytes(disk.path()) > 2 << 20,
        "what is outside the file has no room: {}",
        free_bytes(disk.path())
    );
    // The free space changes around the limit. That neither resumes intake nor logs again.
    for left in [4_608 << 10, 3_584 << 10, 4_608 << 10, 3_584 << 10] {
        disk.fill_up_to(left);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            sender.post(&mut client, &mut body).assert_come_again();
        }
    }
    disk.make_room();
    eventually("it takes nothing although there is room", || {
        sender.post(&mut client, &mut body).status == 200
    });
    process.stop();
    assert_eq!(lines(&home, "intake stops"), 1, "{}", home.log());
    assert_eq!(lines(&home, "has room again"), 1, "{}", home.log());
    assert_quiet(&home);
}

fn free_bytes(folder: &Path) -> u64 {
    let disk = rustix::fs::statvfs(folder).unwrap();
    disk.f_bavail * disk.f_frsize
}

#[test]
fn a_disk_that_does_not_answer_is_not_ready_and_the_log_says_so_once() {
    let disk = FaultyDisk::new();
    let home = Home::new();
    let mut process = home.spawn(disk.command(&home, &["journal.db"]));
    process.wait_until_ready();
    let mut sender = Sender::default();
    let mut client = process.connect();
    sender.post_new(&mut client, 20);
    disk.begin("hang");

    let mut body = sender.body(5);
    sender.post(&mut client, &mut body).assert_come_again();
    eventually("it is ready all the same", || process.health("/readyz") == 503);
    let ready = process.operator().get("/readyz").unwrap().body;
    assert_eq!(ready, "{\"ready\":false,\"state\":\"stalled\",\"heldBy\":null}\n");
    assert_eq!(process.health("/healthz"), 200, "a restart does not mend it");
    let metrics = process.operator().get("/metrics").unwrap().body;
    assert!(metrics.contains("\nbikhook_journal_ready 0\n"), "{metrics}");
    for _ in 0..2 {
        sender.post(&mut client, &mut body).assert_come_again();
    }

    disk.end("hang");
    eventually("it is not ready again", || process.health("/readyz") == 200);
    // The append in flight has completed, so this event is its duplicate.
    assert_eq!(client.post(&body.text).unwrap().receipt().duplicates, 5);
    sender.post_new(&mut client, 20);
    home.wait_until_delivered();
    process.stop();
    assert_eq!(lines(&home, " ERROR "), 1, "{}", home.log());
    assert_eq!(lines(&home, "disk does not answer"), 1, "{}", home.log());
    assert_eq!(lines(&home, "disk answers again"), 1, "{}", home.log());
}

#[test]
fn a_journal_whose_file_was_deleted_says_what_is_lost() {
    let home = Home::new();
    let mut process = home.start();
    let mut sender = Sender::default();
    let mut client = process.connect();
    sender.post_new(&mut client, 20);
    fs::remove_file(home.journal_file()).unwrap();
    let mut body = sender.body(1);
    // The process may have noticed already; then it has ended.
    if let Ok(answer) = sender.try_post(&mut client, &mut body) {
        answer.assert_come_again();
    }
    assert_eq!(process.exit_code(), 1);
    let log = home.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains("journal.db was deleted, moved or replaced while it was open"), "{log}");
    assert!(!log.contains("nothing that got a 200 is lost"), "{log}");
}

#[test]
fn an_unreadable_old_page_pauses_deletion_and_not_intake() {
    let mut home = Home::new();
    home.journal_keys = "disk_reserve = 0\n[insight]\nenabled = false";
    let mut sender = Sender::default();
    let mut process = home.start();
    let mut client = process.connect();
    for _ in 0..3 {
        sender.post_new(&mut client, 1_000);
    }
    home.wait_until_delivered();
    process.stop();
    // In the second slice of retention, far from the pages that a start reads.
    damage_page_of(&home, "\"id\":\"e-1500\"");

    home.journal_keys = "disk_reserve = 0\nretention = \"1s\"\n[insight]\nenabled = false";
    let mut process = home.start();
    let mut client = process.connect();
    eventually("retention does not meet the page", || home.log().contains(" ERROR "));
    assert_eq!(lines(&home, "deletion is paused"), 1, "{}", home.log());
    sender.post_new(&mut client, 20);
    // Longer than the delay before failed chores are retried.
    thread::sleep(Duration::from_millis(1_500));
    sender.post_new(&mut client, 20);
    assert!(process.is_alive());
    assert_eq!((process.health("/healthz"), process.health("/readyz")), (200, 200));
    home.wait_until_delivered();
    process.stop();
    assert_eq!(lines(&home, " ERROR "), 1, "{}", home.log());
}

/// Overwrites the page of the event with this text. For a receiver that was stopped.
fn damage_page_of(home: &Home, text: &str) {
    let path = home.journal_file();
    let journal = Connection::open(&path).unwrap();
    journal.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    let mut damaged = 0;
    for page in bytes.chunks_mut(4_096).skip(1) {
        // The first byte of a leaf page of a table is 13.
        if page[0] == 13 && page.windows(text.len()).any(|window| window == text.as_bytes()) {
            page.fill(0xFF);
            damaged += 1;
        }
    }
    assert!(damaged > 0, "no page has {text}");
    fs::write(&path, bytes).unwrap();
}

/// The number of log lines with this text.
fn lines(home: &Home, text: &str) -> usize {
    home.log().lines().filter(|line| line.contains(text)).count()
}

/// Asserts that no line of the log is repeated many times.
fn assert_quiet(home: &Home) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let log = home.log();
    for line in log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")) {
        let text = line.split_once(' ').map_or(line, |(_, rest)| rest);
        *counts.entry(text.split('=').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count <= 5), "{counts:#?}");
}

fn fill_up_and_make_room(home: &Home, disk: &SmallDisk, left_bytes: u64, events: usize) {
    let mut process = home.start();
    let mut sender = Sender::default();
    let mut client = process.connect();
    sender.post_new(&mut client, 20);
    disk.fill_up_to(left_bytes);

    let (mut body, refusal) = post_until_refused(&mut sender, &mut client, events);
    let refusal = refusal.expect("an answer");
    refusal.assert_come_again();
    assert!(refusal.body.contains("the disk is full"), "{refusal:?}");
    for _ in 0..20 {
        sender.post(&mut client, &mut body).assert_come_again();
    }
    assert!(process.is_alive());
    assert_eq!((process.health("/healthz"), process.health("/readyz")), (200, 503));

    disk.make_room();
    eventually("it takes nothing although there is room", || {
        sender.post(&mut client, &mut body).status == 200
    });
    assert_eq!(process.health("/readyz"), 200);
    sender.post_new(&mut client, 20);
    sender.assert_kept(home, &mut process);
}

#[test]
fn a_failed_write_to_the_log_ends_the_process_and_loses_nothing() {
    // The log may grow to 1 MiB; a write beyond it fails with EFBIG.
    fail_and_restart(|home| limited(home, 1_024), 50, "commit: disk I/O error", false);
}

#[test]
fn a_checkpoint_that_fails_ends_the_process_and_a_restart_has_everything() {
    // The file has 32 MiB, and cannot grow by as much again; the log never gets so long.
    fail_and_restart(|home| limited(home, 40 * 1_024), 1_500, "checkpoint: disk I/O error", true);
}

#[test]
fn a_sync_that_fails_once_ends_the_process_and_a_restart_has_everything() {
    // The next sync would succeed, so a process that trusted it would continue.
    fail_and_restart(
        |home| failing(home, "fsync,fdatasync:error=EIO:when=12"),
        5,
        "sync: Input/output error",
        false,
    );
}

#[test]
fn a_log_that_cannot_be_synced_at_the_start_ends_it_and_is_kept() {
    let home = Home::new();
    let mut sender = Sender::default();
    let mut process = home.start();
    sender.post_new(&mut process.connect(), 20);
    process.kill();
    let mut log_file = home.journal_file().into_os_string();
    log_file.push("-wal");
    let frames = fs::read(&log_file).unwrap();

    // The next sync would succeed, so a process that trusted it would copy the log and delete it.
    let mut process = home.spawn(failing(&home, "fsync,fdatasync:error=EIO:when=1"));
    assert_eq!(process.exit_code(), 1);
    let log = home.log();
    assert!(log.contains("cannot sync the journal's log"), "{log}");
    assert!(log.contains("journal.db-wal: Input/output error"), "{log}");
    assert!(fs::read(&log_file).unwrap() == frames, "the log was changed");

    let mut process = home.start();
    sender.post_new(&mut process.connect(), 20);
    sender.assert_kept(&home, &mut process);
}

fn fail_and_restart(
    command: impl FnOnce(&Home) -> Command,
    events: usize,
    why: &str,
    between_requests: bool,
) {
    let mut home = Home::new();
    home.audit_keys = "rotate_size = \"512KiB\"";
    let mut sender = Sender::default();
    let mut process = home.start();
    sender.post_new(&mut process.connect(), 20);
    process.stop();

    let mut failing = home.spawn(command(&home));
    failing.wait_until_ready();
    let (mut body, refusal) = post_until_refused(&mut sender, &mut failing.connect(), events);
    match refusal {
        Ok(refusal) => refusal.assert_come_again(),
        // A fault between two requests closes the idle connection, even if the next request is already in flight.
        Err(closed) => assert!(between_requests, "{closed}"),
    }
    assert_eq!(failing.exit_code(), 1);
    let log = home.log();
    let error = log.lines().last().unwrap();
    assert!(error.contains(&format!("the journal failed: {why}")), "{log}");

    let mut process = home.start();
    let mut client = process.connect();
    assert_eq!(sender.post(&mut client, &mut body).status, 200);
    sender.post_new(&mut client, 20);
    sender.assert_kept(&home, &mut process);
}

/// Posts new events until a body is refused. Returns that body with the answer, or with the error if the connection
/// ended without one.
fn post_until_refused(sender: &mut Sender, client: &mut Client, events: usize) -> (Body, io::Result<Answer>) {
    for _ in 0..1_000 {
        let mut body = sender.body(events);
        let answer = sender.try_post(client, &mut body);
        if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            return (body, answer);
        }
        // The free space is measured ten times a second, and less often on a busy machine.
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing was refused");
}

/// A receiver whose files cannot grow beyond this size. It gets an error instead of a signal.
fn limited(home: &Home, limit_kib: u64) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", &limit_kib.to_string()]);
    let receiver = home.command();
    command.arg(receiver.get_program()).args(receiver.get_args());
    command
}

/// A receiver under strace, which makes calls on the journal's log fail. The calls are counted per thread.
fn failing(home: &Home, calls: &str) -> Command {
    let mut log = home.journal_file().into_os_string();
    log.push("-wal");
    let mut command = strace();
    command.args(["-D", "-f", "-o", "/dev/null", "-e", &format!("inject={calls}"), "-P"]).arg(log);
    let receiver = home.command();
    command.arg(receiver.get_program()).args(receiver.get_args());
    command
}
