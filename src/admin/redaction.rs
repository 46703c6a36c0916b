//! Masks personal data on pages until an operator asks to see it. In the API, masks the `failure` of a dead letter. A
//! few characters of a masked value may stay visible, so that values can be told apart.

use std::borrow::Cow;

use crate::{event::is_phone_separator, plural::counted};

/// A number with at least this many digits may be a phone number, so it is masked. Error codes have six digits and stay
/// visible.
const PHONE_DIGITS: usize = 7;

/// Whether personal data is masked, or shown (`is_off`).
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) struct Redaction {
    pub(in crate::admin) is_off: bool,
}

pub(super) const HIDDEN: &str = "••••";

impl Redaction {
    /// Masks a phone number or another address, except for its last two characters.
    pub(super) fn address<'a>(self, text: &'a str) -> Cow<'a, str> {
        self.ending(text, 2)
    }

    /// Masks an id except for its last six characters. The beginning of a WhatsApp id contains a phone number.
    pub(super) fn id<'a>(self, text: &'a str) -> Cow<'a, str> {
        self.ending(text, 6)
    }

    /// Masks a text that may contain anything; only its length is shown.
    pub(super) fn text<'a>(self, text: &'a str) -> Cow<'a, str> {
        if self.is_off {
            return Cow::Borrowed(text);
        }
        let length = counted(text.chars().count() as u64, "character", "characters");
        Cow::Owned(format!("{HIDDEN} ({length})"))
    }

    /// Masks phone numbers, email addresses and message ids in the text of an error, such as the reason why a message
    /// failed.
    pub(super) fn sentence<'a>(self, text: &'a str) -> Cow<'a, str> {
        if self.is_off {
            return Cow::Borrowed(text);
        }
        let (mut out, mut digits, mut number) = (String::new(), 0, String::new());
        let end = |out: &mut String, number: &mut String, digits: &mut usize| {
            out.push_str(if *digits >= PHONE_DIGITS { HIDDEN } else { number });
            number.clear();
            *digits = 0;
        };
        for letter in text.chars() {
            // A number may be grouped, so a space, hyphen, bracket, dot or slash inside a number is part of the number.
            let grouping = !number.is_empty() && (letter == '/' || is_phone_separator(letter));
            if letter.is_ascii_digit() || letter == '+' || grouping {
                digits += usize::from(letter.is_ascii_digit());
                number.push(letter);
            } else {
                end(&mut out, &mut number, &mut digits);
                out.push(letter);
            }
        }
        end(&mut out, &mut number, &mut digits);
        let word =
            |word: &str| if word.contains('@') || word.contains("wamid") { HIDDEN } else { word }.to_owned();
        Cow::Owned(out.split(' ').map(word).collect::<Vec<_>>().join(" "))
    }

    /// Masks the details in the stored text of a failure: everything after the first `: ` (or else the first `:`), text
    /// in quotes, and what [`Self::sentence`] masks.
    pub(in crate::admin) fn error(self, stored: &str) -> String {
        if self.is_off {
            return stored.to_owned();
        }
        // A `FailureText` separates the details with `: `. A text without `: ` may quote something after a colon.
        let quoting = stored.split_once(": ").or_else(|| stored.split_once(':'));
        let own = quoting.map_or(stored, |(own, _)| own);
        let mut shown = String::new();
        // Every second part was inside quotes.
        for (at, part) in own.split(['"', '`', '“', '”']).enumerate() {
            shown.push_str(if at % 2 == 0 { part } else { HIDDEN });
        }
        let mut shown = self.sentence(&shown).into_owned();
        if quoting.is_some() {
            shown.push_str(": ");
            shown.push_str(HIDDEN);
        }
        shown
    }

    /// Returns the mask followed by the last `letters` characters. A text shorter than 2 × `letters` is masked
    /// entirely. Without masking, returns the text.
    fn ending(self, text: &str, letters: usize) -> Cow<'_, str> {
        if self.is_off {
            return Cow::Borrowed(text);
        }
        let count = text.chars().count();
        if count < letters * 2 {
            return Cow::Borrowed(HIDDEN);
        }
        let end: String = text.chars().skip(count - letters).collect();
        Cow::Owned(format!("{HIDDEN}{end}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_value_shows_at_most_its_end() {
        let redaction = Redaction { is_off: false };
        assert_eq!(redaction.address("919938438138"), "••••38");
        assert_eq!(redaction.address("138"), "••••");
        assert_eq!(redaction.id("wamid.HBgMOTE5OTM4NDM4MTM4FQIAERgSQkVG"), "••••gSQkVG");
        assert_eq!(redaction.text("Hi 😀"), "•••• (4 characters)");
        assert_eq!(Redaction { is_off: true }.text("Hi"), "Hi");
    }

    #[test]
    fn a_masked_error_keeps_its_class() {
        let redaction = Redaction { is_off: false };
        let error = |text| redaction.error(text);
        assert_eq!(error("422 Unprocessable Entity: no customer Asha"), "422 Unprocessable Entity: ••••");
        assert_eq!(error("timed out after 15 s"), "timed out after 15 s");
        assert_eq!(error("no customer \"Asha\" here"), "no customer •••• here");
        assert_eq!(error("the broker said:\n+919876543210"), format!("the broker said: {HIDDEN}"));
        assert_eq!(error("127.0.0.1:80: no customer Asha"), format!("127.0.0.1:80: {HIDDEN}"));
        assert_eq!(Redaction { is_off: true }.error("a: b"), "a: b");
    }

    #[test]
    fn a_masked_sentence_hides_numbers_and_addresses() {
        let redaction = Redaction { is_off: false };
        let plain = "more than 24 hours have passed (error 131047)";
        assert_eq!(redaction.sentence(plain), plain);
        assert_eq!(redaction.sentence("to +919938438138, a@b.example failed"), "to ••••, •••• failed");
        assert_eq!(redaction.sentence("(to +91 99384-38138)"), "(to ••••");
        assert_eq!(redaction.sentence("to +91\u{a0}99384\u{2011}38138"), "to ••••");
        assert_eq!(redaction.sentence("<b>131026</b> wamid.HBgM"), "<b>131026</b> ••••");
    }
}
