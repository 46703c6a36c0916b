//! Many connections: which of them stay open, and which are closed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use bikhook::http::Settings;
use tokio::net::TcpSocket;

use super::world::{Answer, Client, KEY, LONG, World, event, eventually, post, request};

/// An address of this machine that is no trusted proxy where only [`PROXY`] is one.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PROXY: &str = "127.0.0.1";

/// A world whose only trusted proxy is [`PROXY`].
fn world(change: impl FnOnce(&mut Settings)) -> World {
    World::with(|settings| {
        settings.trusted_proxies = vec![PROXY.parse().unwrap()];
        change(settings);
    })
}

/// Connects from that address.
pub(super) fn connect_from(address: Ipv4Addr, to: SocketAddr) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::V4(address), 0).into()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    connected.set_nonblocking(false).unwrap();
    connected.set_read_timeout(Some(LONG)).unwrap();
    connected.set_write_timeout(Some(LONG)).unwrap();
    Client(connected)
}

/// The first bytes of a head, of this length.
fn unfinished_head(bytes: usize) -> String {
    let begin = "POST /webhook HTTP/1.1\r\nX: ";
    format!("{begin}{}", "x".repeat(bytes - begin.len()))
}

/// Posts once, so that the connection has an accepted credential.
fn known(mut client: Client) -> Client {
    assert_eq!(client.ask(post(event("known"))).status, 200);
    client
}

#[test]
fn a_stranger_may_be_idle_for_less_than_a_known_sender_or_a_proxy() {
    let world = world(|settings| settings.unauthenticated_idle_timeout.0 = Duration::from_millis(300));
    let mut known = known(connect_from(STRANGER, world.address));
    let (mut fresh, mut refused) =
        (connect_from(STRANGER, world.address), connect_from(STRANGER, world.address));
    let wrong = request("POST /webhook", &["Authorization: wrong"], event("e1"));
    assert_eq!(refused.ask(wrong).status, 401);
    let mut proxied = world.connect();
    fresh.assert_closed();
    refused.assert_closed();
    thread::sleep(Duration::from_millis(400)); // longer than the time-out of strangers
    assert!(known.is_open() && proxied.is_open());
    assert_eq!(known.ask(post(event("e2"))).status, 200);
    assert_eq!(proxied.ask(post(event("e3"))).status, 200);
}

#[test]
fn the_default_idle_timeout_is_longer_than_that_of_proxies_and_is_told() {
    let proxies = [("Caddy", 120), ("Go", 90), ("nginx", 60)];
    let idle = Settings::default().idle_timeout.as_secs();
    assert!(proxies.iter().all(|(_, secs)| *secs < idle), "{idle} s: {proxies:?}");

    let world = world(|_| {});
    let told =
        |answer: &Answer| ["connection", "keep-alive"].map(|name| answer.header(name).map(str::to_owned));
    let keeps = ["keep-alive".to_owned(), format!("timeout={}", idle - 5)].map(Some);
    let (mut proxied, mut stranger) = (world.connect(), connect_from(STRANGER, world.address));
    assert_eq!(told(&proxied.ask(request("GET /webhook", &[], ""))), keeps, "a trusted proxy");
    let wrong = request("POST /webhook", &["Authorization: wrong"], event("e1"));
    assert_eq!(told(&proxied.ask(wrong.clone())), keeps, "a trusted proxy, after a wrong key of its client");
    assert_eq!(told(&stranger.ask(wrong)), [None, None], "a stranger is closed sooner");
    assert_eq!(told(&stranger.ask(post(event("e1")))), keeps, "an authenticated sender");

    let authorized = format!("Authorization: {KEY}");
    let last = stranger.ask(request("POST /webhook", &[&authorized, "Connection: TE, Close"], event("e2")));
    assert_eq!((last.status, last.header("keep-alive")), (200, None), "it closes the connection itself");
    stranger.assert_closed();
    proxied.send(format!("GET /webhook HTTP/1.0\r\n{authorized}\r\n\r\n"));
    assert_eq!(told(&proxied.answer()), [None, None], "HTTP/1.0");
    proxied.assert_closed();
}

#[test]
fn an_idle_timeout_of_five_seconds_is_not_told() {
    let world = World::with(|settings| settings.idle_timeout.0 = Duration::from_secs(5));
    let answer = world.post(event("e1"));
    assert_eq!((answer.status, answer.header("keep-alive")), (200, None));
}

#[test]
fn at_the_limit_the_longest_idle_connection_is_closed_for_a_new_one() {
    let world = World::with(|settings| settings.connections = 2);
    let (mut first, mut second) = (known(world.connect()), known(world.connect()));
    thread::sleep(Duration::from_millis(5)); // times are compared in milliseconds
    assert_eq!(first.ask(post(event("e1"))).status, 200);
    let mut third = known(world.connect());
    second.assert_closed();
    assert!(first.is_open());
    thread::sleep(Duration::from_millis(5));
    assert_eq!(third.ask(post(event("e2"))).status, 200);
    let mut fourth = known(world.connect());
    first.assert_closed();
    assert!(third.is_open() && fourth.is_open());
    world.until("bikhook_http_connections", 2);
}

#[test]
fn unfinished_heads_at_the_bound_do_not_lock_out_a_newcomer() {
    let world = World::with(|settings| {
        settings.connections = 3;
        settings.header_timeout.0 = 2 * LONG;
    });
    let mut heads: Vec<_> = (0..3)
        .map(|_| {
            let mut client = world.connect();
            client.send("POST / HTTP/1.1\r\n");
            thread::sleep(Duration::from_millis(100)); // so that its head is noticed
            client
        })
        .collect();
    world.until("bikhook_http_connections", 3);
    assert_eq!(world.connect().ask(post(event("e1"))).status, 200);
    let open = heads.iter_mut().map(Client::is_open).filter(|open| *open).count();
    assert_eq!(open, 2);
}

#[test]
fn a_request_under_way_never_gives_way_and_a_newcomer_waits_for_it() {
    let world = World::with(|settings| {
        settings.connections = 1;
        settings.deadline.0 = LONG;
    });
    world.journal.stall();
    let mut busy = world.connect();
    busy.send(post(event("e1")));
    world.until("bikhook_http_in_flight", 1);
    let mut newcomer = world.connect();
    newcomer.send(post(event("e2")));
    thread::sleep(Duration::from_millis(200)); // long enough to be closed, if that happened
    assert!(busy.is_open() && newcomer.is_open());
    world.journal.resume();
    assert_eq!((busy.answer().status, newcomer.answer().status), (200, 200));
    busy.assert_closed();
}

#[test]
fn a_connection_that_rested_takes_the_next_request_and_times_its_head() {
    let world = World::with(|settings| settings.header_timeout.0 = Duration::from_millis(300));
    let mut client = known(world.connect());
    thread::sleep(Duration::from_millis(1_300)); // hyper is dropped after a second
    assert_eq!(client.ask(post(event("e1"))).status, 200);
    // The start of the next head arrives in the same read as a request.
    client.send([post(event("e2")), b"POST /web".to_vec()].concat());
    assert_eq!(client.answer().status, 200);
    client.answer().assert_problem(408);
    client.assert_closed();
    assert_eq!(world.journal.ids(), ["known", "e1", "e2"]);
}

#[test]
fn a_head_in_any_pieces_is_read_on_a_new_and_on_a_used_connection() {
    let world = World::new();
    let mut client = world.connect();
    for piece in [1, 7, 100] {
        for bytes in post(event("e1")).chunks(piece) {
            client.send(bytes);
            thread::yield_now();
        }
        assert_eq!(client.answer().status, 200, "{piece}");
    }
    // The rest is sent after a pause, so it is a separate read, and the head is incomplete when it arrives.
    let (begin, rest) = (post(event("e2")), b"");
    let (begin, end) = begin.split_at(30);
    client.send(begin);
    thread::sleep(Duration::from_millis(50));
    client.send([end, rest].concat());
    assert_eq!(client.answer().status, 200);
}

#[test]
fn more_bytes_of_unfinished_heads_than_may_be_cost_the_oldest_its_head() {
    let world = world(|settings| settings.header_bytes.0 = 64 * 1024);
    let mut neighbour = world.connect();
    let whole = post(event("neighbour"));
    neighbour.send(&whole[..20]);
    let mut heads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = connect_from(STRANGER, world.address);
            client.send(unfinished_head(31_000));
            thread::sleep(Duration::from_millis(20)); // so that they begin in this order
            client
        })
        .collect();
    let answer = heads[0].answer();
    answer.assert_problem(408);
    assert!(answer.json()["detail"].as_str().unwrap().contains("unfinished"), "{answer:?}");
    heads[0].assert_closed();
    assert!(heads[3].is_open(), "the newest stays");
    neighbour.send(&whole[20..]);
    assert_eq!(neighbour.answer().status, 200);
    assert_eq!(known(world.connect()).ask(post(event("e1"))).status, 200);
}

#[test]
fn strangers_of_one_address_are_bounded_and_a_newcomer_is_let_in() {
    let world = world(|settings| settings.connections_per_address = 2);
    let mut before = known(connect_from(STRANGER, world.address));
    let mut idle = connect_from(STRANGER, world.address);
    let mut head = connect_from(STRANGER, world.address);
    head.send(unfinished_head(100));
    world.until("bikhook_http_connections", 3);
    eventually("the head is noticed", || {
        // Each connection exceeds the limit of strangers until it is answered; then it is known.
        known(connect_from(STRANGER, world.address));
        !head.is_open() || !idle.is_open()
    });
    if !head.is_open() {
        head.answer().assert_problem(408);
    }
    idle.assert_closed();
    assert_eq!(before.ask(post(event("e1"))).status, 200);
    let mut proxied: Vec<_> = (0..10).map(|_| world.connect()).collect();
    assert!(proxied.iter_mut().all(|client| client.ask(post(event("e2"))).status == 200));
}

#[test]
fn a_stop_closes_idle_connections_and_completes_a_started_head() {
    let mut world = World::new();
    let (mut resting, mut fresh, mut within) = (known(world.connect()), world.connect(), world.connect());
    let whole = post(event("e1"));
    within.send(&whole[..20]);
    thread::sleep(Duration::from_millis(1_300)); // hyper is dropped after a second
    world.until("bikhook_http_connections", 3);
    world.stop(LONG);
    resting.assert_closed();
    fresh.assert_closed();
    within.send(&whole[20..]);
    let answer = within.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    within.assert_closed();
    assert_eq!(world.stopped().cut, 0);
}
