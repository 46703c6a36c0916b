//! The OpenAPI document, and whether the real binary complies with it. schemathesis sends valid and invalid requests to
//! every route, and checks each answer against the document.
//!
//! The document is made from the code, so a renamed field changes both. `openapi.snapshot` has the accepted routes,
//! names and types, one per line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

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
async fn the_api_matches_its_snapshot() {
    let operator = Operator::new().await;
    let facts = facts_of(&get(&operator, "/api/v1/openapi.json").await.json());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/admin/openapi.snapshot");
    if std::env::var_os("BIKHOOK_ACCEPT").is_some() {
        fs::write(path, facts.iter().map(|fact| format!("{fact}\n")).collect::<String>()).unwrap();
    }
    let accepted = fs::read_to_string(path).unwrap();
    let accepted: BTreeSet<String> = accepted.lines().map(str::to_owned).collect();
    let gone = accepted.difference(&facts).map(|fact| format!("- {fact}\n"));
    let changes: String = gone.chain(facts.difference(&accepted).map(|fact| format!("+ {fact}\n"))).collect();
    assert!(
        changes.is_empty(),
        "the API has changed:\n{changes}If each change is wanted, write {path} again and commit it: BIKHOOK_ACCEPT=1 \
         cargo test --locked --all-features --test it the_api_matches_its_snapshot"
    );
}

#[test]
fn every_fact_of_a_document_is_a_line() {
    let page = json!({
        "type": "object",
        "description": "A page.",
        "required": ["seq"],
        "properties": {
            "seq": {"type": ["integer", "null"], "minimum": 0},
            "rows": {"type": "array", "items": {"oneOf": [
                {"$ref": "#/components/schemas/Row"},
                {"type": "object", "properties": {"kind": {"const": "a"}}},
            ]}},
        },
        "unevaluatedProperties": false,
    });
    let answer = json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}});
    let document = json!({
        "paths": {"/rows/{id}": {"post": {
            "operationId": "change",
            "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
            "requestBody": {"content": {"application/json": {"schema": {"enum": ["a", "b"]}}}},
            "responses": {"200": answer, "404": {"$ref": "#/components/responses/NotFound"}},
        }}},
        "components": {"schemas": {"Page": page}},
    });
    let lines = [
        "POST /rows/{id} change -> 200 404",
        "Page.rows: array of (oneOf (Row | object))",
        "Page.rows[](2).kind: const \"a\"",
        "Page.seq: integer|null minimum 0, required",
        "Page: object unevaluatedProperties false",
        "answer: POST /rows/{id} 200 application/json: Page",
        "body: POST /rows/{id} application/json: enum [\"a\",\"b\"]",
        "parameter: POST /rows/{id} id in path string, required",
    ];
    assert_eq!(facts_of(&document).into_iter().collect::<Vec<_>>(), lines);
}

#[tokio::test]
async fn a_path_and_a_number_that_nothing_can_have_are_no_fault_of_ours() {
    let operator = Operator::new().await;
    operator.store([status("i-1", "m-1", "sent")]).await;
    operator.learnt().await;
    get(&operator, "/api/v1/messages/%FF").await.is_problem(400, "the path: is not UTF-8");
    get(&operator, "/api/v1/events/18446744073709551615").await.is_problem(404, "event 18446744073709551615");
    get(&operator, "/api/v1/events/18446744073709551616").await.is_problem(400, "seq: is not a number");
    let contacts = get(&operator, "/api/v1/contacts").await.json();
    let id = contacts["contacts"][0]["id"].as_str().unwrap();
    let all = get(&operator, &format!("/api/v1/contacts/{id}?before=18446744073709551615")).await.json();
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

/// The routes, names and types of a document, without its texts. A client depends on each.
fn facts_of(document: &Value) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for (path, route) in members(&document["paths"]) {
        for (method, operation) in members(route) {
            add_operation(&mut facts, &format!("{} {path}", method.to_uppercase()), operation);
        }
    }
    for (name, response) in members(&document["components"]["responses"]) {
        add_content(&mut facts, &format!("answer: {name}"), response);
    }
    for (name, schema) in members(&document["components"]["schemas"]) {
        add_schema(&mut facts, name, schema, "");
    }
    facts
}

fn add_operation(facts: &mut BTreeSet<String>, route: &str, operation: &Value) {
    let statuses: Vec<_> = members(&operation["responses"]).map(|(status, _)| status.as_str()).collect();
    facts.insert(format!("{route} {} -> {}", text(&operation["operationId"]), statuses.join(" ")));
    for parameter in elements(&operation["parameters"]) {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        let required = required_if(parameter["required"] == true);
        let schema = in_words(&parameter["schema"]);
        facts.insert(format!("parameter: {route} {name} in {place} {schema}{required}"));
    }
    add_content(facts, &format!("body: {route}"), &operation["requestBody"]);
    for (status, answer) in members(&operation["responses"]) {
        add_content(facts, &format!("answer: {route} {status}"), answer);
    }
}

/// Adds the media types of a body or of an answer, and the headers of an answer.
fn add_content(facts: &mut BTreeSet<String>, name: &str, content: &Value) {
    for part in ["content", "headers"] {
        for (key, value) in members(&content[part]) {
            let required = required_if(value["required"] == true);
            add_schema(facts, &format!("{name} {key}"), &value["schema"], required);
        }
    }
}

/// Adds a schema, and the properties of it and of the schemas in it.
fn add_schema(facts: &mut BTreeSet<String>, name: &str, schema: &Value, required: &str) {
    facts.insert(format!("{name}: {}{required}", in_words(schema)));
    add_properties(facts, name, schema);
}

fn add_properties(facts: &mut BTreeSet<String>, name: &str, schema: &Value) {
    for (property, inner) in members(&schema["properties"]) {
        let required = required_if(elements(&schema["required"]).any(|required| required == property));
        add_schema(facts, &format!("{name}.{property}"), inner, required);
    }
    for inner in ["items", "additionalProperties"].map(|keyword| &schema[keyword]) {
        if inner.is_object() {
            add_properties(facts, &format!("{name}[]"), inner);
        }
    }
    for forms in ["oneOf", "anyOf", "allOf"] {
        for (at, form) in elements(&schema[forms]).enumerate() {
            add_properties(facts, &format!("{name}({})", at + 1), form);
        }
    }
}

/// A schema in one line: its type and its other keywords, without its texts and its properties.
fn in_words(schema: &Value) -> String {
    let keywords: BTreeMap<_, _> =
        members(schema).map(|(keyword, value)| ((keyword != "type", keyword.as_str()), value)).collect();
    let words = keywords.into_iter().filter_map(|((_, keyword), value)| match keyword {
        "description" | "example" | "properties" => None,
        // The lines of the properties say which are required.
        "required" if schema["properties"].is_object() => None,
        "type" if value.is_array() => Some(elements(value).map(text).collect::<Vec<_>>().join("|")),
        "type" => Some(text(value).to_owned()),
        "$ref" => text(value).rsplit('/').next().map(str::to_owned),
        "items" => Some(format!("of ({})", in_words(value))),
        "oneOf" | "anyOf" | "allOf" => {
            let forms: Vec<String> = elements(value).map(in_words).collect();
            Some(format!("{keyword} ({})", forms.join(" | ")))
        }
        _ => Some(format!("{keyword} {value}")),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn required_if(required: bool) -> &'static str {
    if required { ", required" } else { "" }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
