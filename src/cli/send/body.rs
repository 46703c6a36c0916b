//! The body of one request.

use std::{
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;

use crate::cli::Error;

/// A body to post.
pub(super) struct PostBody {
    /// The exact bytes of the request body.
    pub(super) bytes: Bytes,
    /// The number of generated events in it; 0 for a file.
    pub(super) events: u64,
    /// The body contains elements that cannot be read, or is truncated. So status 400 is expected as well as 200.
    pub(super) garbage: bool,
}

impl PostBody {
    /// Reads a file unchanged. `-` is standard input.
    pub(super) fn read(file: &Path) -> Result<Self, Error> {
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
