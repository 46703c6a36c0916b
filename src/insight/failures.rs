//! Classes of failed messages. A table has the codes and phrases of each class. They are looked up in the text that BIK
//! sends about the failure. Users can replace the table.

use std::{fs, io, path::Path};

use serde::Deserialize;

/// The built-in table, with the codes and phrases of BIK §4.
pub(super) const BUILT_IN: &str = include_str!("failures.toml");
/// The class of a failure without a text, or with a text that contains no code or phrase of the table.
pub(super) const UNKNOWN: &str = "unknown";

/// The table of classes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureClasses {
    /// The classes, in the order of the table. A failure has the first class that matches by a code. If none does, it
    /// has the first class that matches by a phrase.
    #[serde(rename = "class", default)]
    classes: Vec<FailureClass>,
}

/// One class of failures.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureClass {
    /// The name of the class, as shown and counted.
    pub name: String,
    /// The meaning of the class, in one line.
    #[serde(default)]
    pub about: String,
    /// The class matches if the failure's text contains one of these phrases, ignoring case.
    #[serde(default)]
    pub phrases: Vec<String>,
    /// The class matches if the failure's text contains one of these codes as a number of its own, not within a longer
    /// number.
    #[serde(default)]
    pub codes: Vec<u64>,
}

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FailureClassesError {
    #[error("cannot read the failure classes in {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("invalid failure classes in {path}: {what}")]
    Wrong {
        path: String,
        /// A description of the mistake in the content.
        what: String,
    },
}

impl FailureClasses {
    /// Loads the table from a file, or the built-in one if `path` is `None`.
    ///
    /// # Errors
    /// Returns [`FailureClassesError`] if the file cannot be read, is not valid TOML, or has an unknown key; if a class
    /// has no name, has neither a phrase nor a code, or has an empty phrase; or if two classes have the same name.
    pub fn load(path: Option<&Path>) -> Result<Self, FailureClassesError> {
        let Some(path) = path else { return Self::parse(BUILT_IN, "this binary") };
        let named = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|source| FailureClassesError::Read { path: named.clone(), source })?;
        Self::parse(&text, &named)
    }

    fn parse(text: &str, path: &str) -> Result<Self, FailureClassesError> {
        let wrong = |what: String| FailureClassesError::Wrong { path: path.to_owned(), what };
        let mut table: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for (at, class) in table.classes.iter_mut().enumerate() {
            let is_empty = class.phrases.is_empty() && class.codes.is_empty();
            if class.name.is_empty() || class.phrases.iter().any(String::is_empty) || is_empty {
                return Err(wrong(format!(
                    "class {} needs a name and at least one phrase or code; no phrase may be empty",
                    at + 1
                )));
            }
            class.phrases.iter_mut().for_each(|phrase| *phrase = phrase.to_lowercase());
        }
        let mut names: Vec<&str> = table.classes.iter().map(|class| &*class.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(wrong(format!("two classes have the name {:?}", pair[0]))),
            None => Ok(table),
        }
    }

    /// Returns the class of a failure by its text, or `UNKNOWN`. A phrase may occur by chance in the text of a failure
    /// of another class, but a code does not. So a code decides before any phrase.
    pub fn class_of(&self, text: Option<&str>) -> &str {
        let Some(text) = text else { return UNKNOWN };
        let codes: Vec<u64> = numbers(text).collect();
        let by_code =
            || self.classes.iter().find(|class| class.codes.iter().any(|code| codes.contains(code)));
        let text = text.to_lowercase();
        let has_phrase = |class: &&FailureClass| class.phrases.iter().any(|phrase| text.contains(phrase));
        by_code().or_else(|| self.classes.iter().find(has_phrase)).map_or(UNKNOWN, |class| &class.name)
    }

    /// The names of the classes, in the order of the table.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().map(|class| &*class.name)
    }

    /// Returns the meaning of a class; empty if the table has none for it.
    pub fn about(&self, name: &str) -> &str {
        self.classes.iter().find(|class| class.name == name).map_or("", |class| &class.about)
    }
}

/// Returns the numbers in a text: each sequence of digits, as a whole.
fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_decides_before_a_phrase_and_only_as_a_whole_number() {
        let table = FailureClasses::load(None).unwrap();
        for (text, class) in [
            ("131047", "window_closed"),
            ("131047: Re-engagement message", "window_closed"),
            ("(#131056) too fast", "rate_limit"),
            ("131026: cannot receive this template", "undeliverable"),
            ("132012: format mismatch", "template"),
            ("368", "account"),
            ("1310471", UNKNOWN),
            ("+919131047368", UNKNOWN),
            ("550 no such user", UNKNOWN),
        ] {
            assert_eq!(table.class_of(Some(text)), class, "{text}");
        }
    }

    #[test]
    fn the_built_in_table_knows_every_phrase_of_bik_4() {
        let table = FailureClasses::load(None).unwrap();
        for (text, class) in [
            (
                "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
                "window_closed",
            ),
            ("Message Undeliverable.", "undeliverable"),
            ("This message was not delivered to maintain healthy ecosystem engagement.", "marketing_cap"),
            ("User's number is part of an experiment", "experiment"),
            ("The user has stopped receiving marketing messages", "marketing_opt_out"),
            ("(Business Account, Consumer Account) pair rate limit hit", "rate_limit"),
            ("Spam rate limit hit", "rate_limit"),
            ("Business eligibility payment issue", "account"),
            ("Account has been locked", "account"),
            ("Template name does not exist in the translation", "template"),
            ("Number of parameters does not match", "template"),
            ("Media download error", "media"),
            ("Something went wrong", "internal"),
            ("the dog ate it", UNKNOWN),
        ] {
            assert_eq!(table.class_of(Some(text)), class, "{text}");
        }
        assert_eq!(table.class_of(None), UNKNOWN);
        assert!(table.about("window_closed").contains("24 hours"));
    }

    #[test]
    fn a_custom_table_is_read_and_its_mistakes_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.toml");
        let load = |text: &str| {
            fs::write(&path, text).unwrap();
            FailureClasses::load(Some(&path)).map_err(|error| error.to_string())
        };
        let table = load("[[class]]\nname = \"dog\"\nphrases = [\"Ate It\"]").unwrap();
        assert_eq!(table.class_of(Some("the dog ATE it")), "dog");
        let table = load("[[class]]\nname = \"dog\"\ncodes = [7]").unwrap();
        assert_eq!(table.class_of(Some("error 7")), "dog");
        assert!(load("[[class]]\nname = \"dog\"\nphrases = []").unwrap_err().contains("class 1"));
        let twice = "[[class]]\nname = \"a\"\nphrases = [\"x\"]\n";
        assert!(load(&format!("{twice}{twice}")).unwrap_err().contains("two classes have the name \"a\""));
        assert!(load("[[klass]]").unwrap_err().contains("klass"));
        assert!(
            FailureClasses::load(Some(Path::new("/nowhere"))).unwrap_err().to_string().contains("/nowhere")
        );
    }
}
