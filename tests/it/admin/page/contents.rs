//! Contents of messages: choices, edited and deleted messages, other contents, and failures of every form.

use serde_json::value::RawValue;

use super::*;

/// The elements of a fixture in `fixtures/cases`.
fn case(name: &str) -> Vec<String> {
    let body = std::fs::read_to_string(format!("fixtures/cases/{name}.json")).unwrap();
    let elements: Vec<Box<RawValue>> = serde_json::from_str(&body).unwrap();
    elements.iter().map(|element| element.get().to_owned()).collect()
}

/// A receiver that has stored these elements one after the other.
pub(super) async fn with(elements: impl IntoIterator<Item = String>) -> Operator {
    let operator = Operator::new().await;
    for element in elements {
        operator.store([element]).await;
    }
    operator.learnt().await;
    operator
}

/// The content of a message, as the API returns it.
async fn content(operator: &Operator, message: &str) -> Value {
    let answer = ask(operator, &format!("/api/v1/messages/{message}")).await.json();
    let message = &answer["messages"][0];
    json!([message["content"], message["text"], message["edited"]])
}

/// The path of the only conversation.
async fn conversation(operator: &Operator) -> String {
    let contacts = ask(operator, "/api/v1/contacts").await.json();
    let [contact] = &contacts["contacts"].as_array().unwrap()[..] else { panic!("{contacts}") };
    format!("/conversations/{}", contact["id"].to_string().trim_matches('"'))
}

#[tokio::test]
async fn an_edited_message_shows_its_newest_text_and_a_deleted_one_none() {
    for reversed in [false, true] {
        let mut elements = [case("f07-edited-message"), case("f08-deleted-message")].concat();
        if reversed {
            elements.reverse();
        }
        let operator = with(elements).await;
        assert_eq!(content(&operator, "wamid.e1").await, json!([null, "please send to Mumbai", true]));
        assert_eq!(content(&operator, "wamid.d1").await, json!(["deleted message", null, false]));
        let path = conversation(&operator).await;
        let entries = ask(&operator, &path.replace("/conversations", "/api/v1/contacts")).await.json();
        let mut entries: Vec<_> = entries["entries"].as_array().unwrap().iter().collect();
        entries.sort_by_key(|entry| entry["messageId"].to_string());
        let texts: Vec<_> = entries.iter().map(|entry| (&entry["text"], &entry["edited"])).collect();
        assert_eq!(texts, [(&Value::Null, &json!(false)), (&json!("please send to Mumbai"), &json!(true))]);

        let mut browser = Browser::new(&operator);
        browser.reveal().await;
        for path in [&*path, "/messages/wamid.e1"] {
            let page = browser.page(path).await;
            assert!(page.contains(r#"please send to Mumbai <span class="tag">edited</span>"#), "{page}");
            assert!(!page.contains("Pune"), "{page}");
        }
        for path in [&*path, "/messages/wamid.d1"] {
            let page = browser.page(path).await;
            assert!(page.contains(r#"<s class="muted">deleted message</s>"#), "{page}");
            assert!(!page.contains("4111"), "{page}");
        }
        assert!(browser.page("/search").await.contains("<s>wamid.d1</s>"));
    }
}

#[tokio::test]
async fn what_a_customer_chose_or_sent_is_shown_and_masked() {
    let names =
        ["01-button-reply", "06-order", "07-location", "09-voice", "13-reaction", "14-reaction-removed"];
    let operator = with(names.iter().flat_map(|name| case(&format!("payload-{name}")))).await;
    for (message, shown) in [
        ("wamid.p1", json!([null, "Yes, confirm", false])),
        ("wamid.p6", json!(["order of 2 items", "Love these!", false])),
        ("wamid.p7", json!(["location", "Café Example ☕", false])),
        ("wamid.p9", json!(["voice message", null, false])),
        ("wamid.p13", json!(["reaction", "👩\u{200d}👩\u{200d}👧\u{200d}👦", false])),
        ("wamid.p14", json!(["reaction removed", null, false])),
    ] {
        assert_eq!(content(&operator, message).await, shown, "{message}");
    }
    let path = conversation(&operator).await;
    let mut browser = Browser::new(&operator);
    let page = browser.page(&path).await;
    let masked = r#"<span class="muted">location:</span> •••• (14 characters)"#;
    assert!(page.contains(masked) && !page.contains("confirm"), "{page}");
    browser.reveal().await;
    let page = browser.page(&path).await;
    for text in
        ["Yes, confirm", r#"<span class="muted">order of 2 items:</span> Love these!"#, "voice message"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn undelivered_and_bounced_are_failures_with_their_own_words() {
    let code = json!({
        "eventName": "message-status-update",
        "eventInfo": {"messageId": "c1", "status": "failed", "channelId": "whatsapp", "owner": "CAMPAIGN",
            "failureReason": {"code": 131047, "title": "Re-engagement message"}},
        "id": "c1",
    });
    let mut number: Value = serde_json::from_str(&code.to_string().replace("c1", "n1")).unwrap();
    number["eventInfo"]["failureReason"] = json!(131_026);
    let elements =
        case("f13-sms-and-email-failures").into_iter().chain([code.to_string(), number.to_string()]);
    let operator = with(elements).await;
    for (message, status, failure, reason) in [
        ("sms.1", "undelivered", "unknown", "Carrier rejected"),
        ("mail.1", "bounced", "unknown", "550 no such user"),
        ("c1", "failed", "window_closed", "131047: Re-engagement message"),
        ("n1", "failed", "undeliverable", "131026"),
    ] {
        let answer = ask(&operator, &format!("/api/v1/messages/{message}")).await.json();
        let message = &answer["messages"][0];
        let told =
            [&message["state"], &message["sightings"][0]["status"], &message["failure"], &message["reason"]];
        assert_eq!(told, ["failed", status, failure, reason], "{answer}");
    }
    let events = ask(&operator, "/api/v1/events?status=failed").await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 4, "{events}");
    let events = ask(&operator, "/api/v1/events?status=bounced").await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");
    let page = Browser::new(&operator).page("/events?status=failed").await;
    for word in [r#"<span class="tag bad">undelivered</span>"#, r#"<span class="tag bad">bounced</span>"#] {
        assert!(page.contains(word), "{page}");
    }
}
