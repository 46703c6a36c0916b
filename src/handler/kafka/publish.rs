//! Converts deliveries to Kafka messages and sends these in waves: see [`waves`].

use rdkafka::message::{Header, Headers, OwnedHeaders};

use super::{
    super::{Delivery, Failure, waves::waves},
    Settings,
    link::Link,
};

/// Sends the events and marks those that are acknowledged. Returns when all events are acknowledged.
///
/// # Errors
/// Returns the refusal of an event that is too large; then nothing was sent. Otherwise returns a [`Failure`] of the
/// first wave that failed; later waves were not sent.
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
    /// When the event was received, in ms since the Unix epoch.
    pub(super) timestamp_ms: i64,
    pub(super) headers: OwnedHeaders,
}

impl Message {
    /// Builds the Kafka message. Refuses the event if the message with key and headers is larger than `max_bytes`.
    fn of(delivery: &Delivery, settings: &Settings) -> Result<Self, Failure> {
        let event = &delivery.event;
        let payload = settings.body.of(delivery);
        // If BIK's `messageId` is missing, the key of the Kafka message is the event's key. That key is different for
        // every event, so these events spread over the partitions.
        let key = event.element.message_id().map_or_else(|| delivery.key().to_string(), str::to_owned);
        let headers = headers(delivery);
        let of_header = |header: Header<'_, &[u8]>| header.key.len() + header.value.map_or(0, <[u8]>::len);
        let bytes = payload.len() + key.len() + headers.iter().map(of_header).sum::<usize>();
        let limit = settings.max_bytes.as_usize();
        if bytes > limit {
            let why =
                format!("the message has {bytes} bytes with key and headers, more than max_bytes ({limit})");
            return Err(Failure::refuse("too large", why));
        }
        Ok(Self {
            topic: settings.topic_of(event),
            key,
            payload,
            timestamp_ms: event.came_at.as_ms(),
            headers,
        })
    }
}

fn headers(delivery: &Delivery) -> OwnedHeaders {
    let event = &delivery.event;
    let headers = [
        ("key", delivery.key().to_string()),
        ("seq", event.seq.to_string()),
        ("received_at", event.came_at.to_string()),
        ("source", event.source.to_string()),
        ("event_name", event.element.name().to_owned()),
        ("attempt", delivery.attempt.to_string()),
        ("replay", delivery.replay.to_string()),
    ];
    let id = event.element.id().map(|id| ("id", id.to_owned()));
    headers.iter().chain(&id).fold(OwnedHeaders::new_with_capacity(8), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
