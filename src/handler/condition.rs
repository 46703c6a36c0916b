//! A condition on the content of an event: it tests the values that a JSON pointer selects.

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};

use super::Wrong;
use crate::event::{Element, Found, Pointer};

/// A condition on the values at a pointer. It has exactly one of the tests `exists`, `equals`, `prefix` and `in`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Condition")]
pub struct ConditionSettings {
    /// JSON pointer (RFC 6901) to the values. If it has a name where the event has an array, the name applies to each
    /// item.
    pub pointer: String,
    /// `true`: a value other than `null` must exist at the pointer. `false`: no such value may exist.
    pub exists: Option<bool>,
    /// The value must be equal to this one.
    pub equals: Option<Scalar>,
    /// The value must be a text with this prefix.
    pub prefix: Option<String>,
    /// The value must be equal to one of these.
    #[serde(rename = "in")]
    #[schemars(length(min = 1))]
    pub among: Option<Vec<Scalar>>,
}

/// A text, number or boolean to compare with.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// A text. It is compared with a JSON string of the event after the escapes of that string are decoded.
    Text(String),
    /// A whole number, as a signed integer of 64 bits.
    Number(i64),
    /// A number with a fraction or exponent.
    Fraction(f64),
    /// `true` or `false`, without quotes.
    Flag(bool),
}

/// A validated condition, ready to test events.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pointer: Pointer,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Exists(bool),
    Prefix(String),
    Among(Vec<Scalar>),
}

impl Condition {
    /// Validates the settings of a condition.
    ///
    /// # Errors
    /// Returns [`Wrong`] if the pointer is invalid, or if there is not exactly one test, or if `in` is an empty list.
    pub(super) fn new(settings: &ConditionSettings) -> Result<Self, Wrong> {
        let ConditionSettings { pointer, exists, equals, prefix, among } = settings;
        let mut asked = (exists.map(Test::Exists).into_iter())
            .chain(equals.clone().map(|one| Test::Among(vec![one])))
            .chain(prefix.clone().map(Test::Prefix))
            .chain(among.clone().map(Test::Among));
        let (Some(test), None) = (asked.next(), asked.next()) else {
            let what = format!("{pointer:?} needs exactly one of `exists`, `equals`, `prefix` and `in`");
            return Err(Wrong::new(&[], what));
        };
        if matches!(&test, Test::Among(list) if list.is_empty()) {
            let what =
                format!("{pointer:?}: `in` is empty, so no event would match: list at least one value");
            return Err(Wrong::new(&[], what));
        }
        let pointer = Pointer::parse(pointer).map_err(|error| Wrong::new(&[], error.to_string()))?;
        Ok(Self { pointer, test })
    }

    /// The pointer to the tested values.
    pub(super) const fn pointer(&self) -> &Pointer {
        &self.pointer
    }

    /// Returns whether the condition holds for an event. One matching value is enough. `exists = false` holds only if
    /// no value other than `null` exists.
    pub(super) fn holds(&self, element: &Element) -> bool {
        let any = |test: &dyn Fn(Found<'_>) -> bool| self.pointer.any(element, test);
        match &self.test {
            Test::Exists(wanted) => any(&|found| !found.is_null()) == *wanted,
            Test::Prefix(prefix) => any(&|found| found.text().is_some_and(|text| text.starts_with(prefix))),
            Test::Among(list) => any(&|found| list.iter().any(|one| one.is(found))),
        }
    }
}

impl Scalar {
    fn is(&self, found: Found<'_>) -> bool {
        match self {
            Self::Text(wanted) => found.text().is_some_and(|text| text == **wanted),
            Self::Flag(wanted) => found.json() == if *wanted { "true" } else { "false" },
            Self::Number(wanted) => match found.json().parse::<i64>() {
                Ok(number) => number == *wanted,
                #[allow(clippy::cast_precision_loss)] // any other number is compared as f64
                Err(_) => found.json().parse::<f64>().is_ok_and(|number| number == *wanted as f64),
            },
            Self::Fraction(wanted) => found.json().parse::<f64>().is_ok_and(|number| number == *wanted),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl Visitor<'_> for AnyScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                i64::try_from(number)
                    .map(Scalar::Number)
                    .map_err(|_large| E::custom("the number is too large: use at most 9223372036854775807"))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Fraction(number))
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar::Flag(flag))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(toml: &str) -> bool {
        let json = r#"{"eventName":"x","n":5,"f":2.50,"big":12345678901234567890,"on":true,"no":null,"empty":"",
            "text":"abc \u00e9","infos":[{"s":"sent"},{"s":"read"}]}"#;
        let element = Element::read(json.as_bytes()).unwrap();
        Condition::new(&toml::from_str(toml).unwrap()).unwrap().holds(&element)
    }

    #[test]
    fn a_condition_tests_the_values_at_its_pointer() {
        for (condition, wanted) in [
            ("pointer = '/n'\nexists = true", true),
            ("pointer = '/no'\nexists = true", false),
            ("pointer = '/no'\nexists = false", true),
            ("pointer = '/nowhere'\nexists = false", true),
            ("pointer = '/empty'\nexists = true", true),
            ("pointer = '/n'\nequals = 5", true),
            ("pointer = '/n'\nequals = 5.0", true),
            ("pointer = '/n'\nequals = '5'", false),
            ("pointer = '/f'\nequals = 2.5", true),
            ("pointer = '/f'\nequals = 2", false),
            ("pointer = '/on'\nequals = true", true),
            ("pointer = '/on'\nequals = 'true'", false),
            ("pointer = '/text'\nequals = 'abc é'", true),
            ("pointer = '/text'\nprefix = 'abc'", true),
            ("pointer = '/text'\nprefix = 'ABC'", false),
            ("pointer = '/n'\nprefix = '5'", false),
            ("pointer = '/infos/s'\nin = ['read', 'failed']", true),
            ("pointer = '/infos/0/s'\nin = ['read', 'failed']", false),
            ("pointer = '/infos/s'\nin = [1, true]", false),
        ] {
            assert_eq!(holds(condition), wanted, "{condition}");
        }
    }

    #[test]
    fn a_condition_needs_exactly_one_test_that_can_hold() {
        let error = |toml: &str| Condition::new(&toml::from_str(toml).unwrap()).unwrap_err().to_string();
        assert!(error("pointer = '/x'").contains("exactly one of"));
        assert!(error("pointer = '/x'\nexists = true\nequals = 1").contains("exactly one of"));
        assert!(error("pointer = 'x'\nexists = true").contains("is not a JSON pointer"));
        assert!(error("pointer = '/x'\nin = []").contains("no event would match"));
    }
}
