//! Paths and queries of the links between pages, encoded.

use crate::dispatch::LaneStatus;

/// The path of a handler's page.
pub(super) fn handler(name: &str) -> String {
    format!("/handlers/{}", encoded(name))
}

/// The path of a handler's page, if the handler has one of these lanes.
pub(super) fn handler_of(lanes: &[LaneStatus], name: &str) -> Option<String> {
    lanes.iter().any(|lane| *lane.handler == *name).then(|| handler(name))
}

/// The URL of a path with these fields as its query.
pub(super) fn with_query(path: &str, fields: &[(String, String)]) -> String {
    let query: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Percent-encodes a text for a URL.
pub(super) fn encoded(text: &str) -> String {
    askama::filters::urlencode_strict(text).map(|text| text.to_string()).unwrap_or_default()
}
