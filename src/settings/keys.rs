//! The keys of a settings struct, taken from its derived `Deserialize`, so that no second list has to be kept in sync.

use std::cell::Cell;

use serde::{
    de::{DeserializeOwned, Deserializer, Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

/// The keys of a settings struct, as serde knows them. Empty if the type is not a struct.
pub fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let keys = Cell::default();
    // Always an error, because there is no value.
    let _ = T::deserialize(KeyRecorder(&keys));
    keys.get()
}

/// A deserializer without a value: it only records which fields the type requests.
struct KeyRecorder<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for KeyRecorder<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("this deserializer holds no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.set(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(default)]
    #[allow(dead_code)]
    struct Sample {
        first_key: u32,
        #[serde(rename = "second")]
        other: Option<String>,
    }

    impl Default for Sample {
        fn default() -> Self {
            panic!("listing the keys must not build the value")
        }
    }

    #[test]
    fn the_keys_of_a_struct_are_the_serialized_names_of_its_fields() {
        assert_eq!(keys_of::<Sample>(), ["first_key", "second"]);
    }

    #[test]
    fn a_type_that_is_not_a_struct_has_no_keys() {
        assert!(keys_of::<String>().is_empty());
        assert!(keys_of::<Vec<u32>>().is_empty());
    }
}
