//! Real servers, private to a test: each on a free port of the loopback, with its data in a folder of its own.

pub mod certificate;
#[cfg(feature = "otel")]
pub mod collector;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "nats")]
pub mod nats_operator;
#[cfg(feature = "postgres")]
pub mod pgbouncer;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "s3")]
pub mod s3;
pub mod web;

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

/// Ports without a listener, all different, reserved for this process. No outgoing connection gets one of them, so a
/// server finds its port free when it is started again.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    [(); COUNT].map(|()| claim_port())
}

/// Listens at such a port.
pub fn listen() -> TcpListener {
    let [port] = free_ports();
    TcpListener::bind(("127.0.0.1", port)).unwrap()
}

/// A port is claimed by binding the UDP port of the same number until this process ends, which other test processes
/// see.
fn claim_port() -> u16 {
    static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    static TURN: AtomicU16 = AtomicU16::new(0);
    let range = claimable();
    let count = range.end - range.start;
    // Processes start at different ports, so that conflicts are rare.
    let first = u16::try_from(u64::from(std::process::id()) * 131 % u64::from(count)).unwrap();
    for _ in range.clone() {
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let port = range.start + (first + turn % count) % count;
        let claim = UdpSocket::bind(("127.0.0.1", port));
        if let (Ok(claim), Ok(_free)) = (claim, TcpListener::bind(("127.0.0.1", port))) {
            CLAIMS.lock().unwrap().push(claim);
            return port;
        }
    }
    panic!("every port of {range:?} is taken");
}

/// Ports that the kernel assigns only on request.
fn claimable() -> Range<u16> {
    const FIRST: u16 = 10_000;
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let ephemeral: Vec<u16> = text.split_whitespace().map(|port| port.parse().unwrap()).collect();
    // `first + turn % count` must stay within 16 bits.
    if ephemeral[0] > FIRST + 2_000 { FIRST..ephemeral[0].min(32_768) } else { ephemeral[1]..u16::MAX }
}

#[test]
fn a_claimed_port_is_given_once_and_to_no_outgoing_connection() {
    let ports: [u16; 40] = free_ports();
    let others: [u16; 40] = free_ports();
    assert!(ports.iter().all(|port| !others.contains(port) && claimable().contains(port)));
    assert!(UdpSocket::bind(("127.0.0.1", ports[0])).is_err(), "another process would not see the claim");
}
