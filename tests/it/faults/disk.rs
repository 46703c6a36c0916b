//! A disk that is full, and a disk that fails.

use std::{io, process::Command, thread, time::Duration};

use super::{Body, Sender};
use crate::support::{
    client::{Answer, Client},
    disk::SmallDisk,
    home::{Home, eventually, strace},
};

/// Room for the journal's file, which begins with 32 MiB, and some more.
const DISK: &str = "80m";

#[test]
fn a_disk_at_its_reserve_is_503_until_there_is_room_again_without_a_restart() {
    let disk = SmallDisk::mount(DISK);
    let mut home = Home::at(disk.path().to_owned());
    home.journal_keys = "disk_reserve = \"8MiB\"";
    fill_up_and_make_room(&home, &disk, 4 << 20, 1);
}

#[test]
fn a_disk_without_any_room_is_503_until_there_is_room_again_without_a_restart() {
    let disk = SmallDisk::mount(DISK);
    let mut home = Home::at(disk.path().to_owned());
    home.journal_keys = "disk_reserve = 0";
    home.audit_keys = "probe_first = \"50ms\"\nprobe_max = \"100ms\"";
    fill_up_and_make_room(&home, &disk, 100 << 10, 50);
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
fn a_write_to_the_log_that_fails_ends_the_process_and_a_restart_has_everything() {
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
    // The next sync would go well: one that trusted it would go on.
    fail_and_restart(
        |home| failing(home, "fsync,fdatasync:error=EIO:when=12"),
        5,
        "sync: Input/output error",
        false,
    );
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
        // A fault that comes between two requests closes a connection that is idle, as the next one may be on its way.
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

/// Posts new events until a body is refused; that body, and the answer, or how the connection ended without one.
fn post_until_refused(sender: &mut Sender, client: &mut Client, events: usize) -> (Body, io::Result<Answer>) {
    for _ in 0..1_000 {
        let mut body = sender.body(events);
        let answer = sender.try_post(client, &mut body);
        if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            return (body, answer);
        }
        // The room is measured ten times a second.
        thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing was refused");
}

/// A receiver whose files cannot grow beyond so much: instead of a signal it gets an error.
fn limited(home: &Home, limit_kib: u64) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", &limit_kib.to_string()]);
    let receiver = home.command();
    command.arg(receiver.get_program()).args(receiver.get_args());
    command
}

/// A receiver in which calls on the journal's log fail, as strace is told; they are counted by thread.
fn failing(home: &Home, calls: &str) -> Command {
    let mut log = home.journal_file().into_os_string();
    log.push("-wal");
    let mut command = strace();
    command.args(["-D", "-f", "-o", "/dev/null", "-e", &format!("inject={calls}"), "-P"]).arg(log);
    let receiver = home.command();
    command.arg(receiver.get_program()).args(receiver.get_args());
    command
}
