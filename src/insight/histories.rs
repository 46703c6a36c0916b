//! Property test: insight and a simple model agree on the customers and on the states of messages. They also agree on
//! the beginning of each customer's wait and on the time of the customer's last message, which begins the 24-hour
//! window (BIK §4). A history is a random list of acts of customers and merchants. The events about these acts may
//! arrive in any order, late and repeatedly. `PROPTEST_CASES=10000` tests that many histories.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    collection::vec,
    prelude::*,
    sample::subsequence,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{FailureClasses, Ledger, MessageState, Settings};
use crate::{
    clock::Timestamp,
    event::{Element, Event},
};

/// 2026-11-30T00:00:00Z.
const BEGIN_MS: i64 = 1_795_996_800_000;
const MINUTE_MS: i64 = 60_000;
const OWNERS: [&str; 8] = ["AGENT", "MERCHANT", "BOT", "CAMPAIGN", "TEST_CAMPAIGN", "DEV_API", "ROBOT", ""];
const STATUSES: [&str; 5] = ["sent", "delivered", "read", "failed", "queued"];
/// The places of acts: source, store and tenant of their events. The first two places are the same store.
const PLACES: [(&str, Option<&str>, &str); 5] = [
    ("crm", Some("s1"), ""),
    ("broadcast", Some("s1"), ""),
    ("crm", Some("s2"), ""),
    ("crm", None, ""),
    ("other", Some("s1"), "merchant"),
];

#[derive(Clone, Debug)]
enum What {
    Said { reaction: bool, deleted: bool, status_first: bool },
    Sent { owner: usize, statuses: Vec<&'static str> },
    Linked,
}

/// Something that a customer or the merchant did.
#[derive(Clone, Debug)]
struct Act {
    person: usize,
    place: usize,
    minute: i64,
    address: usize,
    with_id: bool,
    /// 0: BIK gives no time; 1: BIK's clock is a day ahead; else the time is right.
    clock: u8,
    what: What,
}

/// An event that BIK sends, with what the model must know of it.
#[derive(Clone, Debug)]
struct Told {
    source: &'static str,
    raw: String,
    message: Option<String>,
    /// The keys of the customer, each with the scope in front.
    keys: BTreeSet<String>,
    at: i64,
    created: Option<i64>,
    incoming: bool,
    silent: bool,
    owner: &'static str,
    status: Option<&'static str>,
}

/// The arrival of an event: the index of the event, and the time of receipt.
type Arrival = (usize, i64);

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let said = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(reaction, deleted, status_first)| What::Said { reaction, deleted, status_first });
    let any_statuses = subsequence(STATUSES.to_vec(), 1..=3);
    let failed = prop_oneof![Just(vec!["failed"]), Just(vec!["sent", "failed"])];
    // The messages of the first three `OWNERS` are answers. Half of the merchant's messages are from these owners.
    let owner = prop_oneof![0..3_usize, 3..OWNERS.len()];
    let sent = (owner, prop_oneof![2 => any_statuses, 1 => failed])
        .prop_map(|(owner, statuses)| What::Sent { owner, statuses });
    let what = prop_oneof![4 => said, 4 => sent, 1 => Just(What::Linked)];
    // Most acts are of one customer in one store, so that many messages of the customer get an answer.
    let person = prop_oneof![3 => Just(0_usize), 1 => 0..3_usize];
    let place = prop_oneof![4 => 0..2_usize, 1 => 0..PLACES.len()];
    let address = prop_oneof![3 => 0..2_usize, 2 => 0..5_usize];
    let act = (person, place, 0..20_i64, address, any::<bool>(), 0..10_u8, what).prop_map(
        |(person, place, minute, address, with_id, clock, what)| Act {
            person,
            place,
            minute,
            address,
            with_id,
            clock,
            what,
        },
    );
    vec(act, 1..14)
}

fn time(ms: i64) -> String {
    Timestamp::from_ms(ms).to_string()
}

/// The address as BIK sends it, its channel, and the customer's key that insight makes from the address.
fn address(person: usize, choice: usize) -> (Option<String>, &'static str, Option<String>) {
    match choice {
        0 => (Some(format!("+91980000010{person}")), "whatsapp", Some(format!("0 91980000010{person}"))),
        1 => (
            Some(format!("\u{200e}91 98000\u{a0}0010{person}")),
            "sms",
            Some(format!("0 91980000010{person}")),
        ),
        2 => (Some(format!("P{person}@Mail.example")), "email", Some(format!("1 p{person}@mail.example"))),
        3 => {
            let id = format!("800000000000000{person}");
            (Some(id.clone()), "instagram", Some(format!("2 {id}\tinstagram")))
        }
        _ => (None, "whatsapp", None),
    }
}

/// BIK's id of the customer of an act.
fn customer(act: &Act) -> Option<String> {
    act.with_id.then(|| format!("70{}", act.person))
}

/// The time that BIK gives for an act.
fn created(act: &Act) -> Option<i64> {
    let at = BEGIN_MS + act.minute * MINUTE_MS;
    match act.clock {
        0 => None,
        1 => Some(at + 24 * 60 * MINUTE_MS),
        _ => Some(at),
    }
}

/// An element of envelope A about the message of an act. The members of `more` are added to its `eventInfo`.
fn element(number: usize, act: &Act, (name, step): (&str, &str), more: Value) -> String {
    let (address, channel, _) = address(act.person, act.address);
    let mut element = json!({"eventName": name, "id": format!("{number}-{step}"), "eventInfo": {
        "messageId": format!("m{number}"), "channelId": channel, "assetValue": address,
        "createdAt": created(act).map(time),
    }, "customerDetails": {"firstName": "Asha", "customerId": customer(act)}});
    if let (Some(info), Value::Object(more)) = (element["eventInfo"].as_object_mut(), more) {
        info.extend(more);
    }
    if let (_, Some(store), _) = PLACES[act.place] {
        element["storeId"] = store.into();
    }
    element.to_string()
}

/// The events of an act, in the order in which they arrive if none is late.
fn told(number: usize, act: &Act) -> Vec<Told> {
    let (source, store, tenant) = PLACES[act.place];
    let (address, channel, key) = address(act.person, act.address);
    let scope = format!("{tenant}/{}", store.map_or_else(|| format!("source {source}"), str::to_owned));
    let keys = key.into_iter().chain(customer(act).map(|id| format!("3 {id}")));
    let base = Told {
        source,
        raw: String::new(),
        message: Some(format!("m{number}")),
        keys: keys.map(|key| format!("{scope}: {key}")).collect(),
        at: BEGIN_MS + act.minute * MINUTE_MS,
        created: created(act),
        incoming: false,
        silent: false,
        owner: "",
        status: None,
    };
    let element = |name: &str, step: &str, more: Value| element(number, act, (name, step), more);
    match &act.what {
        What::Said { reaction, deleted, status_first } => {
            let kind = if *reaction { json!("reaction") } else { Value::Null };
            let raw = element("incoming-message", "in", json!({"message": "hi", "type": kind}));
            let said = Told { raw, incoming: true, silent: *reaction, ..base.clone() };
            let gone = json!({"message": null, "isDeleted": true, "type": kind});
            let raw = element("incoming-message", "gone", gone);
            let gone = Told { raw, incoming: true, silent: true, ..base.clone() };
            let raw = element("message-status-update", "read", json!({"status": "read", "owner": ""}));
            let status = Told { raw, ..base };
            [(*status_first, status), (true, said), (*deleted, gone)]
                .into_iter()
                .filter_map(|(is_sent, told)| is_sent.then_some(told))
                .collect()
        }
        What::Sent { owner, statuses } => {
            let owner = OWNERS[*owner];
            let told = |status: &&'static str| {
                let info = json!({"status": status, "owner": owner, "ownerId": "57"});
                let raw = element("message-status-update", status, info);
                Told { raw, owner, status: Some(*status), ..base.clone() }
            };
            statuses.iter().map(told).collect()
        }
        What::Linked => {
            let mut element = json!({"eventName": "optedOut", "eventId": format!("optedOut-{number}"),
                "eventProperties": {}, "channel": channel, "assets": address.iter().collect::<Vec<_>>(),
                "createdAt": created(act).map(time)});
            for (name, value) in [("storeId", store), ("customerId", customer(act).as_deref())] {
                if let Some(value) = value {
                    element[name] = value.into();
                }
            }
            vec![Told { raw: element.to_string(), message: None, ..base }]
        }
    }
}

/// Since when a customer waits, and when the customer last wrote.
type Customer = (Option<i64>, Option<i64>);

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// The customers, by their sets of keys.
    customers: BTreeMap<BTreeSet<String>, Customer>,
    /// The state of each message; `None` for one from a customer.
    states: BTreeMap<String, Option<MessageState>>,
}

/// A rule that the model can leave out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// A failed message is no answer.
    Failed,
    /// Only messages of some owners (BIK's word for senders) are answers.
    Owner,
    /// A reaction or a deleted message does not ask for an answer.
    Silent,
    /// The wait begins with the first message that asks for an answer and has none.
    First,
    /// Keys that were seen together are one customer.
    Linked,
    /// If the time that BIK gives is later than the time of receipt, the time of receipt counts.
    Bounded,
    /// A message is from the customer once any event says so.
    Direction,
}

const RULES: [Rule; 7] =
    [Rule::Failed, Rule::Owner, Rule::Silent, Rule::First, Rule::Linked, Rule::Bounded, Rule::Direction];

/// A message of the model.
#[derive(Default)]
struct Message {
    keys: BTreeSet<String>,
    said_at: i64,
    incoming: bool,
    silent: bool,
    owner: &'static str,
    statuses: BTreeSet<&'static str>,
}

impl Message {
    fn state(&self) -> Option<MessageState> {
        let has = |status: &str| self.statuses.contains(status);
        Some(match () {
            () if self.incoming => return None,
            () if has("read") => MessageState::Read,
            () if has("delivered") => MessageState::Delivered,
            () if has("failed") => MessageState::Failed,
            () if has("sent") => MessageState::Sent,
            () => MessageState::Accepted,
        })
    }

    fn is_answer(&self, without: Option<Rule>) -> bool {
        let answers = matches!(self.owner, "AGENT" | "MERCHANT" | "BOT") || without == Some(Rule::Owner);
        let failed = self.state() == Some(MessageState::Failed) && without != Some(Rule::Failed);
        !self.incoming && answers && !failed
    }
}

/// The model: the outcome of a history, from the set of its events. A rule can be left out.
fn expected(all: &[Told], arrivals: &[Arrival], without: Option<Rule>) -> Outcome {
    let mut messages: BTreeMap<String, Message> = BTreeMap::new();
    let mut customers: Vec<BTreeSet<String>> = Vec::new();
    for (number, came_at) in arrivals {
        let told = &all[*number];
        match without {
            Some(Rule::Linked) => customers.extend(told.keys.iter().map(|key| BTreeSet::from([key.clone()]))),
            _ => customers.push(told.keys.clone()),
        }
        let Some(id) = &told.message else { continue };
        let bound = if without == Some(Rule::Bounded) { i64::MAX } else { *came_at };
        let at = told.created.map_or(*came_at, |created| created.min(bound));
        let is_known = messages.contains_key(id);
        let message =
            messages.entry(id.clone()).or_insert_with(|| Message { said_at: i64::MAX, ..Message::default() });
        message.keys.extend(told.keys.clone());
        message.said_at = message.said_at.min(at).min(bound);
        message.incoming |= told.incoming && (without != Some(Rule::Direction) || !is_known);
        message.silent |= told.silent;
        message.owner = told.owner;
        message.statuses.extend(told.status);
    }
    // Sets that share a key are one customer.
    let mut joined: Vec<BTreeSet<String>> = Vec::new();
    for mut keys in customers.into_iter().filter(|keys| !keys.is_empty()) {
        let (same, others): (Vec<_>, Vec<_>) =
            joined.into_iter().partition(|other| !other.is_disjoint(&keys));
        joined = others;
        same.into_iter().for_each(|other| keys.extend(other));
        joined.push(keys);
    }
    let outcome = |keys: &BTreeSet<String>| {
        let own: Vec<&Message> =
            messages.values().filter(|message| !message.keys.is_disjoint(keys)).collect();
        let answered =
            own.iter().filter(|message| message.is_answer(without)).map(|message| message.said_at).max();
        let asks = own
            .iter()
            .filter(|message| message.incoming && (!message.silent || without == Some(Rule::Silent)));
        let asks =
            asks.map(|message| message.said_at).filter(|at| answered.is_none_or(|answered| *at > answered));
        let incoming = own.iter().filter(|message| message.incoming).map(|message| message.said_at).max();
        (if without == Some(Rule::First) { asks.max() } else { asks.min() }, incoming)
    };
    Outcome {
        customers: joined.iter().map(|keys| (keys.clone(), outcome(keys))).collect(),
        states: messages.iter().map(|(id, message)| (id.clone(), message.state())).collect(),
    }
}

/// The outcome as insight stores it, after the events arrived in batches of these sizes.
fn stored(all: &[Told], arrivals: &[Arrival], batches: &[usize]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.tenants.insert("other".to_owned(), "merchant".to_owned());
    let failures = FailureClasses::load(None).unwrap();
    let (mut ledger, file) = Ledger::open(&folder.path().join("insight.db"), &settings, failures).unwrap();
    let events: Vec<_> = (1..)
        .zip(arrivals)
        .map(|(seq, (number, came_at))| {
            let element = Element::read(all[*number].raw.as_bytes()).unwrap().into();
            let (came_at, source) = (Timestamp::from_ms(*came_at), all[*number].source.into());
            Event { seq, came_at, received_at: came_at, source, element }.into()
        })
        .collect();
    let mut rest = &*events;
    for size in batches.iter().cycle() {
        let (batch, later) = rest.split_at((*size).min(rest.len()));
        rest = later;
        let through = (events.len() - rest.len()) as u64;
        ledger.apply(batch, through).unwrap();
        if rest.is_empty() {
            break;
        }
    }
    read(&file.reader().unwrap())
}

fn read(file: &Connection) -> Outcome {
    let mut outcome = Outcome::default();
    let mut select = file
        .prepare(
            "SELECT tenant || '/' || iif(kind = 1, 'source ', '') || text, keys, waits_since, incoming_at
             FROM contact JOIN scope ON scope.id = contact.scope",
        )
        .unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (scope, keys): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let keys = keys.split('\n').map(|key| format!("{scope}: {key}")).collect();
        outcome.customers.insert(keys, (row.get(2).unwrap(), row.get(3).unwrap()));
    }
    let mut select = file.prepare("SELECT message_id, state FROM message").unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let state: Option<usize> = row.get(1).unwrap();
        outcome.states.insert(row.get(0).unwrap(), state.map(|state| MessageState::ALL[state]));
    }
    outcome
}

fn config() -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 200 };
    Config { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn order_delay_and_repetition_change_no_customer_wait_or_state(
        (all, late) in acts().prop_flat_map(|acts| {
            let all: Vec<Told> = acts.iter().enumerate().flat_map(|(number, act)| told(number, act)).collect();
            let some = vec((0..all.len(), 0..14_000_i64), 0..6);
            let delays = vec(0..14_000_i64, all.len());
            let late = (delays, some).prop_map(|(delays, again)| {
                delays.into_iter().enumerate().chain(again).collect::<Vec<_>>()
            });
            (Just(all), late.prop_flat_map(|late| Just(late).prop_shuffle()))
        }),
        batches in vec(1..9_usize, 1..5),
    ) {
        let in_order: Vec<Arrival> = all.iter().enumerate().map(|(number, told)| (number, told.at)).collect();
        let late: Vec<Arrival> =
            late.into_iter().map(|(number, minutes)| (number, all[number].at + minutes * MINUTE_MS)).collect();
        let once = expected(&all, &in_order, None);
        prop_assert_eq!(&stored(&all, &in_order, &batches), &once);
        prop_assert_eq!(stored(&all, &late, &batches), expected(&all, &late, None));
        if all.iter().all(|told| told.created == Some(told.at)) {
            prop_assert_eq!(expected(&all, &late, None), once);
        }
    }
}

/// A rule that no history needs would not be tested.
#[test]
fn for_each_rule_some_histories_have_another_outcome_without_it() {
    let mut runner = TestRunner::deterministic();
    let mut needed = RULES.map(|_| 0);
    for _ in 0..500 {
        let acts = acts().new_tree(&mut runner).unwrap().current();
        let all: Vec<Told> = acts.iter().enumerate().flat_map(|(number, act)| told(number, act)).collect();
        let arrivals: Vec<Arrival> = all.iter().enumerate().map(|(number, told)| (number, told.at)).collect();
        let outcome = expected(&all, &arrivals, None);
        for (rule, count) in RULES.into_iter().zip(&mut needed) {
            *count += usize::from(expected(&all, &arrivals, Some(rule)) != outcome);
        }
    }
    assert!(needed.iter().all(|count| *count >= 25), "{RULES:?} {needed:?}");
}
