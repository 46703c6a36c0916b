//! `/search`: finds messages by message id, phone, customer, or failure text.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use rusqlite::Connection;

use super::{
    asked::{Asked, encoded},
    frame::{Frame, Visit},
    person::Person,
    shown::{Tag, When},
    sorry::Sorry,
    veil::Veil,
};
use crate::{
    admin::{Shared, fault::Fault},
    insight::{
        FailureClasses, MessageState,
        ask::{self, ListPage, MessageRow, SearchQuery},
    },
};

/// Messages per page.
const LIMIT: usize = 50;

/// The interpretations of the search text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Message,
    Phone,
    Customer,
    Reason,
}

impl Meaning {
    /// In the order in which they are tried, the most specific first.
    const ALL: [Self; 4] = [Self::Message, Self::Phone, Self::Customer, Self::Reason];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Phone => "phone",
            Self::Customer => "customer",
            Self::Reason => "reason",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Message => "message id",
            Self::Phone => "phone or other address",
            Self::Customer => "customer id",
            Self::Reason => "failure text",
        }
    }

    fn narrowed(self, text: &str, query: &SearchQuery) -> SearchQuery {
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
struct Row {
    id: i64,
    at: When,
    person: Person,
    state: Tag,
    deleted: bool,
    sent_by: String,
    channel: Arc<str>,
    failure: String,
    message: String,
}

impl Row {
    fn of(message: &MessageRow, veil: Veil) -> Self {
        let owner_id = message.owner_id.as_deref().map(|id| format!(" {id}")).unwrap_or_default();
        Self {
            id: message.id,
            at: When::from(message.first_at),
            person: Person::of_message(message, veil),
            state: Tag::of_state(message.state),
            deleted: message.deleted,
            sent_by: message.owner.as_deref().map(|owner| format!("{owner}{owner_id}")).unwrap_or_default(),
            channel: message.channel.clone().unwrap_or_default(),
            failure: message.failure.clone().unwrap_or_default(),
            message: veil.id(&message.message_id).into_owned(),
        }
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    frame: Frame,
    q: String,
    /// The interpretation that found messages.
    found_as: Option<&'static str>,
    meanings: Vec<(&'static str, &'static str, bool)>,
    states: Vec<(&'static str, bool)>,
    direction: String,
    since: String,
    until: String,
    rows: Vec<Row>,
    next: Option<String>,
}

/// `GET /search?q=&as=&state=&direction=&event=&since=&until=&before=`
pub(super) async fn search(State(shared): State<Arc<Shared>>, visit: Visit) -> Result<Response, Sorry> {
    let asked = &visit.asked;
    if let Some(event) = asked.text("event") {
        return Ok(Redirect::to(&of_events(event, asked)).into_response());
    }
    let insight = shared.state.insight.as_ref().ok_or(Sorry::InsightOff)?;
    let query = query(asked)?;
    let meanings = match asked.text("as") {
        None => Meaning::ALL.to_vec(),
        Some(name) => {
            let known = Meaning::ALL.into_iter().find(|meaning| meaning.as_str() == name);
            vec![known.ok_or_else(|| Fault::parameter("as", "must be message, phone, customer or reason"))?]
        }
    };
    let (text, classes) = (asked.text("q").map(str::to_owned), insight.failures().clone());
    let (found_as, found) = insight
        .ask(move |connection| match text {
            Some(text) => found(connection, &text, &meanings, &query, &classes),
            None => ask::search(connection, &query, &classes).map(|page| (None, page)),
        })
        .await?;
    let veil = visit.veil();
    let next = found.next.map(|next| {
        let link = asked.with("/search", "before", &next.to_string());
        // The next page uses the interpretation of this page.
        let known = found_as.filter(|_| asked.text("as").is_none());
        known.map_or(link.clone(), |meaning| format!("{link}&as={}", meaning.as_str()))
    });
    let text = |name: &str| asked.text(name).unwrap_or_default().to_owned();
    let chosen = asked.text("as");
    let state = asked.text("state");
    let (q, direction, since, until) = (text("q"), text("direction"), text("since"), text("until"));
    let meanings = Meaning::ALL.map(|one| (one.as_str(), one.label(), chosen == Some(one.as_str()))).to_vec();
    let states = MessageState::ALL.map(|one| (one.as_str(), state == Some(one.as_str()))).to_vec();
    let rows = found.rows.iter().map(|message| Row::of(message, veil)).collect();
    let found_as = found_as.map(Meaning::label);
    visit.show(|frame| Page { frame, q, found_as, meanings, states, direction, since, until, rows, next })
}

/// The search fields other than the text.
fn query(asked: &Asked) -> Result<SearchQuery, Fault> {
    let state = |name: &str| {
        MessageState::from_name(name).ok_or_else(|| Fault::parameter("state", "is not a message state"))
    };
    Ok(SearchQuery {
        state: asked.text("state").map(state).transpose()?,
        incoming: match asked.text("direction") {
            None => None,
            Some("in") => Some(true),
            Some("out") => Some(false),
            Some(_) => return Err(Fault::parameter("direction", "must be in or out")),
        },
        since: asked.time("since")?,
        until: asked.time("until")?,
        before: asked.read("before")?,
        limit: LIMIT,
        ..SearchQuery::default()
    })
}

/// Searches with each interpretation in turn, and returns the first page with results.
fn found(
    connection: &Connection,
    text: &str,
    meanings: &[Meaning],
    query: &SearchQuery,
    classes: &FailureClasses,
) -> rusqlite::Result<(Option<Meaning>, ListPage<MessageRow>)> {
    for meaning in meanings {
        let page = ask::search(connection, &meaning.narrowed(text, query), classes)?;
        if !page.rows.is_empty() || page.next.is_some() {
            return Ok((Some(*meaning), page));
        }
    }
    Ok((None, ListPage { rows: Vec::new(), next: None }))
}

/// The link to the list of events. A search by event name continues there.
fn of_events(event: &str, asked: &Asked) -> String {
    let mut link = format!("/events?event={}", encoded(event));
    for (name, field) in [("since", "since"), ("until", "until"), ("status", "state")] {
        if let Some(text) = asked.text(field) {
            link.push_str(&format!("&{name}={}", encoded(text)));
        }
    }
    if let Some(text) = asked.text("q") {
        let is_phone = text.chars().all(|letter| letter.is_ascii_digit() || "+-() ".contains(letter));
        let name = if is_phone || text.contains('@') { "phone" } else { "message" };
        link.push_str(&format!("&{name}={}", encoded(text)));
    }
    link
}
