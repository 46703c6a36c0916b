//! The keys of customers. A key is an address or an id of BIK that names one customer within a scope. Keys that were
//! seen together name the same customer.

use std::borrow::Cow;

use crate::event::{Channel, WORD_CHARS, canonical_address, excerpt};

/// The length of a phone number with its country code, in digits. Longer numbers are ids that a channel
/// gives to its users.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;
/// A phone number is found by this many of its last digits or more.
pub(super) const LAST_DIGITS: usize = 6;
/// The length of a phone number without its country code and trunk prefix, in digits.
const NATIONAL_DIGITS: usize = 10;
/// Separates an address from its channel. No address contains it.
const CHANNEL_MARK: char = '\t';
/// Separates the keys in a list. No key contains it.
const LIST_MARK: char = '\n';

/// The kind of a key. The numbers are stored in insight's file, and public ids depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ContactKeyKind {
    /// A phone number, on any channel.
    Phone = 0,
    /// A mail address, on any channel.
    Mail = 1,
    /// Any other address; it names a customer on one channel only.
    Opaque = 2,
    /// BIK's id of the customer.
    Customer = 3,
}

impl ContactKeyKind {
    const ALL: [Self; 4] = [Self::Phone, Self::Mail, Self::Opaque, Self::Customer];
}

/// A key of a customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ContactKey {
    pub kind: ContactKeyKind,
    /// The canonical text. An opaque address is followed by its channel.
    pub text: String,
}

impl ContactKey {
    /// The key of an address on a channel; `None` if the address has no visible character.
    pub(super) fn address(channel: Option<&Channel>, address: &str) -> Option<Self> {
        let address = cleaned(&canonical_address(address))?;
        // These channels have ids of their own, which can consist of digits.
        let has_own_ids = matches!(channel, Some(Channel::Instagram | Channel::Messenger | Channel::Webpush));
        let is_number = address.bytes().all(|byte| byte.is_ascii_digit());
        let kind = if is_number && !has_own_ids && PHONE_DIGITS.contains(&address.len()) {
            ContactKeyKind::Phone
        } else if !has_own_ids && is_mail(&address) {
            ContactKeyKind::Mail
        } else {
            let channel = channel.and_then(|channel| cleaned(channel.as_str())).unwrap_or_default();
            let text = format!("{address}{CHANNEL_MARK}{channel}");
            return Some(Self { kind: ContactKeyKind::Opaque, text });
        };
        Some(Self { kind, text: address })
    }

    /// The key of BIK's id of a customer. `None` for a text that stands for no customer.
    pub(super) fn customer(id: &str) -> Option<Self> {
        let text = cleaned(id)?;
        let is_nobody = text.bytes().all(|byte| byte == b'0') || matches!(&*text, "null" | "undefined");
        (!is_nobody).then_some(Self { kind: ContactKeyKind::Customer, text })
    }

    /// The text as it is stored in the index of keys: the digits of a phone number are reversed, so that a search by
    /// the last digits is a search by the beginning.
    pub(super) fn indexed(&self) -> Cow<'_, str> {
        match self.kind {
            ContactKeyKind::Phone => Cow::Owned(self.text.chars().rev().collect()),
            _ => Cow::Borrowed(&self.text),
        }
    }

    /// The address or id without the channel.
    pub(super) fn shown(&self) -> &str {
        self.text.split(CHANNEL_MARK).next().unwrap_or_default()
    }

    /// One line of the list of a customer's keys.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.kind as u8, self.text)
    }

    /// Reads the list of a customer's keys. The customer's public id is made from the first key.
    pub(super) fn list(lines: &str) -> Vec<Self> {
        let read = |line: &str| {
            let (kind, text) = line.split_once(' ')?;
            let kind = *ContactKeyKind::ALL.get(kind.parse::<usize>().ok()?)?;
            Some(Self { kind, text: text.to_owned() })
        };
        lines.split(LIST_MARK).filter_map(read).collect()
    }

    /// Writes the list of a customer's keys.
    pub(super) fn write_list(keys: &[Self]) -> String {
        keys.iter().map(Self::line).collect::<Vec<_>>().join(&LIST_MARK.to_string())
    }
}

/// A range of the index of keys. It has the keys of one kind whose indexed text begins with a given text (`prefix`), or
/// is equal to it (`exact`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContactKeyRange {
    pub kind: ContactKeyKind,
    pub from: String,
    /// The end of the range; it does not belong to the range.
    pub end: String,
}

impl ContactKeyRange {
    fn prefix(kind: ContactKeyKind, from: String) -> Self {
        let end = format!("{from}{}", char::MAX);
        Self { kind, from, end }
    }

    fn exact(kind: ContactKeyKind, from: String) -> Self {
        let end = format!("{from}\0");
        Self { kind, from, end }
    }

    /// The ranges that find an address as people write it. They may write a phone number without its first digits, or
    /// with a country code that BIK left out.
    pub(super) fn of_address(written: &str) -> Vec<Self> {
        let Some(address) = cleaned(&canonical_address(written)) else { return Vec::new() };
        let mut ranges = vec![
            Self::prefix(ContactKeyKind::Opaque, format!("{address}{CHANNEL_MARK}")),
            Self::exact(ContactKeyKind::Mail, address.clone()),
        ];
        if address.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number with its country code has no trunk prefix, such as `0`.
            let trimmed = address.trim_start_matches('0');
            let last_first = |digits: &str| digits.chars().rev().collect::<String>();
            ranges.push(match address.len() {
                LAST_DIGITS.. => Self::prefix(ContactKeyKind::Phone, last_first(&address)),
                _ => Self::exact(ContactKeyKind::Phone, last_first(&address)),
            });
            if (LAST_DIGITS..address.len()).contains(&trimmed.len()) {
                ranges.push(Self::prefix(ContactKeyKind::Phone, last_first(trimmed)));
            }
            if trimmed.len() > NATIONAL_DIGITS {
                let national = last_first(trimmed).chars().take(NATIONAL_DIGITS).collect();
                ranges.push(Self::exact(ContactKeyKind::Phone, national));
            }
        }
        ranges
    }

    /// The range that finds BIK's id of a customer.
    pub(super) fn of_customer(id: &str) -> Option<Self> {
        Some(Self::exact(ContactKeyKind::Customer, ContactKey::customer(id)?.text))
    }
}

/// Removes control characters, which separate texts in insight's file, and cuts a text that is too long. `None` if
/// nothing remains.
fn cleaned(text: &str) -> Option<String> {
    let text: Cow<'_, str> = if text.contains(char::is_control) {
        Cow::Owned(text.chars().filter(|c| !c.is_control()).collect())
    } else {
        Cow::Borrowed(text)
    };
    let text = excerpt(&text, WORD_CHARS);
    (!text.trim().is_empty()).then(|| text.into_owned())
}

/// Returns whether a text is a mail address. Its host must have a dot. A WhatsApp id such as `1@lid` has none there.
fn is_mail(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(channel: &str, text: &str) -> (ContactKeyKind, String) {
        let key = ContactKey::address(Some(&Channel::from(channel)), text).unwrap();
        (key.kind, key.text)
    }

    #[test]
    fn a_phone_or_mail_address_is_the_same_key_on_every_channel() {
        for (channel, text) in [
            ("whatsapp", "+91 98000 00113"),
            ("sms", "919800000113"),
            ("rcs", "\u{200e}+91\u{a0}98000\u{2011}00113"),
        ] {
            assert_eq!(
                address(channel, text),
                (ContactKeyKind::Phone, "919800000113".to_owned()),
                "{channel}"
            );
        }
        assert_eq!(
            address("email", "Asha@Example.com"),
            (ContactKeyKind::Mail, "asha@example.com".to_owned())
        );
        assert_eq!(ContactKey::address(None, "919800000113").unwrap().kind, ContactKeyKind::Phone);
    }

    #[test]
    fn an_id_of_a_channel_names_a_customer_on_that_channel_only() {
        let opaque = |text: &str| (ContactKeyKind::Opaque, text.to_owned());
        assert_eq!(address("instagram", "8000000000000001"), opaque("8000000000000001\tinstagram"));
        assert_eq!(address("messenger", "919800000113"), opaque("919800000113\tmessenger"));
        assert_eq!(address("whatsapp", "198765432109876@lid"), opaque("198765432109876@lid\twhatsapp"));
        assert_eq!(
            address("whatsapp", "IN.10000000000000000001"),
            opaque("IN.10000000000000000001\twhatsapp")
        );
        assert_eq!(ContactKey::address(None, "\u{200e} "), None);
    }

    #[test]
    fn an_id_that_names_no_one_is_no_key() {
        for nobody in ["", " ", "0", "000", "null", "undefined"] {
            assert_eq!(ContactKey::customer(nobody), None, "{nobody:?}");
        }
        assert_eq!(ContactKey::customer("777001\n").unwrap().text, "777001");
    }

    #[test]
    fn a_list_of_keys_is_read_as_it_was_written() {
        let instagram = ContactKey::address(Some(&Channel::Instagram), "17\n8 4").unwrap();
        let keys =
            [instagram, ContactKey::customer("7").unwrap(), ContactKey::address(None, "a@b.c").unwrap()];
        assert_eq!(ContactKey::list(&ContactKey::write_list(&keys)), keys);
        assert_eq!(keys[0].shown(), "178 4");
    }

    #[test]
    fn a_phone_is_in_the_ranges_of_every_way_to_write_it() {
        let found = |stored: &str, written: &str| {
            let key = ContactKey::address(None, stored).unwrap();
            let indexed = key.indexed();
            ContactKeyRange::of_address(written)
                .iter()
                .any(|range| range.kind == key.kind && *range.from <= *indexed && *indexed < *range.end)
        };
        for written in
            ["919800000101", "9800000101", "+91 98000 00101", "09800000101", "000101", "00 91 98000-00101"]
        {
            assert!(found("919800000101", written), "{written}");
        }
        assert!(found("919800000101", "800000101") && found("919800123456", "123456"));
        assert!(found("9800000101", "+919800000101"), "BIK left out the country code");
        assert!(!found("919800000101", "9800000102") && !found("919800000101", "91980000010"));
        assert!(!found("919800000101", "00101"), "five digits are too few");
        assert!(
            found("Asha@example.com", "ASHA@example.com") && !found("asha@example.com", "sha@example.com")
        );
    }
}
