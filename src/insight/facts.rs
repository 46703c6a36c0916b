//! The facts of an event that insight stores.

use crate::event::{Category, Fact, Owner, Status, View};

/// Returns whether the fact is an answer to the customer: a `sent` message to the customer that is no broadcast.
pub(super) fn is_answer(fact: &Fact<'_>) -> bool {
    let broadcast = fact.owner.and_then(Owner::category) == Some(Category::Broadcast);
    !fact.is_incoming && fact.status == Some(&Status::Sent) && !broadcast
}

/// Returns the facts of an event, in the order of its infos; at least one. Only a fact about a message has a message
/// id, and only a fact about a message to a customer has a status and an owner.
pub(super) fn facts<'a>(view: &'a View<'_>) -> impl Iterator<Item = Fact<'a>> {
    let most = if matches!(view, View::Other(_)) { 1 } else { usize::MAX };
    view.facts().take(most).map(move |fact| match view {
        View::Status(_) => fact,
        View::Incoming(_) => Fact { status: None, failure_reason: None, owner: None, owner_id: None, ..fact },
        View::Subscribed(_) | View::Other(_) => Fact { message_id: None, status: None, owner: None, ..fact },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Element;

    #[test]
    fn every_envelope_gives_at_least_one_fact() {
        let told = |fact: Fact<'_>| {
            let (status, name) = (fact.status.map(Status::as_str), fact.name());
            format!("{:?} {} {status:?} {:?} {name:?}", fact.message_id, fact.is_incoming, fact.address)
        };
        let cases: [(&str, &[&str]); 5] = [
            (
                r#"{"eventName":"incoming-message","eventInfo":{"messageId":"m","assetValue":"+91"},"customerDetails":{"firstName":"A","lastName":"B"}}"#,
                &[r#"Some("m") true None Some("+91") Some("A B")"#],
            ),
            (
                r#"{"eventName":"message-status-update","eventInfo":[{"messageId":"m","status":"READ"},{"messageId":"n"}]}"#,
                &[r#"Some("m") false Some("read") None None"#, r#"Some("n") false None None None"#],
            ),
            (r#"{"eventName":"message-status-update"}"#, &["None false None None None"]),
            (
                r#"{"eventName":"optedOut","eventId":"o","eventProperties":{},"assets":["+91"]}"#,
                &[r#"None false None Some("+91") None"#],
            ),
            (r#"{"eventName":"x"}"#, &["None false None None None"]),
        ];
        for (raw, expected) in cases {
            let element = Element::read(raw.as_bytes()).unwrap();
            assert_eq!(facts(&element.view()).map(told).collect::<Vec<_>>(), expected, "{raw}");
        }
    }
}
