//! Properties that hold for any bytes.

use std::collections::BTreeMap;

use bikhook::event::{Decoded, Draft, Element, Reason};
use proptest::prelude::*;
use serde::Serialize;

use super::{decoded, draft};

/// JSON without floats and duplicate keys, which serde_json writes unchanged.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Json {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Number),
        text().prop_map(Json::Text),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
            prop::collection::btree_map(text(), inner, 0..6).prop_map(Json::Object),
        ]
    })
}

/// Texts that would break a careless splitter.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\[\\]{},:\" \\\\\n\u{0}é😀]{0,8}"]
}

fn event(value: Json) -> Json {
    Json::Object(BTreeMap::from([
        ("eventName".to_owned(), Json::Text("x".to_owned())),
        ("eventInfo".to_owned(), value),
    ]))
}

/// Writes JSON with blanks and trailing commas wherever they are tolerated. The noise decides which.
struct Noisy<'a> {
    out: String,
    noise: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    /// The number of trailing commas that it wrote.
    commas: u32,
}

impl Noisy<'_> {
    fn value(&mut self, value: &Json) {
        self.blank();
        match value {
            Json::Array(items) => {
                self.list('[', ']', items, |noisy, item| noisy.value(item));
            }
            Json::Object(fields) => self.list('{', '}', fields, |noisy, (key, value)| {
                noisy.blank();
                noisy.scalar(key);
                noisy.blank();
                noisy.out.push(':');
                noisy.value(value);
            }),
            scalar => self.scalar(scalar),
        }
        self.blank();
    }

    fn list<T>(
        &mut self,
        open: char,
        close: char,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T),
    ) {
        self.out.push(open);
        let mut some = false;
        for item in items {
            if some {
                self.out.push(',');
            }
            write(self, item);
            some = true;
        }
        if some && self.next().is_multiple_of(3) {
            self.out.push(',');
            self.commas += 1;
        }
        self.blank();
        self.out.push(close);
    }

    fn scalar(&mut self, scalar: &impl Serialize) {
        self.out.push_str(&serde_json::to_string(scalar).unwrap());
    }

    fn blank(&mut self) {
        let blank = ["", "", "", " ", "\n", "\t\r\n  "][usize::from(self.next()) % 6];
        self.out.push_str(blank);
    }

    fn next(&mut self) -> u8 {
        *self.noise.next().unwrap()
    }
}

fn noisy<'a>(noise: &'a [u8]) -> Noisy<'a> {
    Noisy { out: String::new(), noise: noise.iter().cycle(), commas: 0 }
}

/// Tokens in any order: nearly JSON, which arbitrary bytes never are.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"{"[..],
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\n",
        b"\"a\"",
        b"\"",
        b"\\",
        b"1",
        b"null",
        b"\xff",
        b"\xef\xbb\xbf",
        b"{\"eventName\":\"x\"}",
        b"\"eventName\":\"x\"",
        b"\"id\":\"1\"",
        b"\"eventInfo\":{\"status\":\"sent\"}",
        b"\"\\ud83d\"",
        b"{},",
        b"[1,],",
    ]);
    let tokens = || prop::collection::vec(token.clone(), 0..24).prop_map(|tokens| tokens.concat());
    prop_oneof![
        tokens(),
        tokens().prop_map(|inner| [b"[", &inner[..], b"]"].concat()),
        tokens().prop_map(|inner| [b"{\"eventName\":\"x\",", &inner[..], b"}"].concat())
    ]
}

/// Checks the body from start to end: only separators are between pieces, and every piece is in a draft or in
/// quarantine.
fn nothing_is_lost(body: &[u8], decoded: &Decoded) -> Result<(), TestCaseError> {
    let mut drafts = decoded.drafts.iter().map(|draft| draft.element.raw().as_bytes()).peekable();
    let mut quarantined = decoded.quarantined.iter().map(|item| &item.bytes[..]).peekable();
    let mut rest = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let array = rest.starts_with(b"[") && drafts.peek().is_none_or(|draft| draft.starts_with(b"{"));
    if array && quarantined.peek() != Some(&rest) {
        rest = &rest[1..rest.len() - 1];
    }
    loop {
        while let [b' ' | b'\n' | b'\r' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let draft = drafts.peek().copied().filter(|piece| rest.starts_with(piece));
        let quarantine = quarantined.peek().copied().filter(|piece| rest.starts_with(piece));
        // A piece never extends past a separator. So if both match, the longer one is the piece.
        let piece = match (draft, quarantine) {
            (Some(draft), Some(other)) if other.len() > draft.len() => quarantined.next(),
            (Some(_), _) => drafts.next(),
            (None, Some(_)) => quarantined.next(),
            (None, None) => break,
        };
        rest = &rest[piece.unwrap_or_default().len()..];
    }
    prop_assert!(rest.is_empty(), "left over: {:?}", String::from_utf8_lossy(rest));
    prop_assert!(drafts.next().is_none() && quarantined.next().is_none(), "more than the body has");
    Ok(())
}

fn reads_the_same_again(first: &Draft) -> Result<(), TestCaseError> {
    let element = &first.element;
    let again = Element::read(element.raw().as_bytes()).unwrap();
    prop_assert_eq!(again.raw(), element.raw());
    prop_assert_eq!(again.name(), element.name());
    prop_assert_eq!(again.id(), element.id());
    prop_assert_eq!(again.class(), element.class());
    prop_assert_eq!((element.key("bik"), again.key("bik")), (first.key, first.key));
    prop_assert_eq!(again.order_key("bik"), element.order_key("bik"));
    prop_assert_eq!(again.rendered(), element.rendered());
    prop_assert_eq!(format!("{again:?}"), format!("{element:?}"), "the views");
    prop_assert_eq!(draft(element.raw().as_bytes()).key, first.key);
    let rendered = draft(element.rendered().as_bytes());
    prop_assert_eq!(rendered.content, first.content);
    let rendered = rendered.element;
    prop_assert_eq!(rendered.raw(), element.rendered());
    prop_assert_eq!(rendered.rendered(), element.rendered());
    prop_assert_eq!(rendered.order_key("bik"), element.order_key("bik"));
    Ok(())
}

fn holds_for(body: &[u8]) -> Result<(), TestCaseError> {
    match decoded(body) {
        Ok(decoded) => {
            nothing_is_lost(body, &decoded)?;
            for draft in &decoded.drafts {
                reads_the_same_again(draft)?;
            }
            for item in &decoded.quarantined {
                let unreadable = Element::read(&item.bytes).unwrap_err();
                prop_assert_eq!(unreadable.reason, item.reason);
                prop_assert_eq!(unreadable.detail, item.detail.clone());
            }
        }
        Err(not_json) => {
            prop_assert_eq!(&not_json.quarantined.bytes[..], body);
            prop_assert_eq!(not_json.quarantined.reason, Reason::NotJson);
            prop_assert!(not_json.line >= 1 && not_json.column >= 1);
            let lines: Vec<_> = body.split(|&byte| byte == b'\n').collect();
            prop_assert!(not_json.column <= lines[not_json.line - 1].len() + 1, "a place in the body");
        }
    }
    Ok(())
}

fn only_trailing_commas() -> jsonc_parser::ParseOptions {
    jsonc_parser::ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_array_in_any_layout_is_cut_and_rendered(values in prop::collection::vec(json(), 0..6), noise in prop::collection::vec(any::<u8>(), 1..99)) {
        let events: Vec<_> = values.into_iter().map(event).collect();
        let mut body = noisy(&noise);
        body.value(&Json::Array(events.clone()));
        let decoded = decoded(body.out.as_bytes()).unwrap();
        prop_assert!(decoded.quarantined.is_empty());
        let rendered: Vec<_> = decoded.drafts.iter().map(|draft| draft.element.rendered().into_owned()).collect();
        let expected: Vec<_> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        prop_assert_eq!(rendered, expected);
        holds_for(body.out.as_bytes())?;
    }

    #[test]
    fn the_second_try_is_counted_where_it_was_needed(value in json(), noise in prop::collection::vec(any::<u8>(), 1..99)) {
        let mut body = noisy(&noise);
        body.value(&event(value));
        let decoded = decoded(body.out.as_bytes()).unwrap();
        prop_assert_eq!(decoded.repaired, u32::from(body.commas > 0));
        let strict = serde_json::from_str::<serde::de::IgnoredAny>(&body.out).is_ok();
        prop_assert_eq!(decoded.repaired == 0, strict);
    }

    #[test]
    fn any_bytes_are_decoded_without_loss(body in prop::collection::vec(any::<u8>(), 0..200)) {
        holds_for(&body)?;
    }

    #[test]
    fn what_is_nearly_json_is_decoded_without_loss(body in soup()) {
        holds_for(&body)?;
    }

    #[test]
    fn a_damaged_body_is_decoded_without_loss(value in json(), noise in prop::collection::vec(any::<u8>(), 1..99), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = noisy(&noise);
        body.value(&Json::Array(vec![event(value.clone()), event(value)]));
        let mut body = body.out.into_bytes();
        *at.get_mut(&mut body) = byte;
        holds_for(&body)?;
    }

    /// Only trailing commas are tolerated. Other input that a lenient parser might accept stays invalid.
    #[test]
    fn what_is_tolerated_is_what_a_parser_of_trailing_commas_takes(value in json(), noise in prop::collection::vec(any::<u8>(), 1..99), at in any::<prop::sample::Index>(), token in prop::sample::select(vec![",", "]", "}", "[", "{", ":", "1", "\"\"", " ", ""]), cut in any::<bool>()) {
        let mut body = noisy(&noise);
        body.value(&Json::Array(vec![event(value)]));
        let mut text = body.out;
        let place = text.char_indices().map(|(at, _)| at).nth(at.index(text.chars().count())).unwrap();
        let end = if cut { place + text[place..].chars().next().unwrap().len_utf8() } else { place };
        text.replace_range(place..end, token);
        let taken = jsonc_parser::parse_to_ast(&text, &jsonc_parser::CollectOptions::default(), &only_trailing_commas())
            .is_ok_and(|parsed| parsed.value.is_some());
        let read = decoded(text.as_bytes()).is_ok_and(|decoded| {
            decoded.quarantined.iter().all(|item| item.reason != Reason::Syntax)
        });
        prop_assert_eq!(read, taken, "{}", text);
    }
}

#[test]
fn the_noise_that_the_properties_rely_on_is_there() {
    let mut body = noisy(&[0, 3, 4, 5, 9]);
    body.value(&Json::Array(vec![Json::Number(1), event(Json::Null)]));
    assert!(body.commas > 0 && body.out.contains('\n') && body.out.contains(": "), "{:?}", body.out);
}
