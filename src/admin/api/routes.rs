//! The routes of the API: one table, from which both the router and the OpenAPI document are made.

use std::sync::{Arc, LazyLock};

use axum::{Router, extract::State};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{
    answers::JsonText,
    clock, contacts, dead, document, events, figures, handlers, insight, messages,
    operation::{Operation, get, post},
    quarantine, replays,
    schemas::Schemas,
    status, tail,
};
use crate::admin::{AdminState, error::RequestError, params::Parameters};

/// All operations, by the tag that they have in the document.
fn operations() -> [(&'static str, Vec<Operation>); 7] {
    [
        ("events", events_routes()),
        ("handlers", handlers_routes()),
        ("replays", replays_routes()),
        ("dead letters", dead_letters_routes()),
        ("quarantine", quarantine_routes()),
        // 404 if insight is disabled or could not be opened.
        ("insight", insight_routes().into_iter().map(Operation::or_not_found).collect()),
        ("receiver", receiver_routes()),
    ]
}

fn events_routes() -> Vec<Operation> {
    vec![
        get("/events", "listEvents", events::list)
            .summary("List events, newest first; with `after`, oldest first"),
        get("/events/{seq}", "getEvent", events::one)
            .summary("Get one event with its state in each handler; with `raw=1`, only its stored bytes"),
        get("/tail", "tail", tail::tail).summary(
            "Stream new events as server-sent events: `id` is the seq, the event type is `event`, and \
             `data` is the event as JSON",
        ),
    ]
}

fn handlers_routes() -> Vec<Operation> {
    vec![
        get("/handlers", "listHandlers", handlers::list)
            .summary("List all handlers with their lanes, also handlers that are no longer configured"),
        post("/handlers/{name}/skip", "skip", handlers::skip)
            .summary("Skip the undelivered events of a handler before a seq or a time"),
        post("/handlers/{name}/pause", "pauseHandler", handlers::pause)
            .summary("Pause a handler until it is resumed, also across restarts"),
        post("/handlers/{name}/resume", "resumeHandler", handlers::resume)
            .summary("Resume a paused handler at its cursors"),
        post("/handlers/{name}/retry", "retryHandler", handlers::retry)
            .summary("Retry now every event of a handler that waits for a retry"),
        post("/handlers/{name}/believe", "believeHandler", handlers::believe).summary(
            "Accept the refusals of a destination: turn the events that it refuses now into dead letters",
        ),
        post("/handlers/{name}/rename", "renameHandler", handlers::rename).summary(
            "Move the state of a handler that is no longer configured (cursors, set-aside events, dead \
             letters, replays, pause) to another name",
        ),
    ]
}

fn replays_routes() -> Vec<Operation> {
    vec![
        get("/replays", "listReplays", replays::list)
            .summary("List the active replays and those that ended last, oldest first"),
        post("/replays", "startReplay", replays::start)
            .summary(
                "Start a replay, which delivers stored events to a handler again; with `dryRun`, only count \
                 the events",
            )
            .or_not_found(),
        get("/replays/{id}", "getReplay", replays::one).summary("Get one replay with its progress"),
        post("/replays/{id}/pause", "pauseReplay", replays::pause)
            .summary("Pause a replay until it is resumed, also across restarts"),
        post("/replays/{id}/resume", "resumeReplay", replays::resume).summary("Resume a paused replay"),
        post("/replays/{id}/cancel", "cancelReplay", replays::cancel)
            .summary("Cancel a replay permanently; events that it delivered stay delivered"),
    ]
}

fn dead_letters_routes() -> Vec<Operation> {
    vec![
        get("/dead", "listDead", dead::list)
            .summary("List dead letters, newest first, without personal data"),
        get("/dead/{id}", "getDead", dead::one)
            .summary("Get one dead letter with its event, its last error and its failed attempts"),
        post("/dead/retry", "retryDead", dead::retry)
            .summary("Retry dead letters: deliver their events again")
            .or_not_found(),
        post("/dead/drop", "dropDead", dead::drop).summary("Drop dead letters permanently").or_not_found(),
    ]
}

fn quarantine_routes() -> Vec<Operation> {
    vec![
        get("/quarantine", "listQuarantine", quarantine::list)
            .summary("List quarantine entries, newest first, without personal data"),
        get("/quarantine/{id}", "getQuarantined", quarantine::one)
            .summary("Get one quarantine entry with the details of its error"),
        get("/quarantine/{id}/bytes", "getQuarantinedBytes", quarantine::bytes)
            .summary("Get the bytes of a quarantine entry as they were received"),
        post("/quarantine/retry", "retryQuarantine", quarantine::retry)
            .summary("Retry quarantine entries: store the elements that can be read now"),
        post("/quarantine/drop", "dropQuarantine", quarantine::drop)
            .summary("Drop quarantine entries permanently"),
    ]
}

fn insight_routes() -> Vec<Operation> {
    vec![
        get("/messages", "listMessages", messages::list).summary("Search messages, newest first"),
        get("/messages/{messageId}", "getMessage", messages::one).summary(
            "Get a message with every event that reported it, one entry for each source that has it",
        ),
        get("/contacts", "listContacts", contacts::list)
            .summary("List customers, the most recently active first"),
        get("/contacts/waiting", "listWaiting", contacts::waiting).summary(
            "List customers who wrote and have no answer yet, longest wait first. A customer who has waited for \
             more than 24 hours is missed",
        ),
        get("/contacts/{contactId}", "getContact", contacts::one)
            .summary("Get the conversation with a customer, newest entry first, also by the id of a merged one"),
        get("/funnel", "getFunnel", figures::funnel).summary(
            "Count the outcomes of messages that were first seen in a period: by default the last 7 days, \
             in whole hours",
        ),
        get("/failures", "getFailures", figures::failures)
            .summary("Count failed messages by class of failure, for the same period as the funnel"),
        get("/arrivals", "getArrivals", figures::arrivals).summary(
            "Count received events per hour or day, source and event name; by default for the last 7 days",
        ),
        get("/sources", "listSources", figures::sources).summary(
            "List sources with their number of events, their delay and the time since their last event; by \
             default for the last 7 days",
        ),
        get("/insight", "getInsight", insight::progress)
            .summary("Get the progress of insight through the journal"),
        post("/insight/rebuild", "rebuildInsight", insight::rebuild).summary(
            "Rebuild insight: delete all messages and customers, and the figures that the journal can restore, and \
             process the journal again",
        ),
    ]
}

fn receiver_routes() -> Vec<Operation> {
    vec![
        get("/clock", "getClock", clock::show)
            .summary("Get the state of the clock, and whether the wall clock is trusted"),
        post("/clock/accept", "acceptClock", clock::accept)
            .summary("Trust the wall clock after a jump, and let deletion by age catch up"),
        get("/credentials", "listCredentials", status::credentials)
            .summary("List all credentials of the public side with their last use, without secrets"),
        get("/status", "getStatus", status::status)
            .summary("Get the version, the health and the figures of the journal"),
        get("/openapi.json", "getOpenApi", serve_document).summary("Get this document"),
    ]
}

/// The router of all operations.
pub(in crate::admin) fn router() -> Router<Arc<AdminState>> {
    let operations = operations().into_iter().flat_map(|(_, operations)| operations);
    operations.fold(Router::new(), |router, operation| operation.serve(router))
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi().to_string());

/// The OpenAPI document.
#[derive(JsonSchema)]
#[schemars(with = "Map<String, Value>", inline)]
enum OpenApi {}

/// `GET openapi.json`
async fn serve_document(
    _: State<Arc<AdminState>>,
    _: Parameters<()>,
) -> Result<JsonText<OpenApi>, RequestError> {
    Ok(JsonText::new(DOCUMENT.as_str()))
}

/// Makes the OpenAPI document.
fn openapi() -> Value {
    let (mut paths, mut tags, mut schemas) = (json!({}), Vec::new(), Schemas::new());
    for (tag, operations) in operations() {
        tags.push(json!({"name": tag}));
        for operation in operations {
            operation.document(tag, &mut paths, &mut schemas);
        }
    }
    let mut document = document::head();
    document["paths"] = paths;
    document["tags"] = tags.into();
    document["components"]["schemas"] = schemas.components().into();
    document["components"]["schemas"]["Problem"] = document::problem();
    document
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_every_route_with_its_texts() {
        let document = openapi();
        let paths = document["paths"].as_object().unwrap().values();
        let documented: Vec<&Value> = paths.flat_map(|path| path.as_object().unwrap().values()).collect();
        let routes: usize = operations().iter().map(|(_, operations)| operations.len()).sum();
        assert_eq!(documented.len(), routes);
        let ids: BTreeSet<&str> =
            documented.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), routes);
        for operation in documented {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let texts = [&operation["summary"], &operation["responses"]["200"]["description"]];
            for text in parameters.map(|parameter| &parameter["description"]).chain(texts) {
                assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{operation}");
            }
        }
    }

    #[test]
    fn every_name_in_the_document_has_its_schema_and_no_object_is_open() {
        let document = openapi();
        let mut values = vec![&document];
        while let Some(value) = values.pop() {
            if let Some(target) = value["$ref"].as_str() {
                assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            values.extend(value.as_object().into_iter().flat_map(Map::values));
            values.extend(value.as_array().into_iter().flatten());
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let closed = schema["additionalProperties"] == false || schema["unevaluatedProperties"] == false;
            assert!(closed || schema["properties"].is_null(), "{name}: {schema}");
        }
    }
}
