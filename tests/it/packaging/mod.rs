//! The image and the unit, without an engine to build the one or a systemd to run the other: their files, and the real
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

/// The user of the image, and one that the unit might be given: nobody in particular.
const USER: &str = "65532";

/// A folder that a service may call its own, in one that every user may pass through.
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

    /// A file with its folders, copied from elsewhere. By a process of its own: what another test starts while this one
    /// has the copy open for writing would hold it open for a moment longer, and a busy binary cannot be run.
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
        // What belongs to another user, this one may not be able to remove. What is left is a temporary folder.
        let _ = as_root("rm").arg("-rf").arg(self.folder.path()).status();
    }
}

/// What a command wrote, once it has done what it was asked to.
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
