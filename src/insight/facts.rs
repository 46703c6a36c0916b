//! Extracts facts about messages and customers from an event, in the same form for every envelope.

use crate::{
    clock::Timestamp,
    event::{Category, Channel, Customer, Owner, Stamp, Status, View},
};

/// The facts of one `eventInfo`, or of an event without one.
#[derive(Default)]
pub struct Fact<'a> {
    /// BIK's id of the message; `None` if there is no message, or it has no id.
    pub message_id: Option<&'a str>,
    /// Whether the customer sent the message.
    pub incoming: bool,
    /// The status of the message.
    pub status: Option<&'a Status>,
    /// Why the message failed, in BIK's words.
    pub reason: Option<&'a str>,
    /// The store that the event belongs to.
    pub store: Option<&'a str>,
    /// The channel of the message.
    pub channel: Option<&'a Channel>,
    /// BIK's word for the sender, such as `CAMPAIGN`.
    pub owner: Option<&'a Owner>,
    /// The id of that sender, such as one broadcast or automation.
    pub owner_id: Option<&'a str>,
    /// The customer's address on the channel.
    pub address: Option<&'a str>,
    /// BIK's id of the customer.
    pub customer: Option<&'a str>,
    /// The customer's first and last name.
    pub name: Option<String>,
    /// When the message was created, according to BIK.
    pub created_at: Option<Timestamp>,
    /// Whether the customer deleted the message.
    pub deleted: bool,
}

impl Fact<'_> {
    /// Returns whether somebody answered this customer. A broadcast is no answer.
    pub fn is_answer(&self) -> bool {
        let broadcast = self.owner.and_then(Owner::category) == Some(Category::Broadcast);
        !self.incoming && self.status == Some(&Status::Sent) && !broadcast
    }
}

/// Returns the facts of an event, in the order of its infos; at least one.
pub fn facts<'a>(view: &'a View<'_>) -> Vec<Fact<'a>> {
    let facts: Vec<Fact<'a>> = match view {
        View::Incoming(message) => message
            .infos
            .iter()
            .map(|info| Fact {
                message_id: info.message_id.as_deref(),
                incoming: true,
                channel: info.channel.as_ref(),
                address: info.asset_value.as_deref(),
                created_at: time(info.created_at.as_ref()),
                deleted: info.is_deleted == Some(true),
                ..of_customer(&message.customer, message.store_id.as_deref())
            })
            .collect(),
        View::Status(update) => update
            .infos
            .iter()
            .map(|info| Fact {
                message_id: info.message_id.as_deref(),
                status: info.status.as_ref(),
                reason: info.failure_reason.as_deref(),
                channel: info.channel.as_ref(),
                owner: info.owner.as_ref(),
                owner_id: info.owner_id.as_deref(),
                address: info.asset_value.as_deref(),
                created_at: time(info.created_at.as_ref()),
                ..of_customer(&update.customer, update.store_id.as_deref())
            })
            .collect(),
        View::Subscribed(event) => vec![Fact {
            store: event.store_id.as_deref(),
            channel: event.channel.as_ref(),
            address: event.assets.first().map(AsRef::as_ref),
            customer: event.customer_id.as_deref(),
            created_at: time(event.created_at.as_ref()),
            ..Fact::default()
        }],
        View::Other(event) => vec![Fact {
            channel: event.infos.first().and_then(|info| info.channel.as_ref()),
            created_at: event.infos.first().and_then(|info| time(info.created_at.as_ref())),
            ..of_customer(&event.customer, event.store_id.as_deref())
        }],
    };
    if facts.is_empty() { vec![Fact { store: view.store_id(), ..Fact::default() }] } else { facts }
}

fn of_customer<'a>(customer: &'a Customer<'_>, store: Option<&'a str>) -> Fact<'a> {
    let names = [customer.first_name.as_deref(), customer.last_name.as_deref()];
    let name = names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    Fact {
        store,
        customer: customer.customer_id.as_deref(),
        name: Some(name).filter(|name| !name.is_empty()),
        ..Fact::default()
    }
}

fn time(stamp: Option<&Stamp<'_>>) -> Option<Timestamp> {
    stamp.and_then(Stamp::time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Element;

    #[test]
    fn every_envelope_gives_at_least_one_fact() {
        let told = |raw: &str| {
            let element = Element::read(raw.as_bytes()).unwrap();
            let view = element.view();
            let facts = facts(&view);
            let told = |fact: &Fact<'_>| {
                format!(
                    "{:?} {} {:?} {:?} {:?}",
                    fact.message_id,
                    fact.incoming,
                    fact.status.map(Status::as_str),
                    fact.address,
                    fact.name
                )
            };
            facts.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(
            told(
                r#"{"eventName":"incoming-message","eventInfo":{"messageId":"m","assetValue":"+91"},"customerDetails":{"firstName":"A","lastName":"B"}}"#
            ),
            [r#"Some("m") true None Some("+91") Some("A B")"#]
        );
        assert_eq!(
            told(
                r#"{"eventName":"message-status-update","eventInfo":[{"messageId":"m","status":"READ"},{"messageId":"n"}]}"#
            ),
            [r#"Some("m") false Some("read") None None"#, r#"Some("n") false None None None"#]
        );
        assert_eq!(told(r#"{"eventName":"message-status-update"}"#), ["None false None None None"]);
        assert_eq!(
            told(r#"{"eventName":"optedOut","eventId":"o","eventProperties":{},"assets":["+91"]}"#),
            [r#"None false None Some("+91") None"#]
        );
        assert_eq!(told(r#"{"eventName":"x"}"#), ["None false None None None"]);
    }
}
