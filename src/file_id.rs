//! Identity of the file at a path, to detect that it was replaced since it was opened.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, StatxFlags, makedev, statx},
    io::Errno,
};

/// Device and inode of a file. While the file is open, no other file has the same pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The identity and the size in bytes of the file at a path. Follows links.
    ///
    /// Does not request the file's timestamps. Usually, a write updates the timestamps at most once per tick of the
    /// kernel's clock. Since Linux 6.13, the first write after such a request always updates them. After such
    /// an update, ext4 also writes the inode at the next `fdatasync`. The journal calls this function after every sync.
    /// If the function requested the timestamps, each commit of the journal would write one block more.
    ///
    /// # Errors
    /// Returns an error if the file does not exist or cannot be examined.
    pub fn at(path: &Path) -> io::Result<(Self, u64)> {
        match statx(CWD, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::SIZE) {
            Ok(found) => {
                let device = makedev(found.stx_dev_major, found.stx_dev_minor);
                Ok((Self { device, inode: found.stx_ino }, found.stx_size))
            }
            // Some sandboxes do not support this system call.
            Err(Errno::NOSYS) => fs::metadata(path).map(|found| (Self::from(&found), found.len())),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<&Metadata> for FileId {
    fn from(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_id_until_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&path, "four").unwrap();
        let (id, bytes) = FileId::at(&path).unwrap();
        assert_eq!((id, bytes), (FileId::from(&fs::metadata(&path).unwrap()), 4));
        fs::write(&other, "other").unwrap();
        assert_ne!(FileId::at(&other).unwrap().0, id);
        fs::rename(&other, &path).unwrap();
        assert_ne!(FileId::at(&path).unwrap().0, id);
        assert_eq!(FileId::at(&other).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
