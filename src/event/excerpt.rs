//! Shortens texts from the wire, for indexes, pages and lists.

use std::borrow::Cow;

/// The maximum length of a text from the wire in an index, page or list, in characters. The `…` at the end of a
/// shortened text does not count.
pub const WORD_CHARS: usize = 200;
/// The mark at the end of a shortened text.
const MARK: &str = "…";

/// Shortens a text of more than `chars` characters to its first `chars` characters and a mark. Idempotent.
pub fn excerpt(text: &str, chars: usize) -> Cow<'_, str> {
    // A text has at most as many characters as bytes, so most texts need no counting.
    if text.len() <= chars {
        return Cow::Borrowed(text);
    }
    let Some((end, _)) = text.char_indices().nth(chars) else { return Cow::Borrowed(text) };
    if &text[end..] == MARK {
        return Cow::Borrowed(text);
    }
    Cow::Owned([&text[..end], MARK].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_shortened_at_a_character_and_marked() {
        assert!(matches!(excerpt("store", 5), Cow::Borrowed("store")));
        assert_eq!(excerpt("stores", 5), "store…");
        assert_eq!(excerpt("äöüäöü", 5), "äöüäö…");
        assert_eq!(excerpt("äöüäö", 5), "äöüäö");
        let cut = excerpt("😀😀😀", 2).into_owned();
        assert_eq!(excerpt(&cut, 2), cut);
    }
}
