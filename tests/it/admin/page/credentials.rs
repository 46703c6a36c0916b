//! The credentials of the public side in a browser, and which handler has passed an event.

use super::*;

#[tokio::test]
async fn every_credential_is_shown_with_its_last_use_and_without_a_secret() {
    let operator = Operator::new().await;
    let page = Browser::new(&operator).page("/credentials").await;
    for text in [
        "Source bik",
        "portal",
        "Basic base64(key)",
        "2026-01-01 00:00:00",
        "Nobody was refused",
        "bikhook auth",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn an_event_tells_which_handler_passed_it_and_how_long_after_it_came() {
    let operator = Operator::new().await;
    operator.store([status("s1", "m1", "sent")]).await;
    let mut browser = Browser::new(&operator);
    assert!(browser.page("/events/1").await.contains("not yet"), "its destination is unwell");
    operator.destination.well.store(true, std::sync::atomic::Ordering::SeqCst);
    until(async || {
        let page = Browser::new(&operator).page("/events/1").await;
        let (_, table) = page.split_once("After receipt").unwrap();
        let (table, _) = table.split_once("</table>").unwrap();
        table.contains("passed") && table.contains("<time")
    })
    .await;
    operator.bury(1).await;
    assert!(browser.page("/events/1").await.contains("dead letter"));
}
