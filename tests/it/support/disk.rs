//! A file system small enough to fill up.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

pub use super::root::as_root;

/// A file system in memory. Mounted as root, by way of sudo where that is needed.
pub struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    pub fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted =
            as_root("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "this test mounts a small file system, which needs root or sudo");
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Fills the disk, or frees space, until only this much is left.
    pub fn fill_up_to(&self, left_bytes: u64) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        loop {
            let disk = rustix::fs::statvfs(self.path()).unwrap();
            let free = disk.f_bavail * disk.f_frsize;
            if free < left_bytes {
                let length = ballast.metadata().unwrap().len();
                return ballast.set_len(length.saturating_sub(left_bytes - free)).unwrap();
            }
            match ballast.write_all(&vec![0; usize::try_from(free - left_bytes).unwrap()]) {
                // A receiver wrote meanwhile and took space that was free: the ballast must shrink.
                Err(full) if full.kind() == ErrorKind::StorageFull => {}
                written => return written.unwrap(),
            }
        }
    }

    /// Frees the space.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Unmounted lazily, because a process may still have a file of it open. Then a temporary directory is left.
        let _ = as_root("umount").arg("-l").arg(self.dir.path()).status();
    }
}
