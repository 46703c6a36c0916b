//! Makes texts of an event safe for destinations that restrict characters or length. BIK's texts may hold any character
//! and have any length.

/// Appends the first `chars_max` characters of `text`. Each unsafe character becomes `_`.
pub(super) fn push_safe(text: &str, chars_max: usize, is_safe: impl Fn(char) -> bool, out: &mut String) {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(end, _)| end);
    let mut rest = &text[..end];
    // Nearly every text is safe as a whole. Such a text is appended in one piece.
    while let Some(at) = rest.find(|c| !is_safe(c)) {
        let (safe, after) = rest.split_at(at);
        out.push_str(safe);
        out.push('_');
        rest = &after[after.chars().next().map_or(0, char::len_utf8)..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(text: &str, chars_max: usize) -> String {
        let mut out = String::from(">");
        push_safe(text, chars_max, |c| c.is_alphanumeric(), &mut out);
        out
    }

    #[test]
    fn each_unsafe_character_is_replaced() {
        assert_eq!(pushed("a. é\u{1f600}\u{1f600}z.", 100), ">a__é__z_");
        assert_eq!(pushed("plain", 100), ">plain");
        assert_eq!(pushed("", 100), ">");
    }

    #[test]
    fn a_text_is_truncated_by_characters() {
        assert_eq!(pushed("ééé", 2), ">éé");
        assert_eq!(pushed("..é", 3), ">__é");
        assert_eq!(pushed("é", 0), ">");
    }
}
