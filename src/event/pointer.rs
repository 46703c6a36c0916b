//! JSON pointers (RFC 6901) into an element, to read or to replace values.
//!
//! If a pointer has a name where the element has an array, the name applies to each item, because BIK sends one info as
//! an object and several as an array. Everything that is neither replaced nor removed keeps its bytes: numbers of any
//! length, escapes, the order of members.

use std::borrow::Cow;

use super::{Element, Unreadable, scan, string::unquoted};

/// The path of a value in an element, such as `/eventInfo/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// The text is not a valid pointer.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a JSON pointer: use one such as \"/eventInfo/status\"")]
pub struct NoPointer(String);

/// A value that a pointer found, as raw JSON.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a>(&'a str);

/// Replaces or removes the values that a pointer finds.
pub struct Edit<'a> {
    /// The pointer to the values.
    pub pointer: &'a Pointer,
    /// Returns the new JSON for a found value, or `None` to remove it.
    pub replace: &'a (dyn Fn(Found<'_>) -> Option<String> + Sync),
}

impl Pointer {
    /// Parses a pointer. The pointer to the whole element (`""`) and the one to the element's own member with an empty
    /// name (`/`) are not allowed.
    ///
    /// # Errors
    /// Returns [`NoPointer`] with the text if it is not valid.
    pub fn parse(text: &str) -> Result<Self, NoPointer> {
        let wrong = || NoPointer(text.to_owned());
        let steps = text.strip_prefix('/').filter(|steps| !steps.is_empty()).ok_or_else(wrong)?;
        let steps =
            steps.split('/').map(|step| unescaped(step).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), steps })
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether this pointer is equal to `other` or points into the value of `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.steps.starts_with(&other.steps)
    }

    /// Returns whether `test` is true for at least one value that the pointer finds.
    pub fn any(&self, element: &Element, mut test: impl FnMut(Found<'_>) -> bool) -> bool {
        any(&element.rendered(), &self.steps, &mut test)
    }
}

/// Decodes `~1` to a slash and `~0` to a tilde (RFC 6901, section 3). `None` for any other tilde.
fn unescaped(step: &str) -> Option<String> {
    let is_valid = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    is_valid.then(|| step.replace("~1", "/").replace("~0", "~"))
}

impl<'a> Found<'a> {
    /// Returns the raw JSON of the value.
    pub const fn json(self) -> &'a str {
        self.0
    }

    /// Returns the content, if the value is a string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        unquoted(self.0)
    }

    /// Returns whether the value is `null`, which BIK sends for absent values.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }
}

/// The member that [`Element::kept`] always keeps, because an element is not valid without it.
const NAME: &str = "eventName";

impl Element {
    /// Returns a copy of the element with the edits applied to its rendering (BIK T7).
    ///
    /// # Errors
    /// Returns [`Unreadable`] if the result is not a valid element.
    pub fn edited(&self, edits: &[Edit<'_>]) -> Result<Self, Unreadable> {
        let steps = edits.iter().map(|edit| (&*edit.pointer.steps, Some(edit.replace)));
        self.rewritten(&steps.collect::<Vec<_>>(), Rest::Kept)
    }

    /// Returns a copy with only the values that the pointers find, and the event's name. Objects and lists of which
    /// nothing remains are left out.
    ///
    /// # Errors
    /// Returns [`Unreadable`] if the result is not a valid element.
    pub fn kept<'a>(&self, pointers: impl IntoIterator<Item = &'a Pointer>) -> Result<Self, Unreadable> {
        let name = [NAME.to_owned()];
        let mut wanted: Vec<EditStep<'_>> =
            pointers.into_iter().map(|pointer| (&*pointer.steps, None)).collect();
        wanted.push((&name, None));
        self.rewritten(&wanted, Rest::Dropped)
    }

    fn rewritten(&self, edits: &[EditStep<'_>], rest: Rest) -> Result<Self, Unreadable> {
        let rendered = self.rendered();
        let mut out = String::with_capacity(rendered.len());
        rewrite(&rendered, edits, rest, &mut out);
        Self::read(out.as_bytes())
    }
}

fn any(json: &str, steps: &[String], test: &mut impl FnMut(Found<'_>) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return test(Found(json)) };
    match json.as_bytes().first() {
        Some(b'{') => {
            members(json).into_iter().any(|(name, _, value)| name == *step && any(value, rest, test))
        }
        Some(b'[') => items(json).into_iter().enumerate().any(|(at, item)| match step.parse() {
            Ok::<usize, _>(wanted) => wanted == at && any(item, rest, test),
            Err(_) => any(item, steps, test),
        }),
        _ => false,
    }
}

/// The steps of a pointer (the parts between its slashes) that are still to be followed, and the function that replaces
/// the value. Without a function, the value is kept.
type EditStep<'a> = (&'a [String], Option<&'a (dyn Fn(Found<'_>) -> Option<String> + Sync)>);

/// Whether the values that no pointer finds are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Kept,
    /// These values are dropped, and so are objects and lists of which nothing remains.
    Dropped,
}

/// Writes the value with the edits applied. Returns `false` if the value is removed.
fn rewrite(json: &str, edits: &[EditStep<'_>], rest: Rest, out: &mut String) -> bool {
    if let Some((_, replace)) = edits.iter().find(|(steps, _)| steps.is_empty()) {
        match replace.map(|replace| replace(Found(json))) {
            None => out.push_str(json),
            Some(Some(other)) => out.push_str(&other),
            Some(None) => return false,
        }
        return true;
    }
    let before = out.len();
    match json.as_bytes().first() {
        Some(b'{') if !edits.is_empty() => {
            write_list(out, ['{', '}'], members(json), |(name, written, value), out| {
                let of_name = edits.iter().filter(|(steps, _)| name == steps[0]);
                let deeper: Vec<EditStep<'_>> =
                    of_name.map(|(steps, replace)| (&steps[1..], *replace)).collect();
                out.push_str(written);
                rewrite(value, &deeper, rest, out)
            });
        }
        Some(b'[') if !edits.is_empty() => {
            write_list(out, ['[', ']'], items(json).into_iter().enumerate(), |(at, item), out| {
                let of_item = edits.iter().filter_map(|(steps, replace)| match steps[0].parse::<usize>() {
                    Ok(wanted) => (wanted == at).then_some((&steps[1..], *replace)),
                    Err(_) => Some((*steps, *replace)),
                });
                rewrite(item, &of_item.collect::<Vec<_>>(), rest, out)
            });
        }
        _ if rest == Rest::Kept => out.push_str(json),
        _ => return false,
    }
    rest == Rest::Kept || out.len() > before + 2
}

/// Writes an object or an array. `write` returns `false` for a part to leave out.
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

/// The members of an object. Empty if the text is not an object of strict JSON. Every object in a rendered element is
/// strict JSON.
fn members(json: &str) -> Vec<(Cow<'_, str>, &str, &str)> {
    scan::members(json).unwrap_or_default()
}

fn items(json: &str) -> Vec<&str> {
    scan::items(json).unwrap_or_default()
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
    fn a_name_applies_to_each_item_of_an_array_and_a_number_to_one() {
        assert_eq!(found(TWO, "/eventInfo/status"), ["\"sent\"", "\"read\""]);
        assert_eq!(found(TWO, "/eventInfo/1/status"), ["\"read\""]);
        assert_eq!(found(TWO, "/eventInfo/n"), ["1"]);
        assert_eq!(found(TWO, "/a~1b/~0"), ["null"]);
        assert_eq!(found(TWO, "/eventName/x"), [""; 0]);
    }

    #[test]
    fn names_are_compared_decoded_and_invalid_ones_do_not_hide_others() {
        let odd = r#"{"eventName":"x","half \ud83d":1,"\u0061":2,"a":3}"#;
        assert_eq!(found(odd, "/a"), ["2", "3"]);
    }

    #[test]
    fn an_invalid_pointer_is_an_error_that_quotes_it() {
        for text in ["", "/", "a", "a/b", "/a~2", "/~", "/~~10"] {
            let error = Pointer::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("/eventInfo/status"), "{error}");
        }
    }

    #[test]
    fn only_the_found_values_and_the_event_name_are_kept() {
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
    fn an_edit_changes_the_found_values_and_no_other_byte() {
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
        assert!(edit(&["/eventName"], None).is_err(), "the result is not a valid event");
    }
}
