//! A key that takes one text or a list of texts.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// Reads one text, or a list of at least one text. `read` parses each text; its error says what to write instead.
/// `such_as` is an example of a text, for the other error messages.
///
/// # Errors
/// Returns the error of `read`, or an error if the value is an empty list or has another type. No error quotes a text,
/// because it may contain a password.
pub fn one_or_more<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    such_as: &'static str,
    read: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(Texts { such_as, read })
}

struct Texts<F> {
    such_as: &'static str,
    read: F,
}

impl<'de, T, F: Fn(&str) -> Result<T, &'static str>> Visitor<'de> for Texts<F> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string such as \"{}\", or a list of them", self.such_as)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        Ok(vec![(self.read)(text).map_err(E::custom)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            all.push((self.read)(&text).map_err(A::Error::custom)?);
        }
        if all.is_empty() {
            return Err(A::Error::custom(format!(
                "the list is empty: use a list such as [\"{}\"]",
                self.such_as
            )));
        }
        Ok(all)
    }
}
