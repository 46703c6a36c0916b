//! JSON pointers (RFC 6901) into an element: to look at a value, or to put another in its place.
//!
//! A step by name that meets an array goes into each of its items: BIK sends one info as an object and several as an
//! array. What no pointer names keeps its bytes: numbers of any length, escapes, the order of the members.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Element, Unreadable, string::unquoted};

/// Where in an element something stands: `/eventInfo/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// Why a text is no pointer.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no JSON pointer: write it as \"/eventInfo/status\"")]
pub struct NoPointer(String);

/// A value that a pointer found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a>(&'a str);

/// Puts something in the place of a value that a pointer finds; `None` takes it away.
pub struct Edit<'a> {
    /// Where.
    pub pointer: &'a Pointer,
    /// From the value that stands there to the JSON that replaces it.
    pub replace: &'a (dyn Fn(Found<'_>) -> Option<String> + Sync),
}

impl Pointer {
    /// Reads a pointer. That to the whole element (`""`) is none here.
    ///
    /// # Errors
    /// [`NoPointer`], with the text.
    pub fn parse(text: &str) -> Result<Self, NoPointer> {
        let wrong = || NoPointer(text.to_owned());
        let steps = text.strip_prefix('/').filter(|steps| !steps.is_empty()).ok_or_else(wrong)?;
        let steps =
            steps.split('/').map(|step| unescaped(step).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), steps })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it points at, or into, what the other points at.
    pub fn is_within(&self, other: &Self) -> bool {
        self.steps.starts_with(&other.steps)
    }

    /// Whether any value that it finds passes the test.
    pub fn any(&self, element: &Element, mut test: impl FnMut(Found<'_>) -> bool) -> bool {
        any(&element.rendered(), &self.steps, &mut test)
    }
}

/// `~1` is a slash, `~0` a tilde (RFC 6901, section 3); `None` where a tilde stands for nothing.
fn unescaped(step: &str) -> Option<String> {
    let plain = step.replace("~1", "").replace("~0", "");
    (!plain.contains('~')).then(|| step.replace("~1", "/").replace("~0", "~"))
}

impl<'a> Found<'a> {
    /// Its JSON.
    pub const fn json(self) -> &'a str {
        self.0
    }

    /// What it says, if it is a string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        unquoted(self.0)
    }

    /// Whether it is `null`, which BIK sends for what is not there.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }
}

impl Element {
    /// The same element with these edits made: its bytes are then its rendering (T7).
    ///
    /// # Errors
    /// [`Unreadable`] where what is left is no element any more.
    pub fn edited(&self, edits: &[Edit<'_>]) -> Result<Self, Unreadable> {
        let rendered = self.rendered();
        let mut out = String::with_capacity(rendered.len());
        let steps: Vec<Step<'_>> = edits.iter().map(|edit| (&*edit.pointer.steps, edit.replace)).collect();
        rewrite(&rendered, &steps, &mut out);
        Self::read(out.as_bytes())
    }
}

/// What stays of the members of an object that no pointer needs to name: without it an element is none.
const NAME: &str = "eventName";

impl Element {
    /// Only what these pointers find, and the event's name; an object or a list of which nothing stays is left out.
    ///
    /// # Errors
    /// [`Unreadable`] where what is left is no element.
    pub fn kept<'a>(&self, pointers: impl IntoIterator<Item = &'a Pointer>) -> Result<Self, Unreadable> {
        let rendered = self.rendered();
        let name = [NAME.to_owned()];
        let mut wanted: Vec<&[String]> = pointers.into_iter().map(|pointer| &*pointer.steps).collect();
        wanted.push(&name);
        let mut out = String::with_capacity(rendered.len());
        keep(&rendered, &wanted, &mut out);
        Self::read(out.as_bytes())
    }
}

/// Writes what the pointers find in a value; `false` where that is nothing.
fn keep(json: &str, wanted: &[&[String]], out: &mut String) -> bool {
    if wanted.iter().any(|steps| steps.is_empty()) {
        out.push_str(json);
        return true;
    }
    let before = out.len();
    match json.as_bytes().first() {
        Some(b'{') => write_list(out, ['{', '}'], members(json), |(name, value), out| {
            let deeper: Vec<&[String]> =
                wanted.iter().filter(|steps| says(name, &steps[0])).map(|steps| &steps[1..]).collect();
            out.push_str(name.get());
            out.push(':');
            keep(value.get(), &deeper, out)
        }),
        Some(b'[') => write_list(out, ['[', ']'], items(json).into_iter().enumerate(), |(at, item), out| {
            let deeper = wanted.iter().filter_map(|steps| match steps[0].parse::<usize>() {
                Ok(index) => (index == at).then_some(&steps[1..]),
                Err(_) => Some(*steps),
            });
            keep(item.get(), &deeper.collect::<Vec<_>>(), out)
        }),
        _ => return false,
    }
    out.len() > before + 2
}

fn any(json: &str, steps: &[String], test: &mut impl FnMut(Found<'_>) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return test(Found(json)) };
    match json.as_bytes().first() {
        Some(b'{') => {
            members(json).into_iter().any(|(name, value)| says(name, step) && any(value.get(), rest, test))
        }
        Some(b'[') => items(json).into_iter().enumerate().any(|(at, item)| match step.parse() {
            Ok::<usize, _>(wanted) => wanted == at && any(item.get(), rest, test),
            Err(_) => any(item.get(), steps, test),
        }),
        _ => false,
    }
}

/// What is left of a pointer, and what its value becomes.
type Step<'a> = (&'a [String], &'a (dyn Fn(Found<'_>) -> Option<String> + Sync));

/// Writes the value with its edits made; `false` where one of them takes it away.
fn rewrite(json: &str, edits: &[Step<'_>], out: &mut String) -> bool {
    if let Some((_, replace)) = edits.iter().find(|(steps, _)| steps.is_empty()) {
        let Some(other) = replace(Found(json)) else { return false };
        out.push_str(&other);
        return true;
    }
    match json.as_bytes().first() {
        Some(b'{') if !edits.is_empty() => {
            write_list(out, ['{', '}'], members(json), |(name, value), out| {
                let deeper: Vec<Step<'_>> = edits
                    .iter()
                    .filter(|(steps, _)| says(name, &steps[0]))
                    .map(|(steps, replace)| (&steps[1..], *replace))
                    .collect();
                out.push_str(name.get());
                out.push(':');
                rewrite(value.get(), &deeper, out)
            });
        }
        Some(b'[') if !edits.is_empty() => {
            write_list(out, ['[', ']'], items(json).into_iter().enumerate(), |(at, item), out| {
                let deeper: Vec<Step<'_>> = edits
                    .iter()
                    .filter_map(|(steps, replace)| match steps[0].parse::<usize>() {
                        Ok(wanted) => (wanted == at).then_some((&steps[1..], *replace)),
                        Err(_) => Some((*steps, *replace)),
                    })
                    .collect();
                rewrite(item.get(), &deeper, out)
            });
        }
        _ => out.push_str(json),
    }
    true
}

/// Writes a list of which `write` may leave parts out.
fn write_list<T>(
    out: &mut String,
    [open, close]: [char; 2],
    parts: impl IntoIterator<Item = T>,
    write: impl Fn(T, &mut String) -> bool,
) {
    out.push(open);
    let empty = out.len();
    for part in parts {
        let before = out.len();
        if before > empty {
            out.push(',');
        }
        if !write(part, out) {
            out.truncate(before);
        }
    }
    out.push(close);
}

/// Whether a member's name, as it is written, says this.
fn says(name: &RawValue, wanted: &str) -> bool {
    unquoted(name.get()).is_some_and(|name| name == wanted)
}

/// The members of an object, doubled names among them. An element was read before: it has them.
fn members(json: &str) -> Vec<(&RawValue, &RawValue)> {
    serde_json::from_str(json).map(|Members(members)| members).unwrap_or_default()
}

fn items(json: &str) -> Vec<&RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;

        impl<'de> Visitor<'de> for AsWritten {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(AsWritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(json: &str) -> Element {
        Element::read(json.as_bytes()).unwrap()
    }

    fn found(json: &str, pointer: &str) -> Vec<String> {
        let mut found = Vec::new();
        Pointer::parse(pointer).unwrap().any(&element(json), |value| {
            found.push(value.json().to_owned());
            false
        });
        found
    }

    const TWO: &str =
        r#"{"eventName":"x","eventInfo":[{"status":"sent","n":1},{"status":"read"}],"a/b":{"~":null}}"#;

    #[test]
    fn a_step_by_name_goes_into_each_item_of_an_array_and_a_number_into_one() {
        assert_eq!(found(TWO, "/eventInfo/status"), ["\"sent\"", "\"read\""]);
        assert_eq!(found(TWO, "/eventInfo/1/status"), ["\"read\""]);
        assert_eq!(found(TWO, "/eventInfo/n"), ["1"]);
        assert_eq!(found(TWO, "/a~1b/~0"), ["null"]);
        assert_eq!(found(TWO, "/eventName/x"), [""; 0]);
    }

    #[test]
    fn names_are_compared_by_what_they_say_and_odd_ones_do_not_hide_others() {
        let odd = r#"{"eventName":"x","half \ud83d":1,"\u0061":2,"a":3}"#;
        assert_eq!(found(odd, "/a"), ["2", "3"]);
    }

    #[test]
    fn what_is_no_pointer_is_told() {
        for text in ["", "/", "a", "a/b", "/a~2", "/~"] {
            let error = Pointer::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("/eventInfo/status"), "{error}");
        }
    }

    #[test]
    fn what_is_kept_is_what_the_pointers_find_and_the_name() {
        let kept = |json: &str, pointers: &[&str]| {
            let pointers: Vec<Pointer> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
            element(json).kept(&pointers).unwrap().raw().to_owned()
        };
        for (pointers, left) in [
            (&["/nothing", "/eventName/x"][..], r#"{"eventName":"x"}"#),
            (
                &["/eventInfo/status"],
                r#"{"eventName":"x","eventInfo":[{"status":"sent"},{"status":"read"}]}"#,
            ),
            (&["/eventInfo/n", "/a~1b"], r#"{"eventName":"x","eventInfo":[{"n":1}],"a/b":{"~":null}}"#),
            (&["/eventInfo/1", "/a~1b/x"], r#"{"eventName":"x","eventInfo":[{"status":"read"}]}"#),
            (
                &["/eventInfo", "/eventInfo/n"],
                r#"{"eventName":"x","eventInfo":[{"status":"sent","n":1},{"status":"read"}]}"#,
            ),
        ] {
            assert_eq!(kept(TWO, pointers), left, "{pointers:?}");
        }
        let odd = r#"{"n":1e3,"eventName":"x","\u006e":2,"\ud83d":3,"l":[[{"n":4,"m":5}]]}"#;
        assert_eq!(kept(odd, &["/n", "/l/n"]), r#"{"n":1e3,"eventName":"x","\u006e":2,"l":[[{"n":4}]]}"#);
    }

    #[test]
    fn an_edit_changes_what_it_names_and_leaves_every_other_byte() {
        let json = r#"{"eventName":"x","n":123456789012345678901234567890,"eventInfo":[{"phone":"1","é":"\ud83d"},{"phone":"2"}],"z":{"k":[1,2,3]}}"#;
        let edit = |pointers: &[&str], with: Option<&str>| {
            let pointers: Vec<Pointer> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
            let replace = |_: Found<'_>| with.map(str::to_owned);
            let edits: Vec<Edit<'_>> =
                pointers.iter().map(|pointer| Edit { pointer, replace: &replace }).collect();
            element(json).edited(&edits).map(|edited| edited.raw().to_owned())
        };
        assert_eq!(edit(&["/nothing", "/eventInfo/nothing", "/n/x"], None).unwrap(), json);
        assert_eq!(
            edit(&["/eventInfo/phone", "/z/k/1"], Some("\"*\"")).unwrap(),
            json.replace("\"1\"", "\"*\"").replace("\"2\"", "\"*\"").replace(",2,", ",\"*\",")
        );
        assert_eq!(
            edit(&["/n", "/eventInfo/phone", "/z/k/0", "/z/k/2"], None).unwrap(),
            r#"{"eventName":"x","eventInfo":[{"é":"\ud83d"},{}],"z":{"k":[2]}}"#
        );
        assert!(edit(&["/eventName"], None).is_err(), "what is left is no event");
    }
}
