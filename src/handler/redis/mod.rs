//! `kind = "redis"`: adds each event as an entry to a stream.
//!
//! A delivery is one transaction (`MULTI` … `EXEC`): either all its entries are added in order, or none. The next
//! paragraph describes the exception. Redis does not detect duplicates: an event that is delivered twice has two
//! entries with the same value in the field `key`. An entry is as durable as the server's append-only file. With
//! `appendfsync everysec`, a crash of the machine can lose the last second.
//!
//! **A Redis key that is not a stream.** The configuration key `stream` sets the Redis key. Redis does not roll back.
//! If one Redis key of a transaction is not a stream, the entries for the other keys stay, and each retry would add
//! them again. So if `stream` depends on the event, the types of all Redis keys are checked first, and the entries are
//! added only if each Redis key is missing or a stream. The events for a Redis key of another type are refused and
//! become dead letters, while the other events are delivered. After an operator has deleted the Redis key,
//! `bikhook dead retry` delivers those dead letters. If `stream` is the same for all events and its Redis key is not a
//! stream, no event is refused. As with any wrong setting, the events wait until an operator changes `stream` or
//! deletes the Redis key.
//!
//! **A server that hangs.** When the server recovers, it still executes the commands that it was sent, even those of
//! cancelled deliveries. So a connection with a cancelled delivery is not used again, and its unsent data is dropped.
//! Entries are sent on a new connection only after the server has answered on it, so retries add no copies while the
//! server hangs.

mod error;
mod settings;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, Pipeline, RedisResult, TlsCertificates, Value,
    aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::{Delivery, Failure, FailureText, Kind, OpenError, Wrong, ca::Ca, given_up::GivenUp};
use error::RedisFailure;
pub(super) use settings::Settings;

/// Timeout for connecting to the server.
const CONNECT: Duration = Duration::from_secs(5);
/// Timeout for an answer of the server. The library's default of 0.5 s is too short for a slow disk.
const ANSWER: Duration = Duration::from_secs(10);

/// A handler that adds events to Redis streams.
pub(super) struct Redis {
    client: Client,
    settings: Settings,
    link: Mutex<Option<Arc<Link>>>,
}

/// A connection, and the server's limit for the size of a value.
struct Link {
    /// Each delivery clones this; all clones share one connection.
    connection: MultiplexedConnection,
    /// Maximum size of a value, in bytes. If a value is larger, the server closes the connection, and the answer with
    /// the reason may not arrive.
    value_bytes: usize,
    given_up: GivenUp,
}

impl Kind for Redis {
    const NAME: &'static str = "redis";
    const ABOUT: &'static str = "adds each event to a Redis stream, a batch in a transaction";
    const CONCURRENCY: usize = 2;
    const BATCH: usize = 250;
    const HARMLESS: &'static [&'static str] = &["stream", "maxlen", "max_bytes", "ca"];
    const SECRET: &'static [&'static str] = &["url"];
    type Keys = Settings;
    type Settings = Settings;

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        if keys.ca.is_some() && !matches!(keys.url.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(Wrong::new(&["ca"], "needs TLS: write `url` with rediss://, or remove `ca`"));
        }
        Ok(keys)
    }

    fn destination(settings: &Settings) -> String {
        format!("{}, stream {}", settings.url.addr(), settings.stream)
    }

    /// The fields of the entry.
    fn shown(_settings: &Settings, delivery: &Delivery) -> String {
        let rendered = delivery.event.element.rendered();
        let all = fields(delivery).into_iter().chain([("event", rendered)]);
        serde_json::to_string(&all.collect::<BTreeMap<_, _>>()).unwrap_or_default()
    }

    async fn open(_name: &str, settings: Settings) -> Result<Self, OpenError> {
        Ok(Self { client: client(&settings).await?, settings, link: Mutex::default() })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link().await.map(drop)
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let link = self.link().await?;
        let stream = |delivery: &Delivery| self.settings.stream.render(&delivery.event, is_safe);
        let streams: Vec<String> = events.iter().map(stream).collect();
        let entries = self.entries(events, &streams, link.value_bytes)?;
        let attempt = link.given_up.attempt();
        let added = self.add(link.connection.clone(), &streams, &entries).await;
        if added.as_ref().err().is_none_or(|failed| failed.is_usable) {
            attempt.ended();
        }
        Ok(added?)
    }
}

async fn client(settings: &Settings) -> Result<Client, String> {
    let info = settings.url.clone();
    let wrong = |error: redis::RedisError| format!("url, or ca: {error}");
    let Some(ca) = &settings.ca else { return Client::open(info).map_err(wrong) };
    let ca = Ca::read(ca).await?.pem().into_bytes();
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(ca) }).map_err(wrong)
}

impl Redis {
    /// Returns the connection. Makes a new one if there is none that can be used; other callers wait meanwhile.
    async fn link(&self) -> Result<Arc<Link>, Failure> {
        let mut kept = self.link.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| !link.given_up.is_so()) {
            return Ok(Arc::clone(link));
        }
        // Drops the old connection together with its unsent data.
        *kept = None;
        let at = |failed: RedisFailure| failed.failure.at(self.client.get_connection_info().addr());
        let link = self.connect().await.map_err(at)?;
        Ok(Arc::clone(kept.insert(Arc::new(link))))
    }

    async fn connect(&self) -> Result<Link, RedisFailure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        if let Some(stream) = self.settings.stream.literal() {
            probe(&mut connection, stream).await?;
        }
        let value_bytes = value_bytes(&mut connection).await?;
        Ok(Link { connection, value_bytes, given_up: GivenUp::default() })
    }

    /// Adds the entries in one transaction. Adds nothing if one of the Redis keys exists and is not a stream.
    async fn add(
        &self,
        mut connection: MultiplexedConnection,
        streams: &[String],
        entries: &Pipeline,
    ) -> Result<(), RedisFailure> {
        if self.settings.stream.literal().is_none() {
            let streams: BTreeSet<&str> = streams.iter().map(String::as_str).collect();
            if let Some((stream, found)) = other_than_streams(&mut connection, streams).await? {
                let failure = Failure::refuse("wrong type", holds(stream, &found));
                return Err(RedisFailure { failure, is_usable: true });
            }
        }
        Ok(entries.exec_async(&mut connection).await?)
    }

    /// Builds the transaction that adds all entries.
    fn entries(
        &self,
        events: &[Delivery],
        streams: &[String],
        value_bytes: usize,
    ) -> Result<Pipeline, Failure> {
        let mut entries = Pipeline::with_capacity(events.len());
        entries.atomic();
        let max_bytes = self.settings.max_bytes.as_usize();
        for (delivery, stream) in events.iter().zip(streams) {
            let rendered = delivery.event.element.rendered();
            let (bytes, limit) = (rendered.len(), max_bytes.min(value_bytes));
            if bytes > limit {
                let key = if limit == max_bytes { "max_bytes" } else { "the server's proto-max-bulk-len" };
                return Err(Failure::refuse(
                    "too large",
                    format!("the event has {bytes} bytes, more than {key} ({limit})"),
                ));
            }
            entries.cmd("XADD").arg(stream);
            if let Some(maxlen) = self.settings.maxlen {
                entries.arg("MAXLEN").arg("~").arg(maxlen.get());
            }
            entries.arg("*");
            for (field, value) in fields(delivery) {
                entries.arg(field).arg(&*value);
            }
            entries.arg("event").arg(&*rendered).ignore();
        }
        Ok(entries)
    }
}

/// The fields of an entry, except the last field, which has the event itself.
fn fields(delivery: &Delivery) -> [(&'static str, Cow<'_, str>); 8] {
    let event = &delivery.event;
    [
        ("key", delivery.key().to_string().into()),
        ("seq", event.seq.to_string().into()),
        ("received_at", event.came_at.to_string().into()),
        ("source", Cow::Borrowed(&*event.source)),
        ("event_name", event.element.name().into()),
        ("id", event.element.id().unwrap_or_default().into()),
        ("attempt", delivery.attempt.to_string().into()),
        ("replay", u8::from(delivery.replay).to_string().into()),
    ]
}

/// Returns whether the value of a placeholder in a stream's Redis key may contain this character. A Redis key may
/// contain any character, but an event must not add whitespace, control characters, separators (`:`), cluster hash tags
/// (`{}`) or pattern characters.
fn is_safe(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | '{' | '}' | '*' | '?' | '[' | ']')
}

/// Returns the first key that exists and is not a stream, and its type.
async fn other_than_streams<'a>(
    connection: &mut MultiplexedConnection,
    keys: BTreeSet<&'a str>,
) -> Result<Option<(&'a str, String)>, RedisFailure> {
    let mut ask = Pipeline::with_capacity(keys.len());
    for key in &keys {
        ask.cmd("TYPE").arg(key);
    }
    let found: Vec<String> = ask.query_async(connection).await?;
    Ok(keys.into_iter().zip(found).find(|(_, found)| !may_take_entries(found)))
}

/// Returns whether a key with this type (as in the answer of `TYPE`) accepts entries. A missing key becomes a stream.
fn may_take_entries(found: &str) -> bool {
    matches!(found, "none" | "stream")
}

/// The text for a key that is not a stream. The key may come from an event. So the key goes into `saying`, and the
/// operator's page can hide it.
fn holds(key: &str, found: &str) -> FailureText {
    FailureText::from("the key is not a stream")
        .saying(format_args!("{key} holds a {found}"))
        .saying("set another `stream`, or delete the key")
}

/// Checks that entries can be added, in a transaction that is then discarded.
async fn probe(connection: &mut MultiplexedConnection, stream: &str) -> Result<(), RedisFailure> {
    let mut probe = redis::pipe();
    probe.ignore_errors();
    probe.cmd("MULTI").cmd("XADD").arg(&[stream, "*", "probe", "1"]).cmd("DISCARD");
    probe.cmd("TYPE").arg(stream);
    let answers: Vec<RedisResult<Value>> = probe.query_async(connection).await?;
    if let Some(error) = answers.iter().take(3).find_map(|answer| answer.as_ref().err()) {
        return Err(error.clone().into());
    }
    // If the Redis user may not run `TYPE`, the type is not checked here. Then a wrong type makes the first delivery
    // fail.
    if let Some(Ok(Value::SimpleString(found))) = answers.get(3)
        && !may_take_entries(found)
    {
        let failure = Failure::misconfigured("wrong type", holds(stream, found));
        return Err(RedisFailure { failure, is_usable: false });
    }
    Ok(())
}

/// The server's maximum size of a value, in bytes. Unlimited if the server does not report it. Many managed servers
/// refuse to.
async fn value_bytes(connection: &mut MultiplexedConnection) -> Result<usize, RedisFailure> {
    let mut ask = redis::pipe();
    ask.ignore_errors().cmd("CONFIG").arg("GET").arg("proto-max-bulk-len");
    let answers: Vec<RedisResult<Vec<String>>> = ask.query_async(connection).await?;
    let told = answers.into_iter().next().and_then(Result::ok).and_then(|pair| pair.get(1)?.parse().ok());
    Ok(told.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_from_an_event_comes_after_the_handlers_words() {
        let stored = holds("bik:Asha", "string").whole();
        assert!(stored.contains("bik:Asha holds a string"), "{stored}");
        assert_eq!(FailureText::read(&stored).own, "the key is not a stream");
    }
}
