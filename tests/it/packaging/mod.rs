//! The image and the systemd unit, tested without a container engine and without systemd: their files, and the real
//! binary with their settings.

mod image;
mod unit;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::disk::as_root;

/// The user of the image, and an arbitrary user for the unit.
const USER: &str = "65532";

/// A folder owned by the user of the service, in a folder that every user may enter.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// Copies a file, and creates its folders. A child process copies it: if this process had the copy open for
    /// writing, a process started by another test could inherit it, and a binary that is open for writing cannot be
    /// run.
    fn copy(&self, from: &Path, inside: &str) {
        let to = self.path(inside);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        told(Command::new("cp").arg("-L").arg(from).arg(to).output().unwrap());
    }

    /// An empty folder that only the user of the service may enter.
    fn make_private(&self, inside: &str) -> PathBuf {
        let folder = self.path(inside);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let owner = format!("{USER}:{USER}");
        assert!(as_root("chown").arg(owner).arg(&folder).status().unwrap().success());
        folder
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Files of another user may not be removable. Then a temporary folder is left.
        let _ = as_root("rm").arg("-rf").arg(self.folder.path()).status();
    }
}

/// The output of a command, which must succeed.
#[track_caller]
fn told(output: Output) -> String {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out
}

/// The seconds of a line `KEY…Ns` or `KEY…N`.
fn seconds(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
    line.trim().trim_end_matches('s').parse().unwrap()
}
