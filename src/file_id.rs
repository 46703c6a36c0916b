//! Which file is at a path: whether it is still the one that was opened there.

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

/// What tells a file from all others while one of them is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file at a path, links followed, and its length in bytes.
    ///
    /// Does not ask for the times of the file. Since Linux 6.13, a file whose times were asked for gets new ones at its next
    /// write, and ext4 writes its inode at the next `fdatasync`: each group of the journal would cost one block more.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn at(path: &Path) -> io::Result<(Self, u64)> {
        match statx(CWD, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::SIZE) {
            Ok(found) => {
                let device = makedev(found.stx_dev_major, found.stx_dev_minor);
                Ok((Self { device, inode: found.stx_ino }, found.stx_size))
            }
            // Some sandboxes do not know the call.
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
