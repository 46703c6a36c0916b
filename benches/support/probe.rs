//! Measures the `fdatasync` times of the disk, as a reference for the receiver's latencies.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    latency::{Latencies, micros},
    run::Failed,
};

const BLOCK: usize = 4 << 10;
const BLOCKS: u64 = 2 << 10;

/// Measures a `fdatasync` after each write of 4 KiB to allocated blocks of a file.
pub struct Probe {
    file: File,
    block: u64,
}

impl Probe {
    /// Creates the file.
    pub fn new(folder: &Path) -> Result<Self, Failed> {
        let path = folder.join("probe");
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        for block in 0..BLOCKS {
            file.write_all_at(&[1; BLOCK], block * BLOCK as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, block: 0 })
    }

    /// Measures until `done` returns true, with a pause after each sample.
    pub fn measure(&mut self, pause: Duration, mut done: impl FnMut() -> bool) -> Result<Latencies, Failed> {
        let mut samples = Vec::new();
        while !done() {
            self.block = (self.block + 1) % BLOCKS;
            let began = Instant::now();
            self.file.write_all_at(&[2; BLOCK], self.block * BLOCK as u64)?;
            self.file.sync_data()?;
            samples.push(micros(began.elapsed()));
            thread::sleep(pause);
        }
        Ok(Latencies::new(samples))
    }
}
