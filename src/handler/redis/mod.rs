//! `kind = "redis"`: an entry per event, added to a stream.
//!
//! A delivery is one transaction (`MULTI` … `EXEC`): all of its entries are there, in their order, or none. Redis does
//! not know a repetition: what was delivered twice is there twice, with the same `key`. And an entry is as durable as
//! the server's append-only file makes it: with `appendfsync everysec` the last second can be lost with the machine.
//!
//! **A key that holds something else.** Redis takes nothing back: where one key of a transaction is no stream, the entries
//! for the others stay, and each try would add them again. So where `stream` depends on the event, the keys' types are
//! asked for first, and nothing is added unless all can be. What is about one stream of many is refused: its events become
//! dead letters, those for the other streams go on at once, and when the key is free again `bikhook dead retry` delivers
//! what waits for it. With one stream for all of them the handler waits instead, as for anything that a person must put
//! right.
//!
//! **A server that hangs.** What was sent to it stays in its queue: a connection on which a delivery was given up is not
//! used again, so that there is one copy of it at most.

mod error;
mod settings;

use std::{collections::BTreeSet, num::NonZeroU64, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Pipeline, RedisResult, TlsCertificates, Value, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::{Delivery, Failure, Kind, OpenError, ca::Ca, given_up::GivenUp};
pub use settings::Settings;
use settings::Stream;

/// How long the server has for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server has for an answer; the library's own half a second is less than a slow disk may need.
const ANSWER: Duration = Duration::from_secs(10);

/// The handler.
pub struct Redis {
    client: Client,
    stream: Stream,
    maxlen: Option<NonZeroU64>,
    max_bytes: usize,
    link: Mutex<Option<Arc<Link>>>,
}

/// A connection, and what is known of the server at its other end.
struct Link {
    /// Each delivery takes a clone, which is the same connection.
    connection: MultiplexedConnection,
    /// The server ends a connection on which a larger value comes, and may not be heard to say why.
    value_bytes: usize,
    given_up: GivenUp,
}

impl Kind for Redis {
    const NAME: &'static str = "redis";
    const ABOUT: &'static str = "adds each event to a Redis stream, a batch in a transaction";
    const CONCURRENCY: usize = 2;
    const BATCH: usize = 250;
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), String> {
        settings.check()
    }

    fn destination(settings: &Settings) -> String {
        format!("{}, stream {}", settings.url.0.addr(), settings.stream)
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError::new(name, Self::NAME, what);
        Ok(Self {
            client: client(&settings).await.map_err(wrong)?,
            stream: settings.stream,
            maxlen: settings.maxlen,
            max_bytes: settings.max_bytes.as_usize(),
            link: Mutex::new(None),
        })
    }

    async fn look(&self) -> Result<(), Failure> {
        self.link().await.map(drop)
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let link = self.link().await?;
        let streams: Vec<String> = events.iter().map(|delivery| self.stream.name(&delivery.event)).collect();
        let entries = self.entries(events, &streams, link.value_bytes)?;
        let attempt = link.given_up.attempt();
        let added = self.add(link.connection.clone(), &streams, &entries).await;
        if added.as_ref().err().is_none_or(error::leaves_the_connection) {
            attempt.ended();
        }
        added
    }
}

async fn client(settings: &Settings) -> Result<Client, String> {
    let info = settings.url.0.clone();
    let wrong = |error: redis::RedisError| format!("url, or ca: {error}");
    let Some(ca) = &settings.ca else { return Client::open(info).map_err(wrong) };
    let ca = Ca::read(ca).await?.pem().into_bytes();
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(ca) }).map_err(wrong)
}

impl Redis {
    /// The connection; made where there is none. Whoever else needs it waits meanwhile.
    async fn link(&self) -> Result<Arc<Link>, Failure> {
        let mut kept = self.link.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| !link.given_up.is_so()) {
            return Ok(Arc::clone(link));
        }
        // What was not sent of it yet goes with it.
        *kept = None;
        let at = |error| format!("{}: {error}", self.client.get_connection_info().addr());
        let link = self.connect().await.map_err(|failure| failure.retold(at))?;
        Ok(Arc::clone(kept.insert(Arc::new(link))))
    }

    async fn connect(&self) -> Result<Link, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.map_err(|error| error::of(&error))?;
        if let Some(stream) = self.stream.literal() {
            probe(&mut connection, stream).await?;
        }
        let value_bytes = value_bytes(&mut connection).await?;
        Ok(Link { connection, value_bytes, given_up: GivenUp::default() })
    }

    /// Adds entries to streams that are such, or to none.
    async fn add(
        &self,
        mut connection: MultiplexedConnection,
        streams: &[String],
        entries: &Pipeline,
    ) -> Result<(), Failure> {
        if self.stream.literal().is_none() {
            let streams: BTreeSet<&str> = streams.iter().map(String::as_str).collect();
            if let Some((stream, found)) = other_than_streams(&mut connection, streams).await? {
                return Err(Failure::refuse("wrong type", holds(stream, &found)));
            }
        }
        entries.exec_async(&mut connection).await.map_err(|error| error::of(&error))
    }

    /// The transaction that adds them all.
    fn entries(
        &self,
        events: &[Delivery],
        streams: &[String],
        value_bytes: usize,
    ) -> Result<Pipeline, Failure> {
        let mut entries = Pipeline::with_capacity(events.len());
        entries.atomic();
        for (delivery, stream) in events.iter().zip(streams) {
            let event = &delivery.event;
            let rendered = event.element.rendered();
            let (bytes, limit) = (rendered.len(), self.max_bytes.min(value_bytes));
            if bytes > limit {
                let key =
                    if limit == self.max_bytes { "max_bytes" } else { "the server's proto-max-bulk-len" };
                return Err(Failure::refuse(
                    "too large",
                    format!("the event has {bytes} bytes, and {key} is {limit}"),
                ));
            }
            entries.cmd("XADD").arg(stream);
            if let Some(maxlen) = self.maxlen {
                entries.arg("MAXLEN").arg("~").arg(maxlen.get());
            }
            entries.arg("*").arg("key").arg(delivery.key().to_string());
            entries.arg("seq").arg(event.seq).arg("received_at").arg(event.came_at.to_string());
            entries.arg("source").arg(&*event.source).arg("event_name").arg(event.element.name());
            entries.arg("id").arg(event.element.id().unwrap_or_default());
            entries.arg("attempt").arg(delivery.attempt).arg("replay").arg(u8::from(delivery.replay));
            entries.arg("event").arg(&*rendered).ignore();
        }
        Ok(entries)
    }
}

/// The first of these keys that holds something else, and what it holds.
async fn other_than_streams<'a>(
    connection: &mut MultiplexedConnection,
    keys: BTreeSet<&'a str>,
) -> Result<Option<(&'a str, String)>, Failure> {
    let mut ask = Pipeline::with_capacity(keys.len());
    for key in &keys {
        ask.cmd("TYPE").arg(key);
    }
    let found: Vec<String> = ask.query_async(connection).await.map_err(|error| error::of(&error))?;
    Ok(keys.into_iter().zip(found).find(|(_, found)| !may_take_entries(found)))
}

/// As `TYPE` answers: a key that is not there yet becomes a stream.
fn may_take_entries(found: &str) -> bool {
    matches!(found, "none" | "stream")
}

fn holds(key: &str, found: &str) -> String {
    format!("the key {key} holds a {found}, not a stream: give `stream` another name, or remove that key")
}

/// Whether entries could be added: asked within a transaction that is then dropped, so that nothing is.
async fn probe(connection: &mut MultiplexedConnection, stream: &str) -> Result<(), Failure> {
    let mut probe = redis::pipe();
    probe.ignore_errors();
    probe
        .cmd("MULTI")
        .cmd("XADD")
        .arg(stream)
        .arg("*")
        .arg("probe")
        .arg(1)
        .cmd("DISCARD")
        .cmd("TYPE")
        .arg(stream);
    let answers: Vec<RedisResult<Value>> =
        probe.query_async(connection).await.map_err(|error| error::of(&error))?;
    if let Some(error) = answers.iter().take(3).find_map(|answer| answer.as_ref().err()) {
        return Err(error::of(error));
    }
    // Who may not ask for the type is told by the first delivery.
    if let Some(Ok(Value::SimpleString(found))) = answers.get(3)
        && !may_take_entries(found)
    {
        return Err(Failure::misconfigured("wrong type", holds(stream, found)));
    }
    Ok(())
}

/// The largest value that the server takes; any, where it does not say, as those that others run often do not.
async fn value_bytes(connection: &mut MultiplexedConnection) -> Result<usize, Failure> {
    let mut ask = redis::pipe();
    ask.ignore_errors().cmd("CONFIG").arg("GET").arg("proto-max-bulk-len");
    let answers: Vec<RedisResult<Vec<String>>> =
        ask.query_async(connection).await.map_err(|error| error::of(&error))?;
    let told = answers.into_iter().next().and_then(Result::ok).and_then(|pair| pair.get(1)?.parse().ok());
    Ok(told.unwrap_or(usize::MAX))
}
