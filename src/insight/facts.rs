//! The facts that insight stores about an event.

use super::contact_key::ContactKey;
use crate::event::{Fact, View};

/// Maximum number of addresses that are read from a [`View::Subscribed`] event.
const ASSETS_MAX: usize = 8;

/// Returns the facts of an event, in the order of its infos; at least one. For [`View::Other`], returns only the first
/// fact. Only a fact about a message has a message id, and only a fact about a message to a customer has a status and
/// an owner.
pub(super) fn facts<'a>(view: &'a View<'_>) -> impl Iterator<Item = Fact<'a>> {
    let most = if matches!(view, View::Other(_)) { 1 } else { usize::MAX };
    view.facts().take(most).map(move |fact| match view {
        View::Status(_) => fact,
        View::Incoming(_) => Fact { status: None, failure_reason: None, owner: None, owner_id: None, ..fact },
        View::Subscribed(_) | View::Other(_) => Fact { message_id: None, status: None, owner: None, ..fact },
    })
}

/// Returns the keys of a fact's customer: the addresses, then the ids.
pub(super) fn keys(view: &View<'_>, fact: &Fact<'_>) -> Vec<ContactKey> {
    let mut keys = Vec::with_capacity(2);
    let mut add = |key: Option<ContactKey>| {
        if let Some(key) = key.filter(|key| !keys.contains(key)) {
            keys.push(key);
        }
    };
    if let View::Subscribed(event) = view {
        for address in event.addresses().take(ASSETS_MAX) {
            add(ContactKey::address(fact.channel, address));
        }
        add(event.customer_id.as_deref().and_then(ContactKey::customer));
        add(event.primary_customer_id.as_deref().and_then(ContactKey::customer));
    } else {
        add(fact.address.and_then(|address| ContactKey::address(fact.channel, address)));
        add(fact.customer_id.and_then(ContactKey::customer));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Element, Status};

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

    fn keys_of(raw: &str) -> Vec<String> {
        let element = Element::read(raw.as_bytes()).unwrap();
        let view = element.view();
        facts(&view)
            .flat_map(|fact| keys(&view, &fact))
            .map(|key| format!("{:?} {}", key.kind, key.shown()))
            .collect()
    }

    #[test]
    fn a_customer_is_named_by_addresses_and_ids_but_not_by_ids_of_assets() {
        let cases: [(&str, &[&str]); 6] = [
            (
                r#"{"eventName":"incoming-message","eventInfo":{"messageId":"m","assetValue":"+919800000101"},"customerDetails":{"customerId":7}}"#,
                &["Phone 919800000101", "Customer 7"],
            ),
            (
                r#"{"eventName":"incoming-message","eventInfo":{"messageId":"m","assetValue":null},"customerDetails":{"customerId":"7"}}"#,
                &["Customer 7"],
            ),
            (
                r#"{"eventName":"customerCreated","customerId":"7","primaryCustomerId":"8","eventId":"c","eventProperties":{},"assets":["12030878","919800000101"]}"#,
                &["Customer 7", "Customer 8"],
            ),
            (
                r#"{"eventName":"optedOut","customerId":"7","eventId":"o","eventProperties":{},"assets":["12030878","+919800000101","a@b.example"]}"#,
                &["Phone 919800000101", "Mail a@b.example", "Customer 7"],
            ),
            (
                r#"{"eventName":"optedOut","customerId":"7","eventId":"o","eventProperties":{}}"#,
                &["Customer 7"],
            ),
            (r#"{"eventName":"x"}"#, &[]),
        ];
        for (raw, expected) in cases {
            assert_eq!(keys_of(raw), expected, "{raw}");
        }
    }
}
