//! Authentication of senders (BIK T1).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use bikhook::{
    clock::{self, Timestamp},
    http::{AuthMode, CredentialKind, CredentialSettings, Form, Settings, SourceSettings, Sources},
    secret::Secret,
};

use super::world::{Answer, Client, KEY, World, event, eventually, head, key, pair, post, request, source};

/// Failed authentications with a wrong key.
const FAILURES: &str = r#"bikhook_authentication_failures_total{source="bik",reason="wrong"}"#;

fn with_header(authorization: &str) -> Vec<u8> {
    request("POST /webhook", &[&format!("Authorization: {authorization}")], event("e1"))
}

fn b64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn world(credential: CredentialSettings) -> World {
    World::of(|_| {}, &BTreeMap::from([("bik".to_owned(), source("/webhook", credential))]))
}

#[test]
fn a_key_is_accepted_in_each_form_and_the_form_is_recorded() {
    let world = World::new();
    let mut uses = 0;
    for (header, form) in [
        (KEY.to_owned(), Form::Header),
        (format!("Basic {KEY}"), Form::Plain),
        (format!("BASIC   {KEY}  "), Form::Plain),
        (format!("Basic {}", b64(KEY)), Form::Base64),
        (format!("basic {}", BASE64_URL_SAFE_NO_PAD.encode(KEY)), Form::Base64),
        (format!("Basic {}", b64(&format!("{KEY}:"))), Form::User),
        (format!("Basic {}", b64(&format!(":{KEY}"))), Form::Password),
        (format!("Basic {}", b64(&format!("anything:{KEY}"))), Form::Password),
    ] {
        let before = clock::now();
        assert_eq!(world.connect().ask(with_header(&header)).status, 200, "{header}");
        uses += 1;
        let all = world.intake.credentials();
        let [status] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((&*status.source, &*status.name), ("bik", "portal"));
        assert_eq!((status.kind, status.uses, status.form), (CredentialKind::Key, uses, Some(form)));
        assert!(status.last_used_at.unwrap() >= before);
    }
    let counted = r#"bikhook_authenticated_total{source="bik",credential="portal",form="plain"}"#;
    assert_eq!(world.metric(counted), 2);
}

#[test]
fn a_pair_is_accepted_by_rfc_7617_only() {
    let world = world(pair("bik", "p:w"));
    let mut client = world.connect();
    assert_eq!(client.ask(with_header(&format!("Basic {}", b64("bik:p:w")))).status, 200);
    for header in ["bik:p:w", "Basic bik:p:w", &b64("bik:p:w"), &format!("Basic {}", b64("bik:p"))] {
        assert_eq!(client.ask(with_header(header)).status, 401, "{header}");
    }
}

#[test]
fn a_rejected_login_gets_a_basic_challenge_and_no_details() {
    let world = World::new();
    let expected = world.connect().ask(request("POST /webhook", &[], event("e1")));
    expected.assert_problem(401);
    assert_eq!(expected.header("www-authenticate"), Some("Basic realm=\"bikhook\""));
    for wrong in ["", "x", "Basic", "Basic x", "Basic ====", &format!("Bearer {KEY}"), &format!("{KEY}x")] {
        let answer = world.connect().ask(with_header(wrong));
        answer.assert_problem(401);
        assert_eq!(answer.json()["detail"], expected.json()["detail"], "{wrong}");
    }
    assert_eq!(world.journal.ids(), [""; 0]);
    assert_eq!(world.metric(r#"bikhook_http_requests_total{source="bik",status="401"}"#), 8);
}

#[test]
fn the_first_of_several_authorization_headers_is_checked() {
    let world = World::new();
    let both = |first: &str, second: &str| {
        let headers = [&*format!("Authorization: {first}"), &*format!("Authorization: {second}")];
        world.connect().ask(request("POST /webhook", &headers, event("e1"))).status
    };
    assert_eq!(both(KEY, "wrong"), 200);
    assert_eq!(both("wrong", KEY), 401);
}

#[test]
fn an_expired_credential_is_rejected() {
    let ended = CredentialSettings { not_after: Some(Timestamp::from_ms(1)), ..key(KEY) };
    assert_eq!(world(ended).post(event("e1")).status, 401);
    let lasting = CredentialSettings { not_after: Some(clock::now().plus_ms(60_000)), ..key(KEY) };
    assert_eq!(world(lasting).post(event("e1")).status, 200);
}

#[test]
fn a_pinned_form_is_the_only_one() {
    let world = world(CredentialSettings { form: Some(Form::Base64), ..key(KEY) });
    assert_eq!(world.connect().ask(with_header(&format!("Basic {}", b64(KEY)))).status, 200);
    assert_eq!(world.connect().ask(with_header(KEY)).status, 401);
}

#[test]
fn auth_none_accepts_every_request() {
    let open = SourceSettings {
        path: "/open".to_owned(),
        auth: AuthMode::None,
        credentials: BTreeMap::new(),
        rate: None,
        tenant: None,
    };
    let world = World::of(|_| {}, &BTreeMap::from([("open".to_owned(), open)]));
    assert_eq!(world.connect().ask(request("POST /open", &[], event("e1"))).status, 200);
    assert!(world.intake.credentials().is_empty());
}

#[test]
fn too_many_failures_get_429_while_a_valid_credential_still_passes() {
    let world = World::with(|settings| settings.auth_failures_per_minute = 3);
    let mut client = world.connect();
    for _ in 0..3 {
        client.ask(with_header("wrong")).assert_problem(401);
    }
    let answer = client.ask(with_header("wrong"));
    answer.assert_problem(429);
    assert!((1..=20).contains(&answer.retry_after()), "{answer:?}");
    assert_eq!(client.ask(post(event("e1"))).status, 200);
    assert_eq!(client.ask(with_header("wrong")).status, 429);
}

#[test]
fn after_too_many_failures_only_a_failing_answer_is_delayed() {
    let world = World::with(|settings| settings.auth_failures_per_minute = 1);
    assert_eq!(world.connect().ask(with_header("wrong")).status, 401);
    let begun = Instant::now();
    let mut guesses: Vec<_> = (0..80).map(|_| world.connect()).collect();
    for guess in &mut guesses {
        guess.send(with_header("wrong"));
    }
    let mut closed: Vec<_> = guesses.iter_mut().map(Client::answer).collect();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(closed.iter().all(|answer| answer.status == 429));
    closed.retain(|answer| answer.header("connection") == Some("close"));
    assert!(closed.len() <= 80 - 64, "{} of 80 were not held", closed.len());
    // While a failing answer is delayed, a valid credential is accepted.
    let mut held = world.connect();
    held.send(with_header("wrong"));
    eventually("it is counted", || world.metric(FAILURES) == 82);
    assert_eq!(world.post(event("e1")).status, 200);
    assert!(held.is_open());
    assert_eq!(held.answer().status, 429);
}

#[test]
fn more_failing_answers_than_may_be_held_end_their_connections() {
    let world = World::with(|settings| settings.auth_failures_per_minute = 1);
    assert_eq!(world.connect().ask(with_header("wrong")).status, 401);
    // All of them are checked before the first answer is sent.
    let mut guesses: Vec<_> = (0..200).map(|_| world.connect()).collect();
    for guess in &mut guesses {
        guess.send(with_header("wrong"));
    }
    let closing = |answer: &Answer| answer.header("connection") == Some("close");
    let answers: Vec<_> = guesses.iter_mut().map(Client::answer).collect();
    assert!(answers.iter().any(closing));
    assert!(answers.iter().any(|answer| !closing(answer)));
}

#[test]
fn credentials_are_judged_before_anything_of_the_body() {
    let world = World::new();
    let endless = head("POST /webhook", &["Authorization: wrong", "Transfer-Encoding: chunked"]);
    world.connect().ask(endless).assert_problem(401);
    let packed =
        head("POST /webhook", &["Authorization: wrong", "Content-Encoding: br", "Content-Length: 9"]);
    world.connect().ask(packed).assert_problem(401);
}

fn refused(settings: &Settings, sources: &[(&str, SourceSettings)]) -> String {
    let sources = Sources::check(sources.iter().map(|(name, source)| (*name, source))).err();
    let sources = sources.into_iter().flatten().map(|wrong| wrong.under(&["sources"]));
    let mut wrong = settings.check().into_iter().map(|wrong| wrong.under(&["http"])).chain(sources);
    wrong.next().expect("accepted").to_string()
}

#[test]
fn sources_that_cannot_work_are_refused_by_name() {
    let settings = Settings::default();
    let good = || source("/webhook", key(KEY));
    for (sources, expected) in [
        (
            vec![("a", good()), ("b", good())],
            r#"sources.b.path: "/webhook" is already the path of source `a`"#,
        ),
        (vec![("a", source("webhook", key(KEY)))], r#"sources.a.path: "webhook" must begin with a `/`"#),
        (
            vec![("a", SourceSettings { credentials: BTreeMap::new(), ..good() })],
            "sources.a: has no credentials",
        ),
        (
            vec![("a", SourceSettings { auth: AuthMode::None, ..good() })],
            r#"sources.a.auth: "none" accepts every request, so the credentials have no effect"#,
        ),
        (vec![("a", source("/a", key("")))], "sources.a.credentials.portal.key: must not be empty"),
        (
            vec![("a", source("/a", CredentialSettings { key: Some(Secret::new("k")), ..pair("u", "p") }))],
            "sources.a.credentials.portal: has a key and a username with password: keep only one of them",
        ),
        (vec![("a", SourceSettings { rate: Some(0), ..good() })], "sources.a.rate: must be more than 0"),
    ] {
        let refused = refused(&settings, &sources);
        assert!(refused.starts_with(expected), "{refused}");
    }
    let none = Settings { in_flight: 0, ..Settings::default() };
    assert_eq!(refused(&none, &[("a", good())]), "http.in_flight: must be more than 0");
}
