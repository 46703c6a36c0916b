//! `/conversations`: the customers, and the conversation with each.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{
    frame::{Frame, Visit},
    person::Person,
    said::Said,
    shown::{Tag, When, duration},
    sorry::Sorry,
    veil::Veil,
};
use crate::{
    admin::{Shared, fault::Fault},
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

struct Row {
    person: Person,
    channel: Arc<str>,
    store: Arc<str>,
    last_at: When,
    incoming_at: Option<When>,
    /// How long the customer has waited for an answer.
    waits: Option<String>,
    window: Tag,
}

impl Row {
    fn of(contact: &Contact, now: Timestamp, veil: Veil) -> Self {
        let waits =
            contact.incoming_at.filter(|wrote| contact.answered_at.is_none_or(|answered| answered < *wrote));
        Self {
            person: Person::of_contact(contact, veil),
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
struct Page {
    frame: Frame,
    /// Only customers who wait for an answer.
    waiting: bool,
    /// The number of waiting customers shown, if there are more; otherwise `None`.
    longest: Option<usize>,
    address: String,
    rows: Vec<Row>,
    next: Option<String>,
}

/// `GET /conversations?waiting=1`, or `?address=&before=`
pub(super) async fn list(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let insight = shared.state.insight.as_ref().ok_or(Sorry::InsightOff)?;
    let (now, veil) = (shared.state.journal.clock().now(), visit.veil());
    let waiting = visit.asked.text("waiting") == Some("1");
    let address = visit.asked.text("address").map(str::to_owned);
    let before = visit.asked.read("before")?;
    let asked = address.clone();
    let (mut contacts, next) = insight
        .ask(move |connection| {
            if waiting {
                return Ok((ask::waiting(connection, now.plus_ms(-ask::WINDOW_MS), WAITING + 1)?, None));
            }
            let page = ask::contacts(connection, asked.as_deref(), before, LIMIT)?;
            Ok((page.rows, page.next))
        })
        .await?;
    let longest = (waiting && contacts.len() > WAITING).then_some(WAITING);
    contacts.truncate(longest.unwrap_or(contacts.len()));
    let rows = contacts.iter().map(|contact| Row::of(contact, now, veil)).collect();
    let next = next.map(|next: i64| visit.asked.with("/conversations", "before", &next.to_string()));
    let address = address.unwrap_or_default();
    visit.show(|frame| Page { frame, waiting, longest, address, rows, next })
}

#[derive(Template)]
#[template(path = "conversation.html")]
struct Talk {
    frame: Frame,
    row: Row,
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
    said: String,
    /// `said` is a description, not the text of a message.
    is_about: bool,
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
    State(shared): State<Arc<Shared>>,
    Path(contact): Path<String>,
    visit: Visit,
) -> Result<Response, Sorry> {
    let insight = shared.state.insight.as_ref().ok_or(Sorry::InsightOff)?;
    let number: i64 = contact.parse().map_err(|_invalid| Fault::parameter("contact", "is not a number"))?;
    let before = visit.asked.read("before")?;
    let classes = insight.failures().clone();
    let found = insight
        .ask(move |connection| ask::conversation(connection, number, before, ENTRIES, &classes))
        .await?
        .ok_or_else(|| {
            Fault::Nothing(
                "customer with this number: no event mentions one, or retention has deleted the data"
                    .to_owned(),
            )
        })?;
    let (now, veil) = (shared.state.journal.clock().now(), visit.veil());
    let mut bubbles = Vec::new();
    let mut day = String::new();
    for entry in found.entries.iter().rev() {
        let mut bubble = match entry {
            ConversationEntry::Message(message) => of_message(&shared, message, veil).await,
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
    let row = Row::of(contact, now, veil);
    let customer = contact.customer.as_deref().map(|id| veil.address(id).into_owned());
    let open_until = contact.open_until.map(When::from);
    let is_open = contact.open_until.is_some_and(|until| until > now);
    let (older, is_older) = (found.next, before.is_some());
    visit.show(|frame| Talk { frame, row, customer, open_until, is_open, bubbles, older, is_older })
}

fn of_event(seq: u64, name: &str, at: Timestamp) -> Bubble {
    Bubble {
        day: None,
        class: "between",
        said: name.to_owned(),
        is_about: true,
        at: When::from(at),
        ticks: None,
        failure: None,
        deleted: false,
        sent_by: String::new(),
        link: format!("/events/{seq}"),
    }
}

async fn of_message(shared: &Shared, message: &MessageRow, veil: Veil) -> Bubble {
    let said = Said::of(shared, message).await;
    let failed = message.state == Some(MessageState::Failed);
    let owner_id = message.owner_id.as_deref().map(|id| format!(" {id}")).unwrap_or_default();
    Bubble {
        day: None,
        class: match message.incoming {
            true => "theirs",
            false if failed => "ours failed",
            false => "ours",
        },
        is_about: said.is_about(),
        said: said.shown(veil),
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
