//! The content of a message as it is now: the newest text of an edited message, nothing of a deleted one.
//!
//! Insight does not store contents. The events in the journal have them until retention deletes the events.

use super::wire::ShownContent;
use crate::{
    event::{Event, Fact, WORD_CHARS, excerpt},
    insight::{
        self, Insight,
        ask::{self, ConversationEntry, MessageRow, Timeline},
    },
    journal::{self, Journal},
};

/// The content is read from at most this many events of a message, the newest ones.
const EVENTS_MAX: usize = 20;

impl ShownContent {
    /// Reads the content of a message from its events, given by their seqs in ascending order. `None` if the journal
    /// has no event with the content, or no longer has such an event.
    pub(super) async fn read(
        journal: &dyn Journal,
        message: &MessageRow,
        seqs: &[u64],
    ) -> Result<Option<Self>, journal::Error> {
        if message.deleted {
            return Ok(Some(Self { content: Some("deleted message".to_owned()), ..Self::default() }));
        }
        let mut newest = None;
        for seq in &seqs[seqs.len().saturating_sub(EVENTS_MAX)..] {
            let Some(event) = journal.get(*seq).await? else { continue };
            newest = Version::in_event(&event, message, newest);
            // Every status of a message to a customer repeats its text, so later events need not be read.
            if !message.incoming && newest.as_ref().is_some_and(|version| version.shown.text.is_some()) {
                break;
            }
        }
        Ok(newest.map(|version| version.shown))
    }

    /// The seqs of the events that have the content of a message.
    pub(super) fn seqs(Timeline { message, sightings }: &Timeline) -> Vec<u64> {
        // A status about a message from a customer says nothing of its content.
        let with_content = sightings.iter().filter(|sighting| !message.incoming || sighting.status.is_none());
        with_content.map(|sighting| sighting.seq).collect()
    }

    /// The seqs of [`Self::seqs`] for each entry of a conversation; none for an entry that is not a message.
    pub(super) async fn seqs_of_entries(
        insight: &Insight,
        entries: &[ConversationEntry],
    ) -> Result<Vec<Vec<u64>>, insight::Error> {
        let (entries, failures) = (entries.to_vec(), insight.failures().clone());
        let seqs = insight.ask(move |connection| {
            let of_entry = |entry: &ConversationEntry| -> rusqlite::Result<Vec<u64>> {
                let ConversationEntry::Message(message) = entry else { return Ok(Vec::new()) };
                let timeline = ask::timeline_of(connection, message.id, &failures)?;
                Ok(timeline.as_ref().map(Self::seqs).unwrap_or_default())
            };
            entries.iter().map(of_entry).collect()
        });
        seqs.await
    }
}

/// One version of a message: the content in one event.
struct Version {
    /// Whether the version is an edit, and its time. The newest version has the greatest rank: every edit is newer than
    /// the message itself, whichever arrived first.
    rank: (bool, i64),
    shown: ShownContent,
}

impl Version {
    /// Returns the newest version of the message: `newest` or one in the event. If their ranks are equal, the one in
    /// the event counts as newer.
    fn in_event(event: &Event, message: &MessageRow, newest: Option<Self>) -> Option<Self> {
        let view = event.element.view();
        let is_it = |fact: &Fact<'_>| {
            fact.is_incoming == message.incoming
                && fact.message_id.is_some_and(|id| excerpt(id, WORD_CHARS) == message.message_id)
        };
        view.facts().filter(is_it).fold(newest, |newest, fact| {
            let Some(content) = fact.content() else { return newest };
            let time = fact.time().unwrap_or(event.came_at).min(event.came_at);
            let mut version = Self { rank: (fact.is_edited, time.as_ms()), shown: content.into() };
            version.shown.edited = fact.is_edited;
            let Some(mut known) = newest else { return Some(version) };
            let differs =
                version.shown.text != known.shown.text || version.shown.content != known.shown.content;
            let edited = version.shown.edited || known.shown.edited || (message.incoming && differs);
            if version.rank >= known.rank {
                known = version;
            }
            known.shown.edited = edited;
            Some(known)
        })
    }
}
