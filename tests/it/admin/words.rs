//! The size of answers is bounded, whatever values a sender posts.

use super::{insight::column, *};

/// The maximum size of a page.
const PAGE_BYTES: usize = 2 << 20;

/// A status with a long text in each of its values.
fn hostile(n: usize, text: &str) -> String {
    json!({
        "eventName": format!("name-{n}-{text}"),
        "eventInfo": {
            "messageId": format!("m-{n}-{text}"), "channelId": format!("channel-{n}-{text}"),
            "status": format!("status-{n}-{text}"), "owner": format!("owner-{n}-{text}"),
            "ownerId": format!("id-{n}-{text}"), "assetValue": format!("address-{n}-{text}"),
            "failureReason": format!("reason-{n}-{text}"), "createdAt": text,
        },
        "customerDetails": {"firstName": text, "customerId": format!("customer-{n}-{text}")},
        "storeId": format!("store-{n}-{text}"),
        "id": format!("event-{n}-{text}"),
    })
    .to_string()
}

fn status(n: usize) -> String {
    json!({
        "eventName": "message-status-update",
        "eventInfo": {
            "messageId": format!("m{n}"), "channelId": "whatsapp", "status": "sent", "owner": format!("OWNER-{n}"),
            "ownerId": format!("{n}"), "assetValue": format!("9190909{n:05}"),
        },
        "storeId": format!("store-{n}"),
        "id": format!("e{n}"),
    })
    .to_string()
}

#[tokio::test]
async fn no_page_grows_with_the_words_of_a_sender() {
    let operator = Operator::new().await;
    // Markup grows when it is escaped.
    let text = "<\"&>".repeat(25_000);
    for n in 0..20 {
        operator
            .store([hostile(n, &text), hostile(n + 100, &text).replace("name-", "message-status-update")])
            .await;
    }
    let as_status = |n: usize| {
        let mut event: Value = serde_json::from_str(&hostile(n, &text)).unwrap();
        event["eventName"] = json!("message-status-update");
        event.to_string()
    };
    for n in 200..230 {
        operator.store([as_status(n)]).await;
    }
    operator.store((0..6_000).map(status)).await;
    operator.learnt().await;
    let tip = *operator.journal.tip().borrow();
    for path in [
        "/",
        "/?range=7d",
        "/events",
        "/events/1",
        "/tail",
        "/search",
        "/search?state=sent",
        "/conversations",
        "/handlers",
        "/dead",
        "/quarantine",
        "/replays",
        "/credentials",
        "/messages/1",
        "/api/v1/funnel?by=store",
        "/api/v1/funnel?by=owner,ownerId,store,channel",
        "/api/v1/funnel?by=hour,owner",
        "/api/v1/failures?by=ownerId",
        "/api/v1/arrivals",
        "/api/v1/sources",
        "/api/v1/dead",
        "/api/v1/messages?limit=1000",
        "/api/v1/contacts?limit=1000",
        "/api/v1/status",
    ] {
        let answer = get(&operator, path).await;
        assert!(!answer.status.is_server_error(), "{path}: {}", answer.status);
        assert!(answer.body.len() <= PAGE_BYTES, "{path} has {} bytes", answer.body.len());
    }
    let rows = get(&operator, "/api/v1/funnel?by=store").await.json();
    let messages: i64 = column(&rows["rows"], "messages").iter().map(|count| count.as_i64().unwrap()).sum();
    assert_eq!(messages, 6_030, "each message is counted once, in its group or in other");
    let page = get(&operator, &format!("/events/{}", tip - 6_000)).await;
    assert!(page.body.len() <= PAGE_BYTES, "an event of long values has {} bytes", page.body.len());
}
