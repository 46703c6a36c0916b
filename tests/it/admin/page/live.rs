//! `/tail`: new events in a browser.

use std::time::Duration;

use reqwest::{
    Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::*;

/// A page that receives the stream.
struct Listener {
    response: Response,
    bytes: Vec<u8>,
}

/// An event of the stream.
#[derive(Debug, Default)]
struct Heard {
    id: String,
    kind: String,
    data: String,
}

impl Listener {
    async fn new(browser: &mut Browser<'_>, query: &str, last: Option<&str>) -> Self {
        let request = browser.client.get(browser.operator.url(&format!("/tail/rows?{query}")));
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        let response = browser.send(request).await;
        assert_eq!(
            (response.status(), response.headers()[CONTENT_TYPE].to_str().unwrap()),
            (StatusCode::OK, "text/event-stream")
        );
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        Self { response, bytes: Vec::new() }
    }

    /// The next event of the stream; `None` at its end.
    async fn hear(&mut self) -> Option<Heard> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
                let block = String::from_utf8(block).unwrap();
                let mut heard = Heard::default();
                for line in block.trim_end().lines() {
                    let (field, value) = line.split_once(':').unwrap();
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match field {
                        "id" => value.clone_into(&mut heard.id),
                        "event" => value.clone_into(&mut heard.kind),
                        "data" => heard.data.extend([value, "\n"]),
                        _ => {}
                    }
                }
                return Some(heard);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.expect("something is heard in time").ok()??;
            self.bytes.extend(&chunk);
        }
    }

    /// The next rows.
    async fn rows(&mut self) -> Heard {
        loop {
            let heard = self.hear().await.expect("rows");
            if heard.kind == "rows" {
                return heard;
            }
        }
    }

    /// The seqs of the next rows in the order of arrival, until there are this many.
    async fn seqs(&mut self, many: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.len() < many {
            let mut rows = seqs_of(&self.rows().await.data);
            // Newest first within a block.
            rows.reverse();
            seqs.extend(rows);
        }
        seqs
    }
}

/// The seqs of a table, from top to bottom.
fn seqs_of(html: &str) -> Vec<u64> {
    let links = html.split("<a href=\"/events/").skip(1);
    links.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

/// The URL from which a page gets its rows.
fn stream(page: &str) -> String {
    let (_, rest) = page.split_once("data-rows=\"/tail/rows?").expect("a stream");
    rest.split('"').next().unwrap().replace("&#38;", "&")
}

#[tokio::test]
async fn the_stream_continues_after_the_page_without_a_gap_over_a_reconnect() {
    let operator = Operator::new().await;
    operator.store([status("s1", "m1", "sent"), incoming("i2", "m2")]).await;
    let mut browser = Browser::new(&operator);
    let page = browser.page("/tail").await;
    assert_eq!(seqs_of(&page), [2, 1]);
    operator.store([status("s3", "m1", "read"), incoming("i4", "m4")]).await;
    let mut listener = Listener::new(&mut browser, &stream(&page), None).await;
    assert_eq!(listener.seqs(2).await, [3, 4]);
    operator.store([status("s5", "m5", "sent")]).await;
    let heard = listener.rows().await;
    assert_eq!((seqs_of(&heard.data), &*heard.id), (vec![5], "5"));
    drop(listener);
    operator.store([status("s6", "m6", "sent"), status("s7", "m7", "sent")]).await;
    let mut again = Listener::new(&mut browser, &stream(&page), Some(&heard.id)).await;
    assert_eq!(again.seqs(2).await, [6, 7]);
}

#[tokio::test]
async fn an_event_shows_within_a_second() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let mut listener = Listener::new(&mut browser, "", None).await;
    listener.hear().await.unwrap();
    let mut took = Vec::new();
    for at in 0..5 {
        let began = std::time::Instant::now();
        operator.store([status(&format!("s{at}"), "m", "sent")]).await;
        listener.rows().await;
        took.push(began.elapsed());
    }
    // Other processes use this machine, too.
    assert!(took.iter().min() < Some(&Duration::from_secs(1)), "{took:?}");
}

#[tokio::test]
async fn the_page_and_its_stream_show_only_selected_events() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    operator.store([status("s1", "m1", "failed"), incoming("i2", "m2")]).await;
    let page = browser.page("/tail?event=message-*&status=failed").await;
    assert_eq!(seqs_of(&page), [1]);
    let mut listener = Listener::new(&mut browser, &stream(&page), None).await;
    operator.store([incoming("i3", "m3"), status("s4", "m4", "sent"), status("s5", "m5", "failed")]).await;
    assert_eq!(listener.seqs(1).await, [5]);
    let none = browser.page("/tail?source=other").await;
    assert!(none.contains("No such event yet") && seqs_of(&none).is_empty(), "{none}");
    let wrong = browser.send(browser.client.get(operator.url("/tail?event=%5Ba"))).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    for path in ["/tail/rows?event=%5Ba", "/tail/rows?after=x"] {
        let wrong = browser.send(browser.client.get(operator.url(path))).await;
        assert_eq!(wrong.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn without_javascript_the_page_shows_the_newest_and_a_link_to_reload() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let empty = browser.page("/tail").await;
    assert!(empty.contains("No events yet"), "{empty}");
    operator.store((0..60).map(|at| status(&format!("s{at}"), "m", "sent"))).await;
    let page = browser.page("/tail?status=sent").await;
    assert_eq!(seqs_of(&page), (11..=60).rev().collect::<Vec<_>>());
    let (_, rest) = page.split_once("<noscript>").expect("a word for those without JavaScript");
    let (words, _) = rest.split_once("</noscript>").unwrap();
    assert!(words.contains("href=\"/tail?status=sent\""), "{words}");
}

#[tokio::test]
async fn hostile_values_are_text_in_rows_that_come_later_too() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let mut listener = Listener::new(&mut browser, "after=0", None).await;
    for (at, hostile) in
        HOSTILE.iter().chain(&["a\r\n\r\nevent: full\r\ndata: x", "\n\nid: 9999"]).enumerate()
    {
        let info = json!({"messageId": hostile, "channelId": hostile, "status": hostile, "owner": hostile,
            "assetValue": hostile});
        let raw = json!({"eventName": hostile, "id": format!("{at}"), "eventInfo": info});
        let known = json!({"eventName": "message-status-update", "id": format!("k{at}"), "eventInfo": info});
        operator.store([raw.to_string(), known.to_string()]).await;
    }
    browser.reveal().await;
    let mut shown = Listener::new(&mut browser, "after=0", None).await;
    for listener in [&mut listener, &mut shown] {
        let (mut seen, mut all) = (0, String::new());
        while seen < 12 {
            let heard = listener.hear().await.unwrap();
            assert!(["rows", "quiet"].contains(&&*heard.kind), "{heard:?}");
            assert!(heard.id.parse::<u64>().unwrap() <= 12, "{heard:?}");
            seen += seqs_of(&heard.data).len();
            all.push_str(&heard.data);
        }
        for raw in ["<script>alert", "<img", "\" onmouseover=\"", "'><", "href=\"javascript:"] {
            assert!(!all.contains(raw), "{raw}: {all}");
        }
        assert!(all.contains("&#60;script&#62;alert(1)"), "shown, as text: {all}");
    }
}

#[tokio::test]
async fn later_rows_are_masked_until_personal_data_is_requested() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    operator.store([incoming("i1", "m1")]).await;
    let rows = Listener::new(&mut browser, "after=0", None).await.rows().await.data;
    assert!(rows.contains("••••00") && !rows.contains("910000000000"), "{rows}");
    browser.reveal().await;
    let rows = Listener::new(&mut browser, "after=0", None).await.rows().await.data;
    assert!(rows.contains("910000000000"), "{rows}");
}

#[tokio::test]
async fn a_live_page_follows_the_reveal_of_another_page_and_misses_no_event() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    browser.reveal().await;
    operator.store([incoming("i1", "m1")]).await;
    let mut listener = Listener::new(&mut browser, "after=0", None).await;
    assert!(listener.rows().await.data.contains("910000000000"));
    let began = std::time::Instant::now();
    let last = loop {
        let heard = listener.hear().await.expect("it says that it ends");
        if heard.kind == "again" {
            break heard;
        }
    };
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert!(listener.hear().await.is_none(), "it ends");
    browser.hide().await;
    operator.store([incoming("i2", "m2")]).await;
    let rows = Listener::new(&mut browser, "after=0", Some(&last.id)).await.rows().await.data;
    assert_eq!(seqs_of(&rows), [2]);
    assert!(rows.contains("••••00") && !rows.contains("910000000000"), "{rows}");
}

#[tokio::test]
async fn a_page_far_behind_skips_events_and_shows_how_many() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    operator.store((0..5_100).map(|at| status(&format!("s{at}"), "m", "sent"))).await;
    let mut listener = Listener::new(&mut browser, "after=0", None).await;
    let first = listener.rows().await;
    assert!(first.data.contains("100 events skipped"), "{first:?}");
    assert_eq!(first.id, "100");
    let seqs = listener.seqs(5_000).await;
    assert_eq!(seqs, (101..=5_100).collect::<Vec<_>>(), "nothing else is");
}

#[tokio::test]
async fn the_limit_of_tails_is_explained_and_shared_with_the_api() {
    let operator = Operator::new().await;
    let mut browser = Browser::new(&operator);
    let mut listeners = Vec::new();
    for at in 0..32 {
        let mut listener = match at % 2 {
            0 => Listener::new(&mut browser, "", None).await,
            _ => {
                let response = Client::new().get(operator.url("/api/v1/tail")).send().await.unwrap();
                Listener { response, bytes: Vec::new() }
            }
        };
        listener.hear().await.unwrap();
        listeners.push(listener);
    }
    let mut turned_away = Listener::new(&mut browser, "", None).await;
    let heard = turned_away.hear().await.unwrap();
    assert_eq!(heard.kind, "full");
    assert!(heard.data.contains("the maximum of 32 open tails is reached"), "{heard:?}");
    assert!(turned_away.hear().await.is_none(), "it ends");
    ask(&operator, "/api/v1/tail").await.is_problem(503, "32 open tails is reached");
    listeners.pop();
    until(async || {
        let mut next = Listener::new(&mut Browser::new(&operator), "", None).await;
        next.hear().await.unwrap().kind == "quiet"
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_immediately_at_a_stop() {
    let operator = Operator::new().await;
    let mut listener = Listener::new(&mut Browser::new(&operator), "", None).await;
    listener.hear().await.unwrap();
    operator.stopping.send_replace(true);
    let began = std::time::Instant::now();
    while listener.hear().await.is_some() {}
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
