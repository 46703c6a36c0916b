//! Generates BIK-like traffic. The same seed gives the same bytes.
//!
//! The traffic has messages from customers and statuses of sent messages. The statuses of a few dozen sent messages are
//! interleaved. The statuses of one message are in order, such as sent → delivered → read, or sent → failed.
//! [`FaultShares`] adds faults to the traffic: duplicate events, statuses out of order, and elements and bodies that
//! cannot be read.

use std::{collections::VecDeque, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

use super::body::PostBody;
use crate::clock::Timestamp;

/// The maximum number of sent messages whose statuses are not all generated yet.
const OPEN_MESSAGES: usize = 48;
/// The number of newest events from which duplicates are taken.
const RECENT_EVENTS: usize = 64;
/// A time in milliseconds since 1970. The first message is created [`STEP_MS`] later.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// The time from the creation of one message to that of the next, in milliseconds.
const STEP_MS: u64 = 37;

/// The shares of faults in the traffic.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct FaultShares {
    /// Share of events that are duplicates
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    duplicates: Percent,
    /// Share of messages whose statuses are out of order
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    disorder: Percent,
    /// Share of events that cannot be read
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    garbage: Percent,
}

/// A share, from 0 to 100 %.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Percent(f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%').unwrap_or(text).trim().parse() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent)),
            _ => Err(format!("invalid share {text:?}: use a percentage from 0% to 100%, such as 2%")),
        }
    }
}

/// Generates bodies of events.
pub(super) struct Generator {
    random: SplitMix64,
    faults: FaultShares,
    remaining: u64,
    batch: u64,
    messages: u64,
    open: VecDeque<SentMessage>,
    recent: VecDeque<String>,
}

/// A sent message, with the statuses that are not generated yet.
struct SentMessage {
    message: SampleMessage,
    owner: &'static str,
    statuses: VecDeque<&'static str>,
}

/// The fields that all events of a message share.
struct SampleMessage {
    wamid: String,
    created_at: Timestamp,
    address: String,
    text: String,
    first_name: &'static str,
    last_name: &'static str,
}

impl Iterator for Generator {
    type Item = PostBody;

    fn next(&mut self) -> Option<PostBody> {
        let events = self.remaining.min(self.batch);
        if events == 0 {
            return None;
        }
        self.remaining -= events;
        let mut bytes = vec![b'['];
        let mut garbage = false;
        let mut cut = false;
        for n in 0..events {
            if n > 0 {
                bytes.push(b',');
            }
            if !self.chance(self.faults.garbage) {
                bytes.extend_from_slice(self.event().as_bytes());
                continue;
            }
            garbage = true;
            match self.garbage(events) {
                Some(element) => bytes.extend_from_slice(element),
                None => {
                    cut = true;
                    bytes.extend_from_slice(self.event().as_bytes());
                }
            }
        }
        bytes.push(b']');
        if cut {
            bytes.truncate(bytes.len() * 3 / 4);
        }
        Some(PostBody { bytes: bytes.into(), events, garbage })
    }
}

impl Generator {
    /// Creates a generator of `events` events, in bodies of `batch` events. The last body may have fewer.
    pub(super) fn new(seed: u64, events: u64, batch: u64, faults: FaultShares) -> Self {
        Self {
            random: SplitMix64(seed),
            faults,
            remaining: events,
            batch: batch.max(1),
            messages: 0,
            open: VecDeque::new(),
            recent: VecDeque::new(),
        }
    }

    /// The number of bodies that are left.
    pub(super) fn bodies(&self) -> u64 {
        self.remaining.div_ceil(self.batch)
    }

    /// An element that cannot be read, or `None` to truncate the body instead. Truncation also makes the other events
    /// of the body unreadable, so it is rarer for larger bodies.
    fn garbage(&mut self, events: u64) -> Option<&'static [u8]> {
        const ELEMENTS: [&[u8]; 6] = [
            b"null",
            b"42",
            b"[\"an array\"]",
            b"{\"eventInfo\":{\"messageId\":\"wamid.no-name\"},\"id\":\"no-event-name\"}",
            b"{\"eventName\":\"incoming-message\",\"eventInfo\":{\"message\":\"cut in \xf0\x9f\x91\"}}",
            b"{\"eventName\":\"incoming-message\",\"eventInfo\":{\"message\":undefined}}",
        ];
        // In bodies with one event, truncation is as frequent as each of `ELEMENTS`.
        let kinds = (ELEMENTS.len() as u64 + 1).saturating_mul(events);
        let cut = self.random.next().is_multiple_of(kinds.max(1));
        (!cut).then(|| ELEMENTS[self.random.below(ELEMENTS.len())])
    }

    fn event(&mut self) -> String {
        if !self.recent.is_empty() && self.chance(self.faults.duplicates) {
            return self.recent[self.random.below(self.recent.len())].clone();
        }
        let event = self.new_event();
        if self.recent.len() == RECENT_EVENTS {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        event
    }

    fn new_event(&mut self) -> String {
        // A quarter of the events are from customers. This imitates a shop that replies and sends broadcasts.
        if self.random.below(4) == 0 {
            let message = self.message();
            return self.incoming(&message);
        }
        let advance = self.open.len() >= OPEN_MESSAGES || (!self.open.is_empty() && self.random.below(3) > 0);
        let started = if advance { self.open.pop_front() } else { None };
        let mut sent = started.unwrap_or_else(|| self.sent());
        let status = sent.statuses.pop_front().unwrap_or("sent");
        let event = self.status(&sent, status);
        if !sent.statuses.is_empty() {
            self.open.push_back(sent);
        }
        event
    }

    fn sent(&mut self) -> SentMessage {
        const OWNERS: [&str; 5] = ["CAMPAIGN", "CAMPAIGN", "BOT", "AGENT", "DEV_API"];
        let flows: [&[&str]; 5] = [
            &["sent", "delivered", "read"],
            &["sent", "delivered", "read"],
            &["sent", "delivered"],
            &["sent", "read"],
            &["sent", "failed"],
        ];
        let mut statuses: VecDeque<_> = flows[self.random.below(flows.len())].iter().copied().collect();
        if self.chance(self.faults.disorder) {
            let at = self.random.below(statuses.len() - 1);
            statuses.swap(at, at + 1);
        }
        SentMessage { message: self.message(), owner: OWNERS[self.random.below(OWNERS.len())], statuses }
    }

    fn message(&mut self) -> SampleMessage {
        const TEXTS: [&str; 6] = [
            "Hii sir",
            "Ok, working",
            "Your order has been packed and will reach you by Thursday. Track it any time from your account.",
            "Where is my order?",
            "नमस्ते! आपका ऑर्डर भेज दिया गया है 🎉",
            "Flat 20% off this weekend only, on everything in the store. Reply STOP to opt out.",
        ];
        const FIRST: [&str; 5] = ["Jethalal Champaklal", "Daya", "Taarak", "Babita", "Roshan Singh"];
        const LAST: [&str; 4] = ["Gada", "Mehta", "Iyer", "Sodhi"];
        self.messages += 1;
        let number = 7_000_000_000 + self.random.next() % 3_000_000_000;
        let mut id = [0; 42];
        id.chunks_mut(8).for_each(|bytes| {
            let random = self.random.next().to_le_bytes();
            bytes.copy_from_slice(&random[..bytes.len()]);
        });
        let since = i64::try_from(self.messages.saturating_mul(STEP_MS)).unwrap_or(i64::MAX);
        SampleMessage {
            wamid: format!("wamid.{}", BASE64_STANDARD_NO_PAD.encode(id)),
            created_at: Timestamp::from_ms(EPOCH_MS).plus_ms(since),
            address: format!("+91{number}"),
            text: TEXTS[self.random.below(TEXTS.len())].to_owned(),
            first_name: FIRST[self.random.below(FIRST.len())],
            last_name: LAST[self.random.below(LAST.len())],
        }
    }

    fn incoming(&mut self, message: &SampleMessage) -> String {
        let SampleMessage { wamid, created_at, address, text, first_name, last_name } = message;
        let id = self.uuid();
        format!(
            r#"{{"eventName":"incoming-message","eventInfo":{{"messageId":"{wamid}","createdAt":"{created_at}","channelId":"whatsapp","status":"","type":null,"message":"{text}","mediaType":null,"header":null,"footer":null,"buttons":null,"body":null,"media":null,"options":null,"location":null,"isDeleted":false,"order":null,"catalogId":null,"productRetailerId":null,"referral":null,"messageInformation":null,"failureReason":null,"owner":"","ownerId":null,"assetValue":"{address}"}},"customerDetails":{{"firstName":"{first_name}","lastName":"{last_name}"}},"id":"{id}"}}"#
        )
    }

    fn status(&mut self, sent: &SentMessage, status: &str) -> String {
        let SampleMessage { wamid, created_at, address, text, first_name, last_name } = &sent.message;
        let owner = sent.owner;
        let reason = match status {
            "failed" => {
                "\"Message failed to send because more than 24 hours have passed since the customer last replied to this number.\""
            }
            _ => "null",
        };
        let id = self.uuid();
        format!(
            r#"{{"eventName":"message-status-update","eventInfo":{{"messageId":"{wamid}","createdAt":"{created_at}","channelId":"whatsapp","status":"{status}","message":"{text}","owner":"{owner}","ownerId":"57","assetValue":"{address}","failureReason":{reason}}},"customerDetails":{{"firstName":"{first_name}","lastName":"{last_name}"}},"id":"{id}"}}"#
        )
    }

    /// A version 4 UUID (RFC 9562).
    fn uuid(&mut self) -> String {
        let (high, low) = (self.random.next(), self.random.next());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    fn chance(&mut self, percent: Percent) -> bool {
        percent.0 > 0.0 && self.random.unit() * 100.0 < percent.0
    }
}

/// SplitMix64 by Steele, Lea and Flood (2014): one addition and a mix, good enough for traffic.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 (inclusive) to 1 (exclusive).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `end`. `end` is small, so the bias of the remainder is negligible.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64).max(1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use super::*;
    use crate::event::{Decoded, decode};

    fn faults(duplicates: f64, disorder: f64, garbage: f64) -> FaultShares {
        let [duplicates, disorder, garbage] = [duplicates, disorder, garbage].map(Percent);
        FaultShares { duplicates, disorder, garbage }
    }

    fn bodies(seed: u64, events: u64, batch: u64, faults: FaultShares) -> Vec<PostBody> {
        Generator::new(seed, events, batch, faults).collect()
    }

    fn decoded(bodies: &[PostBody]) -> Vec<Result<Decoded, crate::event::NotJson>> {
        let source = Arc::from("bik");
        bodies.iter().map(|body| decode(&source, &body.bytes)).collect()
    }

    /// The statuses of each message, in the order in which they are sent.
    fn by_message(bodies: &[PostBody]) -> HashMap<String, Vec<String>> {
        let mut statuses: HashMap<String, Vec<String>> = HashMap::new();
        for draft in decoded(bodies).into_iter().flat_map(|decoded| decoded.unwrap().drafts) {
            let event: serde_json::Value = serde_json::from_str(draft.element.raw()).unwrap();
            let text = |name: &str| event["eventInfo"][name].as_str().unwrap().to_owned();
            statuses.entry(text("messageId")).or_default().push(text("status"));
        }
        statuses
    }

    /// Returns whether the statuses of a message are in the order in which a message gets them.
    fn is_in_order(statuses: &[String]) -> bool {
        let order = ["", "sent", "delivered", "read", "failed"];
        statuses.is_sorted_by_key(|status| order.iter().position(|one| one == status))
    }

    #[test]
    fn a_seed_gives_the_same_bytes_again_and_another_seed_gives_others() {
        let bytes = |seed| {
            bodies(seed, 200, 3, faults(5.0, 5.0, 5.0)).into_iter().map(|body| body.bytes).collect::<Vec<_>>()
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    #[test]
    fn without_faults_every_event_is_read_is_new_and_comes_in_order() {
        let bodies = bodies(1, 1_000, 7, faults(0.0, 0.0, 0.0));
        assert_eq!(bodies.len(), 143);
        let mut keys = std::collections::HashSet::new();
        for decoded in decoded(&bodies) {
            let decoded = decoded.unwrap();
            assert!(decoded.quarantined.is_empty());
            assert_eq!((decoded.repaired, decoded.warnings), (0, 0));
            for draft in decoded.drafts {
                assert!(keys.insert(draft.key.0), "a key came twice");
            }
        }
        assert_eq!(keys.len(), 1_000);
        for statuses in by_message(&bodies).values() {
            assert!(is_in_order(statuses), "{statuses:?}");
        }
    }

    #[test]
    fn faults_occur_as_often_as_requested() {
        let share = |of: usize, all: usize| of as f64 / all as f64 * 100.0;

        let repeated = bodies(2, 5_000, 1, faults(10.0, 0.0, 0.0));
        let distinct: std::collections::HashSet<_> = repeated.iter().map(|body| &body.bytes).collect();
        assert!((8.0..12.0).contains(&share(5_000 - distinct.len(), 5_000)));

        let disordered = by_message(&bodies(3, 5_000, 1, faults(0.0, 20.0, 0.0)));
        let sent: Vec<_> = disordered.values().filter(|statuses| statuses.len() > 1).collect();
        let wrong = sent.iter().filter(|statuses| !is_in_order(statuses));
        assert!((15.0..25.0).contains(&share(wrong.count(), sent.len())));

        let garbage = bodies(4, 5_000, 1, faults(0.0, 0.0, 20.0));
        let wrong = decoded(&garbage)
            .iter()
            .zip(&garbage)
            .filter(|(decoded, body)| {
                let unread = decoded.as_ref().map_or(true, |decoded| !decoded.quarantined.is_empty());
                assert_eq!(unread, body.garbage);
                unread
            })
            .count();
        assert!((17.0..23.0).contains(&share(wrong, 5_000)));

        let batches = bodies(5, 50_000, 100, faults(0.0, 0.0, 1.0));
        let read = decoded(&batches).iter().flatten().map(|decoded| decoded.drafts.len()).sum::<usize>();
        assert!((0.7..1.5).contains(&share(50_000 - read, 50_000)), "{read} were read");
    }

    #[test]
    fn a_share_is_a_percentage_with_or_without_its_sign() {
        assert_eq!("2%".parse(), Ok(Percent(2.0)));
        assert_eq!("0.5".parse(), Ok(Percent(0.5)));
        for wrong in ["", "%", "-1%", "101%", "x", "NaN"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }
}
