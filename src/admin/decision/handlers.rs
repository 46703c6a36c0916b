//! Pause, resume, skip, rename and retry for handlers.

use std::sync::Arc;

use crate::{
    admin::{
        AdminState,
        error::RequestError,
        wire::{Believed, REASON_CHARS, Skipped},
    },
    dispatch::LaneStatus,
    journal::{Pause, RenameError, RenameRefusal},
    settings::{NAME_RULE, is_name, nearest},
};

/// Pauses a handler: it starts no deliveries until it is resumed, and a restart does not resume it. A handler that is
/// paused already keeps its first reason. Returns the handler's pause.
pub(in crate::admin) async fn pause(
    shared: &AdminState,
    handler: &Arc<str>,
    reason: Option<&str>,
) -> Result<Option<Pause>, RequestError> {
    let reason = reason.unwrap_or("no reason given");
    if reason.chars().count() > REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(RequestError::parameter(
            "reason",
            format!("give one line of at most {REASON_CHARS} characters"),
        ));
    }
    // The reason names who paused the handler, for the next operator who reads it.
    let by = shared.known_user().map(|user| format!(" (by {user})")).unwrap_or_default();
    let was_paused = shared.parts.journal.paused().borrow().contains_key(handler);
    shared.parts.journal.pause(Arc::clone(handler), format!("{reason}{by}")).await?;
    if !was_paused {
        tracing::info!(user = shared.user(), handler = &**handler, "handler paused by an operator");
    }
    Ok(shared.parts.journal.paused().borrow().get(handler).cloned())
}

/// Resumes a handler at its cursors. Returns whether it was paused.
pub(in crate::admin) async fn resume(shared: &AdminState, handler: &Arc<str>) -> Result<bool, RequestError> {
    let resumed = shared.parts.journal.resume(Arc::clone(handler)).await?;
    if resumed {
        tracing::info!(user = shared.user(), handler = &**handler, "handler resumed by an operator");
    }
    Ok(resumed)
}

/// Makes each lane of a handler skip all undelivered events below the seq `before`. A dry run only counts them. Returns
/// an error if every lane has ended. Events that cannot be read are skipped, too. If there are any, the number of
/// skipped events is unknown.
pub(in crate::admin) async fn skip(
    shared: &AdminState,
    handler: &str,
    before: u64,
    dry_run: bool,
) -> Result<Skipped, RequestError> {
    let handler = &*running_handler(shared, handler)?;
    let by = (!dry_run).then(|| shared.recorded_user());
    let skips = shared.parts.desk.skip(handler, before, by.as_ref()).await;
    let (lanes, in_flight) = (skips.lanes(), skips.in_flight());
    if lanes == 0 {
        return Err(RequestError::LanesEnded(handler.to_owned()));
    }
    // Logged before the count, because the count may fail or may take too long for the request.
    if !dry_run {
        tracing::warn!(user = shared.user(), handler, before, in_flight, "events skipped by an operator");
    }
    let counted = skips.count().await;
    match &counted {
        Ok(skipped) if !dry_run => tracing::info!(handler, before, skipped, "skipped events counted"),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(handler, before, error = error.class(), "undelivered events cannot be counted");
        }
    }
    Ok(Skipped { handler: handler.to_owned(), before, lanes, events: counted.ok(), in_flight, dry_run })
}

/// Moves a handler's state in the journal to another name. Fails if the old name is still configured.
pub(in crate::admin) async fn rename(shared: &AdminState, old: &str, new: &str) -> Result<(), RequestError> {
    if !is_name(new) {
        return Err(RequestError::parameter("to", NAME_RULE));
    }
    shared.parts.journal.rename_handler(old.into(), new.into()).await.map_err(|error| match error {
        RenameError::Refused(RenameRefusal::Unknown) => {
            RequestError::NotFound(format!("handler {old:?} in the journal"))
        }
        RenameError::Journal(error) => RequestError::Journal(error),
        refused => RequestError::parameter("to", refused.to_string()),
    })?;
    tracing::info!(user = shared.user(), handler = old, to = new, "handler renamed by an operator");
    Ok(())
}

/// Makes the lanes of a handler retry immediately. This applies to events in the lanes, events set aside, and dead
/// letters marked for retry.
pub(in crate::admin) async fn retry(shared: &AdminState, handler: &Arc<str>) {
    let lanes = shared.parts.desk.retry(handler).await;
    tracing::info!(
        user = shared.user(),
        handler = &**handler,
        lanes,
        "waiting events retried by an operator"
    );
}

/// Accepts the refusals of a handler's destination. The current refusals of a lane have an error class, such as
/// `status 422`. Until the lane's next success, each of its events up to the current tip becomes a dead letter if it
/// fails with this class.
pub(in crate::admin) async fn believe(shared: &AdminState, handler: &Arc<str>) -> Believed {
    let upto = *shared.parts.journal.tip().borrow();
    let classes = shared.parts.desk.believe(handler, upto).await;
    if !classes.is_empty() {
        tracing::warn!(
            user = shared.user(),
            handler = &**handler,
            upto,
            refused = classes.join(", "),
            "refusals believed by an operator: the refused events become dead letters"
        );
    }
    Believed { handler: Arc::clone(handler), upto, classes }
}

/// Returns `name` if a handler with this name is configured. Otherwise, the error lists the configured handlers.
pub(in crate::admin) fn running_handler(shared: &AdminState, name: &str) -> Result<Arc<str>, RequestError> {
    let lanes = shared.parts.desk.status();
    let lane = lanes.iter().find(|lane| *lane.handler == *name);
    lane.map(|lane| Arc::clone(&lane.handler)).ok_or_else(|| unknown_handler(name, &lanes))
}

/// The error for an unknown handler name; it lists the configured handlers.
fn unknown_handler(name: &str, lanes: &[LaneStatus]) -> RequestError {
    let mut names: Vec<&str> = lanes.iter().map(|lane| &*lane.handler).collect();
    names.dedup();
    let near = nearest(name, names.iter().copied());
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    RequestError::NotFound(format!("handler {name:?} in the configuration{near} (configured: {names})"))
}
