//! A file of lines that grows, read once to its end again and again.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::PathBuf,
};

use super::support::run::Failed;

/// The lines of a file that grows, each byte read once.
pub struct Lines {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    rest: Vec<u8>,
    /// Whole lines so far.
    pub seen: u64,
}

impl Lines {
    /// Of a file that may come later.
    pub fn of(path: PathBuf) -> Self {
        Self { path, file: None, buffer: vec![0; 1 << 20], rest: Vec::new(), seen: 0 }
    }

    /// Reads on to the present end; `see` is shown every whole line, without its line break.
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
