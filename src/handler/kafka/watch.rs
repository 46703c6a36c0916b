//! Callbacks from librdkafka's threads: delivery reports of Kafka messages, and errors of brokers.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel as Level,
    error::KafkaError,
    producer::{DeliveryResult, NoCustomPartitioner, ProducerContext},
    types::RDKafkaErrorCode as Code,
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tracing::{debug, error, info, warn};

use super::failure::{of_broker, of_reason};
use crate::handler::Failure;

/// The target of librdkafka's log lines.
pub(super) const TARGET: &str = "librdkafka";

/// How long to wait after "all brokers down" for an error that shows a wrong setting. librdkafka reports "all brokers
/// down" before it has tried every address of the last broker. The next address may fail with the error that shows the
/// wrong setting.
const GRACE: Duration = Duration::from_secs(1);

/// Sends the report about a Kafka message to the delivery that waits for the report.
pub(super) type Waiter = Box<oneshot::Sender<Result<(), KafkaError>>>;

/// The state of the brokers of one producer.
pub(super) struct Watch {
    /// The failure that makes the producer unusable, if any.
    trouble: watch::Sender<Option<Failure>>,
    /// The last error of a broker. It is the likely cause of "all brokers down", which itself names no cause.
    last: Mutex<Option<(Code, String)>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { trouble: watch::Sender::new(None), last: Mutex::new(None) }
    }

    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    /// Waits for a failure that makes the producer unusable, and then at most [`GRACE`] for one that shows a wrong
    /// setting. Returns a failure even if a broker has answered meanwhile.
    pub(super) async fn trouble(&self) -> Failure {
        let mut seen = self.trouble.subscribe();
        // The channel does not close, because `self` holds the sender.
        let _ = seen.wait_for(Option::is_some).await;
        let is_wrong = |trouble: &Option<Failure>| matches!(trouble, Some(Failure::Misconfigured { .. }));
        let _ = timeout(GRACE, seen.wait_for(is_wrong)).await;
        let known = self.trouble.borrow().clone();
        known.unwrap_or_else(|| self.away("closed"))
    }

    /// Records that a broker answered: clears a temporary failure.
    pub(super) fn is_back(&self) {
        self.trouble.send_if_modified(|known| {
            known.take_if(|trouble| matches!(trouble, Failure::Retry { .. })).is_some()
        });
    }

    /// The failure when all brokers are down. It is the last error of a broker or, if there was none, a timeout with
    /// the text `otherwise`.
    pub(super) fn away(&self, otherwise: &str) -> Failure {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (code, reason) = last.unwrap_or_else(|| (Code::OperationTimedOut, otherwise.to_owned()));
        of_reason(code, &reason)
    }

    fn set(&self, trouble: Failure) {
        self.trouble.send_if_modified(|known| {
            let tells_more = matches!(
                (&known, &trouble),
                (None, _) | (Some(Failure::Retry { .. }), Failure::Misconfigured { .. })
            );
            if tells_more {
                *known = Some(trouble);
            }
            tells_more
        });
    }
}

impl ClientContext for Watch {
    fn log(&self, level: Level, part: &str, line: &str) {
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
                error!(target: TARGET, part, "{line}");
            }
            Level::Warning => warn!(target: TARGET, part, "{line}"),
            Level::Notice | Level::Info => info!(target: TARGET, part, "{line}"),
            Level::Debug => debug!(target: TARGET, part, "{line}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        if let Some(trouble) = of_broker(code, reason) {
            self.set(trouble);
        } else if code == Code::AllBrokersDown {
            self.set(self.away(reason));
        } else {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, reason.to_owned()));
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Watch {
    type DeliveryOpaque = Waiter;

    fn delivery(&self, result: &DeliveryResult<'_>, waiter: Waiter) {
        // Nobody waits for the report if the delivery was cancelled.
        let _ = waiter.send(match result {
            Ok(_message) => Ok(()),
            Err((error, _message)) => Err(error.clone()),
        });
    }
}
