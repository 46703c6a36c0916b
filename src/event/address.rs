//! A customer's address on a channel, in the canonical form for comparisons.

use std::borrow::Cow;

/// Removes everything but the digits from a phone number: `+91 90909 09090` becomes `919090909090`. An address is a
/// phone number if it has digits and otherwise only blanks and `+-().`; any other address, such as an e-mail address or
/// an opaque id, stays unchanged.
pub fn canonical_address(address: &str) -> Cow<'_, str> {
    let is_phone = address.bytes().any(|byte| byte.is_ascii_digit())
        && address.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')' | '.'));
    if !is_phone || address.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(address);
    }
    Cow::Owned(address.chars().filter(char::is_ascii_digit).collect())
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
            ("+", "+"),
            ("", ""),
        ] {
            assert_eq!(canonical_address(address), form, "{address}");
        }
    }
}
