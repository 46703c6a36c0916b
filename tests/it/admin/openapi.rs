//! The OpenAPI document, and whether the real binary complies with it. schemathesis sends valid and invalid requests to
//! every route, and checks each answer against the document.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;

use super::*;
use crate::support::home::{Home, Process, eventually};

/// Requests per route and kind. The whole run takes about half a minute.
const QUESTIONS: &str = "5";
/// The checks of each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

#[tokio::test]
async fn the_document_is_served_as_json() {
    let operator = Operator::new().await;
    let document = get(&operator, "/api/v1/openapi.json").await.json();
    assert_eq!((&document["openapi"], &document["servers"][0]["url"]), (&json!("3.1.0"), &json!("/api/v1")));
    get(&operator, "/api/v1/openapi.json?x=1").await.is_problem(400, "x");
}

#[tokio::test]
async fn a_path_and_a_number_that_nothing_can_have_are_no_fault_of_ours() {
    let operator = Operator::new().await;
    operator.store([status("i-1", "m-1", "sent")]).await;
    operator.learnt().await;
    get(&operator, "/api/v1/messages/%FF").await.is_problem(400, "the path: is not UTF-8");
    get(&operator, "/api/v1/events/18446744073709551615").await.is_problem(404, "event 18446744073709551615");
    get(&operator, "/api/v1/events/18446744073709551616").await.is_problem(400, "seq: is not a number");
    let all = get(&operator, "/api/v1/contacts/1?before=18446744073709551615").await.json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn the_binary_answers_as_the_document_says() {
    let mut home = Home::new();
    home.more = HANDLER.to_owned();
    let mut receiver = home.start();
    fill(&receiver);
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    assert!(program.exists(), "{} is missing: tests/run makes it", program.display());
    let folder = TempDir::new().unwrap();
    let ran = Command::new("timeout")
        .arg("180")
        .arg(program)
        .arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", receiver.admin()))
        // A tail never ends, so it has its own tests.
        .args(["--exclude-path", "/tail", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", QUESTIONS, "--seed", "1", "--request-timeout", "20", "--no-color"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}\n{}", String::from_utf8_lossy(&ran.stderr), home.log());
    assert!(said.contains("Tested: 39"), "every other route was asked: {said}");
    assert!(receiver.is_alive());
    assert!(!home.log().contains("panicked"), "{}", home.log());
    receiver.stop();
}

/// A handler that refuses events with the status failed.
const HANDLER: &str = r#"
[handlers.crm]
kind = "exec"
command = ["/bin/sh", "-c", "if grep -q '\"failed\"'; then exit 65; fi"]
"#;

/// Creates at least one of each resource: events, messages, customers, a dead letter, a replay, and a quarantine entry.
fn fill(receiver: &Process) {
    let mut sender = receiver.connect();
    for body in [
        incoming("i-1", "from-1"),
        status("i-2", "m-1", "sent"),
        status("i-3", "m-1", "failed"),
        status("i-4", "m-2", "read"),
        r#"{"eventName":"optedOut","eventId":"o","channel":"whatsapp","assets":["+910000000000"]}"#
            .to_owned(),
        "{\"bad\":1}".to_owned(),
    ] {
        assert_eq!(sender.post(&body).unwrap().status, 200);
    }
    let mut operator = receiver.operator();
    let replay = r#"{"handler":"crm","filter":{"statuses":["read"]}}"#;
    assert_eq!(operator.ask("/api/v1/replays", replay).unwrap().status, 200);
    eventually("there is no dead letter", || {
        receiver.operator().get("/api/v1/dead/1").unwrap().status == 200
    });
    eventually("insight does not catch up", || {
        receiver.operator().get("/api/v1/insight").unwrap().body.contains("\"lag\":0")
    });
}
