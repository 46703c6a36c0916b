//! Converts an event to an AMQP message.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::handler::{Delivery, Failure, Template, body::Body};

/// The delivery mode (AMQP 0-9-1) for messages that a durable queue stores on disk.
const PERSISTENT: u8 = 2;

/// The settings that determine how an event becomes an AMQP message.
#[derive(Clone)]
pub(super) struct Form {
    pub(super) exchange: ShortString,
    pub(super) routing_key: Template,
    pub(super) mandatory: bool,
    pub(super) body: Body,
}

/// An AMQP message that is ready to publish.
pub(super) struct Message {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) mandatory: bool,
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

impl Form {
    /// Builds the AMQP message. Refuses an event whose routing key exceeds AMQP's limit.
    pub(super) fn message(&self, delivery: &Delivery) -> Result<Message, Failure> {
        let routing_key = ShortString::try_new(self.routing_key.render(&delivery.event, is_safe))
            .map_err(|error| Failure::refuse("routing key too long", error))?;
        Ok(Message {
            exchange: self.exchange.clone(),
            routing_key,
            mandatory: self.mandatory,
            properties: properties(delivery),
            body: self.body.of(delivery).into_bytes(),
        })
    }
}

/// Returns whether the value of a placeholder in the routing key may contain this character. Dots separate words, and
/// `*` and `#` are wildcards of bindings.
const fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// Maximum length of the id header, in bytes. All headers must fit into one AMQP frame, whose size the broker limits.
/// The body has the full id.
const ID_BYTES: usize = 1_024;

fn properties(delivery: &Delivery) -> BasicProperties {
    let event = &delivery.event;
    let mut headers = FieldTable::default();
    let mut header = |name: &str, value: AMQPValue| {
        headers.insert(short(name), value);
    };
    header("seq", AMQPValue::LongLongInt(i64::try_from(event.seq).unwrap_or(i64::MAX)));
    header("source", text(&event.source));
    header("received_at", text(&event.came_at.to_string()));
    if let Some(id) = event.element.id() {
        header("id", text(&id[..id.floor_char_boundary(ID_BYTES)]));
    }
    header("attempt", AMQPValue::LongLongInt(delivery.attempt.into()));
    header("replay", AMQPValue::Boolean(delivery.replay));
    let properties = BasicProperties::default()
        .with_message_id(short(&delivery.key().to_string()))
        .with_app_id(short("bikhook"))
        .with_content_type(short("application/json"))
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(u64::try_from(event.came_at.as_ms() / 1000).unwrap_or(0))
        .with_headers(headers);
    properties.with_type(short(event.element.name()))
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Truncates a text to the 255 bytes of a short string. The body has the full text.
fn short(text: &str) -> ShortString {
    let end = text.floor_char_boundary(255);
    ShortString::try_new(&text[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, event::Event};

    fn message(name: &str, routing_key: &str, body: Body) -> Result<Message, Failure> {
        let sample = Delivery::sample(5, &format!(r#"{{ "eventName": "{name}", "id": 7 }}"#));
        let event = Event { came_at: Timestamp::from_ms(1_500), ..(*sample.event).clone() };
        let routing_key = Template::parse(routing_key).unwrap();
        let form = Form { exchange: "e".into(), routing_key, mandatory: true, body };
        form.message(&Delivery::new(event.into(), 2, false))
    }

    #[test]
    fn a_message_says_what_it_is() {
        let message = message("order.placed", "bik.{source}.{event}", Body::Raw).unwrap();
        assert_eq!(message.routing_key.as_str(), "bik.bik.order_placed");
        assert_eq!(message.body, br#"{"eventName":"order.placed","id":7}"#);
        let properties = message.properties;
        assert_eq!(properties.message_id().as_ref().unwrap().as_str().len(), 32);
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "order.placed");
        assert_eq!(*properties.timestamp(), Some(1));
        assert_eq!(*properties.delivery_mode(), Some(2));
        let headers = properties.headers().as_ref().unwrap().inner();
        assert_eq!(headers["seq"], AMQPValue::LongLongInt(5));
        assert_eq!(headers["attempt"], AMQPValue::LongLongInt(2));
        assert_eq!(headers["replay"], AMQPValue::Boolean(false));
        assert_eq!(headers["id"], text("7"));
    }

    #[test]
    fn a_long_name_is_accepted_and_a_long_routing_key_is_refused() {
        let name = "é".repeat(300);
        let long = message(&name, "bik.{event}", Body::Envelope).unwrap();
        assert_eq!(long.properties.kind().as_ref().unwrap().as_str().len(), 254);
        assert!(String::from_utf8(long.body).unwrap().contains(&name));
        let refused = message(&name, "{event}.{event}.{event}", Body::Envelope).err();
        assert!(matches!(refused, Some(Failure::Refuse { .. })), "{refused:?}");
    }
}
