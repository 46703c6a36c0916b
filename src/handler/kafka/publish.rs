//! Converts deliveries to messages and sends them in waves.

use rdkafka::message::{Header, OwnedHeaders};

use super::{
    super::{Delivery, Failure, waves::waves},
    Settings,
    link::Link,
};

/// Sends the events and marks those that are acknowledged. Returns when all are.
///
/// # Errors
/// Returns a [`Failure`] of the first wave that failed. Later waves were not sent.
pub(super) async fn publish(link: &Link, settings: &Settings, events: &[Delivery]) -> Result<(), Failure> {
    // All messages are built and checked before the first is sent.
    let messages = events.iter().map(|delivery| Message::of(delivery, settings));
    let mut messages = messages.collect::<Result<Vec<_>, _>>()?.into_iter();
    for wave in waves(events) {
        link.send(wave, messages.by_ref().take(wave.len())).await?;
    }
    Ok(())
}

/// The Kafka message for an event.
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) payload: String,
    /// When the event was received.
    pub(super) timestamp_ms: i64,
    pub(super) headers: OwnedHeaders,
}

impl Message {
    /// Builds the message. Refuses one that is larger than the settings allow.
    fn of(delivery: &Delivery, settings: &Settings) -> Result<Self, Failure> {
        let event = &delivery.event;
        let payload = settings.body.of(delivery);
        // An event without a message id uses its own key, so such events spread over the partitions.
        let key = event.element.message_id().map_or_else(|| delivery.key().to_string(), str::to_owned);
        let headers = headers(delivery);
        let bytes = payload.len()
            + key.len()
            + headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let limit = settings.max_bytes.as_usize();
        if bytes > limit {
            let why =
                format!("the message has {bytes} bytes with key and headers, more than max_bytes ({limit})");
            return Err(Failure::refuse("too large", why));
        }
        Ok(Self {
            topic: settings.topic.name(event),
            key,
            payload,
            timestamp_ms: event.came_at.as_ms(),
            headers: owned(&headers),
        })
    }
}

fn headers(delivery: &Delivery) -> Vec<(&'static str, String)> {
    let event = &delivery.event;
    let mut headers = vec![
        ("key", delivery.key().to_string()),
        ("seq", event.seq.to_string()),
        ("received_at", event.came_at.to_string()),
        ("source", event.source.to_string()),
        ("event_name", event.element.name().to_owned()),
        ("attempt", delivery.attempt.to_string()),
        ("replay", delivery.replay.to_string()),
    ];
    headers.extend(event.element.id().map(|id| ("id", id.to_owned())));
    headers
}

fn owned(headers: &[(&str, String)]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |owned, (key, value)| {
        owned.insert(Header { key, value: Some(value) })
    })
}
