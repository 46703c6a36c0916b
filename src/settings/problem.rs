//! Problems of a configuration, and their places.

use std::{fmt, ops::Range, sync::Arc};

/// The origin of a value in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A range of bytes in the configuration file.
    File(Range<usize>),
    /// An environment variable, by its name.
    Variable(Arc<str>),
    /// Neither the file nor a variable: a default of this program, or a problem that is not about one value.
    BuiltIn,
}

/// One error or warning about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// A description that names the key. Quotes no secret.
    pub message: String,
    /// A hint on how to correct it.
    pub help: Option<String>,
}

impl Problem {
    /// Creates a problem at a place, without help.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: None }
    }

    /// Sets the hint on how to correct it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All errors of a section. `Display` prints only the messages. `ConfigError`, the error of a whole configuration, also
/// shows the file, the line and a caret, because it has the text of the file.
#[derive(Debug, thiserror::Error)]
pub struct Invalid {
    /// The errors in the order in which they were found; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<&str> = self.problems.iter().map(|problem| problem.message.as_str()).collect();
        f.write_str(&messages.join("; "))
    }
}

/// The known word that `word` was probably meant to be. The allowed number of differences is a third of the length of
/// `word`, but at least one and at most three. Case is ignored.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let bound = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The help for an unknown word: the nearest known word, or all known words.
pub(crate) fn meant(word: &str, known: &[&str]) -> Option<String> {
    if let Some(near) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    (!known.is_empty()).then(|| format!("use one of {}", quoted(known)))
}

/// Formats names for a message: in backticks, separated by commas.
pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_intended_word() {
        let known = ["listen", "body_limit", "kind"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("LISTEN", known), Some("listen"));
        assert_eq!(nearest("body-limit", known), Some("body_limit"));
        assert_eq!(nearest("knid", known), Some("kind"));
    }

    #[test]
    fn a_word_that_is_not_similar_to_any_finds_none() {
        assert_eq!(nearest("retention", ["listen", "kind"]), None);
        assert_eq!(nearest("", ["kind"]), None);
    }
}
