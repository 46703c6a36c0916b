//! Converts deliveries to NATS messages and publishes these in waves: see [`waves`].

use async_nats::{
    HeaderMap, HeaderName, HeaderValue,
    header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID},
    jetstream::{
        context::{PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};

use super::{
    super::{Delivery, Failure, safe_text::push_safe, waves::waves},
    Settings,
    error::{NatsFailure, of_publish},
    link::Link,
};

/// Maximum length of a header value that holds the source, the event name or the id, in characters.
const HEADER_CHARS: usize = 200;

const KEY: HeaderName = HeaderName::from_static("Bikhook-Key");
const SEQ: HeaderName = HeaderName::from_static("Bikhook-Seq");
const RECEIVED_AT: HeaderName = HeaderName::from_static("Bikhook-Received-At");
const SOURCE: HeaderName = HeaderName::from_static("Bikhook-Source");
const EVENT: HeaderName = HeaderName::from_static("Bikhook-Event");
const ID: HeaderName = HeaderName::from_static("Bikhook-Id");
const ATTEMPT: HeaderName = HeaderName::from_static("Bikhook-Attempt");
const REPLAY: HeaderName = HeaderName::from_static("Bikhook-Replay");

/// Publishes the events and marks those that are acknowledged. Returns when all events are acknowledged.
///
/// # Errors
/// Returns the refusal of an event that is too large; then nothing was sent. Otherwise returns a [`NatsFailure`] of the
/// first wave that failed; later waves were not sent.
pub(super) async fn publish(
    link: &Link,
    settings: &Settings,
    handler: &str,
    events: &[Delivery],
) -> Result<(), NatsFailure> {
    let limit = link.client.max_payload();
    // All messages are built and checked before the first is sent.
    let messages = events.iter().map(|delivery| Message::of(delivery, settings, handler, limit));
    let mut messages = messages.collect::<Result<Vec<_>, _>>()?.into_iter();
    for wave in waves(events) {
        let together = messages.by_ref().take(wave.len());
        link.unless_broken(send(link, settings, wave, together)).await??;
    }
    Ok(())
}

async fn send(
    link: &Link,
    settings: &Settings,
    wave: &[Delivery],
    messages: impl Iterator<Item = Message>,
) -> Result<(), NatsFailure> {
    let mut acks = Vec::with_capacity(wave.len());
    let mut failure = None;
    let failed = |error: PublishError| {
        if matches!(error.kind(), PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe) {
            link.give_up();
        }
        of_publish(&settings.subject_pattern(), &error)
    };
    for (delivery, Message { subject, headers, payload }) in wave.iter().zip(messages) {
        let message = PublishMessage::build().payload(payload.into()).headers(headers);
        delivery.mark_sent();
        match link.jetstream.send_publish(subject, message).await {
            Ok(ack) => acks.push((delivery, ack)),
            Err(error) => {
                let trouble = failed(error);
                if link.has_trouble() {
                    return Err(trouble);
                }
                failure = Some(trouble);
                break;
            }
        }
    }
    for (delivery, ack) in acks {
        match ack.await {
            Ok(_) => delivery.mark_accepted(),
            Err(error) => {
                let trouble = failed(error);
                // After a problem of the connection, do not wait for the other acknowledgements, because each may take
                // its whole timeout.
                if link.has_trouble() {
                    return Err(failure.unwrap_or(trouble));
                }
                failure.get_or_insert(trouble);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The NATS message for an event.
struct Message {
    subject: String,
    headers: HeaderMap,
    payload: String,
}

impl Message {
    /// Builds the NATS message. Refuses the event if the message has more than `limit` bytes, which is the server's
    /// maximum.
    fn of(delivery: &Delivery, settings: &Settings, handler: &str, limit: usize) -> Result<Self, Failure> {
        let event = &delivery.event;
        let payload = settings.body.of(delivery);
        let subject = settings.subject.render(event, is_safe);
        let message = Self { subject, headers: headers(delivery, settings, handler), payload };
        let bytes = message.wire_bytes();
        if bytes > limit {
            let why = format!("the message has {bytes} bytes, more than the server's max_payload ({limit})");
            return Err(Failure::refuse("too large", why));
        }
        Ok(message)
    }

    /// The size that the server counts, in bytes: payload plus headers as sent on the wire.
    fn wire_bytes(&self) -> usize {
        let lines = self.headers.iter().map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(|value| name.len() + value.as_str().len() + ": \r\n".len()).sum::<usize>()
        });
        self.payload.len() + lines.sum::<usize>() + "NATS/1.0\r\n\r\n".len()
    }
}

/// Returns whether the value of a placeholder may contain this character without changing the structure of the subject.
/// Subjects that start with `$` are reserved for the server.
fn is_safe(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '*' | '>' | '$')
}

fn headers(delivery: &Delivery, settings: &Settings, handler: &str) -> HeaderMap {
    let event = &delivery.event;
    let mut headers = HeaderMap::new();
    let key = delivery.key();
    headers.insert(KEY, key.to_string());
    // A stream detects duplicates across all its subjects. Without the handler's name in the id, two handlers that
    // publish to one stream would suppress each other's messages. A replay has no id, because it must not be
    // suppressed.
    if !delivery.replay {
        headers.insert(NATS_MESSAGE_ID, format!("{handler}.{key}"));
    }
    if let Some(stream) = &settings.stream {
        headers.insert(NATS_EXPECTED_STREAM, stream.as_str());
    }
    headers.insert(SEQ, event.seq.to_string());
    headers.insert(RECEIVED_AT, event.came_at.to_string());
    headers.insert(SOURCE, header(&event.source));
    headers.insert(EVENT, header(event.element.name()));
    if let Some(id) = event.element.id() {
        headers.insert(ID, header(id));
    }
    headers.insert(ATTEMPT, delivery.attempt.to_string());
    if delivery.replay {
        headers.insert(REPLAY, "true");
    }
    headers
}

/// Makes a header value without control characters, so that it cannot end its line.
fn header(text: &str) -> HeaderValue {
    let mut safe = String::new();
    push_safe(text, HEADER_CHARS, |c| !c.is_control(), &mut safe);
    HeaderValue::from(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(attempt: u32, replay: bool) -> Delivery {
        Delivery { attempt, replay, ..Delivery::sample(1, r#"{"eventName":"a\nb"}"#) }
    }

    #[test]
    fn a_header_value_cannot_add_another_header() {
        let settings: Settings = toml::from_str("url = \"nats://h\"").unwrap();
        let headers = headers(&delivery(1, false), &settings, "crm");
        assert_eq!(headers.get(EVENT).unwrap().as_str(), "a_b");
        assert_eq!(headers.get(KEY).unwrap().as_str().len(), 32);
    }

    #[test]
    fn a_repetition_has_the_same_id_and_a_replay_has_none() {
        let settings: Settings = toml::from_str("url = \"nats://h\"").unwrap();
        let (one, again) = (delivery(1, false), delivery(2, true));
        let id = |delivery: &Delivery, handler: &str| {
            headers(delivery, &settings, handler).get(NATS_MESSAGE_ID).map(|id| id.as_str().to_owned())
        };
        assert_eq!(id(&one, "crm"), Some(format!("crm.{}", one.key())));
        assert_ne!(id(&one, "crm"), id(&one, "lake"));
        assert_eq!(id(&again, "crm"), None);
    }
}
