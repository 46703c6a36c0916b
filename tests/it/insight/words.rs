//! The length of received words is bounded in the file, in answers and on pages.

use super::*;

const DAY: i64 = 24 * HOUR;

/// A status of a new message, with a store and an owner.
fn of(message: usize, store: &str, owner: &str, owner_id: &str) -> String {
    serde_json::json!({
        "eventName": "message-status-update",
        "eventInfo": {
            "messageId": format!("m{message}"), "channelId": "whatsapp", "status": "sent", "owner": owner,
            "ownerId": owner_id, "assetValue": "919090900001",
        },
        "storeId": store,
        "id": format!("e{message}"),
    })
    .to_string()
}

fn words(book: &Book) -> (i64, i64) {
    let sql = "SELECT count(*), max(length(text)) FROM word";
    book.asks.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn total(rows: &[ask::FunnelRow]) -> i64 {
    rows.iter().map(|row| row.messages).sum()
}

#[test]
fn a_long_word_is_cut_and_found_by_its_whole_text() {
    let mut book = Book::new();
    let long = "s".repeat(1 << 20);
    book.take(&of(1, &long, "CAMPAIGN", "57"), DAY_ONE);
    assert_eq!(words(&book).1, 201);
    let rows = book.funnel(&[Dimension::Store]);
    assert_eq!(rows[0].group[0].as_deref(), Some(&*format!("{}…", &long[..200])));
    let only = vec![(Dimension::Store, long)];
    let found = ask::funnel(&book.asks, &FigureQuery { only, ..FigureQuery::default() }).unwrap();
    assert_eq!(found[0].messages, 1);
}

#[test]
fn long_ids_names_and_reasons_are_cut_and_counted_once() {
    let mut book = Book::new();
    let long = "x".repeat(100_000);
    let failed = |reason: &str, id: &str| {
        told("1", "failed", "AGENT", reason)
            .replace("\"messageId\":\"1\"", &format!("\"messageId\":\"{long}\""))
            .replace("\"firstName\":\"A\"", &format!("\"firstName\":\"{long}\""))
            .replace("\"id\":\"1-failed\"", &format!("\"id\":\"{id}\""))
    };
    book.take(&failed(&format!("rate limit hit {long}"), "a"), DAY_ONE);
    book.take(&failed(&format!("rate limit hit {long}"), "b"), DAY_ONE);
    let sizes: (i64, i64, i64) = book
        .asks
        .query_row(
            "SELECT length(message_id), (SELECT max(length(text)) FROM reason),
               (SELECT max(length(name)) FROM contact) FROM message",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(sizes, (201, 1_001, 201));
    let failures = ask::failures(&book.asks, &FigureQuery::default(), &book.failures).unwrap();
    assert_eq!(
        failures.iter().map(|row| (&*row.class, row.messages)).collect::<Vec<_>>(),
        [("rate_limit", 1)]
    );
    assert_eq!(book.search(&SearchQuery { message: Some(long.clone()), ..SearchQuery::default() }).len(), 1);
}

#[test]
fn a_full_vocabulary_counts_new_words_as_other() {
    let mut book = Book::new();
    let events: Vec<_> = (0..1_200)
        .map(|n| event(n as u64 + 1, &of(n, "store", &format!("OWNER-{n}"), "57"), DAY_ONE))
        .collect();
    book.ledger.apply(&events, 1_200).unwrap();
    book.seq = 1_200;
    // An owner that BIK documents is counted separately even then.
    book.take(&of(1_200, "store", "CAMPAIGN", "57"), DAY_ONE);
    let owners: i64 =
        book.asks.query_row("SELECT count(*) FROM vocabulary WHERE kind = 3", [], |row| row.get(0)).unwrap();
    assert_eq!(owners, 1_002, "a thousand owners, other, and the documented one");
    let only = |owner: &str| {
        let only = vec![(Dimension::Owner, owner.to_owned())];
        total(&ask::funnel(&book.asks, &FigureQuery { only, ..FigureQuery::default() }).unwrap())
    };
    assert_eq!([only("other"), only("OWNER-999"), only("OWNER-1000"), only("CAMPAIGN")], [200, 1, 0, 1]);
    assert_eq!(total(&book.funnel(&[])), 1_201);
}

#[test]
fn an_answer_has_the_largest_groups_and_the_rest_as_other() {
    let mut book = Book::new();
    let events: Vec<_> = (0..2_000)
        .map(|n| {
            // Store 7 has the most messages.
            let store = if n % 2 == 0 { "store-7".to_owned() } else { format!("store-{n}") };
            event(n as u64 + 1, &of(n, &store, "CAMPAIGN", "57"), DAY_ONE + (n as i64 % 3) * HOUR)
        })
        .collect();
    book.ledger.apply(&events, 2_000).unwrap();
    let rows = book.funnel(&[Dimension::Store]);
    assert_eq!(rows.len(), ask::GROUPS + 1);
    let of_store = |name: &str| {
        rows.iter().find(|row| row.group[0].as_deref() == Some(name)).map_or(0, |row| row.messages)
    };
    assert_eq!((of_store("store-7"), of_store("other")), (1_001, 2_000 - 1_001 - 499));
    assert_eq!(total(&rows), 2_000);
    let by_hour = book.funnel(&[Dimension::Hour, Dimension::Store]);
    assert_eq!(total(&by_hour), 2_000);
    assert!(by_hour.len() <= 3 * (ask::GROUPS + 1), "{}", by_hour.len());
    assert!(by_hour.iter().all(|row| row.group[0].as_ref().unwrap().starts_with("2026-01-01T0")));
}

#[test]
fn a_category_is_never_folded_into_other() {
    let mut book = Book::new();
    let owners = (0..2_000).map(|n| format!("OWNER-{}", n / 2)).chain(["DEV_API".to_owned()]);
    let events: Vec<_> = (0u32..)
        .zip(owners)
        .map(|(n, owner)| event(u64::from(n) + 1, &of(n as usize, "store", &owner, "57"), DAY_ONE))
        .collect();
    book.ledger.apply(&events, events.len() as u64).unwrap();
    let rows = book.funnel(&[Dimension::Category]);
    let of =
        |name: &str| rows.iter().find(|row| row.group[0].as_deref() == Some(name)).map(|row| row.messages);
    let category = bikhook::event::Owner::DevApi.category().unwrap().as_str();
    assert_eq!((of(category), total(&rows)), (Some(1), 2_001));
}

#[test]
fn old_words_of_a_crowded_vocabulary_leave_and_their_figures_stay() {
    let mut book = Book::new();
    let mut events: Vec<_> = (0..900)
        .map(|n| event(n as u64 + 1, &of(n, "store", &format!("OWNER-{n}"), "57"), DAY_ONE))
        .collect();
    events.push(event(901, &of(901, "store", "OWNER-NEW", "57"), DAY_ONE + 10 * DAY));
    book.ledger.apply(&events, 901).unwrap();
    let before = words(&book).0;
    while book.ledger.purge(Timestamp::from_ms(DAY_ONE + 6 * DAY), Period::days(1)).unwrap() {}
    assert!(words(&book).0 < before - 890, "{before} words became {}", words(&book).0);
    let slices: i64 = book.asks.query_row("SELECT count(*) FROM slice", [], |row| row.get(0)).unwrap();
    assert_eq!(slices, 2, "that of today, and other");
    let rows = book.funnel(&[Dimension::Owner]);
    let named: Vec<_> = rows.iter().map(|row| (row.group[0].as_deref().unwrap(), row.messages)).collect();
    assert_eq!(named, [("OWNER-NEW", 1), ("other", 900)]);
    // Later events are counted as before.
    book.seq = 901;
    book.take(&of(902, "store", "OWNER-5", "57"), DAY_ONE + 10 * DAY);
    assert_eq!(book.funnel(&[Dimension::Owner]).len(), 3);
    assert_eq!(total(&book.funnel(&[])), 902);
}

#[test]
fn a_text_of_a_failure_leaves_with_its_last_message() {
    let mut book = Book::new();
    book.take(&told("1", "failed", "AGENT", "Rate limit hit"), DAY_ONE);
    book.take(&told("2", "failed", "AGENT", "Message undeliverable"), DAY_ONE + 10 * DAY);
    while book.ledger.purge(Timestamp::from_ms(DAY_ONE + 6 * DAY), Period::days(1)).unwrap() {}
    let texts: String =
        book.asks.query_row("SELECT group_concat(text) FROM reason", [], |row| row.get(0)).unwrap();
    assert_eq!(texts, "Message undeliverable");
    let failures = ask::failures(&book.asks, &FigureQuery::default(), &book.failures).unwrap();
    assert_eq!(failures.len(), 2, "the counts of classes stay");
}

#[test]
fn a_scope_leaves_with_its_last_customer() {
    let mut book = Book::new();
    let scopes = |book: &Book| -> String {
        let sql = "SELECT group_concat(text) FROM (SELECT text FROM scope ORDER BY text)";
        book.asks.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    book.take(&of(1, "store-a", "CAMPAIGN", "57"), DAY_ONE);
    book.take(&of(2, "store-b", "CAMPAIGN", "57"), DAY_ONE + 10 * DAY);
    assert_eq!(scopes(&book), "store-a,store-b");
    while book.ledger.purge(Timestamp::from_ms(DAY_ONE + 6 * DAY), Period::days(1)).unwrap() {}
    assert_eq!(scopes(&book), "store-b");
    // A later customer of the same store is stored and found as before.
    book.take(&of(3, "store-a", "CAMPAIGN", "57"), DAY_ONE + 10 * DAY);
    assert_eq!(scopes(&book), "store-a,store-b");
    let mut stores: Vec<_> =
        book.contacts("919090900001").into_iter().filter_map(|contact| contact.store).collect();
    stores.sort();
    assert_eq!(stores.iter().map(|store| &**store).collect::<Vec<_>>(), ["store-a", "store-b"]);
}

#[test]
fn a_file_of_format_1_is_taken_over_with_its_words() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("insight.db");
    let failures = FailureClasses::load(None).unwrap();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../../fixtures/insight/format-2.sql")).unwrap();
    let long = "s".repeat(5_000);
    old.execute("UPDATE word SET text = ?1 WHERE text = 'store-a'", [&long]).unwrap();
    old.execute_batch("DROP TABLE vocabulary; PRAGMA user_version = 1;").unwrap();
    drop(old);
    let (mut ledger, file) = Ledger::open(&path, &Settings::default(), failures.clone()).unwrap();
    let taken = ledger.cursor() + 1;
    ledger.apply(&[event(taken, &of(2, &long, "CAMPAIGN", "57"), DAY_ONE)], taken).unwrap();
    let asks = file.reader().unwrap();
    let stores = "SELECT count(DISTINCT store) FROM slice WHERE store IS NOT NULL";
    let stores: i64 = asks.query_row(stores, [], |row| row.get(0)).unwrap();
    assert_eq!(stores, 1, "the same store as before");
    drop((ledger, file, asks));
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99;").unwrap();
    assert!(Ledger::open(&path, &Settings::default(), failures).is_err(), "a newer format is refused");
}
