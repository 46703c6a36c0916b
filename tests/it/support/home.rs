//! The real receiver, as a process: its folder with a configuration, the process itself, and the files that it leaves.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use flate2::read::GzDecoder;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

pub use super::patience::eventually;
use super::{
    client::{Client, KEY},
    patience::LONG,
};

/// A folder where a receiver lives, across its restarts.
pub struct Home {
    _own: Option<TempDir>,
    folder: PathBuf,
    /// Keys of `[journal]`.
    pub journal_keys: &'static str,
    /// Further configuration keys of `http`.
    pub http_keys: &'static str,
    /// Keys of the handler `audit`, of kind `jsonl`.
    pub audit_keys: &'static str,
    /// Further sections.
    pub more: String,
    /// The address of the admin side: a free port, unless a test sets another.
    pub admin: SocketAddr,
}

/// A row of the journal.
pub struct Stored {
    pub seq: u64,
    pub raw: String,
}

impl Home {
    pub fn new() -> Self {
        let own = TempDir::new().expect("a folder");
        let folder = own.path().to_owned();
        Self { _own: Some(own), ..Self::at(folder) }
    }

    /// In a folder that the test owns.
    pub fn at(folder: PathBuf) -> Self {
        Self {
            _own: None,
            folder,
            journal_keys: "disk_reserve = 0",
            http_keys: "",
            audit_keys: "",
            more: String::new(),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Starts a receiver and waits until it accepts events.
    pub fn start(&self) -> Process {
        let mut process = self.spawn(self.command());
        process.wait_until_ready();
        process
    }

    /// Starts a receiver by a command, and does not wait.
    pub fn spawn(&self, mut command: Command) -> Process {
        self.write_config();
        let log = File::options().create(true).append(true).open(self.log_file()).expect("the log");
        let before = log.metadata().expect("the log").len();
        let mut child = command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("a standard output");
        Process { child, said: lines_of(stdout), address: None, log: self.log_file(), before }
    }

    /// The command that starts a receiver here.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
        command.arg("--config").arg(self.config_file());
        command
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.join("bikhook.toml")
    }

    pub fn journal_file(&self) -> PathBuf {
        self.folder.join("journal.db")
    }

    /// The log of all processes that ran here.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Every event in the journal, in the order of seq. For a receiver that was stopped.
    pub fn each_stored(&self, mut see: impl FnMut(Stored)) {
        let journal = self.open_journal();
        let mut select = journal.prepare("SELECT seq, raw FROM event ORDER BY seq").unwrap();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let raw = String::from_utf8(row.get(1).unwrap()).unwrap();
            see(Stored { seq: row.get(0).unwrap(), raw });
        }
    }

    /// How many entries the quarantine has. For a receiver that was stopped.
    pub fn quarantined(&self) -> u64 {
        let count = "SELECT count(*) FROM quarantine";
        self.open_journal().query_row(count, [], |row| row.get(0)).unwrap()
    }

    fn open_journal(&self) -> Connection {
        Connection::open_with_flags(self.journal_file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    /// Every line of the handler's files, the oldest first, with its line break.
    pub fn each_line(&self, mut see: impl FnMut(&str)) {
        for file in self.audit_files() {
            each_line_of(&file, &mut see);
        }
    }

    /// Waits until both lanes of the handler have everything that is in the journal.
    pub fn wait_until_delivered(&self) {
        let journal = self.open_journal();
        let behind = "SELECT count(*) FROM lane WHERE cursor < (SELECT coalesce(max(seq), 0) FROM event)";
        eventually("the handler does not catch up", || {
            journal.query_row(behind, [], |row| row.get::<_, u64>(0)).unwrap() == 0
        });
    }

    /// Waits until both lanes of a handler have everything that is in the journal.
    pub fn wait_until_delivered_to(&self, handler: &str) {
        let journal = self.open_journal();
        let behind = "SELECT count(*) FROM lane
                      WHERE handler = ?1 AND cursor < (SELECT coalesce(max(seq), 0) FROM event)";
        eventually("the handler does not catch up", || {
            journal.query_row(behind, [handler], |row| row.get::<_, u64>(0)).unwrap() == 0
        });
    }

    /// Rotated files by age, then the live one.
    fn audit_files(&self) -> Vec<PathBuf> {
        let mut rotated: Vec<(String, u32, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let plain = name.strip_suffix(".gz").unwrap_or(name);
            let Some(rest) = plain.strip_prefix("events-").and_then(|rest| rest.strip_suffix(".jsonl"))
            else {
                continue;
            };
            let (stamp, number) = rest.rsplit_once('-').unwrap();
            rotated.push((stamp.to_owned(), number.parse().unwrap(), path));
        }
        rotated.sort();
        // For a moment a file exists both plain and compressed.
        rotated.dedup_by(|later, earlier| (&later.0, later.1) == (&earlier.0, earlier.1));
        let mut files: Vec<PathBuf> = rotated.into_iter().map(|(.., path)| path).collect();
        files.extend(Some(self.folder.join("events.jsonl")).filter(|live| live.exists()));
        files
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn write_config(&self) {
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n{}\n\
             [admin]\nlisten = \"{}\"\n\
             [sources.bik]\ncredentials.portal = {{ key = \"{KEY}\" }}\n\
             [journal]\npath = {:?}\n{}\n\
             [handlers.audit]\nkind = \"jsonl\"\npath = {:?}\n{}\n{}\n",
            self.http_keys,
            self.admin,
            self.journal_file(),
            self.journal_keys,
            self.folder.join("events.jsonl"),
            self.audit_keys,
            self.more,
        );
        fs::write(self.config_file(), text).expect("the configuration");
        // Only its owner can read it, because it has a key.
        fs::set_permissions(self.config_file(), fs::Permissions::from_mode(0o600)).expect("its mode");
    }
}

fn each_line_of(file: &Path, see: &mut impl FnMut(&str)) {
    let Ok(open) = File::open(file) else {
        // It was compressed or rotated since it was listed; the caller lists again.
        return;
    };
    let compressed = file.extension().is_some_and(|extension| extension == "gz");
    let read: Box<dyn Read> = if compressed { Box::new(GzDecoder::new(open)) } else { Box::new(open) };
    let mut lines = BufReader::new(read);
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        see(&line);
        line.clear();
    }
}

/// A receiver that runs, or ran. Killed when it is dropped.
pub struct Process {
    child: Child,
    said: Receiver<String>,
    address: Option<SocketAddr>,
    log: PathBuf,
    /// Length of the log of earlier processes.
    before: u64,
}

impl Process {
    /// The address to which events are posted.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it was waited for")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address()).expect("a connection")
    }

    /// The status that the admin side answers.
    pub fn health(&self, path: &str) -> u16 {
        self.operator().get(path).expect("an answer").status
    }

    /// A connection to the admin side.
    pub fn operator(&self) -> Client {
        Client::connect(self.admin()).unwrap()
    }

    /// The address of the admin side.
    pub fn admin(&self) -> SocketAddr {
        let mut admin = None;
        // A separate thread writes the log, so the log may lag.
        eventually("it does not log its address", || {
            let log = fs::read(&self.log).unwrap();
            let own = String::from_utf8_lossy(&log[usize::try_from(self.before).unwrap()..]).into_owned();
            let told = own.rsplit_once(" admin=").and_then(|(_, rest)| rest.split_once('\n'));
            admin = told.and_then(|(address, _)| address.parse().ok());
            admin.is_some()
        });
        admin.unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the line that says where it listens.
    pub fn wait_until_ready(&mut self) {
        let Ok(line) = self.said.recv_timeout(LONG) else {
            panic!("it did not become ready:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        };
        let address = line.strip_prefix("bikhook is ready: http://").and_then(|url| url.split('/').next());
        self.address = Some(address.and_then(|address| address.parse().ok()).expect("an address"));
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: a graceful stop begins.
    pub fn terminate(&self) {
        let pid = self.pid().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).status().unwrap();
        assert!(sent.success(), "SIGTERM was not sent");
    }

    /// Waits for its end, for a bounded time, and returns the status.
    pub fn exit_code(&mut self) -> i32 {
        let mut ended: Option<ExitStatus> = None;
        eventually("it did not end", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code().expect("it was killed by a signal")
    }

    /// A graceful stop, to its end.
    pub fn stop(&mut self) {
        self.terminate();
        assert_eq!(self.exit_code(), 0, "{}", fs::read_to_string(&self.log).unwrap_or_default());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads its output to the end, so that it never waits for a reader.
fn lines_of(stdout: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, said) = sync_channel(16);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Only the first lines are waited for.
            let _ = lines.try_send(line);
        }
    });
    said
}

/// A command that watches system calls, or makes them fail.
pub fn strace() -> Command {
    let found = Command::new("strace").arg("--version").output();
    assert!(
        found.is_ok_and(|version| version.status.success()),
        "strace is missing, which this test needs. Debian's package is `strace`; tests/run installs it"
    );
    Command::new("strace")
}
