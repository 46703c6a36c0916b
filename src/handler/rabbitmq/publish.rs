//! Publishing messages that may be under way together: every one goes out, in order, before the first confirm is waited for.

use lapin::{Channel, Confirmation, Error, ErrorKind, PublisherConfirm, options::BasicPublishOptions};

use super::{
    failure::{self, Phase},
    message::Message,
};
use crate::handler::Failure;

/// `Ok` when the broker has confirmed every message, and none came back.
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

/// Sends until the channel takes no more; says what it then answered.
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

/// What the confirms of a batch come to.
#[derive(Default)]
struct Verdict {
    /// Of all errors the one that says most: where a channel was closed, most say only that it is.
    error: Option<Error>,
    nacked: bool,
    unroutable: Option<String>,
}

impl Verdict {
    fn hear(&mut self, confirmation: Result<Confirmation, Error>) {
        match confirmation {
            // A message that no queue takes comes back, and is confirmed all the same.
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
