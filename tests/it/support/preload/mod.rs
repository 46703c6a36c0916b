//! Libraries that are preloaded before the C library of the receiver, to inject faults.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use super::home::Home;

/// A disk with faults that a test switches on and off.
pub struct FaultyDisk {
    control: TempDir,
}

impl FaultyDisk {
    /// Builds the library. There are no faults yet.
    pub fn new() -> Self {
        let control = TempDir::new().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/preload/faulty_disk.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(control.path().join("faulty_disk.so"))
            .arg(source)
            .arg("-ldl")
            .output()
            .expect("this test builds a library in C: Debian's package is `build-essential`; tests/run installs it");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self { control }
    }

    /// Preloads the library into the receiver of this home. Files of its folder whose names begin with one of `names`
    /// have the faults.
    pub fn command(&self, home: &Home, names: &[&str]) -> Command {
        let folder = home.journal_file().parent().unwrap().canonicalize().unwrap();
        let paths: Vec<String> = names.iter().map(|name| folder.join(name).display().to_string()).collect();
        let mut command = Command::new("env");
        command.arg(format!("LD_PRELOAD={}", self.control.path().join("faulty_disk.so").display()));
        command.arg(format!("FAULTY_DISK={}", paths.join(":")));
        command.arg(format!("FAULTY_DISK_CONTROL={}", self.control.path().display()));
        let receiver = home.command();
        command.arg(receiver.get_program()).args(receiver.get_args());
        command
    }

    /// Switches a fault on: `quota` or `hang`.
    pub fn begin(&self, fault: &str) {
        File::create(self.control.path().join(fault)).unwrap();
    }

    /// Switches the fault off.
    pub fn end(&self, fault: &str) {
        fs::remove_file(self.control.path().join(fault)).unwrap();
    }
}
