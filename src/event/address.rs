//! A customer's address on a channel, in the canonical form for comparisons.

use std::borrow::Cow;

/// Returns the address without the differences in spelling that do not matter:
/// - A phone number keeps only its digits: `+91 90909 09090` becomes `919090909090`. An address is a phone number if it
///   has digits and otherwise only a `+`, parentheses and separators.
/// - A mail address becomes lower case.
/// - Any address loses its invisible characters, which come with a copied number, and the blanks at its ends.
///
/// Apart from that, any other address, such as an opaque id, stays unchanged.
pub fn canonical_address(address: &str) -> Cow<'_, str> {
    let address = address.trim();
    if address.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(address);
    }
    let is_phone = address.contains(|c: char| c.is_ascii_digit())
        && address.chars().all(|c| c.is_ascii_digit() || is_phone_separator(c));
    if is_phone {
        return Cow::Owned(address.chars().filter(char::is_ascii_digit).collect());
    }
    let visible: Cow<'_, str> = if address.contains(is_invisible) {
        Cow::Owned(address.chars().filter(|c| !is_invisible(*c)).collect())
    } else {
        Cow::Borrowed(address)
    };
    match visible.trim() {
        mail if is_mail_address(mail) && mail.contains(char::is_uppercase) => Cow::Owned(mail.to_lowercase()),
        trimmed if trimmed.len() < visible.len() => Cow::Owned(trimmed.to_owned()),
        _ => visible,
    }
}

/// Returns whether a character can stand between the digits of a phone number, or before them. This includes
/// invisible characters: mobile phones add marks of the writing direction when a number is copied.
pub fn is_phone_separator(c: char) -> bool {
    matches!(c, '+' | '-' | '(' | ')' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0b}')
        || (c.is_whitespace() && !c.is_control())
        || is_invisible(c)
}

/// Returns whether a character is shown as nothing: the soft hyphen, zero-width characters, and marks of the writing
/// direction.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

fn is_mail_address(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(user, host)| {
        !user.is_empty() && !host.is_empty() && !host.contains('@') && !text.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_keeps_only_its_digits_and_other_addresses_are_unchanged() {
        for (address, form) in [
            ("+91 90909-09090", "919090909090"),
            ("(91) 90909.09090", "919090909090"),
            ("919090909090", "919090909090"),
            ("a.b+1@c.example", "a.b+1@c.example"),
            ("IN.4711", "IN.4711"),
            ("120363000000000001@g.us", "120363000000000001@g.us"),
            ("@Asha", "@Asha"),
            ("+", "+"),
            ("", ""),
        ] {
            assert_eq!(canonical_address(address), form, "{address}");
        }
    }

    #[test]
    fn invisible_marks_and_separators_are_removed_from_a_phone() {
        let separators = [0xa0, 0x202f, 0x2009, 0x2212, 0xff0b].into_iter().chain(0x2010..=0x2015);
        let marks =
            [0xad, 0x200b, 0x200e, 0x200f, 0xfeff].into_iter().chain(0x202a..=0x202e).chain(0x2066..=0x2069);
        for code in separators.chain(marks) {
            let c = char::from_u32(code).unwrap();
            assert_eq!(
                canonical_address(&format!("{c}+91{c}98000{c}00113{c}")),
                "919800000113",
                "U+{code:04X}"
            );
        }
        assert_eq!(canonical_address("\u{200e}IN.4711\u{202c} "), "IN.4711");
        assert_eq!(canonical_address("+91 98000 00113\r\n"), "919800000113");
    }

    #[test]
    fn mail_addresses_compare_without_case() {
        assert_eq!(canonical_address("Asha.Rao+shop@Example.com"), "asha.rao+shop@example.com");
        assert_eq!(canonical_address(" \u{feff}asha.rao+shop@example.com"), "asha.rao+shop@example.com");
        assert_eq!(canonical_address("Asha Rao <a@b.example>"), "Asha Rao <a@b.example>");
    }
}
