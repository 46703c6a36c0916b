//! The recorder's log: each operation with the times of its start and its end. Times are numbers of records.

use std::{collections::HashMap, ops::Range, path::PathBuf};

/// The operations, and the bytes that they wrote.
pub struct Log {
    bytes: Vec<u8>,
    pub operations: Vec<Operation>,
    /// How many records there are.
    pub end: usize,
}

/// One operation. Failed operations are not in the log.
pub struct Operation {
    pub begun: usize,
    /// `usize::MAX` where the process ended first.
    pub ended: usize,
    pub what: What,
}

/// An opened file: the process, and the number of the open.
pub type Handle = (u32, u32);

pub enum What {
    Open {
        path: PathBuf,
        file: Handle,
        truncates: bool,
    },
    Write {
        file: Handle,
        offset: u64,
        bytes: Range<usize>,
    },
    Resize {
        file: Handle,
        size: u64,
    },
    /// Extends the file to at least this length.
    Grow {
        file: Handle,
        size: u64,
    },
    Sync {
        file: Handle,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// Gives a file a second name.
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
    /// The first 64 KiB of an answer with 200.
    Answer {
        text: String,
    },
}

impl What {
    /// The name of the operation.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Write { .. } => "write",
            Self::Resize { .. } => "resize",
            Self::Grow { .. } => "grow",
            Self::Sync { .. } => "sync",
            Self::Rename { .. } => "rename",
            Self::Link { .. } => "link",
            Self::Unlink { .. } => "unlink",
            Self::MakeFolder { .. } => "make folder",
            Self::Answer { .. } => "answer",
        }
    }
}

const HEADER_BYTES: usize = 32;
const BEGIN: u8 = 0;

/// A record's header; the numbers of the kinds are those of `recorder.c`.
struct Header {
    bytes: usize,
    kind: u8,
    phase: u8,
    pid: u32,
    operation: u32,
    file: u32,
    flags: u32,
    offset: i64,
}

impl Header {
    fn read(bytes: &[u8]) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        Self {
            bytes: u32_at(0) as usize,
            kind: bytes[4],
            phase: bytes[5],
            pid: u32_at(8),
            operation: u32_at(12),
            file: u32_at(16),
            flags: u32_at(20),
            offset: i64::from_le_bytes(bytes[24..32].try_into().unwrap()),
        }
    }
}

impl Log {
    pub fn read(bytes: Vec<u8>) -> Self {
        let mut operations: Vec<Operation> = Vec::new();
        let mut failed = Vec::new();
        let mut under_way: HashMap<(u32, u32), usize> = HashMap::new();
        let (mut at, mut time) = (0, 0);
        // The last record of a process that was killed may be torn.
        while at + HEADER_BYTES <= bytes.len() {
            let header = Header::read(&bytes[at..at + HEADER_BYTES]);
            let data = at + HEADER_BYTES..at + HEADER_BYTES + header.bytes;
            if data.end > bytes.len() {
                break;
            }
            at = data.end;
            match what(&header, data, &bytes) {
                Some(what) => {
                    let ended = if header.phase == BEGIN { usize::MAX } else { time };
                    under_way.insert((header.pid, header.operation), operations.len());
                    operations.push(Operation { begun: time, ended, what });
                }
                None => {
                    let place = under_way.remove(&(header.pid, header.operation)).expect("a beginning");
                    let operation = &mut operations[place];
                    operation.ended = time;
                    match &mut operation.what {
                        _ if header.offset < 0 => failed.push(place),
                        What::Write { bytes, .. } => {
                            bytes.end = bytes.start + usize::try_from(header.offset).unwrap();
                        }
                        _ => {}
                    }
                }
            }
            time += 1;
        }
        // They ended in another order than they began.
        failed.sort_unstable();
        for place in failed.into_iter().rev() {
            operations.remove(place);
        }
        Self { bytes, operations, end: time }
    }

    /// The bytes that an operation wrote.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// The highest seq in the answers that had begun before this time.
    pub fn answered(&self, before: usize) -> u64 {
        let texts =
            self.operations.iter().filter(|operation| operation.begun < before).filter_map(|operation| {
                match &operation.what {
                    What::Answer { text } => Some(text),
                    _ => None,
                }
            });
        let seqs = texts.filter_map(|text| {
            let (_, rest) = text.split_once("\"accepted\":")?.1.split_once("\"seq\":")?;
            rest.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
        });
        seqs.max().unwrap_or_default()
    }
}

/// The operation that begins with a record; `None` for the end of an earlier one.
fn what(header: &Header, data: Range<usize>, bytes: &[u8]) -> Option<What> {
    const OPEN: u8 = 1;
    const ANSWER: u8 = 9;
    const LINK: u8 = 11;
    let text = || String::from_utf8_lossy(&bytes[data.clone()]).into_owned();
    let path = |which: usize| PathBuf::from(text().split('\0').nth(which).unwrap_or_default());
    let file = (header.pid, header.file);
    let unsigned = || u64::try_from(header.offset).expect("an offset");
    let begins = header.phase == BEGIN;
    Some(match header.kind {
        OPEN => {
            // O_TRUNC of Linux.
            What::Open { path: path(0), file, truncates: header.flags & 0o1000 != 0 }
        }
        2 if begins => What::Write { file, offset: unsigned(), bytes: data },
        3 if begins => What::Resize { file, size: unsigned() },
        4 if begins => What::Grow { file, size: unsigned() },
        5 if begins => What::Sync { file },
        2..=5 => return None,
        6 => What::Rename { from: path(0), to: path(1) },
        7 => What::Unlink { path: path(0) },
        8 => What::MakeFolder { path: path(0) },
        ANSWER => What::Answer { text: text() },
        LINK => What::Link { from: path(0), to: path(1) },
        kind => panic!("the receiver did what the model of the disk does not know: {kind}, {}", text()),
    })
}
