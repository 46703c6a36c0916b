//! The vocabularies that insight counts by. A sender chooses the words: each vocabulary has a bound, and a word beyond it
//! is counted as [`OTHER`].

use crate::event::{Channel, Owner, Status};

/// The word that stands for all that a full vocabulary has no room for.
pub const OTHER: &str = "other";

/// What a word is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// The name of a source in the configuration.
    Source = 0,
    /// `storeId`.
    Store = 1,
    /// `channelId`.
    Channel = 2,
    /// `owner`.
    Owner = 3,
    /// `ownerId`.
    OwnerId = 4,
    /// `status`.
    Status = 5,
    /// `eventName`.
    EventName = 6,
    /// A class of the failure table.
    FailureClass = 7,
}

impl Vocabulary {
    /// All of them, in the order of their numbers in the file.
    pub const ALL: [Self; 8] = [
        Self::Source,
        Self::Store,
        Self::Channel,
        Self::Owner,
        Self::OwnerId,
        Self::Status,
        Self::EventName,
        Self::FailureClass,
    ];

    /// How many words it holds. Words that an operator chooses have no bound of their own.
    pub const fn bound(self) -> usize {
        match self {
            Self::Source | Self::FailureClass => usize::MAX,
            Self::Store | Self::OwnerId => 10_000,
            Self::Owner | Self::EventName => 1_000,
            Self::Channel | Self::Status => 100,
        }
    }

    /// Whether BIK documents the word: it has a place in a full vocabulary, too.
    pub fn is_documented(self, text: &str) -> bool {
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
