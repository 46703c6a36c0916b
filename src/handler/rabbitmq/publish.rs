//! Publishes messages that may be in flight together: all are sent in order before waiting for the first confirm.

use lapin::{Channel, Confirmation, Error, ErrorKind, PublisherConfirm, options::BasicPublishOptions};

use super::{
    failure::{self, Phase},
    message::Message,
};
use crate::handler::Failure;

/// Returns `Ok` when the broker has confirmed every message and returned none.
pub(super) async fn all(channel: &Channel, messages: Vec<Message>) -> Result<(), Failure> {
    let (confirms, stopped) = send(channel, messages).await;
    let mut verdict = Verdict::default();
    for confirm in confirms {
        verdict.hear(confirm.await);
    }
    if let Some(error) = stopped {
        verdict.fail(error);
    }
    verdict.end()
}

/// Sends until the channel fails. Returns the pending confirms, and the error if there is one.
async fn send(channel: &Channel, messages: Vec<Message>) -> (Vec<PublisherConfirm>, Option<Error>) {
    let mut confirms = Vec::with_capacity(messages.len());
    for Message { exchange, routing_key, mandatory, properties, body } in messages {
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        match channel.basic_publish(exchange, routing_key, options, &body, properties).await {
            Ok(confirm) => confirms.push(confirm),
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
    fn hear(&mut self, confirmation: Result<Confirmation, Error>) {
        match confirmation {
            // A message that no queue receives is returned, but also confirmed.
            Ok(Confirmation::Ack(Some(returned))) => {
                self.unroutable.get_or_insert_with(|| returned.routing_key.to_string());
            }
            Ok(Confirmation::Ack(None)) => {}
            Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => self.nacked = true,
            Err(error) => self.fail(error),
        }
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
