//! Who waits and who is missed, on the pages; customers as people search for them; links to merged customers.

use super::{contents::with, *};

/// A message from a customer of store `s`, created at a time.
fn wrote(id: &str, address: &Value, customer: &Value, at: &str) -> String {
    json!({
        "eventName": "incoming-message", "storeId": "s", "id": id,
        "eventInfo": {"messageId": id, "createdAt": at, "channelId": "whatsapp", "message": "hi", "assetValue": address},
        "customerDetails": {"firstName": "Asha", "lastName": "Rao", "customerId": customer},
    })
    .to_string()
}

const LONG_AGO: &str = "2026-11-30T10:00:00.000Z";

#[tokio::test]
async fn a_customer_is_missed_after_a_day_and_listed_apart() {
    let phone = json!("+919800000101");
    let now = bikhook::clock::now();
    let recent = now.plus_ms(-3_600_000).to_string();
    let old = now.plus_ms(-30 * 3_600_000).to_string();
    let operator = with([
        wrote("a", &phone, &Value::Null, &old),
        // Another message does not restart the wait.
        wrote("b", &phone, &Value::Null, &recent),
        wrote("c", &json!("+919800000202"), &Value::Null, &recent),
    ])
    .await;
    let mut browser = Browser::new(&operator);
    browser.reveal().await;
    let waiting = browser.page("/conversations?waiting=1").await;
    assert!(waiting.contains("919800000202") && !waiting.contains("919800000101"), "{waiting}");
    let missed = browser.page("/conversations?missed=1").await;
    assert!(missed.contains("919800000101") && !missed.contains("919800000202"), "{missed}");
    assert!(missed.contains("1 d 6 h"), "from the first message: {missed}");
    let overview = browser.page("/").await;
    for text in ["1 customer waits for an answer<", "1 customer waits for an answer for more than 24 hours"] {
        assert!(overview.contains(text), "{text}: {overview}");
    }
    let api = ask(&operator, "/api/v1/contacts/waiting?missed=1").await.json();
    assert_eq!((&api["waiting"], &api["missed"]), (&json!(1), &json!(1)));
    assert_eq!(api["contacts"][0]["waitsSince"], json!(old));
}

#[tokio::test]
async fn a_phone_is_found_by_its_last_digits_and_a_customer_by_name() {
    let operator = with([wrote("a", &json!("+919800000101"), &Value::Null, LONG_AGO)]).await;
    let mut browser = Browser::new(&operator);
    browser.reveal().await;
    for text in ["919800000101", "9800000101", "%2B91+98000+00101", "000101", "asha", "A+RAO"] {
        let page = browser.page(&format!("/conversations?q={text}")).await;
        assert!(page.contains("href=\"/conversations/"), "{text}: {page}");
    }
    assert!(
        browser.page("/conversations?q=9800000102").await.contains("No customer has this address or name.")
    );
    assert!(browser.page("/search?q=9800000101").await.contains("Found as phone or other address"));
}

#[tokio::test]
async fn a_link_to_a_merged_customer_redirects_and_no_id_is_a_number() {
    let (phone, id) = (json!("+919800000101"), json!(777));
    let operator =
        with([wrote("a", &phone, &Value::Null, LONG_AGO), wrote("b", &Value::Null, &id, LONG_AGO)]).await;
    let mut browser = Browser::new(&operator);
    let younger = browser.conversation().await;
    operator.store([wrote("c", &phone, &id, LONG_AGO)]).await;
    operator.learnt().await;
    let root = browser.conversation().await;
    assert_ne!(root, younger);
    let response = browser.send(browser.client.get(operator.url(&younger))).await;
    assert!(response.status().is_redirection());
    assert_eq!(response.headers()[LOCATION], *root);
    assert!(browser.page(&root).await.contains("since"));
    let api = ask(&operator, &younger.replace("/conversations", "/api/v1/contacts")).await.json();
    assert_eq!(format!("/conversations/{}", api["contact"]["id"].as_str().unwrap()), root);
    assert_eq!(api["entries"].as_array().unwrap().len(), 3);
    let old = browser.send(browser.client.get(operator.url("/conversations/1"))).await;
    assert_eq!(old.status(), 404);
}
