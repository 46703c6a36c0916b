//! Reads the lines of a growing file.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::PathBuf,
};

use super::support::run::Failed;

/// Reads the lines of a growing file, each byte once.
pub struct Lines {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    rest: Vec<u8>,
    /// Number of complete lines so far.
    pub seen: u64,
}

impl Lines {
    /// Creates a reader. The file need not exist yet.
    pub fn of(path: PathBuf) -> Self {
        Self { path, file: None, buffer: vec![0; 1 << 20], rest: Vec::new(), seen: 0 }
    }

    /// Reads to the current end. Calls `see` with every complete line, without its line break.
    pub fn read(&mut self, mut see: impl FnMut(&[u8])) -> Result<(), Failed> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        loop {
            let read = file.read(&mut self.buffer)?;
            if read == 0 {
                return Ok(());
            }
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &self.buffer[..read]) {
                let line = &self.buffer[start..end];
                if self.rest.is_empty() {
                    see(line);
                } else {
                    self.rest.extend_from_slice(line);
                    see(&self.rest);
                    self.rest.clear();
                }
                self.seen += 1;
                start = end + 1;
            }
            self.rest.extend_from_slice(&self.buffer[start..read]);
        }
    }
}
