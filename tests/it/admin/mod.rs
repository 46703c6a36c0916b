//! The admin side over real sockets: its fences, health, metrics, and every route of the API.

mod insight;
mod openapi;
mod page;
mod replays;
mod tail;
mod words;

use std::sync::{Arc, atomic::Ordering::SeqCst};

use crate::{
    handlers::until,
    support::{
        clock::{DAY, Hands},
        events::{incoming, status},
        journals::Place,
        operator::{Guard, Operator},
        stub::Stub,
    },
};
use bikhook::{
    admin,
    journal::{Journal, JournalState, sqlite},
    metrics::Metrics,
};
use reqwest::{
    Client, Method, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A parsed answer.
#[derive(Debug)]
struct Seen {
    status: StatusCode,
    kind: String,
    body: String,
}

impl Seen {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            status: response.status(),
            kind: response.headers().get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap()).to_owned(),
            body: response.text().await.unwrap(),
        }
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!((self.status, self.kind.as_str()), (StatusCode::OK, "application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// A problem of that status whose detail holds this text.
    #[track_caller]
    fn is_problem(&self, status: u16, detail: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.kind, "application/problem+json");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
}

async fn get(operator: &Operator, path: &str) -> Seen {
    Seen::of(Client::new().get(operator.url(path))).await
}

async fn post(operator: &Operator, path: &str, body: Value) -> Seen {
    Seen::of(Client::new().post(operator.url(path)).json(&body)).await
}

#[tokio::test]
async fn a_host_that_could_have_been_rebound_is_misdirected() {
    let guard = Guard { hosts: vec!["ops.example".to_owned()], ..Guard::default() };
    let operator = Operator::guarded(guard).await;
    let status = async |host: &str, path: &str| {
        Seen::of(Client::new().get(operator.url(path)).header(HOST, host)).await.status.as_u16()
    };
    let port = operator.address.port();
    for host in
        ["ops.example", "localhost", &format!("localhost:{port}"), &format!("127.0.0.1:{port}"), "[::1]"]
    {
        assert_eq!(status(host, "/api/v1/status").await, 200, "{host}");
    }
    for path in ["/api/v1/status", "/metrics", "/", "/nothing", "/healthz/x"] {
        assert_eq!(status("evil.example", path).await, 421, "{path}");
    }
    let seen = Seen::of(Client::new().get(operator.url("/metrics")).header(HOST, "evil.example")).await;
    seen.is_problem(421, "admin.hosts");
}

#[tokio::test]
async fn health_passes_with_any_host_or_none_and_only_for_reading() {
    let operator = Operator::new().await;
    for path in ["/healthz", "/readyz"] {
        for host in ["bikhook:8081", "10.0.0.7:8081", "load-balancer.example", "a, b"] {
            let request = Client::new().get(operator.url(path)).header(HOST, host);
            assert_eq!(Seen::of(request).await.status.as_u16(), 200, "{path} {host}");
        }
        // HAProxy's `option httpchk` sends HTTP/1.0 without a Host.
        let mut probe = TcpStream::connect(operator.address).await.unwrap();
        probe.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 "), "{path}: {answer}");
        let change = Client::new().post(operator.url(path)).header(HOST, "evil.example").json(&json!({}));
        assert_eq!(Seen::of(change).await.status.as_u16(), 421, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_changes_something_is_json_and_of_no_other_origin() {
    let operator = Operator::new().await;
    let url = operator.url("/api/v1/dead/drop");
    let body = || json!({"ids": [1]}).to_string();
    let plain = Client::new().post(&url).body(body());
    Seen::of(plain).await.is_problem(415, "application/json");
    let form = Client::new().post(&url).header(CONTENT_TYPE, "text/plain").body(body());
    Seen::of(form).await.is_problem(415, "application/json");
    for (origin, answer) in [
        (format!("http://{}", operator.address), 200),
        ("http://evil.example".to_owned(), 403),
        (format!("http://localhost:{}", operator.address.port()), 403),
        ("null".to_owned(), 403),
    ] {
        let request = Client::new().post(&url).header(ORIGIN, &origin).json(&json!({"ids": [1]}));
        assert_eq!(Seen::of(request).await.status.as_u16(), answer, "{origin}");
    }
    let with_charset = Client::new().post(&url).header(CONTENT_TYPE, "Application/JSON; charset=utf-8");
    Seen::of(with_charset.body(body())).await.json();
}

#[tokio::test]
async fn with_credentials_only_health_is_open() {
    let guard = Guard { credentials: Some(("ops", "s3cret:with colon")), ..Guard::default() };
    let operator = Operator::guarded(guard).await;
    for path in ["/healthz", "/readyz"] {
        get(&operator, path).await.json();
    }
    for path in ["/metrics", "/api/v1/events", "/api/v1/nothing", "/", "/healthz/x"] {
        get(&operator, path).await.is_problem(401, "credentials");
    }
    let response = Client::new().get(operator.url("/metrics")).send().await.unwrap();
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Basic realm=\"bikhook admin\"");
    for (user, password, answer) in [
        ("ops", "s3cret:with colon", 200),
        ("ops", "s3cret", 401),
        ("op", "s:s3cret:with colon", 401),
        ("", "", 401),
    ] {
        let request = Client::new().get(operator.url("/api/v1/status")).basic_auth(user, Some(password));
        assert_eq!(Seen::of(request).await.status.as_u16(), answer, "{user} {password}");
    }
}

#[test]
fn another_address_than_loopback_needs_credentials() {
    let open =
        |listen: &str| admin::Settings { listen: listen.parse().unwrap(), ..admin::Settings::default() };
    assert!(open("127.0.0.1:8081").check().is_empty());
    assert!(open("[::1]:8081").check().is_empty());
    for listen in ["0.0.0.0:8081", "[::]:8081", "10.0.0.1:8081"] {
        assert!(open(listen).check()[0].to_string().contains(listen));
        let credentials = Some(admin::Credentials {
            username: "ops".to_owned(),
            password: bikhook::secret::Secret::new("x"),
        });
        assert!(admin::Settings { credentials, ..open(listen) }.check().is_empty());
    }
}

#[tokio::test]
async fn a_missing_path_is_a_problem_and_a_wrong_method_gets_the_allowed_ones() {
    let operator = Operator::new().await;
    get(&operator, "/api/v2").await.is_problem(404, "nothing at this path");
    get(&operator, "/api/v1/nothing").await.is_problem(404, "nothing at this path");
    get(&operator, "/api/v1/events/7").await.is_problem(404, "event 7");
    get(&operator, "/api/v1/dead/7").await.is_problem(404, "dead letter 7");
    get(&operator, "/api/v1/quarantine/7").await.is_problem(404, "entry 7");
    get(&operator, "/api/v1/quarantine/7/bytes").await.is_problem(404, "entry 7");
    post(&operator, "/api/v1/events", json!({})).await.is_problem(405, "method");
    let response = Client::new().request(Method::PUT, operator.url("/api/v1/dead/retry")).json(&json!({}));
    assert_eq!(response.send().await.unwrap().headers()[ALLOW], "POST");
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let operator = Operator::new().await;
    for (path, named) in [
        ("/api/v1/events?limit=0", "limit"),
        ("/api/v1/events?limit=1001", "limit: must be from 1 to 1000"),
        ("/api/v1/events?limit=x", "limit"),
        ("/api/v1/events?limit=1&limit=2", "limit: given more than once"),
        ("/api/v1/events?before=-1", "before"),
        ("/api/v1/events?since=yesterday", "since"),
        ("/api/v1/events?raw=yes", "raw"),
        ("/api/v1/events?evnet=x", "evnet"),
        ("/api/v1/events/x", "seq"),
        ("/api/v1/events?event=%5Ba", "glob"),
        ("/api/v1/dead?before=x", "before"),
        ("/api/v1/dead?statuses=x", "statuses"),
        ("/api/v1/dead/x", "id"),
        ("/api/v1/quarantine?handler=x", "handler"),
        ("/api/v1/status?x=1", "x"),
    ] {
        get(&operator, path).await.is_problem(400, named);
    }
    for (path, body, named) in [
        ("/api/v1/dead/retry", json!({}), "ids"),
        ("/api/v1/dead/retry", json!({"ids": []}), "ids"),
        ("/api/v1/dead/retry", json!({"ids": vec![1; 1_001]}), "1000"),
        ("/api/v1/dead/retry", json!({"ids": [1], "all": true}), "ids"),
        ("/api/v1/dead/retry", json!({"all": true}), "handler"),
        ("/api/v1/dead/drop", json!({"handler": "crm"}), "all"),
        ("/api/v1/dead/drop", json!({"ids": [1], "id": 1}), "id"),
        ("/api/v1/quarantine/retry", json!({"handler": "crm", "all": true}), "ids"),
        ("/api/v1/quarantine/retry", json!({"ids": [1], "dryRun": true}), "ids"),
        ("/api/v1/dead/drop", json!(7), "expected an object"),
        ("/api/v1/dead/drop", json!({"ids": ["a"]}), "expected an integer"),
        ("/api/v1/replays", json!({"handler": "crm", "rate": 0}), "expected an integer from 1"),
        ("/api/v1/handlers/crm/skip", json!({}), "before"),
        ("/api/v1/handlers/crm/skip", json!({"before": "tomorrow"}), "before"),
    ] {
        post(&operator, path, body).await.is_problem(400, named);
    }
    let torn = Client::new().post(operator.url("/api/v1/dead/drop")).header(CONTENT_TYPE, "application/json");
    Seen::of(torn.body("{\"ids\":")).await.is_problem(400, "the body");
    post(&operator, "/api/v1/dead/drop", json!({"ids": [1], "x": "y".repeat(70_000)}))
        .await
        .is_problem(413, "larger");
}

#[tokio::test]
async fn events_come_by_page_newest_first_with_every_digit_and_duplicate_key() {
    let operator = Operator::new().await;
    let odd = "{ \"eventName\" : \"odd\", \"n\": 12345678901234567890123, \"n\": 1.10, \"t\": \"\\ud83d\", }";
    operator
        .store([incoming("i-1", "m-1"), status("i-2", "m-2", "sent"), status("i-3", "m-2", "read")])
        .await;
    operator.store([odd]).await;
    let seqs = |page: &Value| -> Vec<u64> {
        page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
    };

    let first = get(&operator, "/api/v1/events?limit=3").await;
    let element = "{\"eventName\":\"odd\",\"n\":12345678901234567890123,\"n\":1.10,\"t\":\"\\ud83d\"}";
    assert!(first.body.contains(&format!("\"event\":{element}}}")), "{}", first.body);
    assert!(first.body.ends_with("],\"next\":2}"), "{}", first.body);
    let second = get(&operator, "/api/v1/events?limit=3&before=2").await.json();
    assert_eq!((seqs(&second), &second["next"]), (vec![1], &Value::Null));
    let event = &second["events"][0];
    assert_eq!(event["source"], "bik");
    assert_eq!(event["eventName"], "incoming-message");
    assert_eq!(event["id"], "i-1");
    let received = event["receivedAt"].as_str().unwrap();

    let statuses = get(&operator, "/api/v1/events?name=message-status-update").await.json();
    assert_eq!(seqs(&statuses), [3, 2]);
    assert!(seqs(&get(&operator, "/api/v1/events?source=other").await.json()).is_empty());
    assert!(seqs(&get(&operator, &format!("/api/v1/events?until={received}")).await.json()).is_empty());
    let since = get(&operator, &format!("/api/v1/events?since={received}&name=odd&raw=0")).await;
    assert!(since.body.starts_with("{\"events\":[{\"seq\":4,"), "{}", since.body);
    assert_eq!(since.body.matches("\"seq\":").count(), 1);

    let beyond = get(&operator, &format!("/api/v1/events?after={}", u64::MAX)).await.json();
    assert!(seqs(&beyond).is_empty(), "{beyond}");

    let one = get(&operator, "/api/v1/events/4").await;
    assert!(one.body.starts_with("{\"seq\":4,") && one.body.contains(element), "{}", one.body);
    let lanes = &get(&operator, "/api/v1/events/3").await.json()["lanes"];
    let crm = json!({"handler": "crm", "lane": "other", "state": "waiting", "by": null, "passed": false, "at": null, "aside": false, "dead": null});
    assert_eq!(*lanes, json!([crm]), "{lanes}");
    let raw = get(&operator, "/api/v1/events/4?raw=1").await;
    assert_eq!((raw.kind.as_str(), raw.body.as_str()), ("application/octet-stream", odd));
    // The stored text is a JSON string of its own, so it is returned unchanged.
    let listed = get(&operator, "/api/v1/events?limit=1&raw=1").await;
    assert!(listed.body.contains(&format!("\"raw\":{}", json!(odd))), "{}", listed.body);
}

#[tokio::test]
async fn a_page_of_large_events_ends_before_it_is_large() {
    let operator = Operator::new().await;
    let large = |n: usize| {
        format!("{{\"eventName\":\"large\",\"id\":\"{n}\",\"text\":\"{}\"}}", "x".repeat(1_000_000))
    };
    for n in 0..12 {
        operator.store([large(n)]).await;
    }
    let mut before = String::new();
    let mut seen = 0;
    let mut pages = 0;
    loop {
        let page = get(&operator, &format!("/api/v1/events?limit=1000{before}")).await;
        assert!(page.body.len() < 6_000_000, "{}", page.body.len());
        let page = page.json();
        seen += page["events"].as_array().unwrap().len();
        pages += 1;
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 12);
    assert!(pages > 1);
}

#[tokio::test]
async fn handlers_are_shown_by_lane_and_skip_selected_events() {
    let operator = Operator::new().await;
    operator
        .store([status("i-1", "m-1", "sent"), incoming("i-2", "m-2"), status("i-3", "m-3", "sent")])
        .await;
    let lane = async |lane: usize| {
        let handlers = get(&operator, "/api/v1/handlers").await.json();
        assert_eq!(handlers["handlers"][0]["handler"], "crm");
        assert_eq!(handlers["handlers"][0]["kind"], "test");
        assert_eq!(handlers["handlers"][0]["destination"], "there");
        handlers["handlers"][0]["lanes"][lane].clone()
    };
    until(async || lane(0).await["state"] == "waiting" && lane(1).await["state"] == "waiting").await;
    let other = lane(1).await;
    assert_eq!((&other["lane"], &other["cursor"], &other["lag"]), (&json!("other"), &json!(0), &json!(3)));
    assert_eq!(other["lastFailure"], "unwell");
    assert!(other["lastFailureAt"].as_str() > Some("2026"), "{other}");
    post(&operator, "/api/v1/handlers/crm/pause", json!({})).await.json();
    until(async || {
        let lane = lane(1).await;
        lane["state"] == "paused" && lane["nextTry"].is_null() && !lane["lastFailureAt"].is_null()
    })
    .await;
    post(&operator, "/api/v1/handlers/crm/resume", json!({})).await.json();

    post(&operator, "/api/v1/handlers/nobody/skip", json!({"before": 3}))
        .await
        .is_problem(404, "configured: crm");
    post(&operator, "/api/v1/handlers/crn/pause", json!({})).await.is_problem(404, "did you mean crm?");
    let skipped = post(&operator, "/api/v1/handlers/crm/skip", json!({"before": 3})).await.json();
    let (events, in_flight) = (skipped["events"].as_u64().unwrap(), skipped["inFlight"].as_u64().unwrap());
    assert_eq!(events + in_flight, 2, "{skipped}");
    let (events, in_flight) = (&skipped["events"], &skipped["inFlight"]);
    assert_eq!(
        skipped,
        json!({"handler": "crm", "before": 3, "lanes": 2, "events": events, "inFlight": in_flight, "dryRun": false})
    );
    until(async || lane(1).await["cursor"].as_u64() >= Some(2)).await;

    // Events that are not stored yet cannot be skipped.
    let far = post(&operator, "/api/v1/handlers/crm/skip", json!({"before": 1_000_000})).await.json();
    assert_eq!(far["before"], 4);
    let long_ago = json!({"before": "2001-01-01T00:00:00Z"});
    assert_eq!(post(&operator, "/api/v1/handlers/crm/skip", long_ago).await.json()["before"], 1);
    let later = json!({"before": "2999-01-01"});
    assert_eq!(post(&operator, "/api/v1/handlers/crm/skip", later).await.json()["before"], 4);
}

#[tokio::test]
async fn dead_letters_are_listed_without_and_shown_with_what_is_personal() {
    let operator = Operator::new().await;
    operator.store([status("i-1", "m-1", "sent"), status("i-2", "m-2", "failed")]).await;
    operator.bury(1).await;
    operator.bury(2).await;
    let list = get(&operator, "/api/v1/dead?handler=crm&limit=1").await;
    assert!(!list.body.contains("+91"), "{}", list.body);
    let list = list.json();
    let newest = &list["dead"][0];
    assert_eq!(
        (&newest["seq"], &newest["cause"], &newest["lane"]),
        (&json!(2), &json!("refused"), &json!("other"))
    );
    assert_eq!((&newest["attempts"], &newest["retrying"]), (&json!(1), &json!(false)));
    let died_at: bikhook::clock::Timestamp = newest["diedAt"].as_str().unwrap().parse().unwrap();
    let ago = bikhook::clock::now().ms_since(died_at);
    assert!((0..60_000).contains(&ago), "a clock that was not the journal's is not believed: {ago}");
    let next = list["next"].as_i64().unwrap();
    let rest = get(&operator, &format!("/api/v1/dead?before={next}")).await.json();
    assert_eq!((&rest["dead"][0]["seq"], &rest["next"]), (&json!(1), &Value::Null));
    assert_eq!(get(&operator, "/api/v1/dead?handler=other").await.json()["dead"], json!([]));

    let one = get(&operator, &format!("/api/v1/dead/{}", newest["id"])).await.json();
    assert_eq!(one["error"], "422: phone +910000000000 is unknown");
    assert_eq!(one["event"]["eventInfo"]["status"], "failed");
    assert_eq!(get(&operator, "/api/v1/handlers").await.json()["handlers"][0]["dead"], 2);
}

#[tokio::test]
async fn a_retried_dead_letter_is_delivered_and_a_dropped_one_is_gone() {
    let operator = Operator::new().await;
    operator.store((1..=5).map(|n| status(&format!("i-{n}"), &format!("m-{n}"), "sent"))).await;
    for seq in 1..=5 {
        operator.bury(seq).await;
    }
    let ids = async || -> Vec<i64> {
        let list = get(&operator, "/api/v1/dead").await.json();
        list["dead"].as_array().unwrap().iter().map(|dead| dead["id"].as_i64().unwrap()).collect()
    };
    let all = ids().await;
    let dropped = post(&operator, "/api/v1/dead/drop", json!({"ids": [all[0], 999]})).await.json();
    assert_eq!(dropped, json!({"dropped": 1, "unknown": [999]}));
    let unknown = json!({"handler": "nobody", "all": true});
    post(&operator, "/api/v1/dead/retry", unknown.clone()).await.is_problem(404, "nobody");
    let none = post(&operator, "/api/v1/dead/drop", unknown).await.json();
    assert_eq!(none, json!({"dropped": 0, "unknown": []}));

    operator.destination.well.store(true, SeqCst);
    let retried = post(&operator, "/api/v1/dead/retry", json!({"ids": [all[1]]})).await.json();
    assert_eq!(retried, json!({"retried": 1, "unknown": []}));
    let retried = post(&operator, "/api/v1/dead/retry", json!({"handler": "crm", "all": true})).await.json();
    assert!(retried["retried"].as_u64() >= Some(3), "{retried}");
    until(async || ids().await.is_empty()).await;
    let mut taken = operator.destination.taken.lock().unwrap().clone();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken[..4], [1, 2, 3, 4], "the fifth was dropped, though its event may come by its lane");
}

#[tokio::test]
async fn every_dead_letter_of_a_handler_is_dropped_however_many_there_are() {
    let operator = Operator::new().await;
    operator.store((1..=40).map(|n| status(&format!("i-{n}"), &format!("m-{n}"), "sent"))).await;
    for seq in 1..=40 {
        operator.bury(seq).await;
    }
    let dropped = post(&operator, "/api/v1/dead/drop", json!({"handler": "crm", "all": true})).await.json();
    assert_eq!(dropped["dropped"], 40);
    assert_eq!(get(&operator, "/api/v1/dead").await.json()["dead"], json!([]));
}

#[tokio::test]
async fn quarantine_gives_its_bytes_back_as_they_came() {
    let operator = Operator::new().await;
    operator.quarantine("{\"phone\": \"+910000000000\" <script>").await;
    operator.quarantine("{bad").await;
    operator.quarantine("{bad").await;
    let list = get(&operator, "/api/v1/quarantine?limit=1").await;
    assert!(!list.body.contains("+91") && !list.body.contains("made by a test"), "{}", list.body);
    let list = list.json();
    let entry = &list["quarantine"][0];
    assert_eq!(
        (&entry["reason"], &entry["count"], &entry["sizeBytes"]),
        (&json!("syntax"), &json!(2), &json!(4))
    );
    let next = list["next"].as_i64().unwrap();
    let rest = get(&operator, &format!("/api/v1/quarantine?before={next}")).await.json();
    let id = rest["quarantine"][0]["id"].as_i64().unwrap();
    assert_eq!(get(&operator, &format!("/api/v1/quarantine/{id}")).await.json()["detail"], "made by a test");
    let bytes = get(&operator, &format!("/api/v1/quarantine/{id}/bytes")).await;
    assert_eq!(bytes.kind, "application/octet-stream");
    assert_eq!(bytes.body, "{\"phone\": \"+910000000000\" <script>");
    let dropped = post(&operator, "/api/v1/quarantine/drop", json!({"ids": [id, 99]})).await.json();
    assert_eq!(dropped, json!({"dropped": 1, "unknown": [99]}));
}

#[tokio::test]
async fn a_retry_stores_readable_entries_and_reports_each_outcome() {
    let operator = Operator::new().await;
    let one = status("i-1", "m-1", "sent");
    operator.store([&one]).await;
    operator.store([one.replace("Hello", "Goodbye")]).await; // a conflict: entry 1
    operator.quarantine(&format!("[{one},{}]", status("i-2", "m-2", "sent"))).await; // 2: an older version could not
    operator.quarantine("{still bad").await; // 3
    operator.quarantine(&format!("[{},null]", status("i-3", "m-3", "sent"))).await; // 4
    let retried = post(&operator, "/api/v1/quarantine/retry", json!({"ids": [1, 2, 3, 4, 99]})).await.json();
    let results = retried["results"].as_array().unwrap();
    let outcomes: Vec<_> = results.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["conflict", "stored", "unreadable", "partly", "unknown"]);
    assert_eq!(results[0]["conflictsWith"], 1);
    assert_eq!((&results[1]["accepted"], &results[1]["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!((&results[3]["accepted"], &results[3]["unreadable"]), (&json!(1), &json!(1)));
    let left = get(&operator, "/api/v1/quarantine").await.json();
    let left: Vec<_> =
        left["quarantine"].as_array().unwrap().iter().map(|one| (&one["id"], &one["count"])).collect();
    // A retry is not a second arrival: counts are unchanged, and nothing is stored twice.
    assert_eq!(left, [(&json!(5), &json!(1)), (&json!(3), &json!(1)), (&json!(1), &json!(1))]);
    // Only the unreadable part of entry 4 is left, so a later retry does not store the rest again.
    assert_eq!(get(&operator, "/api/v1/quarantine/5/bytes").await.body, "null");
    let again = post(&operator, "/api/v1/quarantine/retry", json!({"ids": [4, 5]})).await.json();
    let again: Vec<_> = again["results"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(again, ["unknown", "unreadable"]);
    assert_eq!(*operator.journal.tip().borrow(), 3);
}

/// An entry with more elements than are decoded at once takes several parts.
#[tokio::test]
async fn a_retry_leaves_each_element_in_quarantine_once() {
    let operator = Operator::new().await;
    let one = status("i-1", "m-1", "sent");
    operator.store([&one]).await;
    let conflict = one.replace("Hello", "Goodbye");
    let many = |element: &str| [element].repeat(10_000).join(",");
    let (first, second) = (status("i-2", "m-2", "sent"), status("i-3", "m-3", "sent"));
    let left = async || {
        let left = get(&operator, "/api/v1/quarantine").await.json();
        let left = left["quarantine"].as_array().unwrap().iter();
        left.map(|one| (one["id"].as_u64().unwrap(), one["count"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    for (id, entry, outcome, still) in [
        (1, "[]".to_owned(), "unreadable", vec![(1, 1)]),
        (2, format!("[{conflict},{conflict}]"), "conflict", vec![(2, 1)]),
        (3, format!("[{},{conflict}]", many(&conflict)), "conflict", vec![(3, 1)]),
        (4, format!("[{},{first}]", many("null")), "partly", vec![(5, 10_000)]),
        (6, format!("[{},{conflict},{second}]", many("null")), "partly", vec![(8, 10_000), (7, 1)]),
    ] {
        operator.quarantine(&entry).await;
        let retried = post(&operator, "/api/v1/quarantine/retry", json!({"ids": [id]})).await.json();
        assert_eq!(retried["results"][0]["outcome"], outcome, "{id}: {retried}");
        let ids: Vec<u64> = still.iter().map(|(id, _): &(u64, u64)| *id).collect();
        assert_eq!(left().await, still, "{id}");
        post(&operator, "/api/v1/quarantine/drop", json!({"ids": ids})).await;
    }
    assert_eq!(*operator.journal.tip().borrow(), 3);
}

#[tokio::test]
async fn a_retry_stores_no_event_unless_its_entry_leaves_the_quarantine() {
    let place = Place::new();
    place.open().close().await.unwrap();
    // As if the process ended before the entry is deleted.
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    raw.execute_batch(
        "CREATE TRIGGER stays BEFORE DELETE ON quarantine BEGIN SELECT RAISE(ABORT, 'made by a test'); END",
    )
    .unwrap();
    drop(raw);
    let metrics = Metrics::new();
    let opened = sqlite::SqliteJournal::open(place.settings.clone(), Arc::clone(&metrics));
    let journal: Arc<dyn Journal> = Arc::new(opened.expect("the journal opens"));
    let operator = Operator::over(Guard::default(), place, journal, metrics).await;
    operator.quarantine(&format!("[{},null]", status("i-1", "m-1", "sent"))).await;
    let seen = post(&operator, "/api/v1/quarantine/retry", json!({"ids": [1]})).await;
    assert_ne!(seen.status, StatusCode::OK, "{seen:?}");
    assert_eq!(*operator.journal.tip().borrow(), 0);
    assert!(operator.journal.quarantined(1).await.unwrap().is_some());
    assert!(operator.journal.quarantined(2).await.unwrap().is_none());
}

#[tokio::test]
async fn status_credentials_and_metrics_show_its_health() {
    let operator = Operator::new().await;
    operator.store([status("i-1", "m-1", "sent")]).await;
    operator.bury(1).await;
    let status = get(&operator, "/api/v1/status").await.json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&status["ready"], &status["state"], &status["tip"]),
        (&json!(true), &json!("ready"), &json!(1))
    );
    assert_eq!((&status["journal"]["lastSeq"], &status["journal"]["dead"]), (&json!(1), &json!(1)));
    let credentials = get(&operator, "/api/v1/credentials").await.json();
    assert_eq!(
        credentials["credentials"][0],
        json!({"source": "bik", "name": "portal", "kind": "key", "pinned": null, "form": "base64",
            "lastUsedAt": "2026-01-01T00:00:00.000Z", "uses": 3, "notAfter": null})
    );
    let metrics = get(&operator, "/metrics").await;
    assert_eq!(metrics.kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.body.contains("bikhook_dead_letters{handler=\"crm\"} 1\n"), "{}", metrics.body);
    assert!(metrics.body.contains("bikhook_journal_keys 1\n"), "{}", metrics.body);
    assert!(metrics.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn health_follows_the_journal_and_a_full_disk_is_alive_but_not_ready() {
    let place = Place::new();
    let journal = Arc::new(Stub::over(place.open()));
    let operator =
        Operator::over(Guard::default(), place, Arc::clone(&journal) as Arc<dyn Journal>, Metrics::new())
            .await;
    let answers = async || (get(&operator, "/healthz").await, get(&operator, "/readyz").await);

    let (alive, ready) = answers().await;
    assert_eq!((alive.status.as_u16(), ready.status.as_u16()), (200, 200));
    assert!(alive.body.ends_with("}\n") && ready.body.ends_with("}\n"), "a line each, as people read it");
    journal.state.send_replace(JournalState::Full { held_by: Some("crm".into()) });
    let (alive, ready) = answers().await;
    assert_eq!((alive.status.as_u16(), ready.status.as_u16()), (200, 503));
    let body: Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!(body, json!({"ready": false, "state": "full", "heldBy": "crm"}));
    journal.state.send_replace(JournalState::Ready);
    operator.stopping.send_replace(true);
    let (alive, ready) = answers().await;
    assert_eq!((alive.status.as_u16(), ready.status.as_u16()), (200, 503));
    assert!(ready.body.contains("stopping"));
    journal.state.send_replace(JournalState::Failed("an I/O error of +910000000000".into()));
    let (alive, ready) = answers().await;
    assert_eq!((alive.status.as_u16(), ready.status.as_u16()), (503, 503));
    assert!(alive.body.contains("failed") && !alive.body.contains("+91"), "{}", alive.body);
    // The journal no longer answers, but all other metrics are still exported.
    assert_eq!(get(&operator, "/metrics").await.status.as_u16(), 200);
    let seen = get(&operator, "/api/v1/status").await;
    seen.is_problem(503, "the journal failed");
}

#[tokio::test]
async fn a_clock_that_jumped_is_shown_and_accepted_by_the_api() {
    let (place, hands) = (Place::new(), Hands::new());
    let journal = place.open_by(&hands);
    let operator = Operator::over(Guard::default(), place, journal, Metrics::new()).await;
    let start = hands.wall().to_string();
    let calm = get(&operator, "/api/v1/clock").await.json();
    let expected =
        json!({"now": start, "wall": start, "trusted": true, "deletion": start, "unconfirmedUntil": null});
    assert_eq!(calm, expected);
    hands.jump(40 * DAY);
    let jumped = hands.wall().to_string();
    let doubted = get(&operator, "/api/v1/clock").await.json();
    let trusted = (&doubted["now"], &doubted["wall"], &doubted["trusted"]);
    assert_eq!(trusted, (&json!(start), &json!(jumped), &json!(false)));
    assert!(get(&operator, "/").await.body.contains("bikhook clock accept"), "the page says it");
    let accepted = post(&operator, "/api/v1/clock/accept", json!({})).await.json();
    assert_eq!((&accepted["accepted"], &accepted["now"]), (&json!(true), &json!(jumped)));
    let again = post(&operator, "/api/v1/clock/accept", json!({})).await.json();
    assert_eq!((&again["accepted"], &again["trusted"]), (&json!(false), &json!(true)));
    assert!(!get(&operator, "/").await.body.contains("bikhook clock accept"));
    post(&operator, "/api/v1/clock/accept", json!({"to": 1})).await.is_problem(400, "to");
}
