//! `/search`: finds messages by message id, phone, customer, or failure text.

use askama::Template;
use axum::response::{IntoResponse, Redirect};
use rusqlite::Connection;

use super::{
    super::redaction::Redaction,
    error_page::PageResult,
    form_fields::FormFields,
    format::{Tag, When},
    frame::Frame,
    links::encoded,
    person::{Person, sent_by},
    visit::PageVisit,
};
use crate::{
    admin::error::RequestError,
    insight::{
        FailureClasses, MessageState,
        ask::{self, ListPage, MessageRow, SearchQuery},
    },
    names::names,
};

/// Messages per page.
const LIMIT: usize = 50;

names! {
    /// The interpretations of the search text, in the order in which they are tried: the most specific first.
    enum Meaning {
        Message = "message",
        Phone = "phone",
        Customer = "customer",
        Reason = "reason",
    }
}

impl Meaning {
    const fn label(self) -> &'static str {
        match self {
            Self::Message => "message id",
            Self::Phone => "phone or other address",
            Self::Customer => "customer id",
            Self::Reason => "failure text",
        }
    }

    fn apply(self, text: &str, query: &SearchQuery) -> SearchQuery {
        let (mut query, text) = (query.clone(), Some(text.to_owned()));
        match self {
            Self::Message => query.message = text,
            Self::Phone => query.phone = text,
            Self::Customer => query.customer = text,
            Self::Reason => query.reason = text,
        }
        query
    }
}

/// A message in the result table.
struct MessageTableRow {
    at: When,
    person: Person,
    state: Tag,
    sent_by: String,
    /// BIK's id of the message.
    id: String,
    message: MessageRow,
}

impl MessageTableRow {
    fn of(message: MessageRow, redaction: Redaction) -> Self {
        Self {
            at: When::from(message.first_at),
            person: Person::of_message(&message, redaction),
            state: Tag::of_state(message.state),
            sent_by: sent_by(&message),
            id: redaction.id(&message.message_id).into_owned(),
            message,
        }
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct MessageSearchPage {
    frame: Frame,
    /// The interpretation that found messages.
    found_as: Option<&'static str>,
    /// The interpretations: value and label.
    meanings: [(&'static str, &'static str); 4],
    states: [&'static str; 6],
    rows: Vec<MessageTableRow>,
    next: Option<String>,
}

/// `GET /search?q=&as=&state=&direction=&event=&since=&until=&before=`
pub(super) async fn search(visit: PageVisit) -> PageResult {
    let form = visit.form();
    if let Some(event) = form.text("event") {
        return Ok(Redirect::to(&of_events(event, form)).into_response());
    }
    let (insight, query, chosen) = (visit.insight()?, query(form)?, form.text("as"));
    let wrong = || RequestError::parameter("as", "must be message, phone, customer or reason");
    let meanings = match chosen {
        Some(name) => vec![Meaning::from_name(name).ok_or_else(wrong)?],
        None => Meaning::ALL.to_vec(),
    };
    let (text, classes) = (form.text("q").map(str::to_owned), insight.failures().clone());
    let (found_as, found) = insight
        .ask(move |connection| match text {
            Some(text) => found(connection, &text, &meanings, &query, &classes),
            None => ask::search(connection, &query, &classes).map(|page| (None, page)),
        })
        .await?;
    let redaction = visit.redaction();
    let next = found.next.map(|next| {
        let link = form.older("/search", next);
        // The next page uses the interpretation of this page.
        let known = found_as.filter(|_| chosen.is_none());
        known.map_or(link.clone(), |meaning| format!("{link}&as={}", meaning.as_str()))
    });
    let meanings = Meaning::ALL.map(|meaning| (meaning.as_str(), meaning.label()));
    let states = MessageState::ALL.map(MessageState::as_str);
    let rows = found.rows.into_iter().map(|message| MessageTableRow::of(message, redaction)).collect();
    let found_as = found_as.map(Meaning::label);
    visit.show(|frame| MessageSearchPage { frame, found_as, meanings, states, rows, next })
}

/// The search fields other than the text.
fn query(form: &FormFields) -> Result<SearchQuery, RequestError> {
    let state = |name: &str| {
        MessageState::from_any_case(name)
            .ok_or_else(|| RequestError::parameter("state", "is not a message state"))
    };
    Ok(SearchQuery {
        state: form.text("state").map(state).transpose()?,
        incoming: match form.text("direction") {
            None => None,
            Some("in") => Some(true),
            Some("out") => Some(false),
            Some(_) => return Err(RequestError::parameter("direction", "must be in or out")),
        },
        since: form.time("since")?,
        until: form.time("until")?,
        before: form.read("before")?,
        limit: LIMIT,
        ..SearchQuery::default()
    })
}

/// Searches with each interpretation in turn. Returns the first page that has rows or a next page. A page without rows
/// can have a next page, because only a limited number of messages is read per page.
fn found(
    connection: &Connection,
    text: &str,
    meanings: &[Meaning],
    query: &SearchQuery,
    classes: &FailureClasses,
) -> rusqlite::Result<(Option<Meaning>, ListPage<MessageRow>)> {
    for meaning in meanings {
        let page = ask::search(connection, &meaning.apply(text, query), classes)?;
        if !page.rows.is_empty() || page.next.is_some() {
            return Ok((Some(*meaning), page));
        }
    }
    Ok((None, ListPage { rows: Vec::new(), next: None }))
}

/// The link to the list of events. A search by event name continues there.
fn of_events(event: &str, form: &FormFields) -> String {
    let mut link = format!("/events?event={}", encoded(event));
    for (name, field) in [("since", "since"), ("until", "until"), ("status", "state")] {
        if let Some(text) = form.text(field) {
            link.push_str(&format!("&{name}={}", encoded(text)));
        }
    }
    if let Some(text) = form.text("q") {
        let is_phone = text.chars().all(|letter| letter.is_ascii_digit() || "+-() ".contains(letter));
        let name = if is_phone || text.contains('@') { "phone" } else { "message" };
        link.push_str(&format!("&{name}={}", encoded(text)));
    }
    link
}
