//! Who waits, who answered, and who is who: the cases of `fixtures/cases`, and what follows from settings and old files.

use std::collections::BTreeMap;

use bikhook::insight::{AnswerSettings, PublicId};

use super::*;

/// 2026-12-01T09:00:00Z: after all cases.
const NOW: i64 = 1_796_115_600_000;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Book {
    /// Adds the events of a file in `fixtures/cases`, received from this source at `NOW`.
    fn take_case(&mut self, name: &str) {
        let path = format!("{}/fixtures/cases/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let decoded = bikhook::event::decode(&"bik".into(), &std::fs::read(path).unwrap()).unwrap();
        assert!(!decoded.drafts.is_empty(), "{name}");
        for draft in decoded.drafts {
            self.take(draft.element.raw(), NOW);
        }
    }

    fn of_case(name: &str) -> Self {
        let mut book = Self::new();
        book.take_case(name);
        book
    }

    fn waiting(&self) -> Vec<ask::Contact> {
        ask::waiting(&self.asks, WaitingSpan::default(), 100).unwrap()
    }

    fn all_contacts(&self) -> Vec<ask::Contact> {
        ask::contacts(&self.asks, &ContactSearch { limit: 1_000, ..ContactSearch::default() }).unwrap().rows
    }

    /// Opens the file again with other settings.
    fn reopen(self, settings: &Settings) -> Self {
        let Self { folder, ledger, asks, failures, seq } = self;
        drop((ledger, asks));
        let (ledger, file) =
            Ledger::open(&folder.path().join("insight.db"), settings, failures.clone()).unwrap();
        let asks = file.reader().unwrap();
        Self { folder, ledger, asks, failures, seq }
    }
}

/// Since when each customer waits.
fn waits(book: &Book) -> Vec<Option<Timestamp>> {
    book.all_contacts().iter().map(|contact| contact.waits_since).collect()
}

#[test]
fn a_customer_without_an_address_is_a_contact_who_waits() {
    let book = Book::of_case("f01-hidden-phone");
    let [contact] = &*book.waiting() else { panic!("one customer waits") };
    assert_eq!((contact.address.as_deref(), contact.customer.as_deref()), (None, Some("777001")));
    assert_eq!(contact.waits_since, Some(time("2026-11-30T10:00:00Z")));
    let by_customer = SearchQuery { customer: Some("777001".to_owned()), ..SearchQuery::default() };
    assert_eq!(book.search(&by_customer), ["wamid.h1"]);
}

#[test]
fn a_customer_waits_since_the_first_message_and_is_missed_after_a_day() {
    let mut book = Book::of_case("f02-waiting-from-last-message");
    let asked = time("2026-11-30T10:00:00Z");
    let since = Some(asked);
    assert_eq!(waits(&book), [since]);
    let again = incoming("wamid.l3", "+919800000101", "2026-12-01T08:30:00Z", "store-a");
    book.take(&again, NOW);
    assert_eq!(waits(&book), [since], "another message does not restart the wait");
    let counts = |hours: i64| {
        let now = asked.plus_ms(hours * HOUR + 1);
        let count = |span| ask::count_waiting(&book.asks, span, 10).unwrap();
        (count(WaitingSpan::recent(now)), count(WaitingSpan::missed(now)))
    };
    assert_eq!(counts(23), ((1, since), (0, None)));
    assert_eq!(counts(24), ((0, None), (1, since)));
}

#[test]
fn any_status_of_an_answer_ends_the_wait_unless_the_answer_failed() {
    assert_eq!(waits(&Book::of_case("f03-answer-known-by-delivered-only")), [None]);
    let mut book = Book::of_case("f04-answer-sent-then-failed");
    assert_eq!(waits(&book), [Some(time("2026-11-30T10:00:00Z"))]);
    // One of several devices failed.
    book.take(&status("wamid.a2", "delivered", "AGENT", "57"), NOW);
    assert_eq!(waits(&book), [None]);
}

#[test]
fn each_owner_answers_or_not_as_the_document_says() {
    let answering = |settings: &Settings| -> Vec<&str> {
        let owners = ["AGENT", "MERCHANT", "BOT", "CAMPAIGN", "TEST_CAMPAIGN", "DEV_API", "ROBOT", ""];
        let answers = |owner: &&str| {
            let mut book = Book::new().reopen(settings);
            book.take(&incoming("q", "+919800000101", "2026-11-30T10:00:00Z", "store-a"), NOW);
            book.take(&status("a", "sent", owner, "57"), NOW);
            waits(&book) == [None]
        };
        owners.into_iter().filter(answers).collect()
    };
    assert_eq!(answering(&Settings::default()), ["AGENT", "MERCHANT", "BOT"]);
    let answers = AnswerSettings { add: vec!["DEV_API".to_owned()], exempt: vec!["BOT:57".to_owned()] };
    assert_eq!(answering(&Settings { answers, ..Settings::default() }), ["AGENT", "MERCHANT", "DEV_API"]);
}

#[test]
fn changed_rules_for_answers_apply_to_stored_messages_at_the_next_start() {
    let mut book = Book::new();
    let since = Some(time("2026-11-30T10:00:00Z"));
    book.take(&incoming("q", "+919800000101", "2026-11-30T10:00:00Z", "store-a"), NOW);
    book.take(&status("a", "sent", "BOT", "57"), NOW);
    assert_eq!(waits(&book), [None]);
    let answers = AnswerSettings { exempt: vec!["BOT:57".to_owned()], ..AnswerSettings::default() };
    let book = book.reopen(&Settings { answers, ..Settings::default() });
    assert_eq!(waits(&book), [since]);
    assert_eq!(waits(&book.reopen(&Settings::default())), [None]);
}

#[test]
fn an_answer_of_another_store_or_merchant_is_none() {
    let book = Book::of_case("f05-other-store-answers");
    let stores: BTreeMap<_, _> = book
        .all_contacts()
        .into_iter()
        .map(|contact| (contact.store.unwrap(), contact.waits_since))
        .collect();
    let expected = [("store-a".into(), Some(time("2026-11-30T10:00:00Z"))), ("store-b".into(), None)];
    assert_eq!(stores, BTreeMap::from(expected));
    let tenants = BTreeMap::from([("other".to_owned(), "merchant".to_owned())]);
    let mut book = Book::new().reopen(&Settings { tenants, ..Settings::default() });
    book.take(&incoming("q", "+919800000101", "2026-11-30T10:00:00Z", "store-a"), NOW);
    let answer = event(2, &status("a", "sent", "AGENT", "57"), NOW);
    let answer = Event { source: "other".into(), ..(*answer).clone() };
    book.ledger.apply(&[answer.into()], 2).unwrap();
    assert_eq!(book.waiting().len(), 1);
    assert_eq!(book.all_contacts().len(), 2);
}

#[test]
fn a_reaction_or_a_deleted_message_does_not_wait() {
    assert_eq!(waits(&Book::of_case("f09-reaction-waits")), [None]);
    assert_eq!(waits(&Book::of_case("payload-13-reaction")), [None]);
    assert_eq!(waits(&Book::of_case("payload-14-reaction-removed")), [None]);
    assert_eq!(waits(&Book::of_case("f08-deleted-message")), [None]);
}

#[test]
fn an_asset_id_is_no_address_and_opting_out_links_by_customer_id() {
    let mut book = Book::of_case("f10-asset-ids-are-no-addresses");
    let [contact] = &*book.all_contacts() else { panic!("one customer") };
    assert_eq!((contact.address.as_deref(), contact.customer.as_deref()), (None, Some("6800001")));
    let opted_out =
        r#"{"eventName":"optedOut","storeId":"s","customerId":"6800001","eventId":"o","eventProperties":{}}"#;
    book.take(opted_out, NOW);
    let [contact] = &*book.all_contacts() else { panic!("the same customer") };
    let conversation = ask::conversation(&book.asks, contact.id, None, 10, &book.failures).unwrap().unwrap();
    assert_eq!(conversation.entries.len(), 2);
}

#[test]
fn marks_in_a_phone_and_capitals_in_a_mail_address_do_not_matter() {
    let book = Book::of_case("f12-phone-with-invisible-marks");
    let addresses: Vec<_> = book.all_contacts().into_iter().map(|contact| contact.addresses).collect();
    assert_eq!(addresses, [["919800000113"]]);
    let mut book = Book::of_case("payload-22-email");
    assert_eq!(book.waiting().len(), 1);
    book.take_case("payload-23-email-lower");
    assert_eq!(waits(&book), [None]);
}

#[test]
fn a_late_webhook_opens_no_window() {
    let book = Book::of_case("f14-window-of-a-late-webhook");
    let contact = &book.all_contacts()[0];
    assert_eq!(contact.open_until, Some(time("2026-11-24T10:00:00Z")));
    assert_eq!(contact.waits_since, Some(time("2026-11-23T10:00:00Z")));
    // A clock of BIK that is ahead of ours counts as ours.
    let mut book = Book::new();
    book.take(&incoming("q", "+919800000101", "2027-01-01T00:00:00Z", "store-a"), NOW);
    assert_eq!(waits(&book), [Some(Timestamp::from_ms(NOW))]);
}

#[test]
fn a_status_before_its_incoming_message_is_no_answer() {
    let book = Book::of_case("f15-status-before-its-incoming-message");
    assert_eq!(waits(&book), [Some(time("2026-11-30T10:00:00Z"))]);
    assert_eq!(book.state("wamid.s1"), None);
    let total = &book.funnel(&[])[0];
    assert_eq!((total.incoming, total.messages, total.read), (1, 0, 0));
}

#[test]
fn keys_that_are_seen_together_later_make_one_customer() {
    let mut book = Book::new();
    book.take(&incoming("q", "+919800000101", "2026-11-30T10:00:00Z", "store-a"), NOW);
    let older = book.all_contacts()[0].id;
    let by_id = incoming("r", "x", "2026-11-30T09:00:00Z", "store-a")
        .replace(r#""assetValue":"x""#, r#""assetValue":null"#)
        .replace(r#""customerDetails":{}"#, r#""customerDetails":{"customerId":777}"#);
    book.take(&by_id, NOW);
    let younger = book.all_contacts()[0].id;
    assert_eq!(book.waiting().len(), 2);
    let both = incoming("s", "+91 98000 00101", "2026-11-30T11:00:00Z", "store-a")
        .replace(r#""customerDetails":{}"#, r#""customerDetails":{"customerId":"777"}"#);
    book.take(&both, NOW);
    let [contact] = &*book.waiting() else { panic!("one customer") };
    assert_eq!(contact.waits_since, Some(time("2026-11-30T09:00:00Z")));
    assert_eq!(contact.id, older);
    let of = |id: PublicId| ask::conversation(&book.asks, id, None, 10, &book.failures).unwrap().unwrap();
    assert_eq!((of(older).entries.len(), of(younger).entries.len()), (3, 3));
    assert_eq!(of(younger).contact.id, older, "the id of the merged customer still leads here");
}

#[test]
fn a_public_id_is_the_same_after_a_rebuild() {
    let mut book = Book::of_case("f05-other-store-answers");
    book.take_case("f01-hidden-phone");
    let ids = |book: &Book| book.all_contacts().iter().map(|contact| contact.id).collect::<Vec<_>>();
    let before = ids(&book);
    book.ledger.begin_rebuild(0, Some(Timestamp::from_ms(NOW)), 3).unwrap();
    assert_eq!(book.all_contacts().len(), 0);
    book.seq = 0;
    book.take_case("f05-other-store-answers");
    book.take_case("f01-hidden-phone");
    assert_eq!(ids(&book), before);
    assert_eq!(before.len(), 3);
}

#[test]
fn an_id_that_everybody_has_joins_a_bounded_number_of_customers() {
    let mut book = Book::new();
    for number in 0..200 {
        let message =
            incoming(&format!("m{number}"), &format!("+9198000{number:05}"), "2026-11-30T10:00:00Z", "s")
                .replace(r#""customerDetails":{}"#, r#""customerDetails":{"customerId":"guest"}"#);
        book.take(&message, NOW);
    }
    let contacts = book.all_contacts();
    let most = contacts.iter().map(|contact| contact.addresses.len()).max();
    assert_eq!((contacts.len(), most), (138, Some(63)), "with the id, 64 keys");
}

#[test]
fn a_customer_is_found_by_last_digits_country_code_or_name() {
    let book = Book::of_case("f02-waiting-from-last-message");
    for phone in ["919800000101", "9800000101", "+91 98000 00101", "09800000101", "000101"] {
        assert_eq!(book.contacts(phone).len(), 1, "{phone}");
        let query = SearchQuery { phone: Some(phone.to_owned()), ..SearchQuery::default() };
        assert_eq!(book.search(&query), ["wamid.l2", "wamid.l1"], "{phone}");
    }
    assert_eq!((book.contacts("00101").len(), book.contacts("9800000102").len()), (0, 0));
    let named = |name: &str| {
        let search = ContactSearch { name: Some(name.to_owned()), limit: 10, ..ContactSearch::default() };
        ask::contacts(&book.asks, &search).unwrap().rows.len()
    };
    assert_eq!([named("asha"), named("HA RA"), named("ashar")], [1, 1, 0]);
}

#[test]
fn retention_never_makes_an_answered_customer_wait() {
    let mut book = Book::new();
    let answer = status("a", "sent", "AGENT", "57").replace("2026-11-30T10:01", "2026-11-20T10:01");
    book.take(&answer, time("2026-11-20T10:01:00Z").as_ms());
    // The question comes four days late.
    let late = time("2026-11-24T10:00:00Z").as_ms();
    book.take(&incoming("q", "+919800000101", "2026-11-20T10:00:00Z", "store-a"), late);
    assert_eq!(waits(&book), [None]);
    let now = time("2026-11-22T00:00:00Z");
    while book.ledger.purge(now, Period::days(1)).unwrap() {}
    assert_eq!(book.search(&SearchQuery::default()), ["q"]);
    assert_eq!(waits(&book), [None]);
}

#[test]
fn a_file_of_format_2_keeps_its_customers_and_who_waits() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("insight.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../../fixtures/insight/format-2.sql")).unwrap();
    drop(old);
    let failures = FailureClasses::load(None).unwrap();
    let (ledger, file) = Ledger::open(&path, &Settings::default(), failures.clone()).unwrap();
    let mut book = Book { folder, ledger, asks: file.reader().unwrap(), failures, seq: 7 };
    let [opted_out, asha, ravi] = &*book.all_contacts() else { panic!("three customers") };
    assert_eq!((opted_out.address.as_deref(), opted_out.store.as_deref()), (Some("8000000000000001"), None));
    assert_eq!((asha.name.as_deref(), asha.store.as_deref()), (Some("Asha Rao"), Some("store-a")));
    let since = Some(time("2026-11-30T10:00:00Z"));
    assert_eq!((asha.waits_since, ravi.waits_since, opted_out.waits_since), (since, None, None));
    let entries = |contact: &ask::Contact| {
        ask::conversation(&book.asks, contact.id, None, 10, &book.failures).unwrap().unwrap().entries.len()
    };
    assert_eq!([entries(opted_out), entries(asha), entries(ravi)], [1, 3, 2]);
    // Later events find the same customer.
    book.take(&status("a3", "sent", "AGENT", "57"), NOW);
    assert_eq!(book.all_contacts().len(), 3);
    assert_eq!(book.waiting().len(), 1, "the message on sms came without a time of BIK, after the answer");
    drop(file);
}

/// A message from a customer.
fn incoming(message: &str, address: &str, created_at: &str, store: &str) -> String {
    format!(
        r#"{{"eventName":"incoming-message","eventInfo":{{"messageId":"{message}","createdAt":"{created_at}","channelId":"whatsapp","message":"hi","assetValue":"{address}"}},"storeId":"{store}","customerDetails":{{}},"id":"{message}"}}"#
    )
}

/// A status of a message to the customer of the cases.
fn status(message: &str, status: &str, owner: &str, owner_id: &str) -> String {
    format!(
        r#"{{"eventName":"message-status-update","eventInfo":{{"messageId":"{message}","createdAt":"2026-11-30T10:01:00Z","channelId":"whatsapp","status":"{status}","owner":"{owner}","ownerId":"{owner_id}","assetValue":"+919800000101"}},"storeId":"store-a","customerDetails":{{}},"id":"{message}-{status}"}}"#
    )
}
