//! Handlers that are held back, let go on, and told to let go of events.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    admin::{Shared, fault::Fault},
    dispatch::LaneStatus,
    journal::{Pause, RenameError, RenameRefusal},
    settings::{NAME_RULE, is_name, nearest},
};

/// A reason is a line in a table.
const REASON_CHARS: usize = 200;

/// Holds a handler back: it starts no delivery until it is resumed, also after a restart. One that is paused already keeps
/// its first reason.
pub(in crate::admin) async fn pause(
    shared: &Shared,
    handler: &Arc<str>,
    reason: Option<&str>,
) -> Result<Option<Pause>, Fault> {
    let reason = reason.unwrap_or("an operator paused it");
    if reason.chars().count() > REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(Fault::parameter(
            "reason",
            format!("give one line of at most {REASON_CHARS} characters"),
        ));
    }
    // By whom: for who looks at it next.
    let by = shared.known_user().map(|user| format!(" (by {user})")).unwrap_or_default();
    let was_paused = shared.state.journal.paused().borrow().contains_key(handler);
    shared.state.journal.pause(Arc::clone(handler), format!("{reason}{by}")).await?;
    if !was_paused {
        tracing::info!(user = shared.user(), handler = &**handler, "paused by an operator's decision");
    }
    Ok(shared.state.journal.paused().borrow().get(handler).cloned())
}

/// Lets a handler go on where it was; whether it was paused.
pub(in crate::admin) async fn resume(shared: &Shared, handler: &Arc<str>) -> Result<bool, Fault> {
    let resumed = shared.state.journal.resume(Arc::clone(handler)).await?;
    if resumed {
        tracing::info!(user = shared.user(), handler = &**handler, "resumed by an operator's decision");
    }
    Ok(resumed)
}

/// Lets go of everything before a place, in each of a handler's lanes: how many these are.
pub(in crate::admin) async fn skip(shared: &Shared, handler: &str, before: u64) -> Result<usize, Fault> {
    let lanes = shared.state.desk.skip(handler, before).await;
    if lanes == 0 {
        return Err(not_at_work(handler, &shared.state.desk.status()));
    }
    tracing::info!(user = shared.user(), handler, before, "events are skipped by an operator's decision");
    Ok(lanes)
}

/// Gives the place of a handler that is not configured to another name.
pub(in crate::admin) async fn rename(shared: &Shared, old: &str, new: &str) -> Result<(), Fault> {
    if !is_name(new) {
        return Err(Fault::parameter("to", NAME_RULE));
    }
    shared.state.journal.rename_handler(old.into(), new.into()).await.map_err(|error| match error {
        RenameError::Refused(RenameRefusal::Unknown) => {
            Fault::Nothing(format!("handler {old:?} in the journal"))
        }
        RenameError::Journal(error) => Fault::Journal(error),
        refused => Fault::parameter("to", refused.to_string()),
    })?;
    tracing::info!(user = shared.user(), handler = old, to = new, "handler renamed by an operator");
    Ok(())
}

/// Lets a handler try now whatever waits to be tried again.
pub(in crate::admin) async fn retry(shared: &Shared, handler: &Arc<str>) {
    let lanes = shared.state.desk.retry(handler).await;
    tracing::info!(
        user = shared.user(),
        handler = &**handler,
        lanes,
        "retried now by an operator's decision"
    );
}

/// Believes what a handler's lanes are refused with, of the events that are stored now.
pub(in crate::admin) async fn believe(shared: &Shared, handler: &Arc<str>) -> Believed {
    let upto = *shared.state.journal.tip().borrow();
    let classes = shared.state.desk.believe(handler, upto).await;
    if !classes.is_empty() {
        tracing::warn!(
            user = shared.user(),
            handler = &**handler,
            upto,
            refused = classes.join(", "),
            "refusals are believed by an operator's decision: these events become dead letters"
        );
    }
    Believed { handler: Arc::clone(handler), upto, classes }
}

/// Which refusals are believed.
#[derive(Serialize)]
pub(in crate::admin) struct Believed {
    handler: Arc<str>,
    /// Of the events up to this seq.
    pub(in crate::admin) upto: u64,
    /// The classes, such as `status 422`; empty where no lane has refused events.
    pub(in crate::admin) classes: Vec<String>,
}

/// The handler of that name, if this process has it.
pub(in crate::admin) fn at_work(shared: &Shared, name: &str) -> Result<Arc<str>, Fault> {
    let lanes = shared.state.desk.status();
    let lane = lanes.iter().find(|lane| *lane.handler == *name);
    lane.map(|lane| Arc::clone(&lane.handler)).ok_or_else(|| not_at_work(name, &lanes))
}

/// No handler of that name, and which there are.
fn not_at_work(name: &str, lanes: &[LaneStatus]) -> Fault {
    let mut names: Vec<&str> = lanes.iter().map(|lane| &*lane.handler).collect();
    names.dedup();
    let near = nearest(name, names.iter().copied());
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Fault::Nothing(format!("handler {name:?} at work{near} (at work: {names})"))
}
