//! Events that the journal itself creates: announcements of dead letters. While a handler that delivers announcements
//! is configured, the transaction that stores a new dead letter also stores its announcement. So an announcement has
//! the guarantees of every event: durable storage, retries, replays.

use std::sync::Arc;

use serde_json::json;

use super::{LaneId, NewDead};
use crate::{
    event::{DEAD_LETTER, Draft, OWN_SOURCE, decode},
    plural::counted,
};

/// Returns the announcement of a dead letter. It names the handler, the lane, the cause and `dead.event`. From the
/// payload of `dead.event`, it contains only the `eventName`. Returns `None` if `dead.event` is itself an announcement,
/// because a handler that cannot deliver announcements would otherwise cause new ones without end.
pub(super) fn of_dead_letter(id: i64, lane: &LaneId, dead: &NewDead) -> Option<Draft> {
    let event = &dead.event;
    if event.is_own() {
        return None;
    }
    let NewDead { cause, attempts, at, .. } = dead;
    let tries = counted((*attempts).into(), "attempt", "attempts");
    let text = format!(
        "handler {}: {} (event {}) became a dead letter, {} after {tries}; see `bikhook dead show {id}`",
        lane.handler,
        event.element.name(),
        event.seq,
        cause.as_str(),
    );
    let notice = json!({
        "eventName": DEAD_LETTER,
        // A new journal numbers dead letters from 1 again, but a destination may remember old ids. So the id of the
        // announcement also has the time.
        "id": format!("dead-{id}-{}", at.as_ms()),
        "text": text,
        "deadLetter": id,
        "handler": &*lane.handler,
        "lane": lane.class.as_str(),
        "replay": lane.replay,
        "cause": cause.as_str(),
        "attempts": attempts,
        "diedAt": at,
        "event": {
            "seq": event.seq,
            "receivedAt": event.came_at,
            "source": &*event.source,
            "eventName": event.element.name(),
        },
    });
    let decoded = decode(&Arc::from(OWN_SOURCE), notice.to_string().as_bytes()).ok()?;
    decoded.drafts.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        event::{Class, Element, Event},
        journal::{Cause, History},
    };

    fn dead(source: &str) -> NewDead {
        let raw = r#"{"eventName":"incoming-message","eventInfo":{"messageId":"m","message":"my secret","assetValue":"919090909090"}}"#;
        NewDead {
            event: Arc::new(Event {
                seq: 7,
                came_at: Timestamp::default(),
                received_at: Timestamp::default(),
                source: source.into(),
                element: Arc::new(Element::read(raw.as_bytes()).unwrap()),
            }),
            cause: Cause::Refused,
            attempts: 1,
            error: "status 422: my secret".to_owned(),
            at: Timestamp::default().plus_ms(5),
            history: History::default(),
        }
    }

    #[test]
    fn a_notice_has_no_content_of_the_event_and_a_key_of_its_own() {
        let lane = LaneId::live("crm".into(), Class::Incoming);
        let one = of_dead_letter(3, &lane, &dead("bik")).unwrap();
        let raw = one.element.raw();
        assert_eq!(
            (one.element.name(), one.element.id(), &*one.source),
            (DEAD_LETTER, Some("dead-3-5"), OWN_SOURCE)
        );
        assert!(
            raw.contains(
                "handler crm: incoming-message (event 7) became a dead letter, refused after 1 attempt; see `bikhook dead show 3`"
            ),
            "{raw}"
        );
        assert!(!raw.contains("secret") && !raw.contains("9090"), "{raw}");
        assert_ne!(one.key, of_dead_letter(4, &lane, &dead("bik")).unwrap().key);
    }

    #[test]
    fn dead_notices_raise_no_notice() {
        assert!(of_dead_letter(3, &LaneId::live("alarm".into(), Class::Other), &dead(OWN_SOURCE)).is_none());
    }
}
