//! `/messages/{id}`: one message and its status events.

use askama::Template;
use axum::extract::Path;

use super::{
    super::redaction::Redaction,
    error_page::PageResult,
    format::{Tag, When, duration},
    frame::Frame,
    message_text::MessageText,
    person::Person,
    visit::PageVisit,
};
use crate::{
    admin::{error::RequestError, wire::ShownContent},
    event::Status,
    insight::{
        FailureClasses,
        ask::{self, Sighting, Timeline},
    },
};

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    /// The messages with this id: at most one per source.
    messages: Vec<ShownMessage>,
}

/// A message as shown on the page.
struct ShownMessage {
    state: Tag,
    deleted: bool,
    id: String,
    person: Person,
    said: MessageText,
    /// Known properties: label and value.
    facts: Vec<(&'static str, String)>,
    first_at: When,
    last_at: When,
    created_at: Option<When>,
    failure: Option<MessageFailure>,
    steps: Vec<StatusStep>,
}

/// Why the message failed.
struct MessageFailure {
    class: String,
    about: String,
    text: Option<String>,
}

/// One event about the message.
struct StatusStep {
    seq: u64,
    status: Tag,
    colour: &'static str,
    at: When,
    created_at: Option<When>,
    notes: Vec<Tag>,
}

/// `GET /messages/{id}`: the id is BIK's id of the message or its number in insight. The links on the pages use the
/// number.
pub(super) async fn one(Path(id): Path<String>, visit: PageVisit) -> PageResult {
    let insight = visit.insight()?;
    let classes = insight.failures().clone();
    let found = insight.ask(move |connection| {
        let numbered = match id.parse() {
            Ok(number) => ask::timeline_of(connection, number, &classes)?,
            Err(_) => None,
        };
        match numbered {
            Some(timeline) => Ok(vec![timeline]),
            None => ask::timeline(connection, &id, &classes),
        }
    });
    let found = found.await?;
    if found.is_empty() {
        return Err(RequestError::NotFound(
            "message with this id: no event mentions it, or retention has deleted it".to_owned(),
        )
        .into());
    }
    let redaction = visit.redaction();
    let mut messages = Vec::with_capacity(found.len());
    for timeline in found {
        let said = MessageText::of(&visit, &timeline.message, &ShownContent::seqs(&timeline)).await;
        messages.push(ShownMessage::of(timeline, said, insight.failures(), redaction));
    }
    visit.show(|frame| MessagePage { frame, messages })
}

impl ShownMessage {
    fn of(timeline: Timeline, said: MessageText, classes: &FailureClasses, redaction: Redaction) -> Self {
        let message = timeline.message;
        let facts = [
            ("Source", Some(&*message.source)),
            ("Channel", message.channel.as_deref()),
            ("Store", message.store.as_deref()),
            ("Category", message.category.as_deref()),
            ("Owner", message.owner.as_deref()),
            ("Owner id", message.owner_id.as_deref()),
        ];
        let failure = message.failure.as_ref().map(|class| MessageFailure {
            class: class.clone(),
            about: classes.about(class).to_owned(),
            text: message.reason.as_deref().map(|text| redaction.sentence(text).into_owned()),
        });
        Self {
            state: Tag::of_state(message.state),
            deleted: message.deleted,
            id: redaction.id(&message.message_id).into_owned(),
            person: Person::of_message(&message, redaction),
            said,
            facts: facts.into_iter().filter_map(|(name, text)| Some((name, text?.to_owned()))).collect(),
            first_at: When::from(message.first_at),
            last_at: When::from(message.last_at),
            created_at: message.created_at.map(When::from),
            failure,
            steps: timeline.sightings.into_iter().map(StatusStep::of).collect(),
        }
    }
}

impl StatusStep {
    fn of(sighting: Sighting) -> Self {
        let mut notes = Vec::new();
        if sighting.repeated {
            notes.push(Tag::new("", "repeated: status received before"));
        }
        if sighting.disordered {
            notes.push(Tag::new("warn", "out of order: a later status was received before"));
        }
        if sighting.late {
            let late = sighting.created_at.map(|made| duration(sighting.at.ms_since(made)));
            notes.push(Tag::new("warn", format!("late: {} after BIK created it", late.unwrap_or_default())));
        }
        let status = sighting.status.as_deref();
        let colour = match status.map(Status::from) {
            Some(status) if status.is_failure() => "bad",
            Some(Status::Deleted) => "warn",
            _ if sighting.disordered || sighting.late => "warn",
            _ => "ok",
        };
        Self {
            seq: sighting.seq,
            status: status.map_or_else(|| Tag::new("note", "the message itself"), Tag::of_status),
            colour,
            at: When::from(sighting.at),
            created_at: sighting.created_at.map(When::from),
            notes,
        }
    }
}
