//! Brokers of Kafka: librdkafka's mock cluster, which runs in this process, and speaks the protocol on real ports.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Headers},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::{certificate::Certificate, free_ports};
use crate::support::patience::eventually;

/// The number of partitions of a topic.
const PARTITIONS: i32 = 3;

/// The offsets after the last message of each partition.
type Ends = [i64; PARTITIONS as usize];

/// A cluster of one broker. It keeps acknowledged messages until it is dropped.
pub struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    /// One for each topic, with how far it has read.
    consumers: RefCell<HashMap<String, (BaseConsumer, Ends)>>,
}

/// A message, as stored in a topic.
#[derive(Clone, Debug)]
pub struct Kept {
    pub partition: i32,
    pub key: String,
    pub payload: String,
    pub timestamp_ms: i64,
    pub headers: HashMap<String, String>,
}

impl Cluster {
    pub fn start_new() -> Self {
        Self { mock: MockCluster::new(1).unwrap(), consumers: RefCell::default() }
    }

    /// Its address, as in the key `brokers`.
    pub fn brokers(&self) -> String {
        self.mock.bootstrap_servers()
    }

    pub fn make_topic(&self, topic: &str) {
        self.mock.create_topic(topic, PARTITIONS, 1).unwrap();
    }

    /// Closes its connections and its port. Acknowledged messages stay.
    pub fn kill(&self) {
        self.mock.broker_down(-1).unwrap();
    }

    /// Opens its port again.
    pub fn start(&self) {
        self.mock.broker_up(-1).unwrap();
    }

    /// Delays its answers by this time.
    pub fn delay(&self, delay: Duration) {
        self.mock.broker_round_trip_time(-1, delay).unwrap();
    }

    /// Sets the error for requests about a topic.
    pub fn say_of_topic(&self, topic: &str, error: RDKafkaRespErr) {
        self.mock.topic_error(topic, error).unwrap();
    }

    /// Sets the answers to the next produce requests, in order.
    pub fn answer_next(&self, errors: &[RDKafkaRespErr]) {
        self.mock.request_errors(RDKafkaApiKey::Produce, errors);
    }

    /// The new messages of a topic, in order per partition.
    pub fn take_new(&self, topic: &str) -> Vec<Kept> {
        let mut consumers = self.consumers.borrow_mut();
        let (consumer, read) =
            consumers.entry(topic.to_owned()).or_insert_with(|| (self.consumer(topic), Default::default()));
        let end = |partition: usize| {
            let partition = i32::try_from(partition).unwrap();
            consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap().1
        };
        let ends: Ends = std::array::from_fn(end);
        let mut new = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        while read.iter().zip(&ends).any(|(read, end)| read < end) {
            assert!(Instant::now() < deadline, "{topic}: {read:?} of {ends:?} were read");
            // While the broker was away there were errors.
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                read[usize::try_from(message.partition()).unwrap()] = message.offset() + 1;
                new.push(Kept::of(&message));
            }
        }
        new
    }

    fn consumer(&self, topic: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "20")
            .set("reconnect.backoff.max.ms", "100")
            .set_log_level(RDKafkaLogLevel::Emerg);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        consumer
    }
}

impl Kept {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().unwrap().iter();
        Self {
            partition: message.partition(),
            key: text(message.key()),
            payload: text(message.payload()),
            timestamp_ms: message.timestamp().to_millis().unwrap(),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
        }
    }
}

/// A broker that rejects every password.
pub struct Doorman {
    address: SocketAddr,
}

impl Doorman {
    /// It answers until the test ends.
    pub fn start_new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || turn_away(stream));
            }
        });
        Self { address }
    }

    pub fn brokers(&self) -> String {
        self.address.to_string()
    }
}

/// A server that completes TLS handshakes, and then sends nothing. Killed when it is dropped.
pub struct Mute {
    port: u16,
    child: Child,
}

impl Mute {
    pub fn start_new(certificate: &Certificate) -> Self {
        let [port] = free_ports();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .arg(certificate.cert())
            .arg("-key")
            .arg(certificate.key())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mute = Self { port, child };
        eventually("openssl does not listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        mute
    }

    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// ApiVersions (18), SaslHandshake (17) and SaslAuthenticate (36), in the versions before those with tagged fields.
fn turn_away(mut stream: TcpStream) -> Option<()> {
    loop {
        let mut head = [0; 12];
        stream.read_exact(&mut head).ok()?;
        let [a, b, c, d, key_high, key_low, version_high, version_low, id @ ..] = head;
        let mut rest = vec![0; u32::from_be_bytes([a, b, c, d]) as usize - 8];
        stream.read_exact(&mut rest).ok()?;
        let body = match (
            u16::from_be_bytes([key_high, key_low]),
            u16::from_be_bytes([version_high, version_low]),
        ) {
            (18, 0) => [&[0, 0, 0, 0, 0, 3][..], &api(17, 1), &api(18, 0), &api(36, 0)].concat(),
            // UNSUPPORTED_VERSION: ask again with 0.
            (18, _) => [&[0, 35, 0, 0, 0, 1][..], &api(18, 0)].concat(),
            (17, _) => [&[0, 0, 0, 0, 0, 1][..], &string("PLAIN")].concat(),
            // SASL_AUTHENTICATION_FAILED
            (36, _) => [&[0, 58][..], &string("Invalid username or password"), &[0; 4]].concat(),
            _ => return None,
        };
        let length = u32::try_from(4 + body.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &id, &body].concat()).ok()?;
    }
}

/// An API, with the versions from 0 to this.
fn api(key: u8, to: u8) -> [u8; 6] {
    [0, key, 0, 0, 0, to]
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}
