//! A campaign whose true figures are known to the generator. Insight must count it correctly despite duplicates,
//! disorder and late statuses.

use std::collections::{BTreeMap, HashMap};

use bikhook::insight::{bucket_of, longest_of};

use super::*;
use crate::support::dice::Dice;

const MESSAGES: u64 = 200_000;
const REASONS: [(&str, &str); 4] = [
    (
        "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
        "window_closed",
    ),
    ("Message Undeliverable.", "undeliverable"),
    ("Spam Rate Limit hit", "rate_limit"),
    ("nobody knows why", "unknown"),
];
const OWNERS: [(&str, &str); 4] =
    [("CAMPAIGN", "broadcast"), ("AGENT", "crm"), ("BOT", "automation"), ("DEV_API", "dev_api")];

/// One message, as the generator knows it.
#[derive(Clone)]
struct Truth {
    owner: usize,
    first_at: i64,
    /// When each status first arrived: sent, delivered, read, failed.
    came: [Option<i64>; 4],
    class: Option<usize>,
}

#[derive(Debug, Default, PartialEq)]
struct Sums {
    messages: i64,
    sent: i64,
    delivered: i64,
    read: i64,
    failed: i64,
    deliver: [Option<i64>; 3],
    opened: [Option<i64>; 3],
}

/// The arrival of a status: its time, its message, and the reason if the message failed.
type Coming = (i64, u64, &'static str, usize);

/// All arrivals in their order, and the sender of each message.
fn arrivals(dice: &mut Dice) -> (Vec<Coming>, Vec<usize>) {
    let mut all = Vec::new();
    let mut owners = Vec::new();
    for message in 0..MESSAGES {
        // Three days of broadcasts.
        let made = DAY_ONE + i64::try_from(dice.below(3 * 24 * 3_600_000)).unwrap();
        owners.push(usize::try_from(dice.below(4)).unwrap());
        let reason = usize::try_from(dice.below(4)).unwrap();
        let statuses: &[&str] = match dice.below(10) {
            0 => &["sent"],
            1 => &["failed"],
            2 => &["sent", "failed"],
            // One of several devices failed.
            3 => &["sent", "failed", "delivered"],
            4 | 5 => &["sent", "delivered"],
            // The message is delivered and read at the same time.
            6 => &["sent", "read"],
            _ => &["sent", "delivered", "read"],
        };
        let mut at = made;
        for status in statuses {
            at += i64::try_from(dice.below(20_000)).unwrap();
            if *status == "read" {
                at += i64::try_from(dice.below(6 * 3_600_000)).unwrap();
            }
            // Days late, or after a later status.
            let late = match dice.below(50) {
                0 => i64::try_from(dice.below(7 * 24 * 3_600_000)).unwrap(),
                1..=5 => i64::try_from(dice.below(60_000)).unwrap(),
                _ => 0,
            };
            all.push((at + late, message, *status, reason));
            if dice.percent(3) {
                all.push((at + late + i64::try_from(dice.below(100_000)).unwrap(), message, *status, reason));
            }
        }
    }
    all.sort_unstable();
    (all, owners)
}

#[test]
fn every_figure_of_a_campaign_equals_the_truth_to_the_last_message() {
    let mut dice = Dice::new(Dice::seed("BIKHOOK_SEED"));
    let (arrivals, owners) = arrivals(&mut dice);
    let mut book = Book::new();
    let mut truth: HashMap<u64, Truth> = HashMap::new();
    let mut page = Vec::new();
    let mut batch = 1;
    for (seq, (at, message, status, reason)) in (1..).zip(&arrivals) {
        let owner = owners[usize::try_from(*message).unwrap()];
        let reason_text = if *status == "failed" { REASONS[*reason].0 } else { "" };
        page.push(event(seq, &told(&message.to_string(), status, OWNERS[owner].0, reason_text), *at));
        let known =
            truth.entry(*message).or_insert(Truth { owner, first_at: *at, came: [None; 4], class: None });
        let place = ["sent", "delivered", "read", "failed"].iter().position(|name| name == status).unwrap();
        known.came[place].get_or_insert(*at);
        if *status == "failed" {
            known.class = Some(*reason);
        }
        if page.len() == batch {
            book.ledger.apply(&page, seq).unwrap();
            page.clear();
            batch = usize::try_from(1 + dice.below(4_000)).unwrap();
        }
    }
    book.ledger.apply(&page, arrivals.len() as u64).unwrap();

    let of = |group: &dyn Fn(&Truth) -> String| {
        let mut groups: BTreeMap<String, Vec<&Truth>> = BTreeMap::new();
        truth.values().for_each(|one| groups.entry(group(one)).or_default().push(one));
        groups.into_iter().map(|(name, all)| (name, sums(&all))).collect::<BTreeMap<_, _>>()
    };
    let told = |by: Dimension| {
        let name = |row: &ask::FunnelRow| row.group[0].as_deref().unwrap_or_default().to_owned();
        book.funnel(&[by]).iter().map(|row| (name(row), shown(row))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(told(Dimension::Category), of(&|one| OWNERS[one.owner].1.to_owned()));
    assert_eq!(told(Dimension::Channel), of(&|_| "whatsapp".to_owned()));
    let hour = |one: &Truth, hours: i64| {
        Timestamp::from_ms(one.first_at.div_euclid(hours * HOUR) * hours * HOUR).to_string()
    };
    assert_eq!(told(Dimension::Hour), of(&|one| hour(one, 1)));
    assert_eq!(told(Dimension::Day), of(&|one| hour(one, 24)));

    let mut classes: BTreeMap<&str, i64> = BTreeMap::new();
    for one in truth.values().filter(|one| is_failure(one)) {
        *classes.entry(REASONS[one.class.unwrap()].1).or_default() += 1;
    }
    let failures = ask::failures(&book.asks, &FigureQuery::default(), &book.failures).unwrap();
    let failures: BTreeMap<&str, i64> = failures.iter().map(|row| (&*row.class, row.messages)).collect();
    assert_eq!(failures, classes);

    let some: Vec<u64> = (0..100).map(|_| dice.below(MESSAGES)).collect();
    for message in some {
        let one = &truth[&message];
        let state = match one.came {
            [_, _, Some(_), _] => MessageState::Read,
            [_, Some(_), ..] => MessageState::Delivered,
            [.., Some(_)] => MessageState::Failed,
            _ => MessageState::Sent,
        };
        assert_eq!(book.state(&message.to_string()), Some(state));
    }
}

fn is_failure(one: &Truth) -> bool {
    matches!(one.came, [_, None, None, Some(_)])
}

fn sums(all: &[&Truth]) -> Sums {
    let count =
        |is: &dyn Fn(&Truth) -> bool| i64::try_from(all.iter().filter(|one| is(one)).count()).unwrap();
    let percentiles = |place: usize| {
        let mut took: Vec<i64> =
            all.iter().filter_map(|one| Some((one.came[place]? - one.came[0]?).max(0))).collect();
        took.sort_unstable();
        // In percent; the median of 7 values is the 4th.
        [50, 90, 99].map(|share| {
            took.get((took.len() * share).div_ceil(100).max(1) - 1).map(|ms| longest_of(bucket_of(*ms)))
        })
    };
    Sums {
        messages: count(&|_| true),
        sent: count(&|one| one.came[..3].iter().any(Option::is_some)),
        delivered: count(&|one| one.came[1..3].iter().any(Option::is_some)),
        read: count(&|one| one.came[2].is_some()),
        failed: count(&is_failure),
        deliver: percentiles(1),
        opened: percentiles(2),
    }
}

fn shown(row: &ask::FunnelRow) -> Sums {
    let took = |took: &ask::Percentiles| [took.p50_ms, took.p90_ms, took.p99_ms];
    Sums {
        messages: row.messages,
        sent: row.sent,
        delivered: row.delivered,
        read: row.read,
        failed: row.failed,
        deliver: took(&row.to_deliver),
        opened: took(&row.to_read),
    }
}
