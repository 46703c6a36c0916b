//! `/conversations`: the customers, and the conversation with each.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::{
    error_page::{ErrorPage, PageResult},
    format::{Tag, When, duration},
    frame::Frame,
    message_text::MessageText,
    person::Person,
    redaction::Redaction,
    visit::PageVisit,
};
use crate::{
    admin::{AdminState, error::RequestError, params::parse_number},
    clock::Timestamp,
    insight::{
        MessageState,
        ask::{self, Contact, ConversationEntry, MessageRow},
    },
};

/// Customers per page.
const LIMIT: usize = 50;
/// The maximum number of waiting customers on their page.
const WAITING: usize = 200;
/// Messages per page.
const ENTRIES: usize = 40;

struct ContactTableRow {
    person: Person,
    channel: Arc<str>,
    store: Arc<str>,
    last_at: When,
    incoming_at: Option<When>,
    /// How long the customer has waited for an answer.
    waits: Option<String>,
    window: Tag,
}

impl ContactTableRow {
    fn of(contact: &Contact, now: Timestamp, redaction: Redaction) -> Self {
        let waits =
            contact.incoming_at.filter(|wrote| contact.answered_at.is_none_or(|answered| answered < *wrote));
        Self {
            person: Person::of_contact(contact, redaction),
            channel: contact.channel.clone().unwrap_or_default(),
            store: contact.store.clone().unwrap_or_default(),
            last_at: When::from(contact.last_at),
            incoming_at: contact.incoming_at.map(When::from),
            waits: waits.map(|wrote| duration(now.ms_since(wrote).max(0))),
            window: window(contact, now),
        }
    }
}

/// The state of the 24-hour window in which free-form messages are accepted.
fn window(contact: &Contact, now: Timestamp) -> Tag {
    match contact.open_until {
        None => Tag::new("", "never wrote"),
        Some(until) if until > now => Tag::new("ok", format!("open, {} left", duration(until.ms_since(now)))),
        Some(until) => Tag::new("", format!("closed for {}", duration(now.ms_since(until)))),
    }
}

#[derive(Template)]
#[template(path = "conversations.html")]
struct ContactListPage {
    frame: Frame,
    /// Only customers who wait for an answer.
    waiting: bool,
    /// The number of waiting customers shown, if there are more; otherwise `None`.
    longest: Option<usize>,
    address: String,
    rows: Vec<ContactTableRow>,
    next: Option<String>,
}

/// `GET /conversations?waiting=1`, or `?address=&before=`
pub(super) async fn list(State(shared): State<Arc<AdminState>>, visit: PageVisit) -> PageResult {
    let insight = shared.parts.insight.as_ref().ok_or(ErrorPage::InsightOff)?;
    let (now, redaction) = (shared.parts.journal.clock().now(), visit.redaction());
    let waiting = visit.form.text("waiting") == Some("1");
    let address = visit.form.text("address").map(str::to_owned);
    let before = visit.form.read("before")?;
    let wanted = address.clone();
    let (mut contacts, next) = insight
        .ask(move |connection| {
            if waiting {
                return Ok((ask::waiting(connection, now.plus_ms(-ask::WINDOW_MS), WAITING + 1)?, None));
            }
            let page = ask::contacts(connection, wanted.as_deref(), before, LIMIT)?;
            Ok((page.rows, page.next))
        })
        .await?;
    let longest = (waiting && contacts.len() > WAITING).then_some(WAITING);
    contacts.truncate(longest.unwrap_or(contacts.len()));
    let rows = contacts.iter().map(|contact| ContactTableRow::of(contact, now, redaction)).collect();
    let next = next.map(|next: i64| visit.form.with("/conversations", "before", &next.to_string()));
    let address = address.unwrap_or_default();
    visit.show(|frame| ContactListPage { frame, waiting, longest, address, rows, next })
}

#[derive(Template)]
#[template(path = "conversation.html")]
struct ConversationDetailPage {
    frame: Frame,
    row: ContactTableRow,
    customer: Option<String>,
    open_until: Option<When>,
    is_open: bool,
    /// Oldest first.
    bubbles: Vec<Bubble>,
    older: Option<u64>,
    /// This is not the newest page.
    is_older: bool,
}

/// A message or another event of a conversation.
struct Bubble {
    /// The date, on the first entry of a day.
    day: Option<String>,
    /// The CSS class: `theirs`, `ours`, `ours failed`, or `between`.
    class: &'static str,
    /// The text of the message, or the name of the event.
    text: String,
    /// `text` is a description, not the text of a message.
    is_description: bool,
    at: When,
    /// The tick such as `✓✓`, its CSS class, and its meaning.
    ticks: Option<(&'static str, &'static str, &'static str)>,
    failure: Option<String>,
    deleted: bool,
    sent_by: String,
    link: String,
}

/// `GET /conversations/{contact}?before=`
pub(super) async fn one(
    State(shared): State<Arc<AdminState>>,
    Path(contact): Path<String>,
    visit: PageVisit,
) -> PageResult {
    let insight = shared.parts.insight.as_ref().ok_or(ErrorPage::InsightOff)?;
    let number: i64 = parse_number("contact", &contact)?;
    let before = visit.form.read("before")?;
    let classes = insight.failures().clone();
    let found = insight
        .ask(move |connection| ask::conversation(connection, number, before, ENTRIES, &classes))
        .await?
        .ok_or_else(|| {
            RequestError::NotFound(
                "customer with this number: no event mentions one, or retention has deleted the data"
                    .to_owned(),
            )
        })?;
    let (now, redaction) = (shared.parts.journal.clock().now(), visit.redaction());
    let mut bubbles = Vec::new();
    let mut day = String::new();
    for entry in found.entries.iter().rev() {
        let mut bubble = match entry {
            ConversationEntry::Message(message) => of_message(&shared, message, redaction).await,
            ConversationEntry::Event { seq, name, at } => of_event(*seq, name, *at),
        };
        let at = match entry {
            ConversationEntry::Message(message) => message.first_at,
            ConversationEntry::Event { at, .. } => *at,
        };
        let its_day: String = at.to_string().chars().take(10).collect();
        if its_day != day {
            bubble.day = Some(its_day.clone());
            day = its_day;
        }
        bubbles.push(bubble);
    }
    let contact = &found.contact;
    let row = ContactTableRow::of(contact, now, redaction);
    let customer = contact.customer.as_deref().map(|id| redaction.address(id).into_owned());
    let open_until = contact.open_until.map(When::from);
    let is_open = contact.open_until.is_some_and(|until| until > now);
    let (older, is_older) = (found.next, before.is_some());
    visit.show(|frame| ConversationDetailPage {
        frame,
        row,
        customer,
        open_until,
        is_open,
        bubbles,
        older,
        is_older,
    })
}

fn of_event(seq: u64, name: &str, at: Timestamp) -> Bubble {
    Bubble {
        day: None,
        class: "between",
        text: name.to_owned(),
        is_description: true,
        at: When::from(at),
        ticks: None,
        failure: None,
        deleted: false,
        sent_by: String::new(),
        link: format!("/events/{seq}"),
    }
}

async fn of_message(shared: &AdminState, message: &MessageRow, redaction: Redaction) -> Bubble {
    let text = MessageText::of(shared, message).await;
    let failed = message.state == Some(MessageState::Failed);
    let owner_id = message.owner_id.as_deref().map(|id| format!(" {id}")).unwrap_or_default();
    Bubble {
        day: None,
        class: match message.incoming {
            true => "theirs",
            false if failed => "ours failed",
            false => "ours",
        },
        is_description: text.is_description(),
        text: text.shown(redaction),
        at: When::from(message.first_at),
        ticks: message.state.and_then(ticks),
        failure: message.failure.clone(),
        deleted: message.deleted,
        sent_by: message.owner.as_deref().map(|owner| format!("{owner}{owner_id}")).unwrap_or_default(),
        link: format!("/messages/{}", message.id),
    }
}

/// The ticks that people know from WhatsApp, each with its CSS class and meaning.
const fn ticks(state: MessageState) -> Option<(&'static str, &'static str, &'static str)> {
    match state {
        MessageState::Accepted => Some(("·", "", "accepted")),
        MessageState::Sent => Some(("✓", "", "sent")),
        MessageState::Delivered => Some(("✓✓", "", "delivered")),
        MessageState::Read => Some(("✓✓", "read", "read")),
        MessageState::Played => Some(("✓✓", "read", "played")),
        MessageState::Failed => None,
    }
}
