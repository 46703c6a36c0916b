//! Masks of handlers. A mask drops or hashes fields before delivery, or drops every field that it does not keep.
//!
//! Hashes are keyed (HMAC-SHA256). The same phone number always has the same hash, so a destination can count numbers,
//! and join tables by number. Without the key, nobody can find a number by hashing all possible numbers.

use std::{fmt::Write, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::{
    event::{Edit, Element, Event, Found, Pointer, Unreadable},
    secret::Secret,
    settings::Wrong,
};

/// The settings under `mask` of a handler.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskSettings {
    /// JSON pointers to the fields to keep. The event's name and the hashed fields are kept too, all others are
    /// dropped.
    pub keep: Option<Vec<String>>,
    /// JSON pointers to the fields to drop.
    pub drop: Vec<String>,
    /// JSON pointers to the fields to replace by a keyed hash of their value: 32 hexadecimal digits. `null` stays
    /// `null`.
    pub hash: Vec<String>,
    /// The secret key of the hashes.
    pub key: Option<Secret>,
}

/// Minimum length of the key in bytes, so that it cannot be guessed.
const KEY_BYTES: usize = 16;

/// A validated mask, ready to apply.
#[derive(Clone, Default)]
pub struct Mask {
    /// The fields to keep. If set, only these, the event's name and the hashed fields are kept.
    keep: Option<Vec<Pointer>>,
    drop: Vec<Pointer>,
    hash: Vec<Pointer>,
    /// Always `Some` if `hash` is not empty.
    mac: Option<Hmac<Sha256>>,
}

impl Mask {
    /// Builds a mask from its settings; without settings it changes nothing.
    ///
    /// # Errors
    /// Returns [`Wrong`] if a pointer is invalid, the settings contradict each other, or the hash key is missing or
    /// short.
    pub fn new(settings: Option<&MaskSettings>) -> Result<Self, Wrong> {
        let wrong = |what: &str| Err(Wrong::new(&[], what));
        let Some(MaskSettings { keep, drop, hash, key }) = settings else { return Ok(Self::default()) };
        match keep {
            None if drop.is_empty() && hash.is_empty() => {
                return wrong("the mask changes nothing: set `keep`, `drop` or `hash`, or remove the mask");
            }
            Some(_) if !drop.is_empty() => {
                return wrong(
                    "`keep` and `drop` cannot be combined: `keep` drops everything that it does not name",
                );
            }
            Some(keep) if keep.is_empty() => {
                return wrong("`keep` is empty: name at least one field, such as \"/id\"");
            }
            _ => {}
        }
        let key = key.as_ref().map(|key| key.expose().as_bytes()).filter(|key| key.len() >= KEY_BYTES);
        // `new_from_slice` cannot fail, because an HMAC takes a key of any length.
        let mac: Option<Hmac<Sha256>> = key.and_then(|key| KeyInit::new_from_slice(key).ok());
        if !hash.is_empty() && mac.is_none() {
            return wrong(&format!("`hash` needs a `key` of at least {KEY_BYTES} bytes"));
        }
        let keep = keep.as_ref().map(|keep| pointers("keep", keep)).transpose()?;
        let mask = Self { keep, drop: pointers("drop", drop)?, hash: pointers("hash", hash)?, mac };
        let is_hashed = |kept: &&Pointer| mask.hash.iter().any(|hashed| kept.is_within(hashed));
        match mask.kept().iter().find(is_hashed) {
            Some(kept) => wrong(&format!(
                "{:?} cannot be kept: this field, or one that contains it, is hashed",
                kept.as_str()
            )),
            None => Ok(mask),
        }
    }

    /// Returns whether the mask leaves every event unchanged.
    pub const fn is_empty(&self) -> bool {
        self.keep.is_none() && self.drop.is_empty() && self.hash.is_empty()
    }

    /// The fields of `keep`; empty if `keep` is not set.
    pub fn kept(&self) -> &[Pointer] {
        self.keep.as_deref().unwrap_or_default()
    }

    /// The fields that the mask drops.
    pub fn dropped(&self) -> &[Pointer] {
        &self.drop
    }

    /// The fields that the mask hashes.
    pub fn hashed(&self) -> &[Pointer] {
        &self.hash
    }

    /// Describes the mask on one line.
    pub fn in_words(&self) -> String {
        let all = |pointers: &[Pointer]| pointers.iter().map(Pointer::as_str).collect::<Vec<_>>().join(", ");
        let said = [("keeps only", self.kept()), ("drops", self.dropped()), ("hashes", self.hashed())];
        let said = said.into_iter().filter(|(_, pointers)| !pointers.is_empty());
        said.map(|(word, pointers)| format!("{word} {}", all(pointers))).collect::<Vec<_>>().join("; ")
    }

    /// Returns the event with the mask applied, as the destination may see it.
    ///
    /// # Errors
    /// Returns [`Unreadable`] if the masked text is not a valid event. Such an event must not be delivered.
    pub fn apply(&self, event: &Event) -> Result<Arc<Event>, Unreadable> {
        Ok(Arc::new(Event { element: Arc::new(self.masked(&event.element)?), ..event.clone() }))
    }

    fn masked(&self, element: &Element) -> Result<Element, Unreadable> {
        let hash =
            |found: Found<'_>| Some(if found.is_null() { "null".to_owned() } else { self.hash_of(found) });
        let drop = |_: Found<'_>| None;
        let dropped = self.drop.iter().map(|pointer| Edit { pointer, replace: &drop });
        let hashed = self.hash.iter().map(|pointer| Edit { pointer, replace: &hash });
        let edits: Vec<Edit<'_>> = dropped.chain(hashed).collect();
        match &self.keep {
            Some(keep) => element.kept(keep.iter().chain(&self.hash))?.edited(&edits),
            None => element.edited(&edits),
        }
    }

    /// The keyed hash as a JSON string. For a string, the text without quotes and escapes is hashed. For any other
    /// value, its JSON is hashed.
    fn hash_of(&self, found: Found<'_>) -> String {
        let Some(mut mac) = self.mac.clone() else { return "null".to_owned() };
        mac.update(found.text().unwrap_or_else(|| found.json().into()).as_bytes());
        let mut text = String::with_capacity(34);
        text.push('"');
        for byte in &mac.finalize().into_bytes()[..16] {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('"');
        text
    }
}

/// Parses the pointers of `keep`, `drop` or `hash`. Every event needs its name, so only `keep` may contain
/// `/eventName`.
fn pointers(key: &str, texts: &[String]) -> Result<Vec<Pointer>, Wrong> {
    let read = |(at, text): (usize, &String)| {
        let what = match Pointer::parse(text) {
            Ok(_) if key != "keep" && text == "/eventName" => {
                format!("{text:?} cannot be masked: every event needs its name")
            }
            Ok(pointer) => return Ok(pointer),
            Err(error) => error.to_string(),
        };
        Err(Wrong::new(&[key], what).item(at))
    };
    texts.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::Delivery;

    const JSON: &str = r#"{"eventName":"x","eventInfo":[{"assetValue":"+919090909090","message":"hi"},
        {"assetValue":"\u002b919090909090","n":1.0}],"customerDetails":{"firstName":"A","lastName":null}}"#;

    /// python3 -c "import hmac; print(hmac.new(b'0123456789abcdef', b'+919090909090', 'sha256').hexdigest()[:32])"
    const PHONE: &str = "a80d7fe3889272d92b5a7ac33e89e915";

    fn mask(toml: &str) -> Result<Mask, Wrong> {
        Mask::new(Some(&toml::from_str(toml).unwrap()))
    }

    fn masked(mask: &Mask) -> String {
        mask.apply(&Delivery::sample(1, JSON).event).unwrap().element.raw().to_owned()
    }

    #[test]
    fn dropped_fields_are_gone_and_hashes_can_be_joined() {
        let mask = mask(
            "drop = ['/eventInfo/message', '/customerDetails/firstName']\nhash = ['/eventInfo/assetValue', '/customerDetails/lastName']\nkey = '0123456789abcdef'",
        );
        assert_eq!(
            masked(&mask.unwrap()),
            format!(
                r#"{{"eventName":"x","eventInfo":[{{"assetValue":"{PHONE}"}},{{"assetValue":"{PHONE}","n":1.0}}],"customerDetails":{{"lastName":null}}}}"#
            )
        );
    }

    #[test]
    fn a_field_that_is_not_kept_is_gone() {
        let only = mask("keep = ['/eventInfo/message', '/eventInfo/n']").unwrap();
        assert_eq!(masked(&only), r#"{"eventName":"x","eventInfo":[{"message":"hi"},{"n":1.0}]}"#);
        assert_eq!(only.in_words(), "keeps only /eventInfo/message, /eventInfo/n");
        let hashed =
            mask("keep = ['/eventInfo']\nhash = ['/eventInfo/assetValue']\nkey = '0123456789abcdef'")
                .unwrap();
        assert_eq!(
            masked(&hashed),
            format!(
                r#"{{"eventName":"x","eventInfo":[{{"assetValue":"{PHONE}","message":"hi"}},{{"assetValue":"{PHONE}","n":1.0}}]}}"#
            )
        );
    }

    #[test]
    fn an_invalid_mask_is_an_error() {
        let error = |toml: &str| mask(toml).err().unwrap().to_string();
        assert!(error("hash = ['/x']").contains("at least 16 bytes"));
        assert!(error("drop = ['/eventName']").contains("cannot be masked"));
        assert!(error("drop = ['x']").contains("is not a JSON pointer"));
        assert!(error("").contains("remove the mask"));
        assert!(error("keep = []").contains("at least one field"));
        assert!(error("keep = ['x']").contains("is not a JSON pointer"));
        assert!(error("keep = ['/id']\ndrop = ['/x']").contains("cannot be combined"));
        assert!(
            error("keep = ['/a/b']\nhash = ['/a']\nkey = '0123456789abcdef'")
                .contains("\"/a/b\" cannot be kept")
        );
    }
}
