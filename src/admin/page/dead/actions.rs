//! Actions on dead letters: retry one, retry all that match a filter, or drop one.

use axum::{extract::Path, response::Redirect};

use super::{filter, list_fields, one::dead_letter};
use crate::admin::{
    AdminState,
    decision::{
        dead::{ChangeResult, DeadAction, DeadFilter, DeadSelection},
        handlers::running_handler,
    },
    error::RequestError,
    page::{
        confirm::Confirm, error_page::PageResult, events::word, form::Posted, form_fields::FormFields,
        format::quantity, links, visit::PageVisit,
    },
};

/// `POST /dead/count`: shows how many dead letters match the submitted fields of the form on `/dead`, and another form
/// that retries these dead letters.
pub(in crate::admin::page) async fn count_matching(posted: Posted) -> PageResult {
    let back = (links::with_query("/dead", &list_fields(&posted.fields)), "Back to the list");
    confirm_retry(posted.visit, &posted.fields, back).await
}

/// Shows how many dead letters match the fields in `form`, and a form that retries these dead letters.
pub(in crate::admin::page) async fn confirm_retry(
    visit: PageVisit,
    form: &FormFields,
    back: (String, &'static str),
) -> PageResult {
    let selection = DeadSelection::Matching(Box::new(retried(&visit.shared, form)?));
    let ChangeResult { changed: matches, newest, .. } =
        DeadAction::Count.on(&visit.shared, selection).await?;
    let dead = quantity(matches as u64, "dead letter", "dead letters");
    let of = form.text("handler").map(|handler| format!(" of {handler}")).unwrap_or_default();
    let what = if matches == 0 {
        "No dead letter of a configured handler matches.".to_owned()
    } else {
        "Each event is delivered again through the lane in which it became a dead letter. It leaves the list once it \
         is delivered, and stays if it is refused again. Later dead letters are not retried."
            .to_owned()
    };
    let mut fields = list_fields(form);
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

/// `POST /dead/retry`: retries all dead letters that match the fields of the form on `/dead`. The field `newest` is the
/// highest id that is retried.
pub(in crate::admin::page) async fn retry_matching(posted: Posted) -> PageResult {
    let (form, shared) = (&posted.fields, &posted.visit.shared);
    let newest: Option<i64> = form.read("newest")?;
    let before = newest.map(|newest| newest.saturating_add(1));
    let filter = DeadFilter { before, ..retried(shared, form)? };
    let done = DeadAction::Retry.on(shared, DeadSelection::Matching(Box::new(filter))).await?.changed;
    let what = match done {
        0 => "Nothing was left to retry.".to_owned(),
        1 => "1 dead letter is being retried: it leaves this list once it is delivered.".to_owned(),
        _ => {
            let dead = quantity(done as u64, "dead letter", "dead letters");
            format!("{dead} are being retried: each leaves this list once it is delivered.")
        }
    };
    posted.says(&links::with_query("/dead", &list_fields(form)), done > 0, what)
}

/// `GET /dead/count`, `GET /dead/retry`: redirects to the list. A browser sends these if its user opens the URL of a
/// submitted form again.
pub(in crate::admin::page) async fn to_the_list() -> Redirect {
    Redirect::to("/dead")
}

/// `POST /dead/{id}/retry`
pub(in crate::admin::page) async fn retry(Path(id): Path<String>, posted: Posted) -> PageResult {
    let dead = dead_letter(posted.visit.journal(), &id).await?;
    let shared = &posted.visit.shared;
    let (id, handler) = (dead.id, running_handler(shared, &dead.lane.handler)?);
    DeadAction::Retry.on(shared, DeadSelection::Ids(vec![id])).await?;
    let what =
        format!("Dead letter {id} is being retried: it leaves this list once {handler} has delivered it.");
    posted.says("/dead", true, what)
}

/// `GET /dead/{id}/drop`: asks for confirmation.
pub(in crate::admin::page) async fn ask_to_drop(Path(id): Path<String>, visit: PageVisit) -> PageResult {
    let dead = dead_letter(visit.journal(), &id).await?;
    let event = format!("event {} ({})", dead.event.seq, word(dead.event.element.name()));
    let what = format!(
        "{} will not deliver {event}, and the copy of the event in the dead letter is deleted. This cannot be undone.",
        dead.lane.handler
    );
    let title = format!("Drop dead letter {}?", dead.id);
    visit.show(|frame| Confirm::drop(frame, format!("/dead/{}", dead.id), title, what))
}

/// `POST /dead/{id}/drop`: deletes the dead letter permanently.
pub(in crate::admin::page) async fn drop(Path(id): Path<String>, posted: Posted) -> PageResult {
    let id = dead_letter(posted.visit.journal(), &id).await?.id;
    DeadAction::Drop.on(&posted.visit.shared, DeadSelection::Ids(vec![id])).await?;
    posted.says("/dead", true, format!("Dead letter {id} was dropped."))
}

/// The filter for the dead letters that a form retries. It selects only those of configured handlers, because no other
/// handler can deliver.
fn retried(shared: &AdminState, form: &FormFields) -> Result<DeadFilter, RequestError> {
    if let Some(handler) = form.text("handler") {
        running_handler(shared, handler)?;
    }
    let among = shared.parts.desk.status().into_iter().map(|lane| lane.handler).collect();
    Ok(DeadFilter { among: Some(among), ..filter(form)? })
}
