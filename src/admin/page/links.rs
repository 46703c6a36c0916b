//! Paths and queries of the links between pages, encoded.

/// The path of a handler's page.
pub(super) fn handler(name: &str) -> String {
    format!("/handlers/{}", encoded(name))
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
