//! The vocabularies that insight groups by. A sender chooses the words, so each vocabulary has a limit. Words beyond
//! it are counted as [`OTHER`].

use crate::event::{Channel, Owner, Status};

/// The word that stands for all words beyond the limit of a vocabulary.
pub(super) const OTHER: &str = "other";

/// The use of a word. The numbers are those in the file.
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
    /// A class of the failure table.
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

    /// Maximum number of words. Words that an operator chooses have no limit.
    pub(super) const fn bound(self) -> usize {
        match self {
            Self::Source | Self::FailureClass => usize::MAX,
            Self::Store | Self::OwnerId => 10_000,
            Self::Owner | Self::EventName => 1_000,
            Self::Channel | Self::Status => 100,
        }
    }

    /// Returns whether BIK documents the word, or an operator chose it. Such a word is added even to a full
    /// vocabulary.
    pub(super) fn is_documented(self, text: &str) -> bool {
        match self {
            Self::Source | Self::FailureClass => true,
            Self::Channel => Channel::KNOWN.contains(&text),
            Self::Owner => Owner::KNOWN.contains(&text),
            Self::Status => Status::KNOWN.contains(&text),
            Self::EventName => ["incoming-message", "message-status-update"].contains(&text),
            Self::Store | Self::OwnerId => false,
        }
    }
}
