//! Insight's results: a campaign with known figures, the samples of BIK's page, retention, a rebuild.

mod campaign;
mod conversations;
mod run;
mod words;

use std::sync::Arc;

use bikhook::{
    clock::Timestamp,
    event::{Element, Event},
    insight::{
        FailureClasses, Ledger, MessageState, Settings,
        ask::{self, ContactSearch, Dimension, FigureQuery, SearchQuery, WaitingSpan},
    },
    settings::Period,
};
use rusqlite::Connection;
use tempfile::TempDir;

/// 2026-01-01T00:00:00Z.
const DAY_ONE: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;

/// A ledger with a file of its own, and a connection for queries.
struct Book {
    folder: TempDir,
    ledger: Ledger,
    asks: Connection,
    failures: FailureClasses,
    seq: u64,
}

impl Book {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("insight.db");
        let failures = FailureClasses::load(None).unwrap();
        let (ledger, file) = Ledger::open(&path, &Settings::default(), failures.clone()).unwrap();
        let asks = file.reader().unwrap();
        Self { folder, ledger, asks, failures, seq: 0 }
    }

    /// Adds an element received at this time.
    fn take(&mut self, raw: &str, at: i64) {
        self.seq += 1;
        let event = event(self.seq, raw, at);
        self.ledger.apply(&[event], self.seq).unwrap();
    }

    fn state(&self, message: &str) -> Option<MessageState> {
        let found = ask::timeline(&self.asks, message, &self.failures).unwrap();
        assert!(found.len() <= 1);
        found[0].message.state
    }

    fn funnel(&self, by: &[Dimension]) -> Vec<ask::FunnelRow> {
        ask::funnel(&self.asks, &FigureQuery { by: by.to_vec(), ..FigureQuery::default() }).unwrap()
    }

    /// The customers with this address.
    fn contacts(&self, address: &str) -> Vec<ask::Contact> {
        let search =
            ContactSearch { address: Some(address.to_owned()), limit: 10, ..ContactSearch::default() };
        ask::contacts(&self.asks, &search).unwrap().rows
    }

    fn search(&self, query: &SearchQuery) -> Vec<String> {
        let page = ask::search(&self.asks, &SearchQuery { limit: 50, ..query.clone() }, &self.failures);
        page.unwrap().rows.into_iter().map(|message| message.message_id).collect()
    }
}

fn event(seq: u64, raw: &str, at: i64) -> Arc<Event> {
    Arc::new(Event {
        seq,
        came_at: Timestamp::from_ms(at),
        received_at: Timestamp::from_ms(at),
        source: "bik".into(),
        element: Arc::new(Element::read(raw.as_bytes()).unwrap()),
    })
}

/// A status of an owner's message, with a reason if one is given.
fn told(message: &str, status: &str, owner: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { "null".to_owned() } else { format!("{reason:?}") };
    format!(
        r#"{{"eventName":"message-status-update","eventInfo":{{"messageId":"{message}","createdAt":"2026-01-01T00:00:00.000Z","channelId":"whatsapp","status":"{status}","owner":"{owner}","ownerId":"57","assetValue":"+91 90909-0{message:0>4}","failureReason":{reason}}},"customerDetails":{{"firstName":"A","lastName":"B","customerId":70{message}}},"id":"{message}-{status}"}}"#
    )
}

#[test]
fn the_five_samples_of_the_page_give_the_states_that_a_person_expects() {
    let mut book = Book::new();
    for name in ["incoming-message", "status-read", "status-sent", "status-delivered", "status-failed"] {
        let path = format!("{}/fixtures/bik/page/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let decoded = bikhook::event::decode(&"bik".into(), &std::fs::read(path).unwrap()).unwrap();
        for draft in decoded.drafts {
            book.take(draft.element.raw(), DAY_ONE);
        }
    }
    let states: Vec<_> = [
        "wamid.HBgMOTE5OTM4NDM4MTM4FQIAEhggNzY1RDA4RDU4NkI3QTkxRDZGQTI0MEVDNTFFRjMxNz",
        "wamid.HBgMOTE5OTM4NDM4MTM4FQIAERgSQkVGOUM4MzhFQ0VFRjNDUxAA==",
        "wamid.HBgMOTE4OTg2NDk4MDM4FQIAERgSRDQ0MEEyJDRjFGNEM3QTQ0AA==",
        "wamid.HBgMOTE4OTg2NDk4MDM4FQIAERgSRDQ0MEEDRjFGNEM3QTQ0AA==",
    ]
    .map(|id| book.state(id))
    .into();
    assert_eq!(
        states,
        [None, Some(MessageState::Read), Some(MessageState::Delivered), Some(MessageState::Failed)]
    );
    let failures = ask::failures(&book.asks, &FigureQuery::default(), &book.failures).unwrap();
    assert_eq!(
        failures.iter().map(|row| (&*row.class, row.messages)).collect::<Vec<_>>(),
        [("window_closed", 1)]
    );
    let total = &book.funnel(&[])[0];
    assert_eq!(
        (total.incoming, total.messages, total.sent, total.delivered, total.read, total.failed),
        (1, 3, 2, 2, 1, 1)
    );
    // Only the customer who wrote waits for an answer. The others received messages, and did not write.
    let waiting = ask::waiting(&book.asks, WaitingSpan::default(), 10).unwrap();
    let addresses: Vec<_> = waiting.iter().map(|contact| contact.address.as_deref()).collect();
    assert_eq!(addresses, [Some("919090909090")]);
    let created_at: Timestamp = "2024-07-26T07:27:07.949Z".parse().unwrap();
    assert_eq!(waiting[0].waits_since, Some(created_at));
    assert_eq!(waiting[0].open_until, Some(created_at.plus_ms(24 * HOUR)));
}

#[test]
fn a_message_is_found_by_whatever_is_known_of_it() {
    let mut book = Book::new();
    book.take(&told("1", "sent", "CAMPAIGN", ""), DAY_ONE);
    book.take(&told("2", "failed", "AGENT", "Rate limit hit, 100% sure"), DAY_ONE + HOUR);
    book.take(&told("3", "read", "BOT", ""), DAY_ONE + 2 * HOUR);
    let by = |query: SearchQuery| book.search(&query);
    let none = SearchQuery::default();
    assert_eq!(by(none.clone()), ["3", "2", "1"]);
    assert_eq!(by(SearchQuery { phone: Some("(91) 90909 00002".to_owned()), ..none.clone() }), ["2"]);
    assert_eq!(by(SearchQuery { phone: Some("9090900002".to_owned()), ..none.clone() }), ["2"]);
    assert_eq!(by(SearchQuery { phone: Some("00002".to_owned()), ..none.clone() }), [""; 0]);
    assert_eq!(by(SearchQuery { message: Some("1".to_owned()), ..none.clone() }), ["1"]);
    let both = |customer: &str| {
        by(SearchQuery { message: Some("1".to_owned()), customer: Some(customer.to_owned()), ..none.clone() })
    };
    assert_eq!((both("701"), both("702")), (vec!["1".to_owned()], vec![]));
    assert_eq!(by(SearchQuery { customer: Some("703".to_owned()), ..none.clone() }), ["3"]);
    assert_eq!(by(SearchQuery { state: Some(MessageState::Failed), ..none.clone() }), ["2"]);
    assert_eq!(by(SearchQuery { reason: Some("LIMIT hit, 100%".to_owned()), ..none.clone() }), ["2"]);
    assert_eq!(by(SearchQuery { reason: Some("hit_ 100".to_owned()), ..none.clone() }), [""; 0]);
    assert_eq!(
        by(SearchQuery { since: Some(Timestamp::from_ms(DAY_ONE + HOUR)), ..none.clone() }),
        ["3", "2"]
    );
    assert_eq!(by(SearchQuery { until: Some(Timestamp::from_ms(DAY_ONE + HOUR)), ..none.clone() }), ["1"]);
    assert_eq!(by(SearchQuery { incoming: Some(true), ..none.clone() }), [""; 0]);
    let both = SearchQuery {
        customer: Some("703".to_owned()),
        state: Some(MessageState::Read),
        since: Some(Timestamp::from_ms(DAY_ONE)),
        ..none
    };
    assert_eq!(by(both), ["3"]);
}

#[test]
fn a_search_by_reason_ignores_the_case_of_every_letter() {
    let mut book = Book::new();
    book.take(&told("1", "failed", "AGENT", "NUMÉRO INVALIDE"), DAY_ONE);
    book.take(&told("2", "failed", "AGENT", "Номер недоступен"), DAY_ONE);
    for (reason, found) in [("numéro", "1"), ("Numéro inv", "1"), ("НОМЕР", "2"), ("номер НЕ", "2")]
    {
        let query = SearchQuery { reason: Some(reason.to_owned()), ..SearchQuery::default() };
        assert_eq!(book.search(&query), [found], "{reason}");
    }
}

#[test]
fn pages_of_a_search_have_every_message_once() {
    let mut book = Book::new();
    let events: Vec<_> = (1..=25)
        .map(|n| {
            event(n, &told(&n.to_string(), if n % 2 == 0 { "sent" } else { "read" }, "BOT", ""), DAY_ONE)
        })
        .collect();
    book.ledger.apply(&events, 25).unwrap();
    for state in [None, Some(MessageState::Sent)] {
        let mut query = SearchQuery { state, limit: 4, ..SearchQuery::default() };
        let mut found = Vec::new();
        loop {
            let page = ask::search(&book.asks, &query, &book.failures).unwrap();
            assert!(page.rows.len() <= 4);
            found.extend(page.rows.into_iter().map(|message| message.id));
            match page.next {
                Some(next) => query.before = Some(next),
                None => break,
            }
        }
        let all: Vec<i64> = (1..=25).rev().filter(|n| state.is_none() || n % 2 == 0).collect();
        assert_eq!(found, all);
    }
}

#[test]
fn a_timeline_tells_what_came_late_twice_or_out_of_order() {
    let mut book = Book::new();
    for (status, at) in [("read", 2 * HOUR), ("sent", 3 * HOUR), ("read", 4 * HOUR)] {
        book.take(&told("1", status, "CAMPAIGN", ""), DAY_ONE + at);
    }
    let timeline = ask::timeline(&book.asks, "1", &book.failures).unwrap().remove(0);
    let seen: Vec<_> = timeline
        .sightings
        .iter()
        .map(|one| (one.status.as_deref().unwrap(), one.late, one.disordered, one.repeated))
        .collect();
    assert_eq!(
        seen,
        [("read", true, false, false), ("sent", false, true, false), ("read", false, false, true)]
    );
    let arrivals =
        ask::arrivals(&book.asks, Timestamp::from_ms(DAY_ONE), Timestamp::from_ms(DAY_ONE + 24 * HOUR), true);
    let arrivals = arrivals.unwrap();
    assert_eq!(
        arrivals.iter().map(|row| (row.events, row.disordered, row.repeated)).collect::<Vec<_>>(),
        [(3, 1, 1)]
    );
}

#[test]
fn a_conversation_has_both_sides_and_what_else_happened() {
    let mut book = Book::new();
    let incoming = r#"{"eventName":"incoming-message","eventInfo":{"messageId":"i","channelId":"whatsapp","message":"hi","assetValue":"919090900001"},"id":"i"}"#;
    let opted = r#"{"eventName":"optedOut","eventId":"o","eventProperties":{},"channel":"whatsapp","assets":["+919090900001"]}"#;
    book.take(&told("1", "sent", "CAMPAIGN", ""), DAY_ONE);
    book.take(incoming, DAY_ONE + 1);
    book.take(opted, DAY_ONE + 2);
    let contact = book.contacts("+91 9090900001").remove(0);
    assert_eq!((contact.name.as_deref(), contact.customer.as_deref()), (Some("A B"), Some("701")));
    let page = |before, limit| {
        ask::conversation(&book.asks, contact.id, before, limit, &book.failures).unwrap().unwrap()
    };
    let seqs =
        |page: &ask::Conversation| page.entries.iter().map(ask::ConversationEntry::seq).collect::<Vec<_>>();
    let first = page(None, 2);
    assert_eq!((seqs(&first), first.next), (vec![3, 2], Some(2)));
    let rest = page(first.next, 2);
    assert_eq!((seqs(&rest), rest.next), (vec![1], None));
    // A broadcast is no answer.
    assert_eq!(ask::waiting(&book.asks, WaitingSpan::default(), 10).unwrap().len(), 1);
    let answer = told("1", "sent", "AGENT", "").replace("\"1\"", "\"2\"").replace("00.000Z", "00.003Z");
    book.take(&answer, DAY_ONE + 3);
    assert_eq!(ask::waiting(&book.asks, WaitingSpan::default(), 10).unwrap().len(), 0);
}

#[test]
fn a_page_of_customers_or_of_a_conversation_never_ends_within_an_event() {
    let mut book = Book::new();
    let info = |message: &str, phone: &str| {
        format!(
            r#"{{"messageId":"{message}","channelId":"whatsapp","message":"hi","assetValue":"91909090000{phone}"}}"#
        )
    };
    let told = |infos: &[String]| {
        format!(
            r#"{{"eventName":"incoming-message","eventInfo":[{}],"id":"{}"}}"#,
            infos.join(","),
            infos[0].len()
        )
    };
    book.take(&told(&[info("a", "1")]), DAY_ONE);
    book.take(&told(&[info("b", "2"), info("c", "3"), info("d", "4"), info("e", "4")]), DAY_ONE + 1);
    book.take(&told(&[info("f", "4")]), DAY_ONE + 2);
    let (mut before, mut addresses) = (None, Vec::new());
    loop {
        let search = ContactSearch { before, limit: 2, ..ContactSearch::default() };
        let page = ask::contacts(&book.asks, &search).unwrap();
        addresses.extend(page.rows.into_iter().map(|contact| contact.address.unwrap()));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(addresses[0], "919090900004");
    addresses.sort();
    assert_eq!(addresses, ["1", "2", "3", "4"].map(|phone| format!("91909090000{phone}")));
    let contact = book.contacts("919090900004").remove(0);
    let page = |before, limit| {
        ask::conversation(&book.asks, contact.id, before, limit, &book.failures).unwrap().unwrap()
    };
    let seqs =
        |page: &ask::Conversation| page.entries.iter().map(ask::ConversationEntry::seq).collect::<Vec<_>>();
    let (first, whole) = (page(None, 1), page(None, 2));
    assert_eq!((seqs(&first), first.next), (vec![3], Some(3)));
    assert_eq!((seqs(&whole), whole.next), (vec![3, 2, 2], None));
    let rest = page(first.next, 1);
    assert_eq!((seqs(&rest), rest.next), (vec![2, 2], None));
}

#[test]
fn test_broadcasts_are_excluded_unless_requested() {
    let mut book = Book::new();
    book.take(&told("1", "sent", "TEST_CAMPAIGN", ""), DAY_ONE);
    book.take(&told("2", "sent", "CAMPAIGN", ""), DAY_ONE);
    let count = |tests| {
        let query = FigureQuery { tests, ..FigureQuery::default() };
        ask::funnel(&book.asks, &query).unwrap()[0].messages
    };
    assert_eq!((count(false), count(true)), (1, 2));
}

#[test]
fn expired_messages_are_deleted_and_their_daily_figures_stay() {
    let mut book = Book::new();
    for day in 0..3 {
        for hour in [3, 4] {
            let message = format!("{day}{hour}");
            book.take(&told(&message, "sent", "CAMPAIGN", ""), DAY_ONE + day * 24 * HOUR + hour * HOUR);
            book.take(
                &told(&message, "failed", "CAMPAIGN", "policy"),
                DAY_ONE + day * 24 * HOUR + hour * HOUR + 5,
            );
        }
    }
    let before = book.funnel(&[Dimension::Day]);
    assert!(!book.ledger.purge(Timestamp::from_ms(DAY_ONE + 3 * 24 * HOUR), Period::days(1)).unwrap());
    assert_eq!(book.search(&SearchQuery::default()), ["24", "23"]);
    assert_eq!(book.funnel(&[Dimension::Day]), before);
    let hours = book.funnel(&[Dimension::Hour]).iter().map(|row| row.messages).collect::<Vec<_>>();
    assert_eq!(hours, [2, 2, 1, 1]);
    let failures = ask::failures(&book.asks, &FigureQuery::default(), &book.failures).unwrap();
    assert_eq!(failures[0].messages, 6);
    // A rebuild cannot count deleted events again, so their figures stay unchanged.
    book.ledger.begin_rebuild(0, Some(Timestamp::from_ms(DAY_ONE)), 0).unwrap();
    assert_eq!(book.funnel(&[Dimension::Day]), before[..2]);
    // The same holds if the journal is empty.
    book.ledger.begin_rebuild(0, None, 0).unwrap();
    assert_eq!(book.funnel(&[Dimension::Day]), before[..2]);
}

#[test]
fn events_are_counted_once_however_often_they_are_given() {
    let mut book = Book::new();
    let events: Vec<_> =
        (1..=3).map(|n| event(n, &told(&n.to_string(), "sent", "BOT", ""), DAY_ONE)).collect();
    book.ledger.apply(&events, 3).unwrap();
    book.ledger.apply(&events, 3).unwrap();
    assert_eq!((book.funnel(&[])[0].messages, book.ledger.cursor()), (3, 3));
}
