//! The destination of an export: standard output, or a file that appears only when it is complete.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tempfile::NamedTempFile;

use super::super::{Error, client, signals::Signals, terminal::output};
use crate::folder;

const BUFFER_BYTES: usize = 256 * 1024;

/// The target of the exported bytes.
pub(super) enum Destination {
    Stdout(BufWriter<Box<dyn Write + Send>>),
    File { part: BufWriter<NamedTempFile>, file: PathBuf, is_replaced: Arc<Mutex<bool>> },
}

impl Destination {
    /// Creates the temporary file that will become `file`, or uses standard output if no file is given.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, Error> {
        let Some(file) = file else {
            return Ok(Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, output())));
        };
        if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
            let what = "is not a file: name another, or omit --output to write to standard output";
            return Err(Error::Failed(format!("{} {what}", file.display())));
        }
        // The export contains personal data. `tempfile` creates a file that only the user of this process may read. The
        // file is in the folder of the export, so that a rename can replace an older export.
        let part = tempfile::Builder::new()
            .prefix(".bikhook-export-")
            .suffix(".part")
            .tempfile_in(folder::of(file))
            .map_err(|error| {
                Error::Failed(format!("cannot create a temporary file next to {}: {error}", file.display()))
            })?;
        let (file, is_replaced) = (file.to_owned(), Arc::default());
        remove_when_interrupted(part.path().to_owned(), &file, Arc::clone(&is_replaced))?;
        Ok(Self::File { part: BufWriter::with_capacity(BUFFER_BYTES, part), file, is_replaced })
    }

    /// The writer for the events.
    pub(super) fn writer(&mut self) -> &mut (dyn Write + Send) {
        match self {
            Self::Stdout(out) => out,
            Self::File { part, .. } => part,
        }
    }

    /// Completes the export: flushes it, and for a file, renames the temporary file to its final name.
    pub(super) fn complete(self) -> Result<(), Error> {
        match self {
            Self::Stdout(mut out) => Ok(out.flush()?),
            Self::File { part, file, is_replaced } => {
                let part = part.into_inner().map_err(|error| Error::Output(error.into_error()))?;
                part.as_file().sync_all()?;
                // Hold the lock during the rename. The thread that waits for a signal can then read `is_replaced` only
                // before or after the rename, so it prints correctly whether the file is replaced.
                let mut is_replaced = is_replaced.lock().unwrap_or_else(PoisonError::into_inner);
                part.persist(&file).map_err(|error| Error::Output(error.error))?;
                *is_replaced = true;
                drop(is_replaced);
                Ok(File::open(folder::of(&file))?.sync_all()?)
            }
        }
    }
}

/// Starts a thread that waits for a signal. The thread then removes the incomplete file and ends the process at once.
fn remove_when_interrupted(part: PathBuf, file: &Path, is_replaced: Arc<Mutex<bool>>) -> Result<(), Error> {
    let file = file.display().to_string();
    let runtime = client::runtime(&mut tokio::runtime::Builder::new_current_thread())?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(signals.next());
        // Hold the lock until the process ends, so that the file is not replaced after the message below.
        let is_replaced = is_replaced.lock().unwrap_or_else(PoisonError::into_inner);
        drop(fs::remove_file(part));
        let state = if *is_replaced { "complete" } else { "unchanged" };
        drop(writeln!(anstream::stderr(), "error: interrupted: {file} is {state}"));
        std::process::exit(1);
    })?;
    Ok(())
}
