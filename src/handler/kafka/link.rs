//! The producer and its connections to the brokers.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{BaseRecord, NoCustomPartitioner, Producer as _, ThreadedProducer},
    types::RDKafkaErrorCode as Code,
};
use tokio::{runtime::Handle, sync::oneshot, task::spawn_blocking};

use super::{
    failure::{of_message, of_settings, of_topic, worse},
    publish::Message,
    settings::Settings,
    watch::{TARGET, Watch},
};
use crate::handler::{Delivery, Failure, given_up::GivenUp};

/// Timeout for making a connection, and for the answer to a metadata request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for a Kafka message, from entering the producer's queue until its delivery report. This includes retries by
/// librdkafka. The timeout is shorter than the default timeout of a delivery. Otherwise the delivery would time out
/// before librdkafka reports the cause.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

type Producer = ThreadedProducer<Watch, NoCustomPartitioner>;

/// A producer and its state. When [`Link::is_sound`] is false, the next delivery makes a new link.
pub(super) struct Link {
    /// Always `Some` until the link is dropped.
    producer: Option<Arc<Producer>>,
    watch: Arc<Watch>,
    /// Records whether a delivery was cancelled or failed. A refusal ([`Failure::Refuse`]) does not count.
    pub(super) given_up: GivenUp,
}

impl Link {
    /// Makes a producer. Checks that a broker answers and that the topic can be used.
    pub(super) async fn connect(handler: &str, settings: &Settings) -> Result<Self, Failure> {
        let config = config(handler, settings);
        // Creating the producer reads certificates from disk.
        let made =
            spawn_blocking(move || config.create_with_context::<Watch, Producer>(Watch::new())).await?;
        let producer = Arc::new(made.map_err(|error| of_settings(&error))?);
        let watch = Arc::clone(producer.client().context());
        let link = Self { producer: Some(Arc::clone(&producer)), watch, given_up: GivenUp::default() };
        let topic = settings.topic.literal().map(str::to_owned);
        let may_be_missing = settings.auto_create;
        // If the caller is cancelled, `look` continues on its thread, but not longer than [`CONNECT_TIMEOUT`].
        let looking = spawn_blocking(move || look(&producer, topic.as_deref(), may_be_missing));
        tokio::select! {
            biased;
            trouble = link.watch.trouble() => Err(trouble),
            looked = looking => looked?,
        }?;
        link.watch.is_back();
        Ok(link)
    }

    /// Returns whether the next delivery may use the link.
    pub(super) fn is_sound(&self) -> bool {
        let has_ended = |producer: &Arc<Producer>| producer.client().fatal_error().is_some();
        !self.given_up.is_so() && !self.watch.has_trouble() && !self.producer.as_ref().is_none_or(has_ended)
    }

    /// Sends the Kafka messages of a wave together, and marks the deliveries that are acknowledged. A wave has at most
    /// one event of each BIK message. Returns when librdkafka has reported the result of every Kafka message, or when
    /// the producer becomes unusable, for example because all brokers are down.
    pub(super) async fn send(
        &self,
        wave: &[Delivery],
        messages: impl Iterator<Item = Message>,
    ) -> Result<(), Failure> {
        tokio::select! {
            biased;
            sent = self.send_all(wave, messages) => sent?,
            trouble = self.watch.trouble() => return Err(trouble),
        }
        self.watch.is_back();
        Ok(())
    }

    async fn send_all(
        &self,
        wave: &[Delivery],
        messages: impl Iterator<Item = Message>,
    ) -> Result<(), Failure> {
        let mut reports = Vec::with_capacity(wave.len());
        let mut failure = None;
        for (delivery, message) in wave.iter().zip(messages) {
            delivery.mark_sent();
            match self.enqueue(&message) {
                Ok(report) => reports.push((delivery, message.topic, report)),
                // Continue, because the next message may have another topic.
                Err(error) => failure = Some(worse(failure, of_message(&message.topic, &error))),
            }
        }
        for (delivery, topic, report) in reports {
            match report.await.unwrap_or(Err(KafkaError::Canceled)) {
                Ok(()) => delivery.mark_accepted(),
                Err(error) => failure = Some(worse(failure, of_message(&topic, &error))),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn enqueue(&self, message: &Message) -> Result<oneshot::Receiver<Result<(), KafkaError>>, KafkaError> {
        let producer = self.producer.as_ref().ok_or(KafkaError::Canceled)?;
        let (waiter, report) = oneshot::channel();
        let record = BaseRecord::with_opaque_to(&message.topic, Box::new(waiter))
            .key(&message.key)
            .payload(&message.payload)
            .timestamp(message.timestamp_ms)
            .headers(message.headers.clone());
        producer.send(record).map_err(|(error, _record)| error)?;
        Ok(report)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Dropping the producer waits for threads of librdkafka.
        if let (Some(producer), Ok(runtime)) = (self.producer.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(producer)));
        }
    }
}

/// Asks the brokers whether the topic can be used. If the topic depends on the event, only checks that a broker
/// answers.
fn look(producer: &Producer, topic: Option<&str>, may_be_missing: bool) -> Result<(), Failure> {
    let client = producer.client();
    let away = || client.context().away("no broker answered within 5 s");
    let Some(topic) = topic else {
        return client.fetch_cluster_id(CONNECT_TIMEOUT).map(|_id| ()).ok_or_else(away);
    };
    let metadata = client.fetch_metadata(Some(topic), CONNECT_TIMEOUT).map_err(|_timed_out| away())?;
    let error = metadata.topics().iter().find(|found| found.name() == topic).and_then(|found| found.error());
    match error.map_or(Code::NoError, Code::from) {
        Code::UnknownTopicOrPartition if may_be_missing => Ok(()),
        code => of_topic(topic, code).map_or(Ok(()), Err),
    }
}

/// The librdkafka configuration; see its CONFIGURATION.md for names and meanings.
fn config(handler: &str, settings: &Settings) -> ClientConfig {
    let ms = |duration: Duration| duration.as_millis().to_string();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", format!("bikhook-{handler}"))
        // Every in-sync replica acknowledges, and retries by librdkafka cause no duplicates.
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", ms(MESSAGE_TIMEOUT))
        .set("socket.timeout.ms", ms(MESSAGE_TIMEOUT))
        .set("socket.connection.setup.timeout.ms", ms(CONNECT_TIMEOUT))
        .set("reconnect.backoff.max.ms", "1000")
        // How long a topic may be unknown before it counts as missing.
        .set("topic.metadata.propagation.max.ms", ms(CONNECT_TIMEOUT))
        .set("allow.auto.create.topics", settings.auto_create.to_string())
        // A wave is sent all at once, so waiting for more messages gains little.
        .set("linger.ms", "1")
        // The default of Java clients. So Kafka messages with the same key go to the same partition, whichever client
        // sends them.
        .set("partitioner", "murmur2_random")
        .set("compression.codec", settings.compress.codec())
        // No limit: the deliveries in flight already limit the number of messages.
        .set("queue.buffering.max.messages", "0")
        // Adds room for the protocol overhead. `max_bytes` itself is checked before sending.
        .set("message.max.bytes", (settings.max_bytes.0 + 4096).min(1_000_000_000).to_string())
        .set("security.protocol", protocol(settings))
        .set_log_level(log_level());
    if settings.tls {
        // `probe` searches the paths where Linux distributions keep CA certificates. The bundled OpenSSL does not know
        // these paths.
        let ca = settings.ca.as_ref().map_or("probe".into(), |ca| ca.to_string_lossy());
        config.set("ssl.ca.location", ca).set("ssl.endpoint.identification.algorithm", "https");
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        config
            .set("sasl.mechanism", settings.mechanism.name())
            .set("sasl.username", user)
            .set("sasl.password", password.expose());
    }
    config
}

const fn protocol(settings: &Settings) -> &'static str {
    match (settings.tls, settings.user.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    }
}

/// The log level for librdkafka. It is DEBUG if the log filter enables DEBUG for [`TARGET`], and INFO if the filter
/// enables only INFO. If the filter enables neither, librdkafka logs only emergencies.
fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        RDKafkaLogLevel::Info
    } else {
        RDKafkaLogLevel::Emerg
    }
}
