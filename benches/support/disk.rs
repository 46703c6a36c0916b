//! The disk for the data of a run.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::run::Failed;

/// Creates a folder on the file system of the build. It is deleted when it is dropped.
///
/// # Errors
/// Returns an error if the folder cannot be created or the disk has less than `bytes` free.
pub fn folder(bytes: u64) -> Result<TempDir, Failed> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(parent)?;
    let disk = rustix::fs::statvfs(parent)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < bytes {
        return Err(
            format!("not enough disk space: {} MB needed, {} MB free", bytes >> 20, free >> 20).into()
        );
    }
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(parent)?)
}

/// Returns the bytes that the files take on disk. A missing file counts as 0.
pub fn allocated(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.blocks() * 512).sum()
}

/// Drops the file's pages from the page cache, as after a boot.
pub fn forget(file: &Path) -> Result<(), Failed> {
    let file = File::open(file)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
