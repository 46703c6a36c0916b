//! The words that insight groups figures by. Each kind of word, such as the names of sources or of events, has its own
//! vocabulary. In most vocabularies the words come from the posted events, which can have any number of different
//! words. So the number of words in such a vocabulary has a limit. Words beyond the limit are counted as [`OTHER`].

use crate::event::{Channel, Owner, Status};

/// The word that stands for all words beyond the limit of a vocabulary.
pub(super) const OTHER: &str = "other";

/// The kind of a word. Insight's file stores these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Vocabulary {
    /// The name of a source in the configuration.
    Source = 0,
    Store = 1,
    Channel = 2,
    Owner = 3,
    OwnerId = 4,
    Status = 5,
    EventName = 6,
    /// The name of a class in [`super::FailureClasses`].
    FailureClass = 7,
}

impl Vocabulary {
    /// All vocabularies, in the order of their numbers in the file.
    pub(super) const ALL: [Self; 8] = [
        Self::Source,
        Self::Store,
        Self::Channel,
        Self::Owner,
        Self::OwnerId,
        Self::Status,
        Self::EventName,
        Self::FailureClass,
    ];

    /// At this number of words, the vocabulary is full. Words that an operator chooses have no limit.
    pub(super) const fn bound(self) -> usize {
        self.bound_and_known().0
    }

    /// Returns whether BIK documents the word. Such a word is added even to a full vocabulary.
    pub(super) fn is_documented(self, text: &str) -> bool {
        self.bound_and_known().1.contains(&text)
    }

    const fn bound_and_known(self) -> (usize, &'static [&'static str]) {
        match self {
            Self::Source | Self::FailureClass => (usize::MAX, &[]),
            Self::Store | Self::OwnerId => (10_000, &[]),
            Self::Channel => (100, Channel::KNOWN),
            Self::Owner => (1_000, Owner::KNOWN),
            Self::Status => (100, Status::KNOWN),
            Self::EventName => (1_000, &["incoming-message", "message-status-update"]),
        }
    }
}
