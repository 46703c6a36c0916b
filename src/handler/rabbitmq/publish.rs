//! Publishes AMQP messages that may be in flight together: all are sent in order before waiting for the first confirm.

use std::collections::HashSet;

use lapin::{
    BasicProperties, Channel, Confirmation, Error, ErrorKind, PublisherConfirm, options::BasicPublishOptions,
};

use super::{
    failure::{self, Phase},
    message::Message,
};
use crate::handler::{Delivery, Failure};

/// Publishes the messages of a wave. Marks each delivery whose message the broker has confirmed and not returned.
/// Returns `Ok` if all deliveries are marked.
pub(super) async fn all(channel: &Channel, wave: &[Delivery], messages: Vec<Message>) -> Result<(), Failure> {
    let ids: Vec<Option<String>> = messages.iter().map(|message| id(&message.properties)).collect();
    let (confirms, stopped) = send(channel, wave, messages).await;
    let mut verdict = Verdict::default();
    let mut replies = Vec::with_capacity(confirms.len());
    for confirm in confirms {
        replies.push(verdict.hear(confirm.await));
    }
    if let Some(error) = stopped {
        verdict.fail(error);
    }
    for (delivery, is_accepted) in wave.iter().zip(accepted(&ids, &replies, verdict.error.is_none())) {
        if is_accepted {
            delivery.mark_accepted();
        }
    }
    verdict.end()
}

/// Sends the messages, and stops if the channel fails. Returns the pending confirms, and the error if there is one.
async fn send(
    channel: &Channel,
    wave: &[Delivery],
    messages: Vec<Message>,
) -> (Vec<PublisherConfirm>, Option<Error>) {
    let mut confirms = Vec::with_capacity(messages.len());
    for (delivery, message) in wave.iter().zip(messages) {
        let Message { exchange, routing_key, mandatory, properties, body } = message;
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        delivery.mark_sent();
        match channel.basic_publish(exchange, routing_key, options, &body, properties).await {
            Ok(confirm) => confirms.push(confirm),
            Err(error) => return (confirms, Some(error)),
        }
    }
    (confirms, None)
}

fn id(properties: &BasicProperties) -> Option<String> {
    properties.message_id().as_ref().map(ToString::to_string)
}

/// The result of one confirm.
struct Reply {
    is_ack: bool,
    /// The id of the returned message that came with the confirm. The confirm may be for another message.
    returned: Option<String>,
}

/// Returns for each message whether the broker has accepted it. `are_all` is true if every message got its confirm.
///
/// The broker returns a message that no queue receives, and then confirms it. lapin queues the returned messages. It
/// attaches the oldest one to the next confirm, which may confirm another message. So only the id says which message
/// was returned.
///
/// Once all confirms have arrived, all returned messages are known. Before that, an ack with a returned message does
/// not prove that its own message was accepted, because that message may still be in lapin's queue. An ack without a
/// returned message proves it, because the queue was empty.
fn accepted(ids: &[Option<String>], replies: &[Reply], are_all: bool) -> Vec<bool> {
    let returned: HashSet<&String> = replies.iter().filter_map(|reply| reply.returned.as_ref()).collect();
    let is_accepted = |(id, reply): (&Option<String>, &Reply)| {
        let is_returned = id.as_ref().is_none_or(|id| returned.contains(id));
        reply.is_ack && !is_returned && (are_all || reply.returned.is_none())
    };
    ids.iter().zip(replies).map(is_accepted).collect()
}

/// The combined result of the confirms of a wave.
#[derive(Default)]
struct Verdict {
    /// The most specific error. If the channel was closed, most errors say only that.
    error: Option<Error>,
    nacked: bool,
    unroutable: Option<String>,
}

impl Verdict {
    fn hear(&mut self, confirmation: Result<Confirmation, Error>) -> Reply {
        let (is_ack, returned) = match confirmation {
            // A message that no queue receives is returned, but also confirmed.
            Ok(Confirmation::Ack(returned)) => (true, returned),
            Ok(Confirmation::Nack(returned)) => (false, returned),
            Ok(Confirmation::NotRequested) => (false, None),
            Err(error) => {
                self.fail(error);
                (false, None)
            }
        };
        self.nacked |= !is_ack;
        if let Some(returned) = &returned {
            self.unroutable.get_or_insert_with(|| returned.routing_key.to_string());
        }
        Reply { is_ack, returned: returned.and_then(|message| id(&message.properties)) }
    }

    fn fail(&mut self, error: Error) {
        let says_why = |error: &Error| matches!(error.kind(), ErrorKind::ProtocolError(_));
        if self.error.as_ref().is_none_or(|known| !says_why(known) && says_why(&error)) {
            self.error = Some(error);
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self { error: Some(error), .. } => Err(failure::of(&error, Phase::Publish)),
            Self { unroutable: Some(routing_key), .. } => Err(failure::unroutable(&routing_key)),
            Self { nacked: true, .. } => Err(failure::nacked()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(is_ack: bool, returned: Option<&str>) -> Reply {
        Reply { is_ack, returned: returned.map(str::to_owned) }
    }

    #[test]
    fn a_returned_message_is_not_accepted() {
        let ids = ["a", "b", "c"].map(|id| Some(id.to_owned()));
        let (ack, nack) = (true, false);
        let own = [reply(ack, None), reply(ack, Some("b")), reply(ack, None)];
        assert_eq!(accepted(&ids, &own, true), [true, false, true]);
        let other = [reply(ack, Some("b")), reply(ack, None), reply(ack, None)];
        assert_eq!(accepted(&ids, &other, true), [true, false, true]);
        let with_nack = [reply(nack, Some("b")), reply(ack, None), reply(ack, None)];
        assert_eq!(accepted(&ids, &with_nack, true), [false, false, true]);
    }

    #[test]
    fn confirms_with_a_returned_message_prove_nothing_on_a_broken_channel() {
        // "b" and "c" were returned. The confirm of "c" came with "b". No later confirm came, so "c" is still in
        // lapin's queue.
        let ids = ["a", "b", "c", "d"].map(|id| Some(id.to_owned()));
        let replies = [reply(true, None), reply(false, None), reply(true, Some("b")), reply(false, None)];
        assert_eq!(accepted(&ids, &replies, false), [true, false, false, false]);
    }
}
