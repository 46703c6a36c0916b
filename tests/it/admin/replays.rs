//! An operator's changes to handlers: pauses, replays, and bulk changes of dead letters.

use super::*;

fn taken(operator: &Operator) -> Vec<u64> {
    operator.destination.taken.lock().unwrap().clone()
}

async fn ended(operator: &Operator, id: &Value) -> Value {
    let path = format!("/api/v1/replays/{id}");
    until(async || !get(operator, &path).await.json()["endedAt"].is_null()).await;
    get(operator, &path).await.json()
}

#[tokio::test]
async fn a_replay_delivers_the_selection_that_a_dry_run_counted() {
    let operator = Operator::new().await;
    operator.destination.well.store(true, SeqCst);
    operator.store([status("1", "a", "sent"), status("2", "a", "failed"), incoming("3", "b")]).await;
    until(async || taken(&operator).len() == 3).await;
    let dry = json!({"handler": "crm", "filter": {"statuses": ["failed"]}, "dryRun": true});
    let counted = post(&operator, "/api/v1/replays", dry).await.json();
    assert_eq!(counted, json!({"dryRun": true, "handler": "crm", "events": 1, "first": 2, "last": 2}));
    let wish = json!({"handler": "crm", "filter": {"statuses": ["failed"]}, "rate": 1000});
    let started = post(&operator, "/api/v1/replays", wish).await.json();
    let last = ended(&operator, &started["id"]).await;
    assert_eq!((&last["state"], &last["delivered"], &last["cursor"]), (&json!("done"), &json!(1), &json!(3)));
    assert_eq!(taken(&operator).last(), Some(&2));
    let whole = post(&operator, "/api/v1/replays", json!({"handler": "crm"})).await.json();
    assert_eq!(ended(&operator, &whole["id"]).await["delivered"], 3);
    assert_eq!(taken(&operator).len(), 7);
    let list = get(&operator, "/api/v1/replays").await.json();
    assert_eq!(list["replays"].as_array().unwrap().len(), 2);
    assert_eq!(list["replays"][0]["filter"]["statuses"], json!(["failed"]));
}

#[tokio::test]
async fn replays_of_a_handler_run_in_turn_and_can_be_paused_and_cancelled() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent")]).await;
    let start = async || post(&operator, "/api/v1/replays", json!({"handler": "crm"})).await.json();
    let (first, second) = (start().await["id"].clone(), start().await["id"].clone());
    let ask = async |id: &Value, verb: &str| {
        post(&operator, &format!("/api/v1/replays/{id}/{verb}"), json!({})).await.json()["state"].clone()
    };
    assert_eq!(ask(&first, "pause").await, "paused");
    operator.destination.well.store(true, SeqCst);
    until(async || taken(&operator) == [1]).await;
    assert_eq!(ask(&second, "cancel").await, "cancelled");
    let again = post(&operator, &format!("/api/v1/replays/{second}/resume"), json!({})).await;
    again.is_problem(404, "it is cancelled");
    assert_eq!(ask(&first, "resume").await, "running");
    assert_eq!(ended(&operator, &first).await["state"], "done");
    assert_eq!(taken(&operator), [1, 1]);
}

#[tokio::test]
async fn a_waiting_replay_shows_the_reason() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent")]).await;
    let waits =
        async |id: &Value| get(&operator, &format!("/api/v1/replays/{id}")).await.json()["waits"].clone();
    let start =
        async || post(&operator, "/api/v1/replays", json!({"handler": "crm"})).await.json()["id"].clone();
    let first = start().await;
    until(async || waits(&first).await == "the destination of handler crm is unwell").await;
    post(&operator, "/api/v1/handlers/crm/pause", json!({})).await.json();
    until(async || waits(&first).await == "handler crm is paused").await;
    let second = start().await;
    assert_eq!(waits(&second).await, format!("replay {first} to handler crm goes first"));
    let list = get(&operator, "/api/v1/replays").await.json();
    assert_eq!(list["replays"][0]["waits"], "handler crm is paused");
    post(&operator, &format!("/api/v1/replays/{first}/pause"), json!({})).await.json();
    assert!(waits(&first).await.is_null(), "that it is paused is its state");
    post(&operator, &format!("/api/v1/replays/{first}/resume"), json!({})).await.json();
    operator.destination.well.store(true, SeqCst);
    post(&operator, "/api/v1/handlers/crm/resume", json!({})).await.json();
    assert!(ended(&operator, &first).await["waits"].is_null());
    ended(&operator, &second).await;
}

#[tokio::test]
async fn an_impossible_replay_request_is_an_error() {
    let operator = Operator::new().await;
    let ask = async |wish: Value| post(&operator, "/api/v1/replays", wish).await;
    ask(json!({"handler": "crm"})).await.is_problem(404, "event");
    operator.store([status("1", "a", "sent")]).await;
    ask(json!({"handler": "lake"})).await.is_problem(404, "lake");
    ask(json!({"handler": "crm", "until": "2001-01-01T00:00:00Z"})).await.is_problem(404, "in that time");
    ask(json!({"handler": "crm", "filter": {"status": ["x"]}}))
        .await
        .is_problem(400, "unknown key \"status\"");
    ask(json!({"handler": "crm", "filter": {"events": ["[a"]}})).await.is_problem(400, "not a glob");
    ask(json!({"handler": "crm", "rate": 0})).await.is_problem(400, "expected an integer from 1 to");
    ask(json!({"handler": "crm", "x": 1})).await.is_problem(400, "unknown field");
    post(&operator, "/api/v1/replays/77/cancel", json!({})).await.is_problem(404, "replay 77");
    get(&operator, "/api/v1/replays/77").await.is_problem(404, "replay 77");
}

#[tokio::test]
async fn a_pause_is_shown_with_its_reason_and_ends_by_a_resume() {
    let operator = Operator::new().await;
    operator.destination.well.store(true, SeqCst);
    let paused =
        post(&operator, "/api/v1/handlers/crm/pause", json!({"reason": "the CRM moves"})).await.json();
    assert_eq!(paused["paused"]["reason"], "the CRM moves");
    operator.store([status("1", "a", "sent")]).await;
    let row = async || get(&operator, "/api/v1/handlers").await.json()["handlers"][0].clone();
    until(async || row().await["lanes"].as_array().unwrap().iter().all(|lane| lane["state"] == "paused"))
        .await;
    assert_eq!(row().await["paused"]["reason"], "the CRM moves");
    assert!(
        get(&operator, "/metrics")
            .await
            .body
            .contains("bikhook_lane_paused{handler=\"crm\",lane=\"other\"} 1")
    );
    let resume = async || post(&operator, "/api/v1/handlers/crm/resume", json!({})).await.json();
    assert_eq!(resume().await["resumed"], true);
    assert_eq!(resume().await["resumed"], false);
    until(async || taken(&operator) == [1]).await;
    assert!(row().await["paused"].is_null());
    post(&operator, "/api/v1/handlers/lake/pause", json!({})).await.is_problem(404, "lake");
    let long = json!({"reason": "x".repeat(201)});
    post(&operator, "/api/v1/handlers/crm/pause", long).await.is_problem(400, "reason");
}

#[tokio::test]
async fn refusals_are_believed_and_a_waiting_handler_is_retried() {
    let operator = Operator::new().await;
    operator.destination.refuses.store(true, SeqCst);
    operator.store((0..12).map(|n| status(&format!("id-{n}"), &format!("m-{n}"), "sent"))).await;
    let row = async || get(&operator, "/api/v1/handlers").await.json()["handlers"][0].clone();
    let other = async || row().await["lanes"][1].clone();
    until(async || other().await["refused"] == "status 422" && other().await["state"] == "waiting").await;
    let waits_for = other().await["waitsFor"].as_str().unwrap().to_owned();
    assert!(waits_for.contains("status 422"), "{waits_for}");
    let told = post(&operator, "/api/v1/handlers/crm/believe", json!({})).await.json();
    assert_eq!(told, json!({"handler": "crm", "upto": 12, "classes": ["status 422"]}));
    until(async || row().await["dead"] == 12).await;
    let none = post(&operator, "/api/v1/handlers/crm/believe", json!({})).await.json();
    assert_eq!(none["classes"], json!([]));
    let told = post(&operator, "/api/v1/handlers/crm/retry", json!({})).await.json();
    assert_eq!(told, json!({"handler": "crm"}));
    for what in ["believe", "retry"] {
        let path = format!("/api/v1/handlers/lake/{what}");
        post(&operator, &path, json!({})).await.is_problem(404, "lake");
    }
}

#[tokio::test]
async fn dead_letters_are_retried_and_dropped_in_bulk_by_what_is_in_them() {
    let operator = Operator::new().await;
    operator.store([status("1", "a", "sent"), status("2", "b", "failed"), status("3", "c", "failed")]).await;
    for seq in 1..=3 {
        operator.bury(seq).await;
    }
    let ask = async |verb: &str, more: Value| {
        let mut body = json!({"handler": "crm", "all": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&operator, &format!("/api/v1/dead/{verb}"), body).await
    };
    assert_eq!(ask("drop", json!({"filter": {"messages": ["b"]}})).await.json()["dropped"], 1);
    assert_eq!(ask("drop", json!({"until": "2001-01-01T00:00:00Z"})).await.json()["dropped"], 0);
    let retried = ask("retry", json!({"filter": {"statuses": ["failed"]}, "since": "2001-01-01T00:00:00Z"}));
    assert_eq!(retried.await.json()["retried"], 1);
    let left = get(&operator, "/api/v1/dead").await.json();
    let rows = left["dead"].as_array().unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row["seq"].as_u64(), row["retrying"].as_bool())).collect();
    assert_eq!(seen, [(Some(3), Some(true)), (Some(1), Some(false))]);
    ask("drop", json!({"filter": {"x": 1}})).await.is_problem(400, "unknown key");
}

#[tokio::test]
async fn an_event_says_what_became_of_it_by_whom_and_when() {
    let operator = Operator::new().await;
    operator.store((1..=5).map(|n| status(&n.to_string(), &format!("m-{n}"), "sent"))).await;
    let lane =
        async |seq: u64| get(&operator, &format!("/api/v1/events/{seq}")).await.json()["lanes"][0].clone();
    let skip = async |dry: bool| {
        post(&operator, "/api/v1/handlers/crm/skip", json!({"before": 3, "dryRun": dry})).await.json()
    };
    let would = skip(true).await;
    assert_eq!(would["events"].as_u64().unwrap() + would["inFlight"].as_u64().unwrap(), 2, "{would}");
    assert_eq!((&would["dryRun"], lane(1).await["state"].as_str()), (&json!(true), Some("waiting")));

    skip(false).await;
    until(async || lane(1).await["state"] == "skipped" && lane(2).await["state"] == "skipped").await;
    let skipped = lane(2).await;
    assert_eq!(skipped["by"], "an operator");
    assert!(skipped["at"].is_string(), "{skipped}");
    let page = get(&operator, "/events/2").await.body;
    assert!(page.contains("skipped</span> <small>by an operator</small>"), "{page}");

    operator.destination.well.store(true, SeqCst);
    until(async || lane(5).await["state"] == "delivered").await;
    assert!(get(&operator, "/events/5").await.body.contains("delivered</span>"));
    operator.bury(4).await;
    assert_eq!(lane(4).await["state"], "dead");
    post(&operator, "/api/v1/dead/drop", json!({"ids": [1]})).await.json();
    let dropped = lane(4).await;
    assert_eq!((&dropped["state"], &dropped["by"]), (&json!("dropped"), &json!("an operator")));
    assert!(get(&operator, "/events/4").await.body.contains("dead letter dropped</span>"));
}
