//! Actions on dead letters: retry one or all that match, or drop one.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{Redirect, Response},
};

use super::{OWN_FIELDS, matching, one::dead_letter};
use crate::admin::{
    Shared,
    decision::{
        dead::{self, Matching},
        handlers::at_work,
    },
    fault::Fault,
    page::{
        asked::Asked, choice::FIELDS, confirm::Confirm, events::word, form::Posted, frame::Visit,
        shown::counted as number_of, sorry::Sorry,
    },
    question::Which,
};

/// `POST /dead/count`: the number of matching dead letters, and the form that retries them. The fields are those of the
/// list.
pub(in crate::admin::page) async fn count_matching(
    State(shared): State<Arc<Shared>>,
    posted: Posted,
) -> Result<Response, Sorry> {
    let fields = posted.fields.kept(&[&FIELDS[..], &OWN_FIELDS].concat());
    let back = (Asked::link("/dead", &fields), "Back to the list");
    counted(&shared, posted.visit, &posted.fields, back).await
}

/// The number of dead letters that match a request, and the form that retries them.
pub(in crate::admin::page) async fn counted(
    shared: &Shared,
    visit: Visit,
    asked: &Asked,
    back: (String, &'static str),
) -> Result<Response, Sorry> {
    let dead::Done { done: matches, newest, .. } =
        dead::count(shared, Which::Of(Box::new(retried(shared, asked)?))).await?;
    let dead = number_of(matches as u64, "dead letter", "dead letters");
    let of = asked.text("handler").map(|handler| format!(" of {handler}")).unwrap_or_default();
    let what = if matches == 0 {
        "No dead letter of a configured handler matches.".to_owned()
    } else {
        "Each event is delivered again through the lane in which it became a dead letter. It leaves the list once it \
         is delivered, and stays if it is refused again. Later dead letters are not retried."
            .to_owned()
    };
    let mut fields = asked.kept(&[&FIELDS[..], &OWN_FIELDS].concat());
    // `newest` bounds the retry to the dead letters that were counted.
    fields.extend(newest.map(|newest| ("newest".to_owned(), newest.to_string())));
    visit.show(|frame| Confirm {
        frame,
        title: format!("{dead}{of} to be retried"),
        what: vec![what],
        action: (matches > 0).then(|| "/dead/retry".to_owned()),
        fields,
        button: format!("Retry {dead}"),
        for_good: false,
        back,
    })
}

/// `POST /dead/retry`: retries all matching dead letters up to `newest`. The other fields are those of the list.
pub(in crate::admin::page) async fn retry_matching(
    State(shared): State<Arc<Shared>>,
    posted: Posted,
) -> Result<Response, Sorry> {
    let asked = &posted.fields;
    let newest: Option<i64> = asked.read("newest")?;
    let before = newest.map(|newest| newest.saturating_add(1));
    let matching = Matching { before, ..retried(&shared, asked)? };
    let done = dead::retry(&shared, Which::Of(Box::new(matching))).await?.done;
    let what = match done {
        0 => "Nothing was left to retry.".to_owned(),
        1 => "1 dead letter is being retried: it leaves this list once it is delivered.".to_owned(),
        _ => {
            let dead = number_of(done as u64, "dead letter", "dead letters");
            format!("{dead} are being retried: each leaves this list once it is delivered.")
        }
    };
    let path = Asked::link("/dead", &asked.kept(&[&FIELDS[..], &OWN_FIELDS].concat()));
    Ok(posted.says(&shared, &path, done > 0, what))
}

/// `GET /dead/count`, `GET /dead/retry`: redirects to the list when a browser reloads the answer to a form.
pub(in crate::admin::page) async fn to_the_list() -> Redirect {
    Redirect::to("/dead")
}

/// `POST /dead/{id}/retry`
pub(in crate::admin::page) async fn retry(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    let dead = dead_letter(&shared, &id).await?;
    let (id, handler) = (dead.id, at_work(&shared, &dead.lane.handler)?);
    dead::retry(&shared, Which::Ids(vec![id])).await?;
    let what =
        format!("Dead letter {id} is being retried: it leaves this list once {handler} has delivered it.");
    Ok(posted.says(&shared, "/dead", true, what))
}

/// `GET /dead/{id}/drop`: asks for confirmation.
pub(in crate::admin::page) async fn ask_to_drop(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Sorry> {
    let dead = dead_letter(&shared, &id).await?;
    let id = dead.id;
    let event = format!("event {} ({})", dead.event.seq, word(dead.event.element.name()));
    visit.show(|frame| Confirm {
        frame,
        title: format!("Drop dead letter {id}?"),
        what: vec![format!(
            "{} will not deliver {event}, and the copy of the event in the dead letter is deleted. This cannot be undone.",
            dead.lane.handler
        )],
        action: Some(format!("/dead/{id}/drop")),
        fields: Vec::new(),
        button: "Drop permanently".to_owned(),
        for_good: true,
        back: (format!("/dead/{id}"), "Keep it"),
    })
}

/// `POST /dead/{id}/drop`: deletes the dead letter permanently.
pub(in crate::admin::page) async fn drop(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Sorry> {
    let id = dead_letter(&shared, &id).await?.id;
    dead::drop(&shared, Which::Ids(vec![id])).await?;
    Ok(posted.says(&shared, "/dead", true, format!("Dead letter {id} was dropped.")))
}

/// The selection of a request that retries many dead letters. It is limited to running handlers, because no other
/// handler can retry.
fn retried(shared: &Shared, asked: &Asked) -> Result<Matching, Fault> {
    if let Some(handler) = asked.text("handler") {
        at_work(shared, handler)?;
    }
    let among = shared.state.desk.status().into_iter().map(|lane| lane.handler).collect();
    Ok(Matching { among: Some(among), ..matching(asked)? })
}
