//! A folder that can be moved away, which is how a destination of files is "killed".

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// The folder `there`, within one of the test's own.
pub struct MovableFolder {
    own: TempDir,
}

impl MovableFolder {
    /// One that is not there yet.
    pub fn new() -> Self {
        Self { own: TempDir::new().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.at("there")
    }

    /// Moves it away. A file then has its name, so that the folder cannot be created again.
    pub fn move_away(&self) {
        fs::rename(self.path(), self.at("away")).unwrap();
        fs::write(self.path(), "").unwrap();
    }

    pub fn bring_back(&self) {
        fs::remove_file(self.path()).unwrap();
        fs::rename(self.at("away"), self.path()).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        (self.own.path() as &Path).join(name)
    }
}
