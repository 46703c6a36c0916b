//! Tests the proof with manipulated evidence: it reports each kind of damage, and nothing else.

use crate::support::{
    client::Receipt,
    home::Stored,
    load::{Ledger, Made, Post},
    proof::{Proof, Violation},
};

/// The answers that senders got, and the events that a receiver has. Consistent until a test damages it.
struct Case {
    ledger: Ledger,
    stored: Vec<Stored>,
    lines: Vec<String>,
}

impl Case {
    /// A message with three statuses and one from a customer, each posted alone; the second post had to be repeated.
    fn sound() -> Self {
        let status = |id: &str, step| Made {
            id: id.to_owned(),
            message: "m".to_owned(),
            step: Some(step),
            padding: 0,
        };
        let incoming = Made { id: "d".to_owned(), message: "n".to_owned(), step: None, padding: 0 };
        let events = vec![status("a", 0), status("b", 1), status("c", 2), incoming];
        let receipt = |accepted, seq| Receipt { accepted, duplicates: 1 - accepted, quarantined: 0, seq };
        let post = |tries, receipt| Post { events: 1, fresh: 1, tries, receipt };
        let posts = vec![
            post(1, receipt(1, Some(1))),
            post(2, receipt(0, None)),
            post(1, receipt(1, Some(3))),
            post(3, receipt(1, Some(4))),
        ];
        let stored: Vec<Stored> =
            (1..).zip(&events).map(|(seq, made)| Stored { seq, raw: made.element() }).collect();
        let lines = stored
            .iter()
            .map(|Stored { seq, raw }| format!("{{\"seq\":{seq},\"id\":null,\"event\":{raw}}}\n"))
            .collect();
        Self { ledger: Ledger { events, posts, refused: 0 }, stored, lines }
    }

    fn violations(&self) -> Vec<Violation> {
        let mut proof = Proof::new(&self.ledger);
        self.stored.iter().for_each(|stored| proof.stored(stored));
        self.lines.iter().for_each(|line| proof.line(line));
        proof.violations()
    }
}

#[track_caller]
fn assert_found<const N: usize>(expected: [Violation; N], damage: impl FnOnce(&mut Case)) {
    let mut case = Case::sound();
    damage(&mut case);
    assert_eq!(case.violations(), expected);
}

#[test]
fn sound_evidence_passes_with_lines_delivered_again() {
    assert_found([], |_| {});
    assert_found([], |case| {
        let again = case.lines[..2].to_vec();
        case.lines.splice(2..2, again);
    });
}

#[test]
fn an_event_that_is_gone_is_found() {
    let id = || "d".to_owned();
    assert_found([Violation::Lost(id()), Violation::NoSuchSeq(4), Violation::NotDelivered(id())], |case| {
        case.stored.pop();
        case.lines.pop();
    });
}

#[test]
fn an_event_that_is_stored_twice_is_found() {
    assert_found([Violation::StoredTwice("d".to_owned())], |case| {
        let raw = case.stored[3].raw.clone();
        case.stored.push(Stored { seq: 5, raw });
    });
}

#[test]
fn an_event_with_other_bytes_is_found_in_the_journal_and_in_its_line() {
    assert_found([Violation::Altered("a".to_owned())], |case| case.stored[0].raw.push(' '));
    assert_found([Violation::NotDelivered("a".to_owned()), Violation::BadLine(1)], |case| {
        case.lines[0] = case.lines[0].replace("Hello", "Hullo");
    });
}

#[test]
fn an_event_that_nobody_posted_is_found() {
    assert_found([Violation::Invented("x".to_owned())], |case| {
        case.stored.push(Stored { seq: 5, raw: r#"{"id":"x"}"#.to_owned() });
    });
    assert_found([Violation::Invented("seq 5".to_owned())], |case| {
        case.stored.push(Stored { seq: 5, raw: "half of an ev".to_owned() });
    });
}

#[test]
fn a_sequence_number_that_was_given_before_is_found() {
    let mut case = Case::sound();
    case.stored[3].seq = 3;
    assert!(case.violations().contains(&Violation::SeqRepeats(3)), "{:?}", case.violations());
}

#[test]
fn an_event_that_was_not_delivered_is_found() {
    assert_found([Violation::NotDelivered("b".to_owned())], |case| {
        case.lines.remove(1);
    });
}

#[test]
fn a_line_that_is_not_whole_is_found() {
    let torn = [Violation::NotDelivered("d".to_owned()), Violation::BadLine(4)];
    assert_found(torn.clone(), |case| {
        let half = case.lines[3].len() / 2;
        case.lines[3].truncate(half);
    });
    assert_found(torn, |case| {
        case.lines[3].pop();
    });
    assert_found([Violation::BadLine(2)], |case| case.lines.insert(1, "{\"seq\":2,\"ev\n".to_owned()));
}

#[test]
fn disorder_within_a_message_is_found_in_the_journal_and_in_the_lines() {
    let disorder = || [Violation::Disorder("m".to_owned())];
    assert_found(disorder(), |case| case.lines.swap(0, 1));
    assert_found(disorder(), |case| {
        case.stored.swap(1, 2);
        for (seq, (stored, line)) in (1..).zip(case.stored.iter_mut().zip(&mut case.lines)) {
            stored.seq = seq;
            *line = format!("{{\"seq\":{seq},\"event\":{}}}\n", stored.raw);
        }
    });
}

#[test]
fn a_200_that_does_not_account_for_every_event_is_found() {
    let damages: [fn(&mut Receipt); 5] = [
        |receipt| receipt.accepted = 0,
        |receipt| receipt.duplicates = 1,
        |receipt| receipt.quarantined = 1,
        |receipt| receipt.seq = None,
        // It was not posted before, so it cannot be a duplicate.
        |receipt| *receipt = Receipt { accepted: 0, duplicates: 1, quarantined: 0, seq: None },
    ];
    for damage in damages {
        let mut case = Case::sound();
        damage(&mut case.ledger.posts[0].receipt);
        assert!(matches!(case.violations()[..], [Violation::DoesNotAddUp(_)]), "{:?}", case.violations());
    }
}

#[test]
fn a_body_that_was_accepted_twice_is_found() {
    assert_found([Violation::AcceptedTwice], |case| {
        case.ledger.posts[1].receipt = Receipt { accepted: 1, duplicates: 0, quarantined: 0, seq: Some(2) };
        let again = case.ledger.posts[1].clone();
        case.ledger.posts.push(again);
    });
}
