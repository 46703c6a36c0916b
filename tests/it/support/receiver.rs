//! The real binary, serving, as its operator starts it.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::disk::as_root;

/// Longer than a start or a stop takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver that is ready. Dropped, it is killed.
pub struct Receiver {
    child: Child,
    log: PathBuf,
    /// The lock file of its journal. It has the id of the process, which is not the child if a tracer or sudo is in
    /// between.
    lock: PathBuf,
    /// The public side.
    pub http: SocketAddr,
    /// The admin side.
    pub admin: SocketAddr,
}

impl Receiver {
    /// Starts the command, its log in a fresh file, and waits until it says that it is ready.
    #[track_caller]
    pub fn start(mut command: Command, log: &Path, lock: &Path) -> Self {
        let file = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let began = Instant::now();
        loop {
            let said = fs::read_to_string(log).unwrap();
            if let Some((http, admin)) = addresses(&said) {
                return Self { child, log: log.to_owned(), lock: lock.to_owned(), http, admin };
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "it is not ready ({ended:?}):\n{said}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its output: the greeting and the log.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The number of its process.
    pub fn pid(&self) -> String {
        let pid = as_root("cat").arg(&self.lock).output().unwrap();
        String::from_utf8(pid.stdout).unwrap()
    }

    /// Stops it. Returns the exit status and the time that it took.
    #[track_caller]
    pub fn stop(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.signal("-TERM");
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "it does not stop:\n{}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.signal("-KILL");
        self.child.wait().unwrap();
    }

    /// It may belong to another user.
    #[track_caller]
    fn signal(&self, name: &str) {
        assert!(as_root("kill").args([name, &self.pid()]).status().unwrap().success());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // If the test has already failed, there is nothing to report.
            let _ = as_root("kill").args(["-KILL", &self.pid()]).status();
            let _ = self.child.wait();
        }
    }
}

/// From the line `… ready http=ADDRESS admin=ADDRESS`.
fn addresses(said: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line = said.lines().find(|line| line.contains(" ready http="))?;
    let after = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.parse().ok());
    Some((after("http=")?, after("admin=")?))
}
