//! The disk that the data of a run goes to.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::run::Failed;

/// A folder on the file system of the build, removed when it is dropped; never in memory.
///
/// # Errors
/// Where it cannot be made, or the disk has less room than `bytes`.
pub fn folder(bytes: u64) -> Result<TempDir, Failed> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(parent)?;
    let disk = rustix::fs::statvfs(parent)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < bytes {
        return Err(format!("needs {} MB of free disk, there are {}", bytes >> 20, free >> 20).into());
    }
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(parent)?)
}

/// Bytes that files take on disk; one that is not there takes none.
pub fn allocated(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.blocks() * 512).sum()
}

/// Lets the kernel forget a file's pages, as after a boot.
pub fn forget(file: &Path) -> Result<(), Failed> {
    let file = File::open(file)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
