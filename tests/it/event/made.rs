//! Payloads that may arrive: a file for every rule of decoding, with the expected result.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use bikhook::event::{Channel, Element, Owner, Reason, Status, View, decode};

use super::{decoded, draft, drafts, element, elements, fixture, folder};

/// A body that can be split: the ids (or else the names) of its events, and the other results.
struct Split {
    file: &'static str,
    events: &'static [&'static str],
    quarantined: &'static [Reason],
    repaired: u32,
    warnings: u32,
}

const fn split(file: &'static str, events: &'static [&'static str]) -> Split {
    Split { file, events, quarantined: &[], repaired: 0, warnings: 0 }
}

use Reason::{Depth, NoEventName, NotAnObject, Syntax, Utf8};

const SPLIT: &[Split] = &[
    split("t2-bom-and-blanks.json", &["id-1"]),
    Split { repaired: 1, ..split("t2-trailing-commas.json", &["id-1", "id-2"]) },
    Split { quarantined: &[Syntax, Syntax], ..split("t2-comma-after-nothing.json", &["id-3"]) },
    split("t3-bare-object.json", &["id-1"]),
    split("t3-empty-array.json", &[]),
    Split { warnings: 1, ..split("t3-event-info-array.json", &["st-1"]) },
    Split { quarantined: &[NotAnObject; 6], ..split("t3-not-objects.json", &["id-1"]) },
    Split { quarantined: &[NotAnObject], ..split("t3-bare-null.json", &[]) },
    Split { quarantined: &[NotAnObject], ..split("t3-bare-number.json", &[]) },
    Split { quarantined: &[NotAnObject], ..split("t3-bare-string.json", &[]) },
    Split { quarantined: &[NoEventName; 5], ..split("t3-no-event-name.json", &["id-1"]) },
    split("t4-lone-surrogate.json", &["id-1", "id-2"]),
    split("t4-lone-surrogate-in-key.json", &["id-\u{fffd}"]),
    Split { quarantined: &[Utf8], ..split("t4-invalid-utf8.json", &["id-1", "id-3"]) },
    split("t4-depth-128.json", &["deep"]),
    Split { quarantined: &[Depth], ..split("t4-depth-129.json", &["id-1"]) },
    Split { quarantined: &[Syntax, Syntax], ..split("t4-crossed-brackets.json", &["id-1", "id-2"]) },
    Split { quarantined: &[Syntax, Syntax], ..split("t4-control-characters.json", &["id-1"]) },
    split("t4-duplicate-keys.json", &["b"]),
    split("t5-ids-of-every-type.json", &["12345678901234567890", "not-a-uuid", "message-status-update"]),
    Split { warnings: 17, ..split("t5-type-drift.json", &["incoming-message", "st-1", "optedOut"]) },
    split("t5-unknown-fields.json", &["id-1"]),
    split("t5-missing-fields.json", &["incoming-message", "st-1", "st-2"]),
    split("t6-same-id-across-statuses.json", &["the-same"; 4]),
    Split { repaired: 1, ..split("t7-digits-and-escapes.json", &["id-1"]) },
    split("t8-null-character.json", &["id-1", "\0"]),
    split("t9-empty-words.json", &["st-1"]),
    split("newer-status.json", &["st-1", "st-2"]),
    split("newer-incoming.json", &["id-1"]),
    split("subscribed-opted-out.json", &["optedOut-221036"]),
    split("subscribed-customer-created.json", &["customerCreated-7"]),
    split("subscribed-assigned-agent.json", &["assignedAgent-42"]),
    split("other-events.json", &["c-1", "c-2", "ticketClosed"]),
];

/// A body that is not JSON: the position and the reason.
const NOT_JSON: &[(&str, usize, usize, &str)] = &[
    ("not-json-word.json", 1, 1, "this is not a JSON value"),
    ("not-json-empty.json", 1, 1, "the body is empty"),
    ("not-json-only-blanks.json", 2, 1, "the body is empty"),
    ("not-json-cut-short.json", 3, 28, "the body ends inside a string"),
    ("not-json-two-commas.json", 2, 2, "expected an element"),
    ("not-json-form.json", 1, 1, "this is not a JSON value"),
    ("not-json-page.json", 1, 1, "this is not a JSON value"),
    ("not-json-lines.json", 2, 1, "this is not a JSON value"),
    ("not-json-comments.json", 3, 22, "this is not a JSON value"),
    ("t12-status-sent.json.gz", 1, 73, "unexpected content after the end"),
];

fn made(file: &str) -> Vec<u8> {
    fixture(&format!("made/{file}"))
}

#[test]
fn every_payload_becomes_what_its_rule_says() {
    for case in SPLIT {
        let decoded = decoded(&made(case.file)).unwrap_or_else(|error| panic!("{}: {error}", case.file));
        let events: Vec<_> = decoded
            .drafts
            .iter()
            .map(|draft| draft.element.id().unwrap_or_else(|| draft.element.name()))
            .collect();
        assert_eq!(events, case.events, "{}", case.file);
        let reasons: Vec<_> = decoded.quarantined.iter().map(|item| item.reason).collect();
        assert_eq!(reasons, case.quarantined, "{}", case.file);
        assert_eq!(decoded.repaired, case.repaired, "{}: repaired", case.file);
        assert_eq!(decoded.warnings, case.warnings, "{}: warnings", case.file);
    }
}

#[test]
fn a_body_that_is_not_json_has_a_position_and_keeps_its_bytes() {
    for &(file, line, column, detail) in NOT_JSON {
        let body = made(file);
        let error = decoded(&body).expect_err(file);
        assert_eq!((error.line, error.column, error.detail), (line, column, detail), "{file}");
        assert_eq!(error.quarantined.bytes, body, "{file}");
        assert_eq!(error.quarantined.reason, Reason::NotJson, "{file}");
        assert_eq!(&*error.quarantined.source, "bik", "{file}");
    }
}

#[test]
fn no_payload_is_without_a_test() {
    let listed: BTreeSet<String> = (SPLIT.iter().map(|case| case.file))
        .chain(NOT_JSON.iter().map(|case| case.0))
        .map(str::to_owned)
        .collect();
    let there: BTreeSet<String> = std::fs::read_dir(folder("made"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn a_body_packed_with_gzip_reads_as_the_sample_that_it_is() {
    let mut unpacked = Vec::new();
    let packed = made("t12-status-sent.json.gz");
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(draft(&unpacked).key, draft(&fixture("page/status-sent.json")).key);
}

#[test]
fn unreadable_bytes_are_kept_unchanged_with_their_reason() {
    let body = made("t4-invalid-utf8.json");
    let decoded = decoded(&body).unwrap();
    let bytes = &decoded.quarantined[0].bytes;
    assert!(bytes.starts_with(b"{\"eventName\"") && bytes.ends_with(b"\"id-2\"}"));
    assert!(bytes.windows(4).any(|window| window == b"caf\xe9"));
    let at = bytes.iter().position(|&byte| byte == 0xe9).unwrap();
    assert_eq!(decoded.quarantined[0].detail, format!("invalid UTF-8 at byte {at}"));
    assert_eq!(incoming_text(&decoded.drafts[1].element).as_deref(), Some("\u{e9}😀"));
}

#[test]
fn a_detail_says_what_is_wrong_and_where() {
    let detail = |file: &str, at: usize| decoded(&made(file)).unwrap().quarantined[at].detail.clone();
    assert_eq!(detail("t4-depth-129.json", 0), "nested 129 levels deep; the limit is 128");
    assert_eq!(detail("t2-comma-after-nothing.json", 0), "expected value at line 1 column 45");
    assert_eq!(
        detail("t4-control-characters.json", 0),
        "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 45"
    );
    assert_eq!(detail("t3-no-event-name.json", 0), "eventName is missing, null or empty");
    assert_eq!(detail("t3-no-event-name.json", 3), "eventName is not a string");
    for (at, what) in
        ["a number", "a string", "null", "a boolean", "an array", "a number"].into_iter().enumerate()
    {
        assert_eq!(detail("t3-not-objects.json", at), what);
    }
}

fn incoming_text(element: &Element) -> Option<Cow<'_, str>> {
    match element.view() {
        View::Incoming(mut message) => message.infos.remove(0).message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn half_an_emoji_becomes_one_replacement_character_and_the_bytes_stay() {
    let events = elements(&made("t4-lone-surrogate.json"));
    assert_eq!(incoming_text(&events[0]).as_deref(), Some("cut \u{fffd}"));
    assert_eq!(incoming_text(&events[1]).as_deref(), Some("\u{fffd} and 😀"));
    assert!(events[0].raw().contains(r#""cut \ud83d""#));
    assert!(events[0].rendered().contains(r#""cut \ud83d""#));

    let in_key = element(&made("t4-lone-surrogate-in-key.json"));
    let View::Incoming(message) = in_key.view() else { panic!("{in_key:?}") };
    assert_eq!(message.infos[0].message_id.as_deref(), Some("wamid.A1"), "an escaped key is the same key");
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    let event = element(&made("t4-duplicate-keys.json"));
    assert_eq!(event.name(), "message-status-update");
    let View::Status(update) = event.view() else { panic!("{event:?}") };
    let [info] = &update.infos[..] else { panic!("{update:?}") };
    assert_eq!(info.message_id.as_deref(), Some("wamid.S1"));
    assert_eq!(info.status, Some(Status::Read));
    assert_eq!(info.owner, None);
    assert!(event.rendered().contains(r#""id":"a","id":"b""#), "the rendering keeps both");
}

#[test]
fn an_event_with_several_infos_is_one_event() {
    let decoded = decoded(&made("t3-event-info-array.json")).unwrap();
    let [draft] = &decoded.drafts[..] else { panic!("{decoded:?}") };
    let view = draft.element.view();
    assert!(view.statuses().eq([&Status::Delivered, &Status::Failed]));
    assert!(view.owners().eq([&Owner::Bot, &Owner::Agent]));
    assert!(view.channels().eq([&Channel::Whatsapp, &Channel::Sms]));
}

#[test]
fn ids_are_opaque_and_numbers_keep_their_text() {
    let events = elements(&made("t5-ids-of-every-type.json"));
    let views: Vec<_> = events
        .iter()
        .map(|event| match event.view() {
            View::Status(update) => update,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(views[0].store_id.as_deref(), Some("7"));
    assert_eq!(views[0].customer.customer_id.as_deref(), Some("98765432109876543210"));
    let info = &views[0].infos[0];
    assert_eq!(info.message_id.as_deref(), Some("1.50e+2"));
    assert_eq!(info.owner_id.as_deref(), Some("57"));
    assert_eq!(info.ticket_id.as_deref(), Some("-0"));
    assert_eq!(views[1].infos[0].ticket_id.as_deref(), Some("42"));
    assert_eq!((events[2].id(), events[2].order_key("bik")), (None, None), "an empty id identifies nothing");
}

#[test]
fn a_wrong_type_costs_the_field_and_not_the_event() {
    let events = elements(&made("t5-type-drift.json"));
    let View::Incoming(message) = events[0].view() else { panic!("{:?}", events[0]) };
    let [info] = &message.infos[..] else { panic!("{message:?}") };
    assert!(info.message_id.is_none() && info.message.is_none() && info.channel.is_none());
    assert_eq!(
        info.kind.as_ref().unwrap().get(),
        "\"text\"",
        "a shape that nobody has promised cannot be wrong"
    );
    let View::Status(update) = events[1].view() else { panic!("{:?}", events[1]) };
    assert!(update.infos.is_empty());
    let View::Subscribed(opted_out) = events[2].view() else { panic!("{:?}", events[2]) };
    assert_eq!(opted_out.assets, ["a", "b"]);
    let created_at = opted_out.created_at.as_ref().unwrap();
    assert_eq!((&*created_at.text, created_at.time()), ("yesterday", None));
}

#[test]
fn one_id_across_the_statuses_of_a_message_makes_several_keys() {
    let drafts = drafts(&made("t6-same-id-across-statuses.json"));
    let keys: std::collections::HashSet<_> = drafts.iter().map(|draft| draft.key).collect();
    assert_eq!(keys.len(), 4);
    let orders: std::collections::HashSet<_> =
        drafts.iter().map(|draft| draft.element.order_key("bik")).collect();
    assert_eq!(orders.len(), 1, "and one order");
}

#[test]
fn the_same_bytes_of_another_source_are_another_event() {
    for body in [
        made("t3-bare-object.json"),
        made("subscribed-opted-out.json"),
        made("subscribed-assigned-agent.json"),
    ] {
        let [here, there] = ["bik", "shop"].map(|source| {
            let [draft] = <[_; 1]>::try_from(decode(&Arc::from(source), &body).unwrap().drafts).unwrap();
            draft
        });
        assert_ne!(here.key, there.key);
        assert_eq!(here.content, there.content);
        let (here, there) = (here.element, there.element);
        assert_eq!(here.order_key("bik").is_some(), there.order_key("shop").is_some());
        assert!(here.order_key("bik").is_none() || here.order_key("bik") != there.order_key("shop"));
    }
}

#[test]
fn a_repetition_in_another_layout_has_the_same_key_and_content() {
    let body = made("t7-digits-and-escapes.json");
    let first = draft(&body);
    assert_eq!(
        first.element.rendered(),
        r#"{"eventName":"orderCancelled","eventInfo":{"total":12345678901234567890123,"rate":1.10,"huge":1e9999,"tiny":-0.0E-0,"text":"a \u00e9 \/ \" , ] }","total":2},"id":"id-1"}"#
    );
    let again = draft(first.element.rendered().as_bytes());
    assert_eq!((again.key, again.content), (first.key, first.content));
    assert_ne!(again.element.raw(), first.element.raw());
}

#[test]
fn empty_words_are_absent_and_empty_texts_are_not() {
    let event = element(&made("t9-empty-words.json"));
    let View::Status(update) = event.view() else { panic!("{event:?}") };
    let info = &update.infos[0];
    assert!(
        info.status.is_none() && info.owner.is_none() && info.owner_id.is_none() && info.channel.is_none()
    );
    assert_eq!(info.message.as_deref(), Some(""));
}

#[test]
fn a_null_character_is_a_character() {
    let events = elements(&made("t8-null-character.json"));
    assert_eq!(incoming_text(&events[0]).as_deref(), Some("a\0b"));
    assert_eq!(events[1].name(), "nul\0");
}

#[test]
fn newer_payloads_are_read_into_their_fields() {
    let events = elements(&made("newer-status.json"));
    let View::Status(first) = events[0].view() else { panic!("{:?}", events[0]) };
    assert_eq!(first.store_id.as_deref(), Some("p60HYv5wjgQaOrPdqT5NjbpkroD2"));
    assert_eq!(first.customer.customer_id.as_deref(), Some("4711"));
    let info = &first.infos[0];
    assert_eq!((&info.status, &info.owner), (&Some(Status::Played), &Some(Owner::TestCampaign)));
    assert_eq!(info.agent_name.as_deref(), Some("Asha"));
    assert_eq!(info.agent_email_id.as_deref(), Some("asha@example.com"));
    assert_eq!(info.ticket_id.as_deref(), Some("1042"));
    assert_eq!(info.callback_data.as_ref().unwrap().get(), r#""{\"order\":\"7\"}""#);
    let View::Status(second) = events[1].view() else { panic!("{:?}", events[1]) };
    assert_eq!(second.callback_data.as_ref().unwrap().get(), r#"{"order": 7}"#);
    assert_eq!(second.infos[0].status.as_ref().unwrap().as_str(), "queued");
    assert_eq!(second.infos[0].channel.as_ref().unwrap().as_str(), "pigeon");

    let event = element(&made("newer-incoming.json"));
    let View::Incoming(message) = event.view() else { panic!("{event:?}") };
    let info = &message.infos[0];
    for (raw, is) in [
        (&info.kind, r#""interactive""#),
        (&info.media_type, r#""image""#),
        (&info.header, r#"{"text":"h"}"#),
        (&info.footer, r#""f""#),
        (&info.buttons, r#"[{"id":"1","title":"Yes"}]"#),
        (&info.body, r#"{"text":"b"}"#),
        (&info.media, r#"{"id":"5","mime_type":"image/jpeg"}"#),
        (&info.options, "[]"),
        (&info.location, r#"{"latitude":19.07,"longitude":72.87}"#),
        (&info.order, r#"{"catalog_id":"9","product_items":[]}"#),
        (&info.catalog_id, r#""9""#),
        (&info.product_retailer_id, "10"),
        (&info.referral, r#"{"source_type":"ad"}"#),
        (&info.message_information, r#"{"context":null}"#),
    ] {
        assert_eq!(raw.as_ref().unwrap().get(), is);
    }
    assert_eq!((info.is_deleted, &info.message, &info.failure_reason), (Some(true), &None, &None));
    assert_eq!(info.ticket_id.as_deref(), Some("1042"));
    assert_eq!(info.asset_value.as_deref(), Some("customer@example.com"));
}

#[test]
fn subscribed_events_are_read_into_their_fields() {
    let event = element(&made("subscribed-opted-out.json"));
    let View::Subscribed(opted_out) = event.view() else { panic!("{event:?}") };
    assert_eq!(opted_out.store_id.as_deref(), Some("store-1"));
    assert_eq!(opted_out.customer_id.as_deref(), Some("cust-1"));
    assert_eq!(opted_out.primary_customer_id.as_deref(), Some("cust-0"));
    assert_eq!(opted_out.event_id.as_deref(), Some("optedOut-221036"));
    assert_eq!(opted_out.event_source.as_deref(), Some("Campaigns"));
    let (created_at, timestamp) =
        (opted_out.created_at.as_ref().unwrap(), opted_out.timestamp.as_ref().unwrap());
    assert_eq!(timestamp.time().unwrap().ms_since(created_at.time().unwrap()), 7);
    assert_eq!(opted_out.channel, Some(Channel::Whatsapp));
    assert_eq!(opted_out.message_id.as_deref(), Some("wamid.S1"));
    assert_eq!(opted_out.broadcast_id.as_deref(), Some("12345678901234567890"));
    assert_eq!(opted_out.assets, ["+919090909090", "a@example.com"]);
    assert_eq!(
        opted_out.properties.as_ref().unwrap().get(),
        r#"{"templateId":"t-9","userChannelId":"919090909090","channel":"whatsapp"}"#
    );
    assert!(event.view().channels().eq([&Channel::Whatsapp]));
    assert_eq!(event.view().store_id(), Some("store-1"));

    let event = element(&made("subscribed-assigned-agent.json"));
    let View::Subscribed(assigned) = event.view() else { panic!("{event:?}") };
    assert!(assigned.created_at.is_none() && assigned.timestamp.is_some());
    assert!(assigned.properties.as_ref().unwrap().get().contains(r#""timeToAssign":12.50"#));
}

#[test]
fn any_other_event_keeps_its_infos_as_they_are() {
    let events = elements(&made("other-events.json"));
    let View::Other(clicked) = events[0].view() else { panic!("{:?}", events[0]) };
    assert_eq!(clicked.store_id.as_deref(), Some("store-1"));
    assert_eq!(clicked.infos[0].message_id.as_deref(), Some("wamid.S1"));
    assert_eq!(clicked.infos[0].callback_data.as_ref().unwrap().get(), r#""x""#);
    assert!(clicked.infos[0].raw.get().contains("clickedAt"));
    let View::Other(added) = events[1].view() else { panic!("{:?}", events[1]) };
    assert_eq!(added.infos.len(), 2);
    assert_eq!(added.infos[1].raw.get(), r#"{"sku":"2"}"#);
    assert!(events[0].order_key("bik").is_some() && events[1].order_key("bik").is_none());
    assert!(events[2].order_key("bik").is_some(), "a messageId beside eventInfo orders too");
}

#[test]
fn no_depth_is_too_much_for_the_stack() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let decoded = decoded(deep.as_bytes()).unwrap();
    assert_eq!(decoded.quarantined[0].reason, Reason::Depth);
    assert!(super::decoded("{".repeat(1_000_000).as_bytes()).is_err());
    assert!(super::decoded(("{".repeat(1_000_000) + &"}".repeat(1_000_000)).as_bytes()).is_err());
}

#[test]
fn one_small_event_of_a_large_body_does_not_hold_the_body() {
    let body = [made("t3-bare-object.json"), vec![b' '; 1 << 20]].concat();
    assert_eq!(element(&body).raw().len(), made("t3-bare-object.json").len());
}
