//! The reason of a failure as text. In BIK's sample, the reason is a sentence. The channels themselves report a failure
//! as a code, an object with a code and a title, or a list of such objects, so BIK may send these too.

use std::borrow::Cow;

use super::{
    field::{Field, Reader, WrongType, id, present},
    undocumented::Undocumented,
};

/// The members in which the description of an error may be nested, and how many nested levels are read.
const NESTED: [&str; 3] = ["error", "errors", "error_data"];
const LEVELS: usize = 3;
const CODES: [&str; 3] = ["code", "errorCode", "error_code"];
const WORDS: [&str; 6] = ["title", "message", "reason", "description", "details", "detail"];

impl Reader {
    /// Reads the reason of a failure; see [`reason`].
    pub(super) fn reason<'a>(&mut self, field: Field<'a>) -> Option<Cow<'a, str>> {
        self.read(field, has_reason_type, reason)
    }
}

/// Returns whether a failure reason may have the type of this value: any type except a boolean.
fn has_reason_type(raw: &str) -> bool {
    !matches!(raw, "true" | "false")
}

/// Reads the reason of a failure. A number becomes its digits. An object becomes its code and its texts, such as title
/// and message, separated by `: `. An object with neither becomes its JSON.
fn reason(field: Field<'_>) -> Result<Option<Cow<'_, str>>, WrongType> {
    let Some(value) = Undocumented::of(field) else { return Ok(None) };
    if !value.is_object() && !value.is_list() {
        return id(present(field));
    }
    let mut parts = Vec::new();
    collect(value, LEVELS, &mut parts);
    Ok(match parts.len() {
        0 => Some(Cow::Borrowed(value.json())),
        1 => parts.pop(),
        _ => Some(Cow::Owned(parts.join(": "))),
    })
}

/// Adds the texts of an error, outermost first. Leaves out a text that is equal to an earlier one.
fn collect<'a>(value: Undocumented<'a>, levels: usize, parts: &mut Vec<Cow<'a, str>>) {
    // Each item of a list is an error of its own; the first one is the reason.
    let Some(error) = value.items().into_iter().next() else { return };
    let mut add = |text: Option<Cow<'a, str>>| {
        if let Some(text) = text.filter(|text| !parts.contains(text)) {
            parts.push(text);
        }
    };
    if !error.is_object() {
        return add(error.text());
    }
    add(error.first_text(&CODES));
    WORDS.iter().for_each(|word| add(error.get(word).and_then(Undocumented::text)));
    if let Some(levels) = levels.checked_sub(1) {
        NESTED.iter().filter_map(|name| error.get(name)).for_each(|nested| collect(nested, levels, parts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reason_of_any_type_becomes_a_text() {
        for (json, text) in [
            (r#""550 no such user""#, Some("550 no such user")),
            ("131047", Some("131047")),
            (r#"{"code":131047,"title":"Re-engagement message"}"#, Some("131047: Re-engagement message")),
            (
                r#"{"error":{"code":131026,"message":"Message undeliverable"}}"#,
                Some("131026: Message undeliverable"),
            ),
            (
                r#"{"errors":[{"code":131049,"title":"Not sent","message":"Not sent",
                    "error_data":{"details":"healthy ecosystem engagement"}},{"code":1}]}"#,
                Some("131049: Not sent: healthy ecosystem engagement"),
            ),
            (r#"[{"code":"131056"}]"#, Some("131056")),
            (r#"["Carrier rejected"]"#, Some("Carrier rejected")),
            (r#"{"why":1}"#, Some(r#"{"why":1}"#)),
            (r#""""#, None),
            ("null", None),
            ("{}", None),
            ("[]", None),
        ] {
            assert_eq!(reason(Some(json)).ok().flatten().as_deref(), text, "{json}");
        }
        assert!(reason(Some("true")).is_err() && !has_reason_type("true"));
    }
}
