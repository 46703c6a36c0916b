//! What is posted at once.

use std::{
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;

use crate::cli::Error;

/// A body.
pub struct Body {
    /// The bytes, as they go out.
    pub bytes: Bytes,
    /// Generated events in it; 0 for a file.
    pub events: u64,
    /// It holds something that cannot be read: 400 is as good an answer as 200.
    pub garbage: bool,
}

impl Body {
    /// A file, as it is; `-` is the standard input.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let read = if file.as_os_str() == "-" {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).map(|_length| bytes)
        } else {
            std::fs::read(file)
        };
        let bytes =
            read.map_err(|error| Error::Failed(format!("cannot read {}: {error}", file.display())))?;
        Ok(Self { bytes: bytes.into(), events: 0, garbage: false })
    }
}
