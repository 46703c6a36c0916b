//! Values that a sender could post to inject markup into a page.

use serde_json::{Value, json};

use super::world::World;

/// Each of these, if it runs, sets a property of the window or opens a dialog.
pub const VALUES: [&str; 7] = [
    "<script>window.owned=1</script>",
    "<img src=x onerror=window.owned=2>",
    "\"><b onmouseover=alert(3)>x</b>",
    "javascript:window.owned=4//",
    "'-alert(5)-'",
    "</textarea></title></pre><iframe srcdoc='<script>parent.owned=6</script>'>",
    "{{7*7}} ${window.owned=7} &lt;b&gt;",
];

/// A handler whose dead letters quote the payload.
pub const REFUSES: &str = r#"
[handlers.refuses]
kind = "exec"
command = ["sh", "-c", "cat >&2; exit 65"]
events = ["incoming-message"]
"#;

/// Pages that are not linked, with such values in the query.
pub const PAGES: [&str; 5] = [
    "/search?q=%3Cscript%3Ewindow.owned%3D8%3C%2Fscript%3E",
    "/search?q=%22%20onfocus%3D%22window.owned%3D9%22%20autofocus%3D%22",
    "/events?event=%22%3E%3Cimg%20src%3Dx%20onerror%3Dwindow.owned%3D10%3E",
    "/conversations?address=%27%22%3E%3Cscript%3Ewindow.owned%3D11%3C%2Fscript%3E",
    "/?owner=javascript%3Awindow.owned%3D12&store=%3Cscript%3Ewindow.owned%3D12%3C%2Fscript%3E",
];

/// Posts events with each of these texts in every value. Returns the pages that show them.
pub fn fill(world: &World) -> Value {
    for (at, text) in VALUES.iter().enumerate() {
        let element = |name: &str, info: Value| {
            json!({"eventName": name, "id": format!("{name}{at} {text}"), "storeId": text, "eventInfo": info,
                "customerDetails": {"firstName": text, "lastName": text, "customerId": text}})
            .to_string()
        };
        let info = |status: &str, message: String| {
            json!({"messageId": message, "createdAt": text, "channelId": text, "status": status, "message": text,
                "owner": text, "ownerId": text, "assetValue": text, "failureReason": text})
        };
        world.post(&[
            element("incoming-message", info("", format!("i{at} {text}"))),
            element("message-status-update", info("failed", format!("f{at} {text}"))),
            element("message-status-update", info(text, format!("s{at} {text}"))),
            element(text, json!({"messageId": format!("o{at} {text}"), "status": text, "channelId": text})),
        ]);
        // Not an event: it goes into quarantine, with the error.
        world.post(&[json!(text).to_string(), json!({ "eventName": 1, "id": text }).to_string()]);
    }
    world.learnt();
    json!({
        "a message": "/messages/",
        "a conversation": "/conversations/",
        "an event": "/events/",
        "the list of events": "/events",
        "search": "/search",
        "the live page": "/tail",
        "an entry of the quarantine": "/quarantine/",
        "a dead letter": "/dead/",
    })
}
