//! `/conversations`: the customers, and the conversation with each.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::Path,
    response::{IntoResponse, Redirect},
};

use super::{
    super::redaction::Redaction,
    error_page::PageResult,
    format::{Tag, When, duration},
    frame::Frame,
    message_text::MessageText,
    person::{Person, sent_by},
    visit::PageVisit,
};
use crate::{
    admin::{error::RequestError, wire::ShownContent},
    clock::Timestamp,
    insight::{
        MessageState, PublicId,
        ask::{self, Contact, ContactSearch, ConversationEntry, MessageRow, WaitingSpan},
    },
};

/// Customers per page. There can be more, because customers with the same last event are on one page.
const LIMIT: usize = 50;
/// The maximum number of customers on the pages [`ContactView::Waiting`] and [`ContactView::Missed`].
const WAITING: usize = 200;
/// Entries per page of a conversation: messages, and events without a message. There can be more, because messages that
/// were first seen in the same event are on one page.
const ENTRIES: usize = 40;

struct ContactTableRow {
    person: Person,
    channel: Arc<str>,
    store: Arc<str>,
    last_at: When,
    incoming_at: Option<When>,
    /// How long the customer has waited for an answer; `None` if the customer does not wait.
    waits: Option<String>,
    /// The customer has waited for more than 24 hours.
    missed: bool,
    window: Tag,
}

impl ContactTableRow {
    fn of(contact: &Contact, now: Timestamp, redaction: Redaction) -> Self {
        let waits = contact.waits_since.map(|since| now.ms_since(since).max(0));
        Self {
            person: Person::of_contact(contact, redaction),
            channel: contact.channel.clone().unwrap_or_default(),
            store: contact.store.clone().unwrap_or_default(),
            last_at: When::from(contact.last_at),
            incoming_at: contact.incoming_at.map(When::from),
            waits: waits.map(duration),
            missed: waits.is_some_and(|ms| ms > ask::WINDOW_MS),
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

#[derive(Clone, Copy, PartialEq)]
enum ContactView {
    /// All customers, or those that a search finds.
    Latest,
    /// Customers who have waited for an answer for at most 24 hours.
    Waiting,
    /// Customers who have waited for longer.
    Missed,
}

#[derive(Template)]
#[template(path = "conversations.html")]
struct ContactListPage {
    frame: Frame,
    view: ContactView,
    /// How many waiting or missed customers are shown; `None` if all are shown, or if the view is `Latest`.
    longest: Option<usize>,
    rows: Vec<ContactTableRow>,
    next: Option<String>,
}

impl ContactListPage {
    fn is_view(&self, name: &str) -> bool {
        name == match self.view {
            ContactView::Latest => "latest",
            ContactView::Waiting => "waiting",
            ContactView::Missed => "missed",
        }
    }
}

/// `GET /conversations?waiting=1`, or `?missed=1`, or `?q=&before=`
pub(super) async fn list(visit: PageVisit) -> PageResult {
    let (insight, form) = (visit.insight()?, visit.form());
    let (now, redaction) = (visit.now(), visit.redaction());
    let (view, span) = if form.has("waiting", "1") {
        (ContactView::Waiting, WaitingSpan::recent(now))
    } else if form.has("missed", "1") {
        (ContactView::Missed, WaitingSpan::missed(now))
    } else {
        (ContactView::Latest, WaitingSpan::default())
    };
    // Links from earlier versions of bikhook have `address` instead of `q`.
    let text = form.text("q").or_else(|| form.text("address")).map(str::to_owned);
    let search = ContactSearch { before: form.read("before")?, limit: LIMIT, ..ContactSearch::default() };
    let (mut contacts, next) = insight
        .ask(move |connection| {
            if view != ContactView::Latest {
                return Ok((ask::waiting(connection, span, WAITING + 1)?, None));
            }
            let Some(text) = text else {
                let page = ask::contacts(connection, &search)?;
                return Ok((page.rows, page.next));
            };
            // The text is looked up as an address first, because an address is more specific than a name.
            let by_address = ContactSearch { address: Some(text.clone()), ..search.clone() };
            let mut page = ask::contacts(connection, &by_address)?;
            if page.rows.is_empty() {
                page = ask::contacts(connection, &ContactSearch { name: Some(text), ..search })?;
            }
            Ok((page.rows, page.next))
        })
        .await?;
    let longest = (view != ContactView::Latest && contacts.len() > WAITING).then_some(WAITING);
    contacts.truncate(longest.unwrap_or(contacts.len()));
    let rows = contacts.iter().map(|contact| ContactTableRow::of(contact, now, redaction)).collect();
    let next = next.map(|next: i64| form.older("/conversations", next));
    visit.show(|frame| ContactListPage { frame, view, longest, rows, next })
}

#[derive(Template)]
#[template(path = "conversation.html")]
struct ConversationDetailPage {
    frame: Frame,
    row: ContactTableRow,
    /// All addresses, if there is more than one.
    addresses: Option<String>,
    customers: Option<String>,
    /// Since when the customer waits for an answer.
    waits_since: Option<When>,
    open_until: Option<When>,
    is_open: bool,
    /// Oldest first.
    bubbles: Vec<Bubble>,
    older: Option<u64>,
}

/// An entry of a conversation: a message, or an event without a message.
struct Bubble {
    /// The date, on the first entry of a day.
    day: Option<String>,
    /// The CSS class: `theirs`, `ours`, `ours failed`, or `between`.
    class: &'static str,
    /// The content of the message, or the name of the event.
    said: MessageText,
    at: When,
    /// The ticks, such as `✓✓`, with their CSS class and meaning. `None` for an incoming or failed message, and for an
    /// event without a message.
    ticks: Option<(&'static str, &'static str, &'static str)>,
    failure: Option<String>,
    deleted: bool,
    sent_by: String,
    link: String,
}

/// `GET /conversations/{contact}?before=`. `contact` is the public id of the customer, or of a customer who was merged
/// into this one.
pub(super) async fn one(Path(contact): Path<String>, visit: PageVisit) -> PageResult {
    let insight = visit.insight()?;
    let unknown = || {
        RequestError::NotFound(
            "customer with this id: no event mentions one, or retention has deleted the data".to_owned(),
        )
    };
    let id: PublicId = contact.parse().map_err(|_invalid| unknown())?;
    let before = visit.form().read("before")?;
    let classes = insight.failures().clone();
    let found = insight
        .ask(move |connection| ask::conversation(connection, id, before, ENTRIES, &classes))
        .await?
        .ok_or_else(unknown)?;
    if found.contact.id != id {
        return Ok(Redirect::to(&format!("/conversations/{}", found.contact.id)).into_response());
    }
    let (now, redaction) = (visit.now(), visit.redaction());
    let mut bubbles = Vec::new();
    let mut day = String::new();
    let seqs = ShownContent::seqs_of_entries(insight, &found.entries).await?;
    let mut entries: Vec<(&ConversationEntry, &Vec<u64>)> = found.entries.iter().zip(&seqs).rev().collect();
    // Events can arrive late and out of order, so the entries are sorted by their times in the conversation.
    entries.sort_by_key(|(entry, _)| said_at(entry));
    for (entry, seqs) in entries {
        let mut bubble = match entry {
            ConversationEntry::Message(message) => of_message(&visit, message, seqs).await,
            ConversationEntry::Event { seq, name, at } => of_event(*seq, name, *at),
        };
        let its_day: String = said_at(entry).to_string().chars().take(10).collect();
        if its_day != day {
            bubble.day = Some(its_day.clone());
            day = its_day;
        }
        bubbles.push(bubble);
    }
    let contact = &found.contact;
    let row = ContactTableRow::of(contact, now, redaction);
    let joined =
        |texts: &[String]| texts.iter().map(|text| redaction.address(text)).collect::<Vec<_>>().join(", ");
    let addresses = (contact.addresses.len() > 1).then(|| joined(&contact.addresses));
    let customers = (!contact.customers.is_empty()).then(|| joined(&contact.customers));
    let waits_since = contact.waits_since.map(When::from);
    let open_until = contact.open_until.map(When::from);
    let is_open = contact.open_until.is_some_and(|until| until > now);
    visit.show(|frame| ConversationDetailPage {
        frame,
        row,
        addresses,
        customers,
        waits_since,
        open_until,
        is_open,
        bubbles,
        older: found.next,
    })
}

/// The time of an entry in the conversation.
fn said_at(entry: &ConversationEntry) -> Timestamp {
    match entry {
        ConversationEntry::Message(message) => message.said_at,
        ConversationEntry::Event { at, .. } => *at,
    }
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

async fn of_message(visit: &PageVisit, message: &MessageRow, seqs: &[u64]) -> Bubble {
    let failed = message.state == Some(MessageState::Failed);
    Bubble {
        day: None,
        class: match message.incoming {
            true => "theirs",
            false if failed => "ours failed",
            false => "ours",
        },
        said: MessageText::of(visit, message, seqs).await,
        at: When::from(message.said_at),
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
