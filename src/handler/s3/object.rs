//! Converts a batch to an object: its name, and its compressed lines.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use object_store::path::Path;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::handler::Delivery;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compress {
    /// Gzip (RFC 1952).
    #[default]
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    None,
}

impl Compress {
    const fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "jsonl.gz",
            Self::Zstd => "jsonl.zst",
            Self::None => "jsonl",
        }
    }
}

/// The settings that determine how a batch becomes an object.
#[derive(Clone)]
pub(super) struct Form {
    /// The handler's name. It is in the digest that is part of an object name, so two handlers never share an object
    /// name, even for the same events.
    pub(super) handler: String,
    /// The prefix of every object name.
    pub(super) prefix: Path,
    pub(super) compress: Compress,
}

/// An object that is ready to put.
pub(super) struct Object {
    pub(super) path: Path,
    pub(super) bytes: Vec<u8>,
}

impl Form {
    /// Returns the prefix with `name` appended.
    pub(super) fn named(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Builds the object for a batch, one envelope per line. The batch must not be empty.
    pub(super) fn object(&self, events: &[Delivery]) -> io::Result<Object> {
        let bytes = match self.compress {
            Compress::None => write_lines(events, Vec::new())?,
            Compress::Gzip => {
                write_lines(events, GzEncoder::new(Vec::new(), Compression::default()))?.finish()?
            }
            Compress::Zstd => {
                let zstd = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
                write_lines(events, zstd)?.finish()?
            }
        };
        Ok(Object { path: self.path(events), bytes })
    }

    /// The name of an object: the prefix, and then `2026-01-31/09/FIRST-LAST-DIGEST.jsonl.gz` or similar. The parts
    /// are the date and hour (UTC) when the first event of the batch was received, the lowest and the highest seq, and
    /// a digest of the handler's name and the events' keys. The seqs are zero-padded, so that they sort by number.
    fn path(&self, events: &[Delivery]) -> Path {
        let seqs = || events.iter().map(|delivery| delivery.event.seq);
        let (first, last) = (seqs().min().unwrap_or(0), seqs().max().unwrap_or(0));
        let received_at = events.first().map(|delivery| delivery.event.came_at).unwrap_or_default();
        let time = received_at.to_string();
        // The fixed positions of date and hour in RFC 3339.
        let (date, hour) = (time.get(..10).unwrap_or("unknown"), time.get(11..13).unwrap_or("00"));
        let (digest, extension) = (digest(&self.handler, events), self.compress.extension());
        self.named(&format!("{date}/{hour}/{first:020}-{last:020}-{digest}.{extension}"))
    }
}

/// Writes one envelope per line, and returns the writer.
fn write_lines<W: Write>(events: &[Delivery], mut out: W) -> io::Result<W> {
    let mut line = String::new();
    for delivery in events {
        line.clear();
        delivery.push_envelope(&mut line);
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    Ok(out)
}

/// A digest of the handler's name and the events' keys, in the order of the events. The lines of the object are not
/// included. They contain the number of the attempt, but the object name must be the same in every attempt.
fn digest(handler: &str, events: &[Delivery]) -> String {
    let mut hash = Sha256::new();
    hash.update(handler.as_bytes());
    for delivery in events {
        hash.update(delivery.key().0);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::Arc};

    use super::*;
    use crate::{clock::Timestamp, event::Event};

    fn events(seqs: &[u64], attempt: u32) -> Vec<Delivery> {
        let came_at = Timestamp::from_ms(1_795_342_500_000);
        let event = |seq: &u64| {
            let sample = Delivery::sample(*seq, &format!(r#"{{"eventName":"x","id":{seq}}}"#));
            Event { came_at, ..(*sample.event).clone() }
        };
        seqs.iter().map(|seq| Delivery::new(Arc::new(event(seq)), attempt, false)).collect()
    }

    fn object(compress: Compress, events: &[Delivery]) -> Object {
        form("lake", compress).object(events).unwrap()
    }

    fn form(handler: &str, compress: Compress) -> Form {
        Form { handler: handler.to_owned(), prefix: Path::from("lake/bik"), compress }
    }

    #[test]
    fn two_handlers_never_replace_each_others_objects() {
        let name =
            |handler| form(handler, Compress::Gzip).object(&events(&[1, 3], 1)).unwrap().path.to_string();
        assert_ne!(name("masked"), name("whole"));
    }

    #[test]
    fn the_same_events_have_the_same_name_and_others_have_another() {
        let name = |seqs, attempt| object(Compress::Gzip, &events(seqs, attempt)).path.to_string();
        let first = name(&[7, 9], 1);
        assert!(
            first.starts_with("lake/bik/2026-11-22/10/00000000000000000007-00000000000000000009-"),
            "{first}"
        );
        assert!(first.ends_with(".jsonl.gz"), "{first}");
        assert_eq!(first, name(&[7, 9], 2));
        assert_ne!(first, name(&[7, 8, 9], 1));
    }

    #[test]
    fn an_object_unpacks_to_one_line_per_event() {
        let batch = events(&[1, 2, 3], 1);
        let lines: String = batch.iter().map(|delivery| delivery.to_envelope() + "\n").collect();
        let plain = object(Compress::None, &batch).bytes;
        assert_eq!(String::from_utf8(plain).unwrap(), lines);
        let mut unpacked = String::new();
        let gzip = object(Compress::Gzip, &batch).bytes;
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, lines);
        let zstd = zstd::decode_all(&object(Compress::Zstd, &batch).bytes[..]).unwrap();
        assert_eq!(String::from_utf8(zstd).unwrap(), lines);
    }
}
