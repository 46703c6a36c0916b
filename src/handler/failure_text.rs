//! The text of a failure in two parts, so that a page can show one and hide the other.

use std::{fmt, iter};

/// Why a delivery failed, as a text. It has no `Display`, so each caller decides whether to show `said`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureText {
    /// The part that the handler wrote. It may contain a name that was made from the event, such as a topic, but only
    /// between double quotes.
    pub own: String,
    /// The part that quotes the destination or the event, followed by advice, if any.
    pub said: Option<String>,
}

impl FailureText {
    /// Splits the text of a stored failure, or of a library's error, at its first `": "`. The part after it becomes
    /// `said`.
    pub fn read(text: &str) -> Self {
        match text.split_once(": ") {
            Some((own, said)) => Self { own: own.to_owned(), said: Some(said.to_owned()) },
            None => text.into(),
        }
    }

    /// The text of a library's error with its causes. A cause that the text already contains is left out.
    pub(super) fn with_causes(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        for cause in iter::successors(error.source(), |cause| (*cause).source()) {
            let cause = cause.to_string();
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        Self::read(&text)
    }

    /// Both parts, as they are stored: `own: said`. The text may quote the payload.
    pub fn whole(&self) -> String {
        match &self.said {
            Some(said) => format!("{}: {said}", self.own),
            None => self.own.clone(),
        }
    }

    /// Appends a quotation to `said`.
    #[must_use]
    pub(crate) fn saying(mut self, said: impl fmt::Display) -> Self {
        self.quote(said);
        self
    }

    pub(super) fn quote(&mut self, said: impl fmt::Display) {
        self.said = Some(match self.said.take() {
            Some(before) => format!("{before}: {said}"),
            None => said.to_string(),
        });
    }

    pub(super) fn advise(&mut self, advice: &str) {
        self.said.as_mut().unwrap_or(&mut self.own).push_str(advice);
    }
}

/// Makes a text without a quotation.
impl<T: fmt::Display> From<T> for FailureText {
    fn from(own: T) -> Self {
        Self { own: own.to_string(), said: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_survive_storage() {
        let (own, said) = ("the server answered ERR", "no customer: Asha");
        for text in [own.into(), FailureText::from(own).saying(said), FailureText::from(own).saying("")] {
            assert_eq!(FailureText::read(&text.whole()), text);
        }
        let at_a_place = FailureText::from("127.0.0.1:80: no answer");
        assert_eq!(
            FailureText::read(&at_a_place.whole()),
            FailureText::from("127.0.0.1:80").saying("no answer")
        );
    }

    #[test]
    fn advice_ends_the_text() {
        let advised = |mut text: FailureText| {
            text.advise("; set `url`");
            text.whole()
        };
        assert_eq!(advised("301 Moved".into()), "301 Moved; set `url`");
        assert_eq!(
            advised(FailureText::from("301").saying("gone").saying("far")),
            "301: gone: far; set `url`"
        );
    }
}
