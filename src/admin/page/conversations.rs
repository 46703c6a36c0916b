//! `/conversations`: the customers, and the conversation with each.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;

use super::{
    error_page::PageResult,
    format::{Tag, When, duration},
    frame::Frame,
    message_text::MessageText,
    person::{Person, sent_by},
    redaction::Redaction,
    visit::PageVisit,
};
use crate::{
    admin::{error::RequestError, params::parse_number},
    clock::Timestamp,
    insight::{
        MessageState,
        ask::{self, Contact, ConversationEntry, MessageRow},
    },
};

/// Customers per page; more if the last event of the page is about several customers.
const LIMIT: usize = 50;
/// The maximum number of customers on the page of waiting customers.
const WAITING: usize = 200;
/// Messages and other events per page of a conversation; more if the last event of the page has several messages.
const ENTRIES: usize = 40;

struct ContactTableRow {
    person: Person,
    channel: Arc<str>,
    store: Arc<str>,
    last_at: When,
    incoming_at: Option<When>,
    /// How long the customer has waited for an answer; `None` if the customer does not wait.
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
    /// Only customers who wrote in the last 24 hours and wait for an answer are shown.
    waiting: bool,
    /// How many waiting customers are shown; `None` if all are shown, or if `waiting` is false.
    longest: Option<usize>,
    rows: Vec<ContactTableRow>,
    next: Option<String>,
}

/// `GET /conversations?waiting=1`, or `?address=&before=`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let (insight, form) = (visit.insight()?, visit.form());
    let (now, redaction) = (visit.now(), visit.redaction());
    let waiting = form.has("waiting", "1");
    let address = form.text("address").map(str::to_owned);
    let before = form.read("before")?;
    let (mut contacts, next) = insight
        .ask(move |connection| {
            if waiting {
                return Ok((ask::waiting(connection, now.plus_ms(-ask::WINDOW_MS), WAITING + 1)?, None));
            }
            let page = ask::contacts(connection, address.as_deref(), before, LIMIT)?;
            Ok((page.rows, page.next))
        })
        .await?;
    let longest = (waiting && contacts.len() > WAITING).then_some(WAITING);
    contacts.truncate(longest.unwrap_or(contacts.len()));
    let rows = contacts.iter().map(|contact| ContactTableRow::of(contact, now, redaction)).collect();
    let next = next.map(|next: i64| form.older("/conversations", next));
    visit.show(|frame| ContactListPage { frame, waiting, longest, rows, next })
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
}

/// A message or another event of a conversation.
struct Bubble {
    /// The date, on the first entry of a day.
    day: Option<String>,
    /// The CSS class: `theirs`, `ours`, `ours failed`, or `between`.
    class: &'static str,
    /// The text of the message, or the name of the event.
    said: MessageText,
    at: When,
    /// The ticks, such as `✓✓`, with their CSS class and meaning; `None` for an incoming or failed message.
    ticks: Option<(&'static str, &'static str, &'static str)>,
    failure: Option<String>,
    deleted: bool,
    sent_by: String,
    link: String,
}

/// `GET /conversations/{contact}?before=`
pub(super) async fn one(Path(contact): Path<String>, visit: PageVisit) -> PageResult {
    let insight = visit.insight()?;
    let number: i64 = parse_number("contact", &contact)?;
    let before = visit.form().read("before")?;
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
    let (now, redaction) = (visit.now(), visit.redaction());
    let mut bubbles = Vec::new();
    let mut day = String::new();
    for entry in found.entries.iter().rev() {
        let (mut bubble, at) = match entry {
            ConversationEntry::Message(message) => (of_message(&visit, message).await, message.first_at),
            ConversationEntry::Event { seq, name, at } => (of_event(*seq, name, *at), *at),
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
    visit.show(|frame| ConversationDetailPage {
        frame,
        row,
        customer,
        open_until,
        is_open,
        bubbles,
        older: found.next,
    })
}

fn of_event(seq: u64, name: &str, at: Timestamp) -> Bubble {
    Bubble {
        day: None,
        class: "between",
        said: MessageText::description(name),
        at: When::from(at),
        ticks: None,
        failure: None,
        deleted: false,
        sent_by: String::new(),
        link: format!("/events/{seq}"),
    }
}

async fn of_message(visit: &PageVisit, message: &MessageRow) -> Bubble {
    let failed = message.state == Some(MessageState::Failed);
    Bubble {
        day: None,
        class: match message.incoming {
            true => "theirs",
            false if failed => "ours failed",
            false => "ours",
        },
        said: MessageText::of(visit, message).await,
        at: When::from(message.first_at),
        ticks: message.state.and_then(ticks),
        failure: message.failure.clone(),
        deleted: message.deleted,
        sent_by: sent_by(message),
        link: format!("/messages/{}", message.id),
    }
}

/// The ticks of a state, as in WhatsApp, with their CSS class and meaning; `None` for a failed message.
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
