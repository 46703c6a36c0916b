//! The credentials of the public side in a browser, and the handlers that have passed an event.

use super::*;
use crate::support::{
    client::KEY,
    home::{Home, eventually},
};

#[tokio::test]
async fn every_credential_is_shown_with_its_last_use_and_without_a_secret() {
    let operator = Operator::new().await;
    let page = Browser::new(&operator).page("/credentials").await;
    for text in [
        "Source bik",
        "portal",
        "Basic base64(key)",
        "2026-01-01 00:00:00",
        "No request was refused",
        "bikhook auth",
        "Source anybody",
        "auth = \"none\"",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn an_event_says_that_it_was_delivered_and_how_long_after_it_came() {
    let operator = Operator::new().await;
    operator.store([status("s1", "m1", "sent")]).await;
    let mut browser = Browser::new(&operator);
    assert!(browser.page("/events/1").await.contains("not yet"), "its destination is unwell");
    operator.destination.well.store(true, std::sync::atomic::Ordering::SeqCst);
    until(async || {
        let page = Browser::new(&operator).page("/events/1").await;
        let (_, table) = page.split_once("After receipt").unwrap();
        let (table, _) = table.split_once("</table>").unwrap();
        table.contains("delivered") && table.contains("<time")
    })
    .await;
    operator.bury(1).await;
    assert!(browser.page("/events/1").await.contains("dead letter"));
}

#[test]
fn refusals_are_counted_and_decisions_are_logged_with_the_user() {
    let home = Home::new();
    let process = home.start();
    let mut sender = process.connect();
    assert_eq!(sender.post("{").unwrap().status, 400);
    sender.send("POST /webhook HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(sender.answer().unwrap().status, 401);
    let mut sender = process.connect();
    sender
        .send("POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: no\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert_eq!(sender.answer().unwrap().status, 401);
    let mut operator = process.operator();
    let page = operator.get("/credentials").unwrap().body;
    for text in [
        "<strong>1</strong> without an Authorization header",
        "<strong>1</strong> with an unknown credential",
        "Basic key",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains(KEY), "{page}");
    let id = r#"{"ids":[1]}"#;
    assert_eq!(operator.ask("/api/v1/quarantine/retry", id).unwrap().status, 200);
    assert_eq!(operator.ask("/api/v1/quarantine/drop", id).unwrap().status, 200);
    for text in ["quarantine entry retried by an operator", "quarantine entries dropped by an operator"] {
        eventually("it is not in the log", || {
            home.log().lines().any(|line| {
                line.contains(text) && line.contains("INFO") && line.contains("without credentials")
            })
        });
    }
}
