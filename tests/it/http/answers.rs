//! Answers to the sender.

use std::collections::BTreeMap;

use bikhook::{
    http::SourceSettings,
    journal::{AppendError, JournalState},
};

use super::world::{KEY, World, event, key, post, request, source};

#[test]
fn a_post_is_answered_by_one_line_for_machines() {
    let world = World::new();
    let answer = world.post(event("e1"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.body, "{\"accepted\":1,\"duplicates\":0,\"quarantined\":0,\"seq\":1}\n");
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(world.journal.ids(), ["e1"]);
}

#[test]
fn a_request_that_stores_nothing_has_no_seq() {
    let world = World::new();
    assert_eq!(world.post("[]").body, "{\"accepted\":0,\"duplicates\":0,\"quarantined\":0,\"seq\":null}\n");
    assert_eq!(world.post("42").body, "{\"accepted\":0,\"duplicates\":0,\"quarantined\":1,\"seq\":null}\n");
}

#[test]
fn any_content_type_or_none_is_taken() {
    let world = World::new();
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", "?"] {
        let headers = [&*format!("Authorization: {KEY}"), &*format!("Content-Type: {content_type}")];
        let answer = world.connect().ask(request("POST /webhook", &headers, event("e1")));
        assert_eq!(answer.status, 200, "{content_type}");
    }
}

#[test]
fn a_query_string_plays_no_part() {
    let world = World::new();
    let authorized = format!("Authorization: {KEY}");
    let answer = world.connect().ask(request("POST /webhook?shop=a", &[&authorized], event("e1")));
    assert_eq!(answer.status, 200);
}

#[test]
fn a_body_that_is_no_json_gets_400_with_its_place_and_is_kept() {
    let world = World::new();
    let answer = world.post("[\n  {\"eventName\" oops}\n");
    answer.assert_problem(400);
    let members = answer.json();
    let (line, column) = (members["line"].as_u64().unwrap(), members["column"].as_u64().unwrap());
    let place = format!("at line {line}, column {column}");
    assert!(members["detail"].as_str().unwrap().contains(&place), "{members}");
    let kept = world.journal.quarantined();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].bytes, b"[\n  {\"eventName\" oops}\n");
    assert_eq!(world.metric(r#"bikhook_events_total{source="bik",result="quarantined"}"#), 1);
}

#[test]
fn a_body_that_is_no_json_is_not_refused_for_good_unless_it_was_kept() {
    let world = World::new();
    world.journal.fail(AppendError::Busy);
    world.post("oops").assert_problem(503);
}

#[test]
fn a_probe_sees_that_something_is_there_and_nothing_else() {
    let world = World::new();
    let mut client = world.connect();
    let get = client.ask(request("GET /webhook", &[], ""));
    assert_eq!((get.status, get.body.as_str()), (200, "bikhook receives events here by POST\n"));
    client.send(request("HEAD /webhook?x=y", &[], ""));
    let head = client.answer_to(true);
    assert_eq!((head.status, head.header("content-length")), (200, Some("37")));
    assert_eq!(client.ask(post(event("e1"))).status, 200);
}

#[test]
fn another_method_is_405_with_the_allowed_ones() {
    let world = World::new();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = world.connect().ask(request(&format!("{method} /webhook"), &[], "x"));
        answer.assert_problem(405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"), "{method}");
    }
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="bik",status="405"}"#), 6);
}

#[test]
fn another_path_is_404() {
    let world = World::new();
    for path in ["/", "/webhook//", "/Webhook", "/webhook/x"] {
        let answer = world.connect().ask(request(&format!("POST {path}"), &[], event("e1")));
        answer.assert_problem(404);
    }
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="",status="404"}"#), 4);
}

#[test]
fn a_slash_at_the_end_of_a_path_makes_no_difference() {
    let sources = [("a", "/a"), ("b", "/b/"), ("both", "/c"), ("slash", "/c/")];
    let world =
        World::of(|_| {}, &sources.map(|(name, path)| (name.to_owned(), source(path, key(name)))).into());
    for (path, name) in
        [("/a/", "a"), ("/a/?x=y", "a"), ("/b", "b"), ("/b/", "b"), ("/c", "both"), ("/c/", "slash")]
    {
        let authorized = format!("Authorization: {name}");
        let answer = world.connect().ask(request(&format!("POST {path}"), &[&authorized], event("e1")));
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[test]
fn an_empty_body_is_told_what_is_expected_and_nothing_is_kept() {
    let world = World::new();
    for body in ["", " \r\n\t"] {
        let answer = world.post(body);
        answer.assert_problem(400);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("is empty; expected a JSON object with an eventName"), "{detail}");
    }
    let authorized = format!("Authorization: {KEY}");
    let packed = request("POST /webhook", &[&authorized, "Content-Encoding: gzip"], "");
    assert_eq!(world.connect().ask(packed).status, 400);
    assert!(world.journal.quarantined().is_empty());
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="bik",status="400"}"#), 3);
}

#[test]
fn each_source_has_its_path_and_its_credentials() {
    let sources = [("a", "/a", "key-a"), ("b", "/:b/*", "key-b")];
    let world = World::of(
        |_| {},
        &sources.map(|(name, path, secret)| (name.to_owned(), source(path, key(secret)))).into(),
    );
    let ask = |path: &str, secret: &str| {
        let authorized = format!("Authorization: {secret}");
        world.connect().ask(request(&format!("POST {path}"), &[&authorized], event("e1"))).status
    };
    assert_eq!((ask("/a", "key-a"), ask("/:b/*", "key-b")), (200, 200));
    assert_eq!((ask("/a", "key-b"), ask("/:b/*", "key-a")), (401, 401));
    assert_eq!(ask("/x/y", "key-b"), 404);
    assert_eq!(world.metric(r#"bikhook_events_total{source="b",result="accepted"}"#), 1);
}

#[test]
fn a_journal_that_cannot_store_is_503_with_a_time_to_come_back() {
    let world = World::new();
    for error in [AppendError::Full, AppendError::Busy, AppendError::Failed, AppendError::Stopped] {
        world.journal.fail(error.clone());
        let answer = world.post(event("e1"));
        answer.assert_problem(503);
        assert!(answer.retry_after() >= 1, "{error:?}");
    }
    world.journal.recover();
    assert_eq!(world.post(event("e1")).status, 200);
    assert_eq!(world.metric("bikhook_http_in_flight"), 0);
}

#[test]
fn a_full_disk_names_the_handler_that_holds_the_journal() {
    let world = World::new();
    world.journal.fail(AppendError::Full);
    world.journal.say(JournalState::Full { held_by: Some("crm".into()) });
    let answer = world.post(event("e1"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("\"crm\""), "{answer:?}");
}

#[test]
fn a_panic_is_our_own_fault_and_not_the_end() {
    let world = World::new();
    world.journal.panic();
    let mut client = world.connect();
    client.ask(post(event("e1"))).assert_problem(500);
    world.journal.recover();
    assert_eq!(client.ask(post(event("e2"))).status, 200);
    assert_eq!(world.metric("bikhook_http_in_flight"), 0);
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="bik",status="500"}"#), 1);
}

#[test]
fn a_source_past_its_rate_must_wait_and_strangers_do_not_use_it_up() {
    let fast = SourceSettings { rate: Some(2), ..source("/webhook", key(KEY)) };
    let world = World::of(|_| {}, &BTreeMap::from([("bik".to_owned(), fast)]));
    let mut client = world.connect();
    for _ in 0..5 {
        assert_eq!(client.ask(request("POST /webhook", &[], event("no"))).status, 401);
    }
    let statuses: Vec<_> = (0..6).map(|_| client.ask(post(event("e1")))).collect();
    let allowed = statuses.iter().filter(|answer| answer.status == 200).count();
    assert!((2..6).contains(&allowed), "{allowed} of 6 at once, of 2 a second");
    let refused = statuses.iter().find(|answer| answer.status != 200).unwrap();
    refused.assert_problem(429);
    assert_eq!(refused.retry_after(), 1);
}

#[test]
fn ids_are_in_every_answer_and_differ() {
    let world = World::new();
    let mut client = world.connect();
    let mut ids: Vec<_> = [post(event("e1")), request("GET /", &[], ""), request("GET /webhook", &[], "")]
        .into_iter()
        .map(|bytes| client.ask(bytes).header("x-request-id").expect("no id").to_owned())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[test]
fn nothing_personal_and_no_secret_is_in_the_log_or_the_metrics() {
    let log = super::faults::Log::default();
    let (world, _guard) = log.world();
    let authorized = format!("Authorization: {KEY}");
    let secret_event = r#"[{"eventName":"incoming-message","id":"e1","eventInfo":{"messageId":"wamid.secret",
        "assetValue":"+919090909090","message":"personal"}}]"#;
    let query = "POST /webhook?phone=919090909090";
    assert_eq!(world.connect().ask(request(query, &[&authorized], secret_event)).status, 200);
    assert_eq!(
        world.connect().ask(request(query, &["Authorization: Basic wr0ng"], secret_event)).status,
        401
    );
    assert_eq!(world.connect().ask(request(query, &[&authorized], "[personal 919090909090]")).status, 400);
    assert_eq!(world.connect().ask(request("POST /personal", &[], secret_event)).status, 404);
    world.intake.log_summary();
    let text = log.text() + &world.metrics.render();
    assert!(
        text.contains("request refused")
            && text.contains("request answered")
            && text.contains("events received"),
        "{text}"
    );
    for secret in [KEY, "wr0ng", "wamid", "919090909090", "personal"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn refusals_are_logged_once_and_counted_and_the_summary_says_what_came() {
    let log = super::faults::Log::default();
    let (world, _guard) = log.world();
    for _ in 0..20 {
        assert_eq!(world.connect().ask(request("POST /webhook", &[], "")).status, 401);
    }
    let refusals = log.text().lines().filter(|line| line.contains("request refused: ")).count();
    assert_eq!(refusals, 1, "{}", log.text());
    assert_eq!(world.post(event("e1")).status, 200);
    world.intake.log_summary();
    let summary = |log: &str| {
        log.lines().filter(|line| line.contains("events received")).map(str::to_owned).collect::<Vec<_>>()
    };
    let said = summary(&log.text());
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("accepted=1 duplicates=0 quarantined=0 refused=20"), "{said:?}");
    world.intake.log_summary();
    assert_eq!(summary(&log.text()).len(), 1, "nothing came, and nothing is to be said");
}
