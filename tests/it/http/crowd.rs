//! 10,000 requests at once, each on a connection of its own.
//!
//! Client and server together need more file descriptors than a process may have by default on most machines, so the
//! client is this same program, started again to run [`the_crowd`] only.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::world::{Client, World, event, post};

const CROWD: usize = 10_000;
const SERVER: &str = "BIKHOOK_TEST_CROWD_SERVER";
/// Two crowds at once need more file descriptors than many machines allow.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn each_of_10_000_requests_at_once_gets_its_200() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // More than the default, because this machine also runs the clients and other tests.
    let world = World::with(|settings| settings.deadline.0 = Duration::from_secs(10));
    let seen = send_the_crowd(&world);
    assert_eq!(seen, format!("200 {CROWD}"));
    assert_eq!(world.journal.ids().len(), CROWD);
}

#[test]
fn each_of_10_000_requests_gets_its_503_while_the_journal_stalls() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new();
    world.journal.stall();
    let begun = Instant::now();
    let seen = send_the_crowd(&world);
    assert_eq!(seen, format!("503 {CROWD}"));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    world.journal.resume();
    world.until("bikhook_http_in_flight", 0);
    assert_eq!(world.post(event("after")).status, 200);
}

/// The client of the two tests above. It does nothing when it is run on its own.
#[test]
fn the_crowd() {
    let Ok(server) = std::env::var(SERVER) else { return };
    let server: SocketAddr = server.parse().unwrap();
    more_files();
    let mut clients: Vec<_> = (0..CROWD).map(|_| Client::to(server)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(post(event(&number.to_string())));
    }
    let sent = Instant::now();
    let mut statuses: Vec<_> = clients.iter_mut().map(|client| client.answer().status).collect();
    eprintln!("all answered {:?} after the last was sent", sent.elapsed());
    statuses.sort_unstable();
    let seen = statuses.chunk_by(|a, b| a == b).map(|same| format!("{} {}", same[0], same.len()));
    println!("\nCROWD {}", seen.collect::<Vec<_>>().join(", "));
}

fn send_the_crowd(world: &World) -> String {
    more_files();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "http::crowd::the_crowd", "--nocapture"])
        .env(SERVER, world.address.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let seen = text.lines().find_map(|line| line.strip_prefix("CROWD "));
    seen.unwrap_or_else(|| panic!("the crowd was lost: {text}")).to_owned()
}

/// Raises the limit of open files to the maximum for this process.
fn more_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }).unwrap();
}
