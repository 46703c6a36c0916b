//! `kind = "jsonl"`: appends one JSON object per line to a file. Events count as delivered when they are on disk.
//!
//! ```text
//! deliver ─▶ writer ─▶ live          the open file: appends and syncs a batch, removes a failed batch
//!              ├─▶ repair            removes the damage of a power cut
//!              ├─▶ tail              lines that are already in the file
//!              └─▶ names ─▶ archive  rotated files, compressed in the background
//! ```

mod archive;
mod error;
mod live;
mod names;
mod repair;
mod tail;
mod writer;

use std::{iter, num::NonZeroU32, path::PathBuf, sync::Arc};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Delivery, Failure, Kind, OpenError, Wrong, given_up::GivenUp};
use crate::{clock, event::Event, lock::lock_of, settings::Size};
use archive::{Archive, Rules};
use error::Error;
use tail::Tail;
use writer::{Rotation, Writer};

/// Lines are written as soon as this many bytes are rendered. Limits the memory for a batch of large events.
const CHUNK_BYTES: usize = 1024 * 1024;

/// A handler that appends events to a file.
pub(super) struct Jsonl {
    writer: Arc<Mutex<Writer>>,
    archive: Arc<Archive>,
    given_up: GivenUp,
}

/// The kind's own configuration keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The path of the file. Its directory is created if it is missing.
    pub path: PathBuf,
    /// The file is rotated before a batch would make it larger than this. A single batch above this size gets a file of
    /// its own. 0 means no limit.
    #[serde(default = "default_rotate_size")]
    pub rotate_size: Size,
    /// Whether the file is also rotated before the first batch of each UTC day.
    #[serde(default)]
    pub rotate_daily: bool,
    /// Whether rotated files are compressed with gzip.
    #[serde(default)]
    pub gzip: bool,
    /// How many rotated files to keep; `None` keeps all.
    pub keep: Option<NonZeroU32>,
}

fn default_rotate_size() -> Size {
    Size::mib(100)
}

impl Kind for Jsonl {
    const NAME: &'static str = "jsonl";
    const ABOUT: &'static str =
        "appends each event to a file, one JSON object per line; rotates and compresses it";
    const CONCURRENCY: usize = 1;
    const BATCH: usize = 1000;
    const HARMLESS: &'static [&'static str] = &["path", "rotate_size", "rotate_daily", "gzip", "keep"];
    type Keys = Settings;
    type Settings = Settings;

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        Ok(keys)
    }

    fn destination(settings: &Settings) -> String {
        settings.path.display().to_string()
    }

    fn files(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
        vec![("path", settings.path.clone()), ("path", lock_of(&settings.path))]
    }

    fn shown(_settings: &Settings, delivery: &Delivery) -> String {
        delivery.event.to_json_line()
    }

    async fn open(_name: &str, settings: Settings) -> Result<Self, OpenError> {
        let rotation = Rotation {
            size_bytes: Some(settings.rotate_size.0).filter(|bytes| *bytes > 0),
            daily: settings.rotate_daily,
        };
        let path = settings.path;
        let writer = tokio::task::spawn_blocking(move || Writer::open(&path, rotation)).await?;
        let writer = writer.map_err(|error| OpenError {
            what: format!("{error}{}", error.advice()),
            in_use: matches!(error, Error::InUse { .. }),
        })?;
        let rules = Rules { gzip: settings.gzip, keep: settings.keep };
        let archive = Archive::new(writer.names().clone(), rules, writer.lock());
        archive.tidy_soon();
        Ok(Self { writer: Arc::new(Mutex::new(writer)), archive, given_up: GivenUp::default() })
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let events = events.to_vec();
        // Wait for the writer here and not on the blocking thread. A delivery that is cancelled while it waits must not
        // be written later, and must not occupy a thread.
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        if self.given_up.take() {
            writer.forget_tail();
        }
        let attempt = self.given_up.attempt();
        let archive = Arc::clone(&self.archive);
        let appended = tokio::task::spawn_blocking(move || append(&mut writer, &archive, &events)).await;
        attempt.ended();
        Ok(appended??)
    }
}

impl Drop for Jsonl {
    fn drop(&mut self) {
        self.archive.stop();
    }
}

fn append(writer: &mut Writer, archive: &Arc<Archive>, events: &[Delivery]) -> Result<(), Error> {
    let events = missing(writer.tail()?, events);
    if events.is_empty() {
        return Ok(());
    }
    let bytes: usize = events.iter().map(|event| event.json_line_size_hint()).sum();
    if writer.rotate_if_due(clock::now(), bytes as u64)? {
        archive.tidy_soon();
    }
    writer.append(lines(&events))
}

/// The events to write: those whose lines are not in `tail`, and all events of a replay, because an operator requested
/// the replay.
fn missing<'a>(tail: &Tail, events: &'a [Delivery]) -> Vec<&'a Event> {
    let is_there = |delivery: &Delivery| {
        !delivery.replay
            && tail.may_have(delivery.event.seq)
            && tail.has(delivery.event.to_json_line().as_bytes())
    };
    events.iter().filter(|delivery| !is_there(delivery)).map(|delivery| &*delivery.event).collect()
}

/// Renders the lines of events, in chunks.
fn lines(events: &[&Event]) -> impl Iterator<Item = String> {
    let mut events = events.iter();
    iter::from_fn(move || {
        let mut chunk = String::new();
        while chunk.len() < CHUNK_BYTES
            && let Some(event) = events.next()
        {
            event.push_json_line(&mut chunk);
            chunk.push('\n');
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// A file with this content in a temporary folder, for unit tests.
#[cfg(test)]
fn file_of(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{clock::Timestamp, handler::settings_of};

    async fn jsonl(path: &Path) -> Jsonl {
        let settings = settings_of::<Jsonl>(&format!("path = {path:?}")).unwrap();
        let begun = Instant::now();
        loop {
            // The background thread of an earlier handler may still hold the lock for a moment.
            match Jsonl::open("audit", settings.clone()).await {
                Ok(jsonl) => return jsonl,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn event(seq: u64) -> Delivery {
        Delivery::sample(seq, r#"{"eventName":"x"}"#)
    }

    fn line_count(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    /// Polls a delivery once and drops it. The writer is not locked, so the first poll starts the write. The events are
    /// written although the delivery is cancelled.
    async fn give_up(jsonl: &Jsonl, events: &[Delivery]) {
        let mut delivery = Box::pin(jsonl.deliver(events));
        assert!(futures_util::poll!(&mut delivery).is_pending());
        drop(delivery);
    }

    #[tokio::test]
    async fn a_cancelled_delivery_that_was_written_is_not_written_again() {
        let (_dir, path) = file_of(b"");
        let jsonl = jsonl(&path).await;
        give_up(&jsonl, &[event(1), event(2)]).await;
        jsonl.deliver(&[event(1)]).await.unwrap();
        jsonl.deliver(&[event(2), event(3)]).await.unwrap();
        assert_eq!(line_count(&path), 3);
    }

    #[tokio::test]
    async fn lines_already_in_the_file_are_written_again_only_for_a_replay() {
        let (_dir, path) = file_of(b"");
        jsonl(&path).await.deliver(&[event(1), event(2)]).await.unwrap();
        for _ in 0..3 {
            jsonl(&path).await.deliver(&[event(1), event(2)]).await.unwrap();
        }
        assert_eq!(line_count(&path), 2);
        let replayed = Delivery { replay: true, ..event(1) };
        jsonl(&path).await.deliver(&[replayed]).await.unwrap();
        assert_eq!(line_count(&path), 3);
        let of_another_journal = Event { came_at: Timestamp::from_ms(1), ..(*event(1).event).clone() };
        let delivery = Delivery::new(Arc::new(of_another_journal), 1, false);
        jsonl(&path).await.deliver(&[delivery]).await.unwrap();
        assert_eq!(line_count(&path), 4);
    }

    #[tokio::test]
    async fn a_delivery_cancelled_while_it_waits_is_never_written() {
        let (_dir, path) = file_of(b"");
        let jsonl = jsonl(&path).await;
        let events = [event(1)];
        let hangs = Arc::clone(&jsonl.writer).lock_owned().await;
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_millis(20), jsonl.deliver(&events)).await.unwrap_err();
        }
        drop(hangs);
        jsonl.deliver(&events).await.unwrap();
        drop(jsonl);
        assert_eq!(line_count(&path), 1);
    }
}
