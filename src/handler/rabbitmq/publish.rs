//! Publishes messages that may be in flight together: all are sent in order before waiting for the first confirm.

use lapin::{Channel, Confirmation, Error, ErrorKind, PublisherConfirm, options::BasicPublishOptions};

use super::{
    failure::{self, Phase},
    message::Message,
};
use crate::handler::{Delivery, Failure};

/// Marks each delivery whose message the broker has confirmed and not returned. Returns `Ok` if these are all.
pub(super) async fn all(channel: &Channel, wave: &[Delivery], messages: Vec<Message>) -> Result<(), Failure> {
    let (confirms, stopped) = send(channel, wave, messages).await;
    let mut verdict = Verdict::default();
    for (delivery, confirm) in confirms {
        if verdict.hear(confirm.await) {
            delivery.mark_accepted();
        }
    }
    if let Some(error) = stopped {
        verdict.fail(error);
    }
    verdict.end()
}

/// Sends until the channel fails. Returns the pending confirms, and the error if there is one.
async fn send<'a>(
    channel: &Channel,
    wave: &'a [Delivery],
    messages: Vec<Message>,
) -> (Vec<(&'a Delivery, PublisherConfirm)>, Option<Error>) {
    let mut confirms = Vec::with_capacity(messages.len());
    for (delivery, message) in wave.iter().zip(messages) {
        let Message { exchange, routing_key, mandatory, properties, body } = message;
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        delivery.mark_sent();
        match channel.basic_publish(exchange, routing_key, options, &body, properties).await {
            Ok(confirm) => confirms.push((delivery, confirm)),
            Err(error) => return (confirms, Some(error)),
        }
    }
    (confirms, None)
}

/// The combined result of the confirms of a batch.
#[derive(Default)]
struct Verdict {
    /// The most specific error. If the channel was closed, most errors say only that.
    error: Option<Error>,
    nacked: bool,
    unroutable: Option<String>,
}

impl Verdict {
    /// Returns whether the broker accepted the message.
    fn hear(&mut self, confirmation: Result<Confirmation, Error>) -> bool {
        match confirmation {
            // A message that no queue receives is returned, but also confirmed.
            Ok(Confirmation::Ack(Some(returned))) => {
                self.unroutable.get_or_insert_with(|| returned.routing_key.to_string());
            }
            Ok(Confirmation::Ack(None)) => return true,
            Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => self.nacked = true,
            Err(error) => self.fail(error),
        }
        false
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
