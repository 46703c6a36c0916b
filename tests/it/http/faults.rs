//! Peers that hang up, a journal that stalls, a server that stops.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, LazyLock, Mutex},
    thread,
    time::{Duration, Instant},
};

use tracing::{
    Dispatch,
    dispatcher::{DefaultGuard, set_default},
    subscriber::NoSubscriber,
};
use tracing_subscriber::fmt::MakeWriter;

use super::world::{KEY, LONG, World, event, eventually, head, key, post, source};

/// The log of a server.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// A server whose log is captured here, down to DEBUG. This thread's log is captured too while the guard lives.
    pub(super) fn world(&self) -> (World, DefaultGuard) {
        // While there is only one subscriber, tracing asks the current thread's subscriber on the first use of a log
        // statement, and caches the answer for all threads. A thread of another test has no subscriber, so the cached
        // answer would be no.
        static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
        LazyLock::force(&ANOTHER);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        let dispatch = Dispatch::new(subscriber);
        let guard = set_default(&dispatch);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || std::mem::forget(set_default(&dispatch)))
            .build();
        let sources = BTreeMap::from([("bik".to_owned(), source("/webhook", key(KEY)))]);
        (World::on(runtime.unwrap(), |_| {}, &sources), guard)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn a_stalled_journal_is_503_in_time_and_the_append_still_completes() {
    let world = World::with(|settings| settings.deadline.0 = Duration::from_millis(300));
    world.journal.stall();
    let begun = Instant::now();
    let answer = world.post(event("e1"));
    answer.assert_problem(503);
    assert!(answer.retry_after() >= 1);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(world.journal.ids(), [""; 0]);
    world.journal.resume();
    eventually("the append completes", || world.journal.ids() == ["e1"]);
}

#[test]
fn the_place_of_a_request_is_held_until_its_append_has_ended() {
    let world = World::with(|settings| {
        settings.deadline.0 = Duration::from_millis(200);
        settings.in_flight = 1;
    });
    world.journal.stall();
    assert_eq!(world.post(event("e1")).status, 503);
    assert_eq!(world.metric("bikhook_http_in_flight"), 1);
    let second = world.post(event("e2"));
    second.assert_problem(503);
    assert!(second.json()["detail"].as_str().unwrap().contains("in flight"), "{second:?}");
    world.journal.resume();
    world.until("bikhook_http_in_flight", 0);
    assert_eq!(world.post(event("e3")).status, 200);
    assert_eq!(world.journal.ids(), ["e1", "e3"]);
}

#[test]
fn the_bytes_of_a_body_are_held_until_its_append_has_ended() {
    let world = World::with(|settings| {
        settings.deadline.0 = Duration::from_millis(200);
        settings.in_flight_bytes.0 = 1_200;
        settings.body_limit.0 = 1_200;
    });
    let padded = |id| format!("{}{}", " ".repeat(1_000), event(id));
    world.journal.stall();
    assert_eq!(world.post(padded("e1")).status, 503);
    assert_eq!(world.post(padded("e2")).status, 503);
    world.journal.resume();
    world.until("bikhook_http_in_flight", 0);
    assert_eq!(world.post(padded("e3")).status, 200);
    assert_eq!(world.journal.ids(), ["e1", "e3"]);
}

#[test]
fn a_request_that_finds_no_place_waits_for_one_inside_the_deadline() {
    let world = World::with(|settings| {
        settings.deadline.0 = LONG;
        settings.in_flight = 1;
    });
    world.journal.stall();
    let (mut first, mut second) = (world.connect(), world.connect());
    first.send(post(event("e1")));
    world.until("bikhook_http_in_flight", 1);
    second.send(post(event("e2")));
    thread::sleep(Duration::from_millis(100)); // long enough for a 503, if there were one
    assert!(second.is_open());
    world.journal.resume();
    assert_eq!((first.answer().status, second.answer().status), (200, 200));
}

#[test]
fn a_peer_that_hangs_up_does_not_cancel_its_append() {
    let world = World::new();
    world.journal.stall();
    let mut client = world.connect();
    client.send(post(event("e1")));
    world.until("bikhook_http_in_flight", 1);
    drop(client);
    world.journal.resume();
    eventually("the append completes", || world.journal.ids() == ["e1"]);
    world.until("bikhook_http_in_flight", 0);
    world.until("bikhook_http_connections", 0);
}

#[test]
fn a_peer_that_hangs_up_within_its_body_leaves_nothing_behind() {
    let world = World::new();
    let authorized = format!("Authorization: {KEY}");
    for headers in [[&*authorized, "Content-Length: 1000"], [&*authorized, "Transfer-Encoding: chunked"]] {
        let mut client = world.connect();
        client.send(head("POST /webhook", &headers) + "5\r\n[{\"ev");
        world.until("bikhook_http_in_flight", 1);
        drop(client);
        world.until("bikhook_http_in_flight", 0);
    }
    world.until("bikhook_http_connections", 0);
    assert_eq!(world.post(event("e1")).status, 200);
    assert_eq!(world.journal.ids(), ["e1"]);
    assert!(world.journal.quarantined().is_empty());
}

#[test]
fn a_peer_that_hangs_up_within_its_head_or_before_leaves_nothing_behind() {
    let world = World::new();
    let mut within = world.connect();
    within.send("POST /webh");
    let before = world.connect();
    world.until("bikhook_http_connections", 2);
    drop((within, before));
    world.until("bikhook_http_connections", 0);
    assert_eq!(world.post(event("e1")).status, 200);
}

#[test]
fn a_peer_that_says_it_is_done_sending_still_gets_its_answer() {
    let world = World::new();
    world.journal.stall();
    let mut client = world.connect();
    client.send(post(event("e1")));
    client.finish_sending();
    world.until("bikhook_http_in_flight", 1);
    world.journal.resume();
    assert_eq!(client.answer().status, 200);
    client.assert_closed();
}

#[test]
fn a_stop_closes_idle_connections_and_finishes_requests_in_flight() {
    // A connection learns of the stop asynchronously. A faster answer does not announce the close yet.
    let says_so = (0..20).any(|_| answer_during_a_stop() == Some("close".to_owned()));
    assert!(says_so, "no answer says that its connection closes");
}

/// Stops a server with a request in flight. Returns the `Connection` header of its answer.
fn answer_during_a_stop() -> Option<String> {
    let mut world = World::with(|settings| settings.deadline.0 = LONG);
    let (mut fresh, mut idle, mut busy) = (world.connect(), world.connect(), world.connect());
    assert_eq!(idle.ask(post(event("e1"))).status, 200);
    world.journal.stall();
    busy.send(post(event("e2")));
    world.until("bikhook_http_in_flight", 1);
    world.until("bikhook_http_connections", 3);
    world.stop(LONG);
    fresh.assert_closed();
    idle.assert_closed();
    assert!(std::net::TcpStream::connect(world.address).is_err(), "still accepting");
    world.journal.resume();
    let answer = busy.answer();
    assert_eq!(answer.status, 200);
    busy.assert_closed();
    assert_eq!(world.stopped().cut, 0);
    assert_eq!(world.journal.ids(), ["e1", "e2"]);
    answer.header("connection").map(str::to_owned)
}

#[test]
fn a_stop_gives_up_when_its_time_is_up() {
    let mut world = World::with(|settings| settings.deadline.0 = LONG);
    world.journal.stall();
    let mut busy = world.connect();
    busy.send(post(event("e1")));
    world.until("bikhook_http_in_flight", 1);
    let begun = Instant::now();
    world.stop(Duration::from_millis(100));
    assert_eq!(world.stopped().cut, 1);
    assert!(begun.elapsed() < LONG / 2);
    busy.assert_closed();
    assert_eq!(world.metric("bikhook_http_connections"), 0);
    // The queued append is stored anyway.
    world.journal.resume();
    eventually("the append completes", || world.journal.ids() == ["e1"]);
}
