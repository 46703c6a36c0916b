//! The live stream of events.

use std::time::Duration;

use super::*;

/// A client of the stream.
struct Listener {
    response: reqwest::Response,
    text: String,
}

/// A received event: the id, the kind, the data.
type Heard = (String, String, String);

impl Listener {
    async fn new(operator: &Operator, query: &str, last: Option<&str>) -> Self {
        let request = Client::new().get(operator.url(&format!("/api/v1/tail?{query}")));
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()[CONTENT_TYPE]),
            (StatusCode::OK, &reqwest::header::HeaderValue::from_static("text/event-stream"))
        );
        Self { response, text: String::new() }
    }

    /// The next block; `None` when it has ended.
    async fn block(&mut self) -> Option<Heard> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim_start().to_owned()
                };
                let heard = (field("id:"), field("event:"), field("data:"));
                self.text = rest.to_owned();
                return Some(heard);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.expect("something is heard in time").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event.
    async fn event(&mut self) -> Option<Heard> {
        loop {
            let heard = self.block().await?;
            if !heard.2.is_empty() {
                return Some(heard);
            }
        }
    }

    async fn seqs<const N: usize>(&mut self) -> [u64; N] {
        let mut seqs = [0; N];
        for seq in &mut seqs {
            let (id, kind, data) = self.event().await.expect("an event");
            let data: Value = serde_json::from_str(&data).unwrap();
            assert_eq!((&*kind, data["seq"].to_string()), ("event", id));
            *seq = data["seq"].as_u64().unwrap();
        }
        seqs
    }
}

#[tokio::test]
async fn a_tail_has_new_events_in_order_and_continues_after_a_reconnect() {
    let operator = Operator::new().await;
    operator.store([status("i-1", "m-1", "sent")]).await;
    let mut listener = Listener::new(&operator, "", None).await;
    let (begins, _, data) = listener.block().await.unwrap();
    assert_eq!((&*begins, &*data), ("1", ""), "whoever comes back before the first event misses none");
    operator.store([incoming("i-2", "m-2"), status("i-3", "m-2", "read"), incoming("i-4", "m-4")]).await;
    assert_eq!(listener.seqs().await, [2, 3, 4]);
    drop(listener);
    operator.store([status("i-5", "m-5", "sent")]).await;
    let mut again = Listener::new(&operator, "after=1", Some("3")).await;
    assert_eq!(again.seqs().await, [4, 5]);
    let mut from = Listener::new(&operator, "after=0", None).await;
    assert_eq!(from.seqs().await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_tail_sends_only_selected_events() {
    let operator = Operator::new().await;
    operator
        .store([status("i-1", "m-1", "sent"), incoming("i-2", "m-2"), status("i-3", "m-1", "read")])
        .await;
    let first =
        async |query: &str| Listener::new(&operator, &format!("after=0&{query}"), None).await.seqs().await;
    assert_eq!(first("event=incoming-*").await, [2]);
    assert_eq!(first("status=read").await, [3]);
    let mut both = Listener::new(&operator, "after=0&message=m-1&source=bik", None).await;
    assert_eq!(both.seqs().await, [1, 3]);
    let mut none = Listener::new(&operator, "after=0&source=other", None).await;
    none.block().await.unwrap();
    let (id, _, data) = none.block().await.unwrap();
    assert_eq!((&*id, &*data), ("3", ""), "what is not wanted is not looked at again");
}

#[tokio::test]
async fn tails_end_at_once_in_a_stop() {
    let operator = Operator::new().await;
    let mut listener = Listener::new(&operator, "", None).await;
    listener.block().await.unwrap();
    operator.stopping.send_replace(true);
    let began = std::time::Instant::now();
    assert_eq!(listener.event().await, None);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_number_of_tails_is_limited_and_a_closed_one_frees_its_place() {
    let operator = Operator::new().await;
    let mut listeners = Vec::new();
    for _ in 0..32 {
        listeners.push(Listener::new(&operator, "", None).await);
    }
    get(&operator, "/api/v1/tail").await.is_problem(503, "the maximum of 32 open tails is reached");
    listeners.pop();
    until(async || {
        let request = Client::new().get(operator.url("/api/v1/tail")).send();
        request.await.unwrap().status() == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn an_invalid_position_to_continue_from_is_an_error() {
    let operator = Operator::new().await;
    get(&operator, "/api/v1/tail?after=x").await.is_problem(400, "after");
    get(&operator, "/api/v1/tail?event=%5Ba").await.is_problem(400, "glob");
    let request = Client::new().get(operator.url("/api/v1/tail")).header("last-event-id", "x");
    Seen::of(request).await.is_problem(400, "Last-Event-ID");
}
