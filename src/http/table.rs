//! The open connections of a listener, and the choice of the one to close when a limit is reached.
//!
//! A new connection is never refused. At the limit on connections, when no *slot* is free, an open connection must make
//! room: one that is already closing stops waiting for its peer, else the one that has been idle longest is closed,
//! else one with an unfinished head. If all are busy, the new connection waits. The unfinished heads of all connections
//! together have a limit on their bytes. Above that limit, the address with the most bytes loses its oldest unfinished
//! head.
//!
//! A *stranger* is a connection that has not sent an accepted credential and does not come from a trusted proxy.
//! Strangers are limited per address (IPv4, or IPv6 /64). A new stranger above the limit closes another stranger of its
//! address: the one with the oldest unfinished head, or else the one that has been idle longest. If all are busy, none
//! is closed.
//!
//! The table orders a connection to close, and does not wait until it is closed. A connection whose head is complete
//! after the first read does not lock the table for that head.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use axum::http::HeaderValue;
use tokio::time::Instant;

use super::{
    limits::LogLimiter,
    network::origin,
    pulse::{CloseOrder, ConnectionPhase, Pulse, Timeouts},
    settings::Settings,
};

/// Maximum number of idle connections that a scan keeps in [`OpenConnections::idle`]. A scan is slow, because it visits
/// all connections. So one scan finds the connections for several calls of `close_longest_idle`.
const SCANNED_MAX: usize = 64;
/// `Keep-Alive` announces this many seconds less than the idle timeout. So a peer that uses all of the announced time
/// does not send a request while the connection is being closed.
const KEEP_ALIVE_MARGIN_SECS: u64 = 5;

/// The open connections of a listener.
pub(super) struct ConnectionTable {
    epoch: Instant,
    settings: Arc<Settings>,
    open: Mutex<OpenConnections>,
    log: LogLimiter,
    /// The value of `Keep-Alive`; `None` if the idle timeout is too short to announce one.
    keep_alive: Option<HeaderValue>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    pulses: HashMap<u64, Arc<Pulse>>,
    addresses: HashMap<u64, AddressConnections>,
    /// Each address with unfinished heads, as (bytes of the heads, address), in ascending order.
    by_bytes: BTreeSet<(usize, u64)>,
    head_bytes: usize,
    /// The idle connections left from the last scan, as (idle since in ms, id). The longest idle is first.
    idle: VecDeque<(u64, u64)>,
}

/// The strangers and the unfinished heads of one address (IPv4, or IPv6 /64).
#[derive(Default)]
struct AddressConnections {
    strangers: BTreeSet<u64>,
    /// Unfinished heads as (connection, bytes), in the order in which they began.
    heads: BTreeMap<u64, (u64, usize)>,
    bytes: usize,
}

impl AddressConnections {
    fn is_empty(&self) -> bool {
        self.strangers.is_empty() && self.heads.is_empty()
    }
}

impl ConnectionTable {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        let announced = settings.idle_timeout.as_secs().saturating_sub(KEEP_ALIVE_MARGIN_SECS);
        Arc::new(Self {
            epoch: Instant::now(),
            open: Mutex::default(),
            log: LogLimiter::default(),
            keep_alive: (announced > 0)
                .then(|| HeaderValue::try_from(format!("timeout={announced}")).ok())
                .flatten(),
            settings,
        })
    }

    /// Adds a connection. If its address then has too many strangers, another one of them is closed, unless all are
    /// busy.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Membership {
        let settings = &*self.settings;
        let trusted = settings.trusted_proxies.iter().any(|network| network.contains(address));
        let timeouts = Timeouts {
            head: *settings.header_timeout,
            idle: *settings.idle_timeout,
            stranger_idle: *settings.unauthenticated_idle_timeout.min(settings.idle_timeout),
        };
        let pulse = Arc::new(Pulse::new(self.epoch, timeouts, trusted));
        let origin = origin(address);
        let mut open = self.open();
        open.next += 1;
        let id = open.next;
        open.pulses.insert(id, Arc::clone(&pulse));
        if !trusted {
            open.add_stranger(id, origin, settings.connections_per_address);
        }
        drop(open);
        Membership(Arc::new(Member {
            id,
            origin,
            pulse,
            table: Arc::clone(self),
            head_begin: AtomicU64::new(0),
            head_bytes: AtomicUsize::new(0),
        }))
    }

    /// Frees a slot. Tells a connection that is already closing to leave without waiting for its peer, else closes the
    /// one that has been idle longest, else drops an unfinished head. If all are busy, does nothing. Requests in flight
    /// are never cut.
    pub(super) fn make_room(&self) {
        let mut open = self.open();
        let ordered = open.close_longest_idle() || open.close_oldest_head();
        drop(open);
        if ordered && let Some(more_before) = self.log.allow() {
            let connections = self.settings.connections;
            tracing::warn!(
                connections,
                more_before,
                "connection limit reached: the longest idle connection, or else one with an unfinished head, is closed \
                 for a new one"
            );
        }
    }

    /// Closes every connection once it is idle, because the listener stops.
    pub(super) fn close_all(&self) {
        for pulse in self.open().pulses.values() {
            pulse.order(CloseOrder::Close);
        }
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    fn add_stranger(&mut self, id: u64, origin: u64, most: usize) {
        let address = self.addresses.entry(origin).or_default();
        let full = address.strangers.len() >= most;
        address.strangers.insert(id);
        if full {
            self.close_stranger(origin, id);
        }
    }

    /// Drops the oldest unfinished head among the strangers of this address, else closes the stranger that has been
    /// idle longest. If all are busy, none is closed, because requests in flight are never cut.
    fn close_stranger(&mut self, origin: u64, newcomer: u64) {
        let Some(address) = self.addresses.get(&origin) else { return };
        let mut heads = address.heads.iter().map(|(begin, (id, _))| (*begin, *id));
        if let Some((begin, id)) = heads.find(|(_, id)| address.strangers.contains(id)) {
            self.drop_head(origin, begin);
            self.forget_stranger(id, origin);
            return;
        }
        let idle = address.strangers.iter().filter(|id| **id != newcomer).filter_map(|id| {
            let pulse = self.pulses.get(id)?;
            (pulse.phase() == ConnectionPhase::Idle).then(|| (pulse.since_ms(), *id))
        });
        if let Some((_, id)) = idle.min() {
            if let Some(pulse) = self.pulses.get(&id) {
                pulse.order(CloseOrder::Close);
            }
            self.forget_stranger(id, origin);
        }
    }

    fn drop_head(&mut self, origin: u64, begin: u64) {
        let dropped = self.addresses.get(&origin).and_then(|address| address.heads.get(&begin));
        if let Some(pulse) = dropped.and_then(|(id, _)| self.pulses.get(id)) {
            pulse.order(CloseOrder::DropHead);
        }
        self.forget_head(origin, begin);
    }

    fn forget_stranger(&mut self, id: u64, origin: u64) {
        let Some(address) = self.addresses.get_mut(&origin) else { return };
        address.strangers.remove(&id);
        if address.is_empty() {
            self.addresses.remove(&origin);
        }
    }

    fn forget_head(&mut self, origin: u64, begin: u64) {
        let Some(address) = self.addresses.get_mut(&origin) else { return };
        let Some((_, bytes)) = address.heads.remove(&begin) else { return };
        self.by_bytes.remove(&(address.bytes, origin));
        address.bytes -= bytes;
        self.head_bytes -= bytes;
        if address.bytes > 0 {
            self.by_bytes.insert((address.bytes, origin));
        }
        if address.is_empty() {
            self.addresses.remove(&origin);
        }
    }

    /// Records the bytes that an unfinished head takes now. `begin` orders the heads by their start.
    fn count_head(&mut self, id: u64, origin: u64, begin: u64, bytes: usize) {
        self.forget_head(origin, begin);
        let address = self.addresses.entry(origin).or_default();
        self.by_bytes.remove(&(address.bytes, origin));
        address.heads.insert(begin, (id, bytes));
        address.bytes += bytes;
        self.head_bytes += bytes;
        self.by_bytes.insert((address.bytes, origin));
    }

    /// Drops unfinished heads until all together take at most `most` bytes. Each time, drops the oldest head of the
    /// address with the most bytes.
    fn limit_heads(&mut self, most: usize) {
        while self.head_bytes > most {
            let Some((_, origin)) = self.by_bytes.last().copied() else { return };
            let oldest = self.addresses.get(&origin).and_then(|address| address.heads.keys().next());
            let Some(begin) = oldest.copied() else { return };
            self.drop_head(origin, begin);
        }
    }

    /// Drops an unfinished head. Prefers a head of a stranger, then the address with the most bytes, then the oldest
    /// head. Returns false if there is no unfinished head, or if each one is already being dropped. The dropped head
    /// gets an answer, but its connection closes without waiting until the peer has read it. Otherwise a peer that does
    /// not read would delay the new connection that needs the slot.
    fn close_oldest_head(&mut self) -> bool {
        let stranger = self.oldest_head(|pulse| !pulse.is_known());
        let Some((origin, begin, id)) = stranger.or_else(|| self.oldest_head(|_| true)) else { return false };
        if let Some(pulse) = self.pulses.get(&id) {
            pulse.order(CloseOrder::Leave);
        }
        self.drop_head(origin, begin);
        true
    }

    /// Visits the addresses in descending order of the bytes of their heads. Returns the oldest eligible head of the
    /// first address that has an eligible head, as (origin, begin, connection).
    fn oldest_head(&self, is_eligible: impl Fn(&Pulse) -> bool) -> Option<(u64, u64, u64)> {
        self.by_bytes.iter().rev().find_map(|(_, origin)| {
            let mut heads = self.addresses.get(origin)?.heads.iter();
            let (begin, (id, _)) =
                heads.find(|(_, (id, _))| self.pulses.get(id).is_some_and(|pulse| is_eligible(pulse)))?;
            Some((*origin, *begin, *id))
        })
    }

    fn close_longest_idle(&mut self) -> bool {
        self.close_scanned() || {
            self.scan_idle();
            self.close_scanned()
        }
    }

    fn close_scanned(&mut self) -> bool {
        while let Some((since_ms, id)) = self.idle.pop_front() {
            let Some(pulse) = self.pulses.get(&id) else { continue };
            if idle_since(pulse) == Some(since_ms) && !pulse.is_ordered(closing_order(pulse)) {
                pulse.order(closing_order(pulse));
                return true;
            }
        }
        false
    }

    fn scan_idle(&mut self) {
        let unordered = self.pulses.iter().filter(|(_, pulse)| !pulse.is_ordered(closing_order(pulse)));
        let mut idle: Vec<_> =
            unordered.filter_map(|(id, pulse)| idle_since(pulse).map(|since_ms| (since_ms, *id))).collect();
        if idle.len() > SCANNED_MAX {
            idle.select_nth_unstable(SCANNED_MAX);
            idle.truncate(SCANNED_MAX);
        }
        idle.sort_unstable();
        self.idle = idle.into();
    }
}

/// The order that makes an idle or closing connection free its slot.
fn closing_order(pulse: &Pulse) -> CloseOrder {
    if pulse.phase() == ConnectionPhase::Closing { CloseOrder::Leave } else { CloseOrder::Close }
}

/// Since when the connection has been idle, in milliseconds since `epoch`; 0 for one that is closing, so that it is
/// chosen first. `None` for any other connection.
fn idle_since(pulse: &Pulse) -> Option<u64> {
    match pulse.phase() {
        ConnectionPhase::Closing => Some(0),
        ConnectionPhase::Idle => Some(pulse.since_ms()),
        ConnectionPhase::Head | ConnectionPhase::Busy | ConnectionPhase::Answering => None,
    }
}

/// One connection's entry in the table.
pub(super) struct Member {
    id: u64,
    origin: u64,
    pulse: Arc<Pulse>,
    table: Arc<ConnectionTable>,
    /// Identifies the connection's unfinished head: a head that began later has a higher number. 0 if the connection
    /// has no unfinished head.
    head_begin: AtomicU64,
    /// The bytes of the connection's unfinished head; 0 if it has none.
    head_bytes: AtomicUsize,
}

impl Member {
    pub(super) const fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// The value of `Keep-Alive` in an answer on this connection. `None` for a stranger, whose idle timeout is shorter.
    pub(super) fn keep_alive(&self) -> Option<&HeaderValue> {
        self.table.keep_alive.as_ref().filter(|_| self.pulse.is_known())
    }

    /// Records that the connection's head is unfinished and takes that many bytes. Drops heads if all together exceed
    /// the limit.
    pub(super) fn hold_head(&self, bytes: usize) {
        if self.head_bytes.swap(bytes, Relaxed) == bytes {
            return;
        }
        let mut open = self.table.open();
        if self.pulse.is_ordered(CloseOrder::DropHead) {
            return;
        }
        if self.head_begin.load(Relaxed) == 0 {
            open.next += 1;
            self.head_begin.store(open.next, Relaxed);
        }
        open.count_head(self.id, self.origin, self.head_begin.load(Relaxed), bytes);
        open.limit_heads(self.table.settings.header_bytes.as_usize());
    }

    /// Records that the connection's head has ended, complete or not.
    pub(super) fn end_head(&self) {
        if self.head_bytes.swap(0, Relaxed) > 0 {
            self.table.open().forget_head(self.origin, self.head_begin.swap(0, Relaxed));
        }
    }

    /// Records that the connection has sent an accepted credential.
    pub(super) fn become_known(&self) {
        if self.pulse.become_known() {
            self.table.open().forget_stranger(self.id, self.origin);
        }
    }

    /// Records that the connection is about to close. From now on it counts only against the limit on connections.
    pub(super) fn begin_closing(&self) {
        self.end_head();
        self.pulse.enter(ConnectionPhase::Closing);
        self.table.open().forget_stranger(self.id, self.origin);
    }
}

/// Keeps a connection in the table until this value is dropped.
pub(super) struct Membership(pub(super) Arc<Member>);

impl Drop for Membership {
    fn drop(&mut self) {
        let Member { id, origin, table, .. } = &*self.0;
        self.0.end_head();
        let mut open = table.open();
        open.pulses.remove(id);
        open.forget_stranger(*id, *origin);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Size;

    fn table(settings: Settings) -> Arc<ConnectionTable> {
        ConnectionTable::new(Arc::new(settings))
    }

    fn enter(table: &Arc<ConnectionTable>, address: &str) -> Membership {
        table.enter(address.parse().unwrap())
    }

    fn head(member: &Membership, bytes: usize) {
        member.0.pulse().has_read();
        member.0.hold_head(bytes);
    }

    /// The indexes of the members to which the order was given.
    fn ordered(members: &[&Membership], order: CloseOrder) -> Vec<usize> {
        (0..members.len()).filter(|n| members[*n].0.pulse().is_ordered(order)).collect()
    }

    fn assert_empty(table: &ConnectionTable) {
        let open = table.open();
        assert!(open.pulses.is_empty() && open.addresses.is_empty() && open.by_bytes.is_empty());
        assert_eq!(open.head_bytes, 0);
    }

    #[tokio::test]
    async fn the_oldest_head_of_the_address_with_most_bytes_is_dropped() {
        let table = table(Settings { header_bytes: Size(10_000), ..Settings::default() });
        let small = enter(&table, "192.0.2.1");
        let (first, second) = (enter(&table, "192.0.2.2"), enter(&table, "192.0.2.2"));
        head(&small, 4_000);
        head(&second, 3_000);
        head(&first, 3_000);
        let all = [&small, &first, &second];
        assert_eq!(ordered(&all, CloseOrder::DropHead), [0; 0]);
        small.0.hold_head(4_001);
        assert_eq!(
            ordered(&all, CloseOrder::DropHead),
            [2],
            "the oldest head counts, not the last one that grew"
        );
        first.0.hold_head(6_000);
        assert_eq!(ordered(&all, CloseOrder::DropHead), [1, 2]);
        drop((small, first, second));
        assert_empty(&table);
    }

    #[tokio::test]
    async fn an_ended_head_and_a_closed_connection_hold_no_bytes() {
        let table = table(Settings { header_bytes: Size(1_000), ..Settings::default() });
        let kept = enter(&table, "127.0.0.1");
        for _ in 0..100 {
            head(&kept, 900);
            kept.0.end_head();
            let gone = enter(&table, "127.0.0.1");
            head(&gone, 900);
            drop(gone);
        }
        assert!(!kept.0.pulse().is_ordered(CloseOrder::DropHead));
        drop(kept);
        assert_empty(&table);
    }

    #[tokio::test]
    async fn a_stranger_over_the_limit_of_its_address_closes_an_older_one() {
        let table = table(Settings { connections_per_address: 2, ..Settings::default() });
        let (idle, partial) = (enter(&table, "192.0.2.1"), enter(&table, "192.0.2.1"));
        head(&partial, 10);
        let third = enter(&table, "192.0.2.1");
        let all = [&idle, &partial, &third];
        assert_eq!(
            (ordered(&all, CloseOrder::DropHead), ordered(&all, CloseOrder::Close)),
            (vec![1], vec![])
        );
        let elsewhere = enter(&table, "192.0.2.9");
        assert_eq!(ordered(&all, CloseOrder::Close), [0; 0]);
        let fourth = enter(&table, "192.0.2.1");
        let all = [&idle, &partial, &third, &elsewhere, &fourth];
        assert_eq!(ordered(&all, CloseOrder::Close), [0], "the longest idle connection");
        drop((idle, partial, third, elsewhere, fourth));
        assert_empty(&table);
    }

    #[tokio::test]
    async fn known_connections_and_trusted_proxies_have_no_limit_per_address() {
        let table = table(Settings { connections_per_address: 1, ..Settings::default() });
        let known = enter(&table, "192.0.2.1");
        known.0.become_known();
        let stranger = enter(&table, "192.0.2.1");
        let (proxied, too) = (enter(&table, "127.0.0.1"), enter(&table, "127.0.0.1"));
        let all = [&known, &stranger, &proxied, &too];
        assert_eq!(ordered(&all, CloseOrder::Close), [0; 0]);
        let newcomer = enter(&table, "192.0.2.1");
        assert_eq!(ordered(&all, CloseOrder::Close), [1]);
        drop((known, stranger, proxied, too, newcomer));
        assert_empty(&table);
    }

    #[tokio::test]
    async fn without_an_idle_connection_unfinished_heads_are_dropped() {
        let table = table(Settings::default());
        let idle = enter(&table, "192.0.2.9");
        let known = enter(&table, "192.0.2.1");
        known.0.become_known();
        let small = enter(&table, "192.0.2.2");
        let (first, second) = (enter(&table, "192.0.2.3"), enter(&table, "192.0.2.3"));
        head(&known, 9_000);
        head(&small, 2_500);
        head(&second, 2_000);
        head(&first, 2_000);
        let all = [&known, &small, &first, &second];
        table.make_room();
        assert!(idle.0.pulse().is_ordered(CloseOrder::Close), "an idle connection is closed first");
        assert_eq!(ordered(&all, CloseOrder::DropHead), [0; 0]);
        for expected in [vec![3], vec![1, 3], vec![1, 2, 3], vec![0, 1, 2, 3]] {
            table.make_room();
            assert_eq!(ordered(&all, CloseOrder::DropHead), expected);
            assert_eq!(ordered(&all, CloseOrder::Leave), expected);
            second.0.hold_head(4_000 + expected.len()); // it grows before it obeys
        }
        assert!(!table.open().close_oldest_head(), "all heads have the order already");
        drop((idle, known, small, first, second));
        assert_empty(&table);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_is_closed_and_never_a_busy_one() {
        let table = table(Settings::default());
        let busy = enter(&table, "127.0.0.1");
        busy.0.pulse().request(false);
        let mut idle = Vec::new();
        for _ in 0..SCANNED_MAX + 3 {
            tokio::time::advance(Duration::from_millis(10)).await;
            idle.push(enter(&table, "127.0.0.1"));
        }
        tokio::time::advance(Duration::from_millis(10)).await;
        idle[0].0.pulse().enter(ConnectionPhase::Idle); // the second one is now the longest idle
        let closing = enter(&table, "127.0.0.1");
        closing.0.begin_closing();
        table.make_room();
        assert!(closing.0.pulse().is_ordered(CloseOrder::Leave));
        for round in 1..idle.len() {
            table.make_room();
            let all: Vec<_> = idle.iter().collect();
            assert_eq!(ordered(&all, CloseOrder::Close), (1..=round).collect::<Vec<_>>());
        }
        table.make_room();
        assert!(idle[0].0.pulse().is_ordered(CloseOrder::Close));
        table.make_room();
        assert!(!busy.0.pulse().is_ordered(CloseOrder::Close));
    }
}
