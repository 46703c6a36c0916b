//! The pages as a browser requests them: headers, forms, masked data, and protection against injected markup.

mod browser;
mod contents;
mod conversations;
mod credentials;
mod dead;
mod handlers;
mod live;
mod quarantine;
mod replays;

use std::collections::HashSet;

use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, LOCATION, ORIGIN},
};
use serde_json::{Value, json};

use super::get as ask;
use crate::{
    handlers::until,
    support::{
        events::{incoming, incoming_now, status},
        operator::{Guard, Operator},
    },
};
use browser::{Browser, WithFields, fields_of, token, url_encoded};

/// Values that a customer could send to inject markup into a page.
const HOSTILE: [&str; 4] = [
    "<script>alert(1)</script>",
    "\" onmouseover=\"alert(1)",
    "javascript:alert(1)//",
    "'><img src=x onerror=alert(1)>",
];

/// Every page that there is of one message.
const PAGES: [&str; 18] = [
    "/",
    "/?range=24h",
    "/search",
    "/search?q=%2B910000000000",
    "/search?state=failed",
    "/messages/1",
    "/conversations",
    "/conversations?waiting=1",
    "/conversations?missed=1",
    "/events",
    "/handlers",
    "/handlers/crm",
    "/replays",
    "/dead",
    "/tail",
    "/tail?event=message-*",
    "/quarantine",
    "/credentials",
];

#[tokio::test]
async fn every_page_forbids_inline_scripts_and_requests_to_other_hosts() {
    let operator = Operator::new().await;
    operator.store([incoming("i1", "m1"), status("s1", "m2", "failed")]).await;
    operator.learnt().await;
    let mut browser = Browser::new(&operator);
    for path in PAGES.into_iter().chain(["/events/1", "/nothing", "/events/99", "/messages/none"]) {
        let request = browser.client.get(operator.url(path)).header(ACCEPT, "text/html");
        let response = browser.send(request).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header(CONTENT_SECURITY_POLICY.as_str());
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        // With the policy `no-referrer`, browsers would send `Origin: null` with the page's own forms.
        assert_eq!(header("referrer-policy"), "same-origin");
        let page = response.text().await.unwrap();
        assert!(
            !page.contains(" style=") && !page.contains("<style") && !page.contains("<script>"),
            "{path}"
        );
        assert!(!page.contains("http://") && !page.contains("https://"), "{path} names another host");
    }
}

#[tokio::test]
async fn files_are_kept_for_ever_under_the_digest_of_their_bytes_alone() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let pages = [browser.page("/").await, browser.page("/tail").await];
    // A name that does not exist has an empty URL.
    assert!(pages.iter().all(|page| !page.contains("src=\"\"") && !page.contains("href=\"\"")));
    let texts = pages.iter().flat_map(|page| page.split('"'));
    let files: HashSet<&str> = texts.filter(|text| text.starts_with("/assets/")).collect();
    assert!(files.iter().any(|file| file.ends_with("/live.js")), "{files:?}");
    for file in files {
        let response = Client::new().get(operator.url(file)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{file}");
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert!(!response.bytes().await.unwrap().is_empty());
    }
    for path in ["/assets/0000000000000000/page.css", "/assets/x/..%2f..%2fmod.rs"] {
        assert_eq!(Client::new().get(operator.url(path)).send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn hostile_values_are_text_in_every_page() {
    let operator = Operator::new().await;
    for (at, hostile) in HOSTILE.iter().enumerate() {
        let text = json!(hostile);
        let element = |name: &str, info: Value| {
            json!({"eventName": name, "id": format!("{name}{at}{hostile}"), "storeId": text, "eventInfo": info,
                "customerDetails": {"firstName": text, "lastName": text, "customerId": text}})
            .to_string()
        };
        let info = |status: &str, message: String| {
            json!({"messageId": message, "createdAt": text, "channelId": text, "status": status, "message": text,
                "owner": text, "ownerId": text, "assetValue": text, "failureReason": text})
        };
        let other = json!({"messageId": format!("o{hostile}"), "status": text, "channelId": text});
        operator
            .store([
                element("incoming-message", info("", format!("i{at}{hostile}"))),
                element("message-status-update", info("failed", format!("f{at}{hostile}"))),
                element("message-status-update", info(hostile, format!("s{at}{hostile}"))),
                element(&format!("named {hostile}"), other),
            ])
            .await;
    }
    operator.learnt().await;
    let mut browser = Browser::new(&operator);
    for lifted in [false, true] {
        if lifted {
            browser.reveal().await;
        }
        let events = (1..=16).map(|seq| format!("/events/{seq}"));
        let more = (1..=12).map(|id| format!("/messages/{id}"));
        let pages = PAGES.iter().map(|path| (*path).to_owned()).chain(events).chain(more);
        let asked = HOSTILE.iter().flat_map(|text| {
            let text: String = url_encoded(text);
            [
                "/search?q=",
                "/?range=7d&category=",
                "/?store=",
                "/events?event=",
                "/events?phone=",
                "/tail?event=",
                "/tail?message=",
                "/conversations?address=",
            ]
            .map(|path| format!("{path}{text}"))
        });
        for path in pages.chain(asked) {
            let page = browser.page(&path).await;
            for raw in ["<script>alert", "<img", "\" onmouseover=\"", "'><"] {
                assert!(!page.contains(raw), "{path} has {raw}:\n{page}");
            }
            assert!(!page.contains("href=\"javascript:"), "{path}");
        }
    }
    let page = browser.page("/events/1").await;
    assert!(page.contains("&#60;script&#62;alert(1)"), "shown, as text: {page}");
}

#[tokio::test]
async fn personal_data_is_masked_until_requested_and_requests_are_counted() {
    let operator = Operator::new().await;
    let phone = "919938438138";
    let personal =
        [phone, "99384", "Asharani", "Hello from the shop", "wamid.HBgMOTE5OTM4NDM4MTM4FQIAERgSQkVG"];
    let raw = status("s1", personal[4], "failed")
        .replace("+910000000000", "+91 99384 38138")
        .replace("\"firstName\":\"A\"", "\"firstName\":\"Asharani\"")
        .replace("\"message\":\"Hello\"", "\"message\":\"Hello from the shop\"")
        .replace("\"failureReason\":null", "\"failureReason\":\"undeliverable to +91 99384 38138\"");
    operator.store([raw.clone(), raw.replace("message-status-update", "incoming-message")]).await;
    operator.learnt().await;
    let mut browser = Browser::new(&operator);
    for path in PAGES.iter().filter(|path| !path.contains("q=")).chain(&["/events/1", "/events/2"]) {
        let page = browser.page(path).await;
        for text in personal {
            assert!(!page.contains(text), "{path} tells {text}:\n{page}");
        }
    }
    let bytes = browser.send(browser.client.get(operator.url("/events/1/bytes"))).await;
    assert_eq!(bytes.status(), StatusCode::FORBIDDEN);

    browser.reveal().await;
    let conversation = browser.conversation().await;
    assert!(browser.page(&conversation).await.contains("Hello from the shop"));
    assert!(browser.page("/conversations").await.contains("Asharani"));
    let message = browser.page("/messages/1").await;
    assert!(message.contains(personal[4]) && message.contains("Hello from the shop"), "{message}");
    assert!(browser.page("/events/1").await.contains("+91 99384 38138"));
    let bytes = browser.send(browser.client.get(operator.url("/events/1/bytes"))).await;
    assert!(bytes.headers()[CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
    assert_eq!(bytes.text().await.unwrap(), raw);
    assert!(ask(&operator, "/metrics").await.body.contains("bikhook_page_reveals_total 1"));

    // Another browser sees no personal data, whatever cookies it sends.
    let mut thief = Browser::new(&operator);
    thief.page("/").await;
    let shown = browser.cookies.iter().find(|(name, _)| name == "bikhook-shown").unwrap().clone();
    thief.cookies.push(shown);
    assert!(!thief.page("/conversations").await.contains("Asharani"));

    let token = token(&browser.page("/").await);
    let hide = browser.form("/reveal", &[("token", &token), ("back", "//evil.example"), ("wish", "hide")]);
    let response = browser.send(hide).await;
    assert_eq!(response.headers()[LOCATION], "/");
    assert!(!browser.page("/conversations").await.contains("Asharani"));
}

#[tokio::test]
async fn a_form_is_taken_from_this_page_alone() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let token = token(&browser.page("/").await);
    let own = format!("http://{}", operator.address);
    let post = |browser: &Browser<'_>, token: &str| {
        browser.client.post(operator.url("/reveal")).fields(&[("token", token), ("wish", "show")])
    };
    let unsaid = browser.send(post(&browser, &token)).await;
    assert_eq!(unsaid.status(), 403, "no browser leaves out both Origin and Sec-Fetch-Site");
    for (origin, site) in [
        ("http://evil.example", None),
        ("null", None),
        (own.as_str(), Some("cross-site")),
        (own.as_str(), Some("same-site")),
    ] {
        let mut request = post(&browser, &token).header(ORIGIN, origin);
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        assert_eq!(browser.send(request).await.status(), 403, "{origin} {site:?}");
    }
    for wrong in ["", "AAAA", &token[1..]] {
        let response = browser.send(post(&browser, wrong).header(ORIGIN, &own)).await;
        assert_eq!(response.status(), 403, "{wrong}");
        assert!(response.text().await.unwrap().contains("this form has expired"));
    }
    // The token of another browser.
    let mut other = Browser::new(&operator);
    other.page("/").await;
    assert_eq!(other.send(post(&other, &token).header(ORIGIN, &own)).await.status(), 403);
    let right = post(&browser, &token).header(ORIGIN, &own).header("sec-fetch-site", "same-origin");
    assert_eq!(browser.send(right).await.status(), 303);
    // The API accepts no forms.
    let api = browser.form("/api/v1/dead/drop", &[("token", &token)]);
    assert_eq!(browser.send(api).await.status(), 415);
}

#[tokio::test]
async fn the_overview_tells_what_needs_a_person() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let empty = browser.page("/").await;
    assert!(empty.contains("No events yet") && empty.contains("bikhook auth"), "{empty}");
    operator.store([incoming("i1", "m1"), status("s1", "m2", "delivered")]).await;
    operator.quarantine("{").await;
    operator.bury(1).await;
    operator.learnt().await;
    operator.journal.pause("crm".into(), "for a test".to_owned()).await.unwrap();
    until(async || {
        let page = Browser::new(&operator).page("/").await;
        page.contains("delivers nothing until it is resumed")
    })
    .await;
    let page = browser.page("/").await;
    for text in ["1 dead letter of crm", "1 entry in quarantine", "1 customer waits", "Broadcast"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("No events yet"));
    let other = browser.page("/?category=crm").await;
    assert!(other.contains("No messages to customers in this period"), "{other}");
    let wrong = browser.send(browser.client.get(operator.url("/?range=1y"))).await;
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().await.unwrap().contains("must be 24h, 7d, 30d or own"));
}

#[tokio::test]
async fn one_search_field_finds_a_message_by_any_of_its_values() {
    let operator = Operator::new().await;
    let failed = status("s1", "m1", "failed")
        .replace("\"failureReason\":null", "\"failureReason\":\"Message undeliverable\"")
        .replace("\"lastName\":\"B\"", "\"lastName\":\"B\",\"customerId\":4711");
    operator.store([failed]).await;
    operator.store((2..=60).map(|at| status(&format!("s{at}"), &format!("m{at}"), "sent"))).await;
    operator.learnt().await;
    let mut browser = Browser::new(&operator);
    for (text, meaning) in [
        ("m1", "message id"),
        ("%2B91%200000%20000%20000", "phone or other address"),
        ("4711", "customer id"),
        ("UNDELIV", "failure text"),
    ] {
        let page = browser.page(&format!("/search?q={text}")).await;
        assert!(page.contains(&format!("Found as {meaning}")), "{text}: {page}");
        assert!(page.contains("/messages/"), "{page}");
    }
    assert!(browser.page("/search?q=nowhere").await.contains("No messages found"));
    // Page by page, without duplicates.
    let first = browser.page("/search?q=%2B910000000000").await;
    let next =
        first.split('"').find(|text| text.contains("before=")).expect("a next page").replace("&#38;", "&");
    assert!(next.contains("as=phone"), "{next}");
    let second = browser.page(&next).await;
    assert_eq!(
        (first.matches("href=\"/messages/").count(), second.matches("href=\"/messages/").count()),
        (50, 10)
    );
    let events =
        browser.send(browser.client.get(operator.url("/search?event=link*&q=m1&state=failed"))).await;
    assert_eq!(events.headers()[LOCATION], "/events?event=link%2A&status=failed&message=m1");
}

#[tokio::test]
async fn the_page_reports_that_more_customers_wait_than_shown() {
    let operator = Operator::new().await;
    let wrote = |at: usize| {
        incoming_now(&format!("i{at}"), &format!("m{at}"))
            .replace("910000000000", &format!("{}", 910_000_000_000 + at))
    };
    operator.store((0..200).map(wrote)).await;
    operator.learnt().await;
    let mut browser = Browser::new(&operator);
    let all = browser.page("/conversations?waiting=1").await;
    assert_eq!(
        (all.matches("href=\"/conversations/").count(), all.contains("longest waits are shown")),
        (200, false)
    );
    operator.store([wrote(200)]).await;
    operator.learnt().await;
    let most = browser.page("/conversations?waiting=1").await;
    assert_eq!(most.matches("href=\"/conversations/").count(), 200);
    assert!(most.contains("Only the 200 longest waits are shown"), "{most}");
}

#[tokio::test]
async fn the_id_of_a_subscribed_event_is_hidden_but_for_two_characters() {
    let operator = Operator::new().await;
    operator
        .store([r#"{"eventName":"optedOut","eventId":"optedOut-221036","eventProperties":{},"channel":"whatsapp","assets":["+910000000000"]}"#])
        .await;
    let page = Browser::new(&operator).page("/events/1").await;
    assert!(page.contains("••••36") && !page.contains("1036"), "{page}");
}

#[tokio::test]
async fn a_message_shows_its_statuses_and_a_conversation_its_texts() {
    let operator = Operator::new().await;
    for raw in [
        incoming_now("i1", "m0"),
        status("s1", "m1", "read"),
        status("s2", "m1", "sent"),
        status("s3", "m1", "read"),
    ] {
        operator.store([raw]).await;
    }
    operator.store([r#"{"eventName":"linkClicked","eventInfo":{"messageId":"m9"},"id":"l1"}"#]).await;
    operator.learnt().await;
    let mut browser = Browser::new(&operator);
    browser.reveal().await;
    let conversation = browser.conversation().await;
    let page = browser.page("/messages/m1").await;
    for text in [
        "Hello",
        "out of order",
        "repeated",
        "late:",
        "href=\"/events/2\"",
        &format!("href=\"{conversation}\""),
        "CAMPAIGN",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let page = browser.page(&conversation).await;
    for text in ["Hii sir", "Hello", "✓✓", "open until", "class=\"theirs\"", "class=\"ours\""] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let event = browser.page("/events/2").await;
    assert!(event.contains("href=\"/messages/") && event.contains("crm"), "{event}");
    let never = browser.send(browser.client.get(operator.url("/events/99"))).await;
    assert!(never.text().await.unwrap().contains("event 99: it was never stored"));
}

#[tokio::test]
async fn without_insight_events_are_shown_and_other_pages_explain_why_not() {
    let operator = Operator::guarded(Guard { without_insight: true, ..Guard::default() }).await;
    operator.store([incoming("i1", "m1")]).await;
    let mut browser = Browser::new(&operator);
    assert!(browser.page("/").await.contains("insight, which is disabled"));
    assert!(browser.page("/events").await.contains("/events/1"));
    assert!(browser.page("/events/1").await.contains("incoming-message"));
    for path in ["/search", "/messages/m1", "/conversations", "/conversations/1"] {
        let response = browser.send(browser.client.get(operator.url(path))).await;
        assert_eq!(response.status(), 404, "{path}");
        assert!(response.text().await.unwrap().contains("[insight]"), "{path}");
    }
}

#[tokio::test]
async fn the_page_and_its_files_need_the_credentials() {
    let operator =
        Operator::guarded(Guard { credentials: Some(("ops", "secret")), ..Guard::default() }).await;
    for path in PAGES.into_iter().chain(["/assets/0000000000000000/page.css"]) {
        ask(&operator, path).await.is_problem(401, "credentials");
    }
    let page = Client::new().get(operator.url("/")).basic_auth("ops", Some("secret")).send().await.unwrap();
    assert_eq!(page.status(), 200);
}
