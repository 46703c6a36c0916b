//! What is wrong with a configuration, and where.

use std::{fmt, ops::Range, sync::Arc};

/// Where a value of the configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file: a range of its bytes.
    File(Range<usize>),
    /// An environment variable, by name.
    Variable(Arc<str>),
    /// Neither: a default of this program.
    BuiltIn,
}

/// One thing that is wrong with a configuration, or that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, naming the key. Quotes no secret.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Everything that was found wrong with a section. Shown with file, line and caret by the configuration's own error,
/// which has the text of the file; the `Display` here is the messages alone.
#[derive(Debug, thiserror::Error)]
pub struct Invalid {
    /// In the order in which they were found; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}", problem.message)?;
        }
        Ok(())
    }
}

/// The known word that `word` was probably meant to be: at most a third of its letters differ.
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

/// The help for a word that is not among the known ones.
pub(super) fn meant(word: &str, known: &[&str]) -> Option<String> {
    if let Some(near) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    (!known.is_empty()).then(|| format!("known are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_that_was_meant() {
        let known = ["listen", "body_limit", "kind"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("LISTEN", known), Some("listen"));
        assert_eq!(nearest("body-limit", known), Some("body_limit"));
        assert_eq!(nearest("knid", known), Some("kind"));
    }

    #[test]
    fn a_word_that_resembles_nothing_finds_nothing() {
        assert_eq!(nearest("retention", ["listen", "kind"]), None);
        assert_eq!(nearest("", ["kind"]), None);
    }
}
