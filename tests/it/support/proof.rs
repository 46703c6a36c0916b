//! Checks that no acknowledged event is lost: compares the answers of the senders with the data of the receiver.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    home::Stored,
    load::{Ledger, Post},
};

/// A broken guarantee. Texts name the event by its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// It got a 200 and is not in the journal.
    Lost(String),
    /// It is in the journal more than once.
    StoredTwice(String),
    /// It is not in the journal as it was posted.
    Altered(String),
    /// It is in the journal, but was never posted.
    Invented(String),
    /// A sequence number that is not higher than the one before it.
    SeqRepeats(u64),
    /// A receipt that names a sequence number which the journal does not have.
    NoSuchSeq(u64),
    /// It got a 200, but was never delivered to the handler.
    NotDelivered(String),
    /// A line that is not whole, or not an event of the journal.
    BadLine(u64),
    /// The events of this message are not in the journal, or were not delivered first, in the order of their posting.
    Disorder(String),
    /// A 200 that does not account for every event of its body.
    DoesNotAddUp(String),
    /// The 200s speak of more new events than there are.
    AcceptedTwice,
}

/// Checks the receiver's data event by event, so that a long run fits into memory.
pub struct Proof<'a> {
    ledger: &'a Ledger,
    fates: HashMap<&'a str, Fate>,
    by_seq: HashMap<u64, &'a str>,
    last_seq: u64,
    lines: u64,
    violations: Vec<Violation>,
}

/// The fate of an event.
struct Fate {
    /// Its index in the ledger.
    place: usize,
    seq: Option<u64>,
    first_line: Option<u64>,
}

/// A line of the handler, as far as it matters here.
#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    #[serde(borrow)]
    event: &'a RawValue,
}

impl<'a> Proof<'a> {
    pub fn new(ledger: &'a Ledger) -> Self {
        let fate = |place| Fate { place, seq: None, first_line: None };
        let fates: HashMap<_, _> =
            ledger.events.iter().enumerate().map(|(place, made)| (made.id.as_str(), fate(place))).collect();
        assert_eq!(fates.len(), ledger.events.len(), "two events were made with one id");
        let (by_seq, violations) = (HashMap::new(), Vec::new());
        Self { ledger, fates, by_seq, last_seq: 0, lines: 0, violations }
    }

    /// A row of the journal; all of them, in the order of seq.
    pub fn stored(&mut self, Stored { seq, raw }: &Stored) {
        if *seq <= self.last_seq {
            self.violations.push(Violation::SeqRepeats(*seq));
        }
        self.last_seq = *seq;
        let id = id_of(raw);
        let Some((id, _)) = id.as_deref().and_then(|id| self.fates.get_key_value(id)) else {
            self.violations.push(Violation::Invented(id.unwrap_or_else(|| format!("seq {seq}"))));
            return;
        };
        let id = *id;
        let Some(fate) = self.fates.get_mut(id) else { return };
        if fate.seq.replace(*seq).is_some() {
            self.violations.push(Violation::StoredTwice(id.to_owned()));
        }
        if *raw != self.ledger.events[fate.place].element() {
            self.violations.push(Violation::Altered(id.to_owned()));
        }
        self.by_seq.insert(*seq, id);
    }

    /// A line of the handler's files, with its line break; all of them, the oldest first, after the journal's rows.
    pub fn line(&mut self, line: &str) {
        self.lines += 1;
        let whole = line.strip_suffix('\n').and_then(|line| serde_json::from_str::<Line>(line).ok());
        let event = whole.and_then(|line| Some((self.by_seq.get(&line.seq)?, line.event.get())));
        let fate = event.and_then(|(id, raw)| {
            let fate = self.fates.get_mut(id)?;
            // Posted events have no blanks between tokens here, so the rendering is equal to the posted text.
            (raw == self.ledger.events[fate.place].element()).then_some(fate)
        });
        match fate {
            Some(fate) => {
                fate.first_line.get_or_insert(self.lines);
            }
            None => self.violations.push(Violation::BadLine(self.lines)),
        }
    }

    /// Asserts that no guarantee was broken.
    #[track_caller]
    pub fn assert_kept(self) {
        let violations = self.violations();
        let first = &violations[..violations.len().min(20)];
        assert!(first.is_empty(), "{} promises were broken: {first:?} …", violations.len());
    }

    /// Returns all broken guarantees.
    pub fn violations(mut self) -> Vec<Violation> {
        self.check_events();
        self.check_order();
        self.check_receipts();
        self.violations.sort();
        self.violations.dedup();
        self.violations
    }

    fn check_events(&mut self) {
        for (id, fate) in &self.fates {
            if fate.seq.is_none() {
                self.violations.push(Violation::Lost((*id).to_owned()));
            }
            if fate.first_line.is_none() {
                self.violations.push(Violation::NotDelivered((*id).to_owned()));
            }
        }
    }

    fn check_order(&mut self) {
        let mut latest: HashMap<&str, [Option<u64>; 2]> = HashMap::new();
        for made in &self.ledger.events {
            let fate = &self.fates[made.id.as_str()];
            let before = latest.entry(&made.message).or_default();
            for (before, now) in before.iter_mut().zip([fate.seq, fate.first_line]) {
                if now.is_some() && now < *before {
                    self.violations.push(Violation::Disorder(made.message.clone()));
                }
                *before = now.or(*before);
            }
        }
    }

    fn check_receipts(&mut self) {
        for post in &self.ledger.posts {
            if !adds_up(post) {
                self.violations.push(Violation::DoesNotAddUp(format!("{post:?}")));
            }
            if let Some(seq) = post.receipt.seq
                && !self.by_seq.contains_key(&seq)
            {
                self.violations.push(Violation::NoSuchSeq(seq));
            }
        }
        let accepted: u64 = self.ledger.posts.iter().map(|post| post.receipt.accepted).sum();
        if accepted > self.ledger.events.len() as u64 {
            self.violations.push(Violation::AcceptedTwice);
        }
    }
}

/// A body is stored completely or not at all. Its new events are accepted, unless an earlier attempt was stored and got
/// no answer. Then all its events are duplicates.
fn adds_up(post: &Post) -> bool {
    let Post { events, fresh, tries, receipt } = post;
    let stored_before = receipt.accepted == 0 && *tries > 1;
    receipt.quarantined == 0
        && receipt.accepted + receipt.duplicates == *events
        && (receipt.accepted == *fresh || stored_before)
        && receipt.seq.is_some() == (receipt.accepted > 0)
}

/// The `id` of an element.
fn id_of(raw: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct HasId {
        id: String,
    }
    serde_json::from_str::<HasId>(raw).ok().map(|element| element.id)
}
