//! The journal against a model: random appends, duplicates, conflicts, claims, settles, commits that fail, retention down
//! to an empty table, and restarts; after each step both must say the same.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bikhook::{
    event::Class,
    journal::{AppendError, AppendReceipt, Ends, EventQuery, Journal, QuarantineQuery},
    settings::Period,
};
use proptest::prelude::*;

use crate::support::{
    events::{batch, incoming, status},
    journals::{Place, from_beginning, lane},
};

#[derive(Clone, Debug)]
enum Step {
    /// Events by (id, text): the same id with another text is a conflict.
    Append(Vec<(u8, u8)>),
    /// Another process locks the file: the commit fails, and leaves nothing.
    FailingAppend(Vec<(u8, u8)>),
    /// A lane claims this many events after its cursor, and settles them.
    Deliver(bool, u8),
    Restart,
    /// Every lane has settled everything, and all events are expired.
    Retain,
}

fn events() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0_u8..40, prop_oneof![9 => Just(0_u8), 1 => 1_u8..3]), 1..12)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => events().prop_map(Step::Append),
        1 => events().prop_map(Step::FailingAppend),
        20 => (any::<bool>(), 1_u8..30).prop_map(|(class, max)| Step::Deliver(class, max)),
        6 => Just(Step::Restart),
        2 => Just(Step::Retain),
    ]
}

fn raw((id, text): (u8, u8)) -> String {
    let raw = if id.is_multiple_of(3) {
        incoming(&format!("i{id}"), "m")
    } else {
        status(&format!("s{id}"), "m", "sent")
    };
    if text == 0 { raw } else { raw.replace("+910000000000", &format!("+91000000000{text}")) }
}

fn class(id: u8) -> Class {
    if id.is_multiple_of(3) { Class::Incoming } else { Class::Other }
}

/// The expected content of the journal.
#[derive(Default)]
struct Model {
    tip: u64,
    stored: BTreeMap<u64, (u8, u8)>,
    keys: HashMap<u8, (u8, u64)>,
    quarantine: BTreeMap<(u8, u8), u64>,
    cursors: HashMap<Class, u64>,
}

impl Model {
    fn append(&mut self, events: &[(u8, u8)]) -> AppendReceipt {
        let mut receipt = AppendReceipt::default();
        for &(id, text) in events {
            match self.keys.get(&id) {
                Some((stored, _)) if *stored == text => receipt.duplicates += 1,
                Some(_) => {
                    *self.quarantine.entry((id, text)).or_default() += 1;
                    receipt.quarantined += 1;
                    receipt.conflicts += 1;
                }
                None => {
                    self.tip += 1;
                    self.stored.insert(self.tip, (id, text));
                    self.keys.insert(id, (text, self.tip));
                    receipt.accepted += 1;
                    receipt.seq = Some(self.tip);
                }
            }
        }
        receipt
    }

    /// The events of a claim after the cursor, and the new cursor.
    fn deliver(&mut self, of: Class, max: usize) -> (Vec<u64>, u64) {
        let after = self.cursors.get(&of).copied().unwrap_or_default();
        let mut rest =
            self.stored.range(after + 1..).filter(|(_, (id, _))| class(*id) == of).map(|(seq, _)| *seq);
        let claimed: Vec<u64> = rest.by_ref().take(max).collect();
        let through = if claimed.len() == max { claimed[max - 1] } else { self.tip };
        self.cursors.insert(of, through);
        (claimed, through)
    }
}

struct World {
    place: Place,
    journal: Arc<dyn Journal>,
    model: Model,
}

impl World {
    async fn open(place: &Place) -> Arc<dyn Journal> {
        let journal = place.open();
        journal.enrol(vec![from_beginning("audit")]).await.unwrap();
        journal
    }

    async fn restart(&mut self) {
        self.journal.close().await.unwrap();
        self.journal = Self::open(&self.place).await;
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append(events) => {
                let receipt = self.journal.append(batch(events.iter().copied().map(raw))).await.unwrap();
                assert_eq!(receipt, self.model.append(&events));
            }
            Step::FailingAppend(events) => {
                let blocker = rusqlite::Connection::open(self.place.path()).unwrap();
                blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
                let refused = self.journal.append(batch(events.iter().copied().map(raw))).await;
                assert_eq!(refused, Err(AppendError::Busy));
            }
            Step::Deliver(incoming, max) => {
                let of = if incoming { Class::Incoming } else { Class::Other };
                let after = self.model.cursors.get(&of).copied().unwrap_or_default();
                let (expected, through) = self.model.deliver(of, usize::from(max));
                let claim = self.journal.claim(of, after, usize::from(max)).await.unwrap();
                let seqs: Vec<u64> = claim.events.iter().map(|event| event.seq).collect();
                assert_eq!(seqs, expected);
                for event in &claim.events {
                    assert_eq!(event.element.raw(), raw(self.model.stored[&event.seq]));
                }
                let ends = Ends { cursor: Some(through), ..Ends::default() };
                self.journal.settle(lane("audit", of), ends).await.unwrap();
            }
            Step::Restart => self.restart().await,
            Step::Retain => self.retain().await,
        }
    }

    async fn retain(&mut self) {
        for of in Class::ALL {
            let ends = Ends { cursor: Some(self.model.tip), ..Ends::default() };
            self.journal.settle(lane("audit", of), ends).await.unwrap();
            self.model.cursors.insert(of, self.model.tip);
        }
        let kept = std::mem::replace(&mut self.place.settings.retention, Period(Duration::ZERO));
        self.restart().await;
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.journal.figures().await.unwrap().span.is_some() {
            assert!(Instant::now() < deadline, "retention never emptied the table");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.place.settings.retention = kept;
        self.restart().await;
        self.model.stored.clear();
    }

    async fn compare(&self) {
        assert_eq!(*self.journal.tip().borrow(), self.model.tip);
        let query = EventQuery { limit: 1_000, ..EventQuery::default() };
        let page = self.journal.events(query).await.unwrap();
        let stored: Vec<(u64, String)> =
            page.events.iter().rev().map(|event| (event.seq, event.element.raw().to_owned())).collect();
        let expected: Vec<(u64, String)> =
            self.model.stored.iter().map(|(seq, event)| (*seq, raw(*event))).collect();
        assert_eq!(stored, expected);
        let quarantine =
            self.journal.quarantine(QuarantineQuery { before: None, limit: 1_000 }).await.unwrap();
        let mut kept: Vec<(String, u64)> = quarantine
            .iter()
            .map(|entry| (String::from_utf8(entry.item.bytes.clone()).unwrap(), entry.count))
            .collect();
        let mut expected: Vec<(String, u64)> =
            self.model.quarantine.iter().map(|(event, count)| (raw(*event), *count)).collect();
        kept.sort();
        expected.sort();
        assert_eq!(kept, expected);
        for of in Class::ALL {
            let cursor = self.journal.lane(lane("audit", of)).await.unwrap().cursor;
            assert_eq!(cursor, self.model.cursors.get(&of).copied().unwrap_or_default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_does_what_a_simple_model_does(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let journal = World::open(&place).await;
            let mut world = World { place, journal, model: Model::default() };
            for step in steps {
                world.take(step).await;
                world.compare().await;
            }
            world.restart().await;
            world.compare().await;
        });
    }
}
