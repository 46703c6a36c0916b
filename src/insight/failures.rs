//! Classes of failures: which phrase in BIK's text means what, as a table that users can edit.

use std::{fs, io, path::Path};

use serde::Deserialize;

/// The table that the binary has: the phrases of BIK §4.
pub const OWN: &str = include_str!("failures.toml");
/// The class of a text that no phrase is in.
pub const UNKNOWN: &str = "unknown";

/// The table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// In order: the first that matches counts.
    #[serde(rename = "class", default)]
    classes: Vec<FailureClass>,
}

/// One class.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureClass {
    /// As shown and counted.
    pub name: String,
    /// A line for people.
    #[serde(default)]
    pub about: String,
    /// Texts of which one is in the failure's, in any case.
    pub phrases: Vec<String>,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum FailuresError {
    /// The file cannot be read.
    #[error("cannot read the classes of failures {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong.
    #[error("the classes of failures {path}: {what}")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Failures {
    /// From a file, or without one the binary's own.
    ///
    /// # Errors
    /// [`FailuresError`]: it cannot be read, a class has no name or no phrase, or two have the same name.
    pub fn load(path: Option<&Path>) -> Result<Self, FailuresError> {
        let Some(path) = path else { return Self::parse(OWN, "of this binary") };
        let named = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| FailuresError::Read { path: named.clone(), source })?;
        Self::parse(&text, &named)
    }

    fn parse(text: &str, path: &str) -> Result<Self, FailuresError> {
        let wrong = |what: String| FailuresError::Wrong { path: path.to_owned(), what };
        let mut table: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for (at, class) in table.classes.iter_mut().enumerate() {
            if class.name.is_empty() || class.phrases.iter().any(String::is_empty) || class.phrases.is_empty()
            {
                return Err(wrong(format!("class {} needs a name, and phrases that are not empty", at + 1)));
            }
            class.phrases.iter_mut().for_each(|phrase| *phrase = phrase.to_lowercase());
        }
        let mut names: Vec<&str> = table.classes.iter().map(|class| &*class.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(wrong(format!("there are two classes {:?}", pair[0]))),
            None => Ok(table),
        }
    }

    /// The class of a failure's text.
    pub fn class_of(&self, text: Option<&str>) -> &str {
        let Some(text) = text else { return UNKNOWN };
        let text = text.to_lowercase();
        self.classes
            .iter()
            .find(|class| class.phrases.iter().any(|phrase| text.contains(phrase)))
            .map_or(UNKNOWN, |class| &class.name)
    }

    /// The classes of the table, in its order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().map(|class| &*class.name)
    }

    /// What a class means, for people; empty where nothing is said of it.
    pub fn about(&self, name: &str) -> &str {
        self.classes.iter().find(|class| class.name == name).map_or("", |class| &class.about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_table_knows_every_phrase_of_bik_4_in_any_case() {
        let table = Failures::load(None).unwrap();
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
    fn a_table_of_the_users_own_is_read_and_told_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.toml");
        let load = |text: &str| {
            fs::write(&path, text).unwrap();
            Failures::load(Some(&path)).map_err(|error| error.to_string())
        };
        let table = load("[[class]]\nname = \"dog\"\nphrases = [\"Ate It\"]").unwrap();
        assert_eq!(table.class_of(Some("the dog ATE it")), "dog");
        assert!(load("[[class]]\nname = \"dog\"\nphrases = []").unwrap_err().contains("class 1"));
        let twice = "[[class]]\nname = \"a\"\nphrases = [\"x\"]\n";
        assert!(load(&format!("{twice}{twice}")).unwrap_err().contains("two classes \"a\""));
        assert!(load("[[klass]]").unwrap_err().contains("klass"));
        assert!(Failures::load(Some(Path::new("/nowhere"))).unwrap_err().to_string().contains("/nowhere"));
    }
}
