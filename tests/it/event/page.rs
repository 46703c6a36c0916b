//! The five samples of BIK's page, byte for byte: four of them are not strict JSON.

use bikhook::{
    clock::Timestamp,
    event::{
        Category, Channel, Class, ContentDigest, Draft, Element, Info, Key, Message, OrderKey, Owner, Status,
        View,
    },
};

use super::{decoded, draft, element, fixture, hex};

fn sample(name: &str) -> std::sync::Arc<Element> {
    element(&fixture(&format!("page/{name}.json")))
}

fn incoming(element: &Element) -> Message<'_> {
    match element.view() {
        View::Incoming(message) => message,
        other => panic!("{other:?}"),
    }
}

fn update(element: &Element) -> Message<'_> {
    match element.view() {
        View::Status(update) => update,
        other => panic!("{other:?}"),
    }
}

fn info(element: &Element) -> Info<'_> {
    let [info] = <[_; 1]>::try_from(update(element).infos).expect("one info");
    info
}

#[test]
fn the_incoming_message_is_read_into_its_fields() {
    let element = sample("incoming-message");
    assert_eq!(element.name(), "incoming-message");
    assert_eq!(element.class(), Class::Incoming);
    assert_eq!(element.id(), Some("32176522-e117-4ca2-8013-6db7479fa012"));

    let message = incoming(&element);
    assert_eq!(message.store_id, None);
    assert_eq!(message.customer.first_name.as_deref(), Some("Jethalal Champaklal"));
    assert_eq!(message.customer.last_name.as_deref(), Some("Gada"));
    assert_eq!(message.customer.customer_id, None);
    let [info] = &message.infos[..] else { panic!("one info was expected") };
    assert_eq!(
        info.message_id.as_deref(),
        Some("wamid.HBgMOTE5OTM4NDM4MTM4FQIAEhggNzY1RDA4RDU4NkI3QTkxRDZGQTI0MEVDNTFFRjMxNz")
    );
    let created_at = info.created_at.as_ref().unwrap();
    assert_eq!(created_at.text, "2024-07-26T07:27:07.949Z");
    assert_eq!(created_at.time(), Some(Timestamp::from_ms(1_721_978_827_949)));
    assert_eq!(info.channel, Some(Channel::Whatsapp));
    assert_eq!(info.message.as_deref(), Some("Hii sir"));
    assert_eq!(info.is_deleted, Some(false));
    assert_eq!(info.asset_value.as_deref(), Some("+919090909090"));
    assert_eq!((&info.status, &info.owner, &info.owner_id), (&None, &None, &None));
    assert!(info.kind.is_none() && info.media.is_none() && info.order.is_none() && info.referral.is_none());
}

#[test]
fn the_statuses_are_read_into_their_fields() {
    for (name, status, owner, category, owner_id, text, address) in [
        (
            "status-read",
            Status::Read,
            Owner::DevApi,
            Category::DevApi,
            None,
            "Test message 24",
            "+919090909090",
        ),
        ("status-sent", Status::Sent, Owner::Agent, Category::Crm, Some("57"), "Test 55", "+917070707070"),
        (
            "status-delivered",
            Status::Delivered,
            Owner::Bot,
            Category::Automation,
            Some("37"),
            "Ok, working",
            "+918080808080",
        ),
        ("status-failed", Status::Failed, Owner::Agent, Category::Crm, None, "Ok, failed", "+914040404040"),
    ] {
        let element = sample(name);
        assert_eq!(element.name(), "message-status-update", "{name}");
        assert_eq!(element.class(), Class::Other, "{name}");
        let info = info(&element);
        assert_eq!(info.status, Some(status), "{name}");
        assert_eq!(info.owner, Some(owner.clone()), "{name}");
        assert_eq!(owner.category(), Some(category), "{name}");
        assert_eq!(info.owner_id.as_deref(), owner_id, "{name}");
        assert_eq!(info.message.as_deref(), Some(text), "{name}");
        assert_eq!(info.asset_value.as_deref(), Some(address), "{name}");
        assert_eq!(info.channel, Some(Channel::Whatsapp), "{name}");
        assert!(info.created_at.as_ref().unwrap().time().is_some(), "{name}");
        assert!(info.message_id.as_ref().unwrap().starts_with("wamid."), "{name}");
        assert!(info.callback_data.is_none() && info.ticket_id.is_none(), "{name}");
        assert_eq!(update(&element).customer.last_name.as_deref(), Some("Gada"), "{name}");
    }
    let failed = sample("status-failed");
    assert!(info(&failed).failure_reason.as_ref().unwrap().contains("more than 24 hours have passed"));
    assert_eq!(info(&sample("status-sent")).failure_reason, None);
    // Not a UUID, but accepted unchanged.
    assert_eq!(sample("status-delivered").id(), Some("64e0dc5d-cec6-40cf-8d71-5aea887e3cbd64"));
}

#[test]
fn four_of_the_five_need_the_second_try_and_none_a_warning() {
    let repaired = |name: &str| {
        let decoded = decoded(&fixture(&format!("page/{name}.json"))).unwrap();
        assert_eq!(decoded.warnings, 0, "{name}");
        decoded.repaired
    };
    assert_eq!(repaired("incoming-message"), 0);
    for name in ["status-read", "status-sent", "status-delivered", "status-failed"] {
        assert_eq!(repaired(name), 1, "{name}");
    }
}

#[test]
fn the_bytes_stay_and_the_rendering_is_one_line() {
    let body = fixture("page/status-sent.json");
    let element = element(&body);
    assert_eq!(element.raw().as_bytes(), &body[2..body.len() - 2]);
    assert_eq!(
        element.rendered(),
        "{\"eventName\":\"message-status-update\",\"eventInfo\":{\"messageId\":\
         \"wamid.HBgMOTE4OTg2NDk4MDM4FQIAERgSRDQ0MEEyJDRjFGNEM3QTQ0AA==\",\
         \"createdAt\":\"2024-08-01T07:24:23.425Z\",\"channelId\":\"whatsapp\",\"status\":\"sent\",\
         \"message\":\"Test 55\",\"owner\":\"AGENT\",\"ownerId\":\"57\",\"assetValue\":\"+917070707070\",\
         \"failureReason\":null},\"customerDetails\":{\"firstName\":\"Jethalal Champaklal\",\
         \"lastName\":\"Gada\"},\"id\":\"64e0dc5d-cec6-40cf-8d71-5a70c33cbd64\"}"
    );
}

/// These values are in journals: a change that breaks this test makes every event of the window new again.
#[test]
fn keys_are_what_they_have_always_been() {
    for (name, key, content, order) in [
        (
            "page/incoming-message.json",
            "14ecd97597b7a53cfd13567e3f629ece",
            "301026961bd71dea4560e16d00191951",
            0x3ad1_5089_6e57_8d8b,
        ),
        (
            "page/status-read.json",
            "58a724a3ec610c80918edcadacacfef3",
            "92380173620b430489018328861512f0",
            0x60ec_2baa_bac4_c0ba,
        ),
        (
            "page/status-sent.json",
            "469a3a28c2ee7120b57a98d8e9ea0cc6",
            "bd0ae18bd6755bd2a7b6a5e27626198a",
            0x3fe8_10ba_fc76_3bad,
        ),
        (
            "page/status-delivered.json",
            "4bde42e0b2a21e15ec0ace1658469196",
            "455ef48a00efbad32ff366ea7f134529",
            0x3fe8_10ba_fc76_3bad,
        ),
        (
            "page/status-failed.json",
            "2f14fa052806bfc500e3ccd3ad98f957",
            "a6aba73b926b5bcfb2a76ef83abf81fe",
            0x6c9c_921d_1582_d99a,
        ),
    ] {
        let Draft { element, key: Key(its_key), content: ContentDigest(its_content), .. } =
            draft(&fixture(name));
        assert_eq!(hex(its_key), key, "{name}");
        assert_eq!(hex(its_content), content, "{name}");
        assert_eq!(element.order_key("bik"), Some(OrderKey(order)), "{name}");
    }
    for (name, key, order) in [
        (
            "made/subscribed-opted-out.json",
            "a3cd87fa7c784962ffad5e1605da11b8",
            Some(OrderKey(0xca3f_2147_35de_e37a)),
        ),
        ("made/subscribed-assigned-agent.json", "60c52294a61ff92ecb9c02b814ec4abf", None),
    ] {
        let draft = draft(&fixture(name));
        assert_eq!(hex(draft.key.0), key, "{name}");
        assert_eq!(draft.element.order_key("bik"), order, "{name}");
    }
    // Two infos, and between them one that is null.
    let several = decoded(&fixture("made/t3-event-info-array.json")).unwrap();
    assert_eq!(hex(several.drafts[0].key.0), "d724315676c5b8a80db039d67ad954e4");
}

#[test]
fn nothing_personal_is_in_any_debug_text() {
    for name in [
        "page/incoming-message",
        "page/status-sent",
        "made/newer-status",
        "made/newer-incoming",
        "made/subscribed-opted-out",
        "made/other-events",
    ] {
        let text = format!("{:#?}", decoded(&fixture(&format!("{name}.json"))).unwrap());
        for personal in [
            "Jethalal",
            "Gada",
            "90909090",
            "70707070",
            "wamid",
            "Hii",
            "Test 55",
            "Asha",
            "example.com",
            "cust-",
            "order",
        ] {
            assert!(!text.contains(personal), "{name} shows {personal}: {text}");
        }
        assert!(text.contains("Element"), "{text}");
    }
    let decoded = decoded(&fixture("made/t4-invalid-utf8.json")).unwrap();
    assert!(!format!("{decoded:?}").contains("Jethalal"));
    let not_json = super::decoded(&fixture("made/not-json-cut-short.json")).unwrap_err();
    assert!(!format!("{not_json:?} {not_json}").contains("Jethalal"));
}
