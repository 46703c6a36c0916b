//! The texts of the OpenAPI document that do not belong to one route.

use serde_json::{Map, Value, json};

/// The document without its paths, tags and schemas.
pub(super) fn head() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "bikhook",
            "version": "1",
            "summary": "The admin API of a bikhook receiver.",
            "description": "Paged lists come newest first: pass `next` of one page as `before` of the following page; \
                `next` is null on the last page. The list of events with `after` comes oldest first: pass \
                `next` as `after`. A page may have fewer rows than `limit` and still have a `next`. Times are RFC 3339, \
                UTC. An unknown parameter is an error.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{}, {"basic": []}],
        "components": {
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Required if `[admin]` has credentials.",
                },
            },
            "responses": PROBLEMS.map(problem_answer).into_iter().collect::<Map<_, _>>(),
        },
    })
}

/// The schema of an error answer.
pub(super) fn problem() -> Value {
    json!({
        "description": "A problem document (RFC 9457).",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"description": "What is wrong and what to do, as text.", "type": "string"},
        },
        "unevaluatedProperties": false,
    })
}

/// The description and an example of the variable segment of a path.
pub(super) fn segment(name: &str) -> (&'static str, Value) {
    match name {
        "seq" => ("The seq of the event.", json!(1)),
        "name" => ("The name of the handler.", json!("crm")),
        "messageId" => ("BIK's id of the message.", json!("m-1")),
        "contactId" => (
            "The id of the customer, as a list shows it: 32 hexadecimal digits.",
            json!("0123456789abcdef0123456789abcdef"),
        ),
        "id" => ("The id, as a list shows it.", json!(1)),
        _ => ("", Value::Null),
    }
}

/// The answers with an error status: the status, the name in the document, and the meaning.
pub(super) const PROBLEMS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "A parameter, the body or the head of the request is invalid; `detail` says which."),
    (401, "Unauthorized", "The credentials of `[admin]` are missing or wrong."),
    (403, "Forbidden", "The request would change something, and it comes from a page of another origin."),
    (404, "NotFound", "The requested object does not exist, or insight is disabled or could not be opened."),
    (405, "MethodNotAllowed", "The path does not support this method; `Allow` lists its methods."),
    (408, "TooSlow", "The body did not arrive in time."),
    (413, "TooLarge", "The body is too large."),
    (415, "UnsupportedMediaType", "The content type is not `application/json`."),
    (421, "Misdirected", "The `Host` is not accepted."),
    (
        429,
        "TooManyFailures",
        "More than 60 requests with missing or wrong credentials came from this address within a minute.",
    ),
    (
        500,
        "Inside",
        "The journal or insight could not be read, or bikhook has an internal error; the log says more.",
    ),
    (
        503,
        "Unavailable",
        "The journal cannot store events now, the receiver is stopping, the lanes of the handler have ended, or too \
         many tails are open.",
    ),
];

/// The name of an error status in the document, and its response object.
fn problem_answer((status, name, meaning): (u16, &str, &str)) -> (String, Value) {
    let headers = match status {
        401 => json!({"WWW-Authenticate": {"schema": {"type": "string"}, "required": true}}),
        405 => json!({"Allow": {"schema": {"type": "string"}, "required": true}}),
        429 => json!({"Retry-After": {"schema": {"type": "integer"}, "required": true}}),
        _ => json!({}),
    };
    let content = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    (name.to_owned(), json!({"description": meaning, "content": content, "headers": headers}))
}
