//! The quarantine in a browser: the list, the entries, and the forms that retry and drop them.

use bikhook::{
    event::{Quarantined, Reason},
    journal::AppendBatch,
};
use reqwest::header::CONTENT_TYPE;

use super::*;

async fn keep(operator: &Operator, bytes: &[u8], reason: Reason, detail: &str) {
    let one = Quarantined { source: "bik".into(), bytes: bytes.to_vec(), reason, detail: detail.to_owned() };
    operator.journal.append(AppendBatch { quarantined: vec![one], ..AppendBatch::default() }).await.unwrap();
}

/// Sends a form of a page with its token. Returns the path of the next page.
async fn act(browser: &mut Browser<'_>, path: &str) -> String {
    let token = token(&browser.page("/quarantine").await);
    let response = browser.send(browser.form(path, &[("token", &token)])).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn entries_are_listed_newest_first_page_by_page() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    assert!(browser.page("/quarantine").await.contains("The quarantine is empty"));
    for at in 0..60 {
        operator.quarantine(&format!("{{ {at}")).await;
    }
    operator.quarantine("{ 59").await;
    let first = browser.page("/quarantine").await;
    let ids = |page: &str| -> Vec<u64> {
        let links = page.split("<a href=\"/quarantine/").skip(1);
        links.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(ids(&first), (11..=60).rev().collect::<Vec<_>>());
    assert!(first.contains("syntax") && first.contains("data-label=\"Times\">2</td>"), "{first}");
    let next = first.split('"').find(|text| text.contains("before=")).expect("a next page");
    let second = browser.page(next).await;
    assert_eq!(ids(&second), (1..=10).rev().collect::<Vec<_>>());
    assert!(!second.contains("aria-label=\"More\""), "the last page has no next");
    assert!(browser.page("/quarantine?before=1").await.contains("No older entries"));
    assert!(browser.page("/").await.contains("href=\"/quarantine\""));
}

#[tokio::test]
async fn an_entry_shows_reason_and_position_and_its_bytes_on_request() {
    let operator = Operator::new().await;
    let body = b"{\"phone\": \"+919938438138\",\n \"name\": Asharani \xff}";
    keep(&operator, body, Reason::NotJson, "no value for Asharani at line 2, column 10").await;
    let mut browser = Browser::new(&operator);
    let veiled = browser.page("/quarantine/1").await;
    for text in ["not_json", "The whole body is not JSON", "line 2, column 10", "Show personal data"] {
        assert!(veiled.contains(text), "{text}: {veiled}");
    }
    for text in ["Asharani", "9938438138", "31 39 39 33"] {
        assert!(
            !veiled.contains(text) && !browser.page("/quarantine").await.contains(text),
            "{text}: {veiled}"
        );
    }
    let bytes = browser.send(browser.client.get(operator.url("/quarantine/1/bytes"))).await;
    assert_eq!(bytes.status(), StatusCode::FORBIDDEN);

    browser.reveal().await;
    let page = browser.page("/quarantine/1").await;
    assert!(page.contains("<mark>A</mark>sharani"), "the place is marked: {page}");
    assert!(page.contains("000000  7b 22 70 68 6f 6e 65 22"), "{page}");
    let bytes = browser.send(browser.client.get(operator.url("/quarantine/1/bytes"))).await;
    assert!(bytes.headers()[CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
    assert_eq!(bytes.headers()[CONTENT_TYPE], "application/octet-stream");
    assert_eq!(&*bytes.bytes().await.unwrap(), body);

    for path in ["/quarantine/2", "/quarantine/2/drop", "/quarantine/2/bytes"] {
        assert_eq!(browser.send(browser.client.get(operator.url(path))).await.status(), 404, "{path}");
    }
    assert_eq!(browser.send(browser.client.get(operator.url("/quarantine/x"))).await.status(), 400);
}

#[tokio::test]
async fn an_entry_is_retried_and_the_page_shows_the_outcome() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    // An entry that this version can read, as after an upgrade.
    operator.quarantine(&format!("[{},{}]", incoming("i1", "m1"), incoming("i2", "m2"))).await;
    operator.quarantine("{ no").await;
    operator.quarantine(&format!("[{}, null]", incoming("i3", "m3"))).await;
    assert_eq!(act(&mut browser, "/quarantine/1/retry").await, "/quarantine");
    let page = browser.page("/quarantine").await;
    assert!(page.contains("Entry 1 could be read: 2 events were stored. It left the quarantine."), "{page}");
    assert!(!browser.page("/quarantine").await.contains("could be read: 2"), "it is said once");
    assert_eq!(*operator.journal.tip().borrow(), 2);

    assert_eq!(act(&mut browser, "/quarantine/2/retry").await, "/quarantine/2");
    assert!(browser.page("/quarantine/2").await.contains("Entry 2 still cannot be read."));
    act(&mut browser, "/quarantine/3/retry").await;
    let page = browser.page("/quarantine").await;
    let said = "in part: 1 event was stored; 1 element that could not be stored is now a separate entry.";
    assert!(page.contains(said) && !page.contains("href=\"/quarantine/3\""), "{page}");
    operator.quarantine("[]").await;
    assert_eq!(act(&mut browser, "/quarantine/5/retry").await, "/quarantine/5");
    assert!(browser.page("/quarantine/5").await.contains("Entry 5 stays: it has no elements"));
    assert_eq!(act(&mut browser, "/quarantine/9/retry").await, "/quarantine");
    let page = browser.page("/quarantine").await;
    assert!(
        page.contains("<p class=\"notice warn wrap\" role=\"status\">Entry 9 is not in quarantine."),
        "{page}"
    );
}

#[tokio::test]
async fn an_entry_is_dropped_after_a_confirmation() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    operator.quarantine("{").await;
    assert!(browser.page("/quarantine/1").await.contains("href=\"/quarantine/1/drop\""));
    let asked = browser.page("/quarantine/1/drop").await;
    assert!(asked.contains("Drop permanently") && asked.contains("action=\"/quarantine/1/drop\""), "{asked}");
    assert!(operator.journal.quarantined(1).await.unwrap().is_some(), "to ask drops nothing");
    assert_eq!(act(&mut browser, "/quarantine/1/drop").await, "/quarantine");
    let page = browser.page("/quarantine").await;
    assert!(page.contains("<p class=\"notice done wrap\" role=\"status\">Entry 1 was dropped."), "{page}");
    assert!(operator.journal.quarantined(1).await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_is_done_without_the_token_or_from_another_origin() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    operator.quarantine(&incoming("i1", "m1")).await;
    let token = token(&browser.page("/quarantine/1").await);
    for path in ["/quarantine/1/retry", "/quarantine/1/drop"] {
        for wrong in ["", "AAAA", &token[1..]] {
            let response = browser.send(browser.form(path, &[("token", wrong)])).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {wrong}");
        }
        let request = browser.client.post(operator.url(path)).header(ORIGIN, "http://evil.example");
        let foreign = browser.send(request.fields(&[("token", &token)])).await;
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert!(operator.journal.quarantined(1).await.unwrap().is_some());
    assert_eq!(*operator.journal.tip().borrow(), 0);
}

#[tokio::test]
async fn a_notice_cannot_be_made_by_anybody_else() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    operator.quarantine("{").await;
    act(&mut browser, "/quarantine/1/drop").await;
    let own = browser.cookies.iter().find(|(name, _)| name == "bikhook-notice").unwrap().1.clone();
    let mut parts = own.split('.');
    let (Some("1"), Some(text), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        panic!("{own}")
    };
    // With the signature of another text: `<b>x</b>` in base64, nothing, no base64; that it was not done; in another form.
    let forged = ["1.PGI-eDwvYj4", "1.", "1.!", &format!("0.{text}"), &format!("2.{text}"), text]
        .map(|start| format!("{start}.{signature}"));
    let mut other = Browser::new(&operator);
    other.page("/").await;
    let foreign = [&*forged[0], &*own, "x", ""];
    let tried = forged.iter().map(|value| (true, &**value)).chain(foreign.map(|value| (false, value)));
    for (is_own, value) in tried {
        let browser = if is_own { &mut browser } else { &mut other };
        browser.cookies.retain(|(name, _)| name != "bikhook-notice");
        browser.cookies.push(("bikhook-notice".to_owned(), value.to_owned()));
        let page = browser.page("/quarantine").await;
        assert!(!page.contains("was dropped") && !page.contains("class=\"notice"), "{page}");
    }
}

#[tokio::test]
async fn hostile_bytes_are_text() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    for hostile in HOSTILE {
        let detail = format!("{hostile} at line 1 column 2");
        keep(&operator, hostile.as_bytes(), Reason::Syntax, &detail).await;
    }
    for lifted in [false, true] {
        if lifted {
            browser.reveal().await;
        }
        for path in [
            "/quarantine",
            "/quarantine/1",
            "/quarantine/2",
            "/quarantine/3",
            "/quarantine/4",
            "/quarantine/1/drop",
        ] {
            let page = browser.page(path).await;
            for raw in ["<script>alert", "<img", "\" onmouseover=\"", "'><", "href=\"javascript:"] {
                assert!(!page.contains(raw), "{path} has {raw}:\n{page}");
            }
        }
    }
    assert!(browser.page("/quarantine/1").await.contains("script&#62;alert(1)"));
}
