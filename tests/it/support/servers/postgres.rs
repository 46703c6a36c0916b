//! PostgreSQL from Debian's package: a private server on a free port of the loopback.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{certificate::Certificate, process::until_it_answers};
use crate::support::{patience::eventually, root::as_root};

const BIN: &str = "/usr/lib/postgresql/15/bin";
/// PostgreSQL refuses root: `nobody` runs it.
const NOBODY: &str = "65534";

/// A server. Killed when it is dropped.
pub struct Server {
    own: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts one with passwords (user `bik`, password `secret`, a superuser, and its database).
    pub fn start_new() -> Self {
        Self::start_with(None)
    }

    /// Starts a server that offers TLS.
    pub fn with_tls(certificate: &Certificate) -> Self {
        Self::start_with(Some(certificate))
    }

    fn start_with(certificate: Option<&Certificate>) -> Self {
        let own = TempDir::new().unwrap();
        let mut chown = Command::new("chown");
        assert!(chown.arg("65534:65534").arg(own.path()).status().unwrap().success());
        let password = own.path().join("password");
        fs::write(&password, "secret").unwrap();
        assert!(Command::new("chmod").arg("644").arg(&password).status().unwrap().success());
        let [port] = super::free_ports();
        let mut server = Self { own, port, process: None };
        let made = unprivileged("initdb")
            .args(["-U", "bik", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "-N", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        if let Some(certificate) = certificate {
            let mut install = as_root("install");
            install.args(["-o", NOBODY, "-m", "600", "-t"]).arg(server.data());
            assert!(install.arg(certificate.key()).arg(certificate.cert()).status().unwrap().success());
            server.configure("ssl = on\nssl_cert_file = 'cert.pem'\nssl_key_file = 'server.key'\n");
        }
        server.start();
        server.sql("postgres", "CREATE DATABASE bik");
        server
    }

    /// Starts it again, where it was, and waits until it answers.
    pub fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.own.path().join("log")).unwrap();
        let mut command = unprivileged("postgres");
        let child = command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories=", "-c", "shared_buffers=16MB", "-c", "max_connections=20"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let child = self.process.insert(child);
        let log = self.own.path().join("log");
        until_it_answers(&command, child, &log, || psql(self.port, "postgres", "SELECT 1").is_ok());
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.own.path().join("log")).unwrap()
    }

    /// Further settings for its next start. Later ones override earlier ones.
    pub fn configure(&self, settings: &str) {
        let mut file = fs::File::options().append(true).open(self.data().join("postgresql.conf")).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
    }

    /// The authentication rules (pg_hba.conf) from its next start on.
    pub fn let_in(&self, rules: &str) {
        let mut file =
            fs::File::options().write(true).truncate(true).open(self.data().join("pg_hba.conf")).unwrap();
        file.write_all(rules.as_bytes()).unwrap();
    }

    /// Kills all its processes.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // Its children keep its shared memory until they end. It is stopped first, so that it starts no others.
        let pid = process.id().to_string();
        let _ = Command::new("kill").args(["-STOP", &pid]).status();
        let children = Command::new("pgrep").args(["-P", &pid]).output().unwrap().stdout;
        let _ = Command::new("pkill").args(["-KILL", "-P", &pid]).status();
        let _ = process.kill();
        let _ = process.wait();
        eventually("its children stay", || {
            let children = std::str::from_utf8(&children).unwrap();
            // The command line of a process that has ended is empty.
            let command = |child| fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            children.lines().all(|child: &str| command(child).is_empty())
        });
        eventually("its port stays taken", || TcpStream::connect(("127.0.0.1", self.port)).is_err());
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Its URL, without a password.
    pub fn url(&self) -> String {
        format!("postgres://bik@127.0.0.1:{}/bik", self.port)
    }

    /// The result of a statement: one line per row, values separated by tabs.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        self.psql(database, statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// The same, for a statement that may fail.
    pub fn psql(&self, database: &str, statement: &str) -> Result<String, String> {
        psql(self.port, database, statement)
    }

    /// Locks a table exclusively until the returned guard is dropped.
    pub fn hold_lock(&self, table: &str) -> LockHolder {
        let mut holder = Command::new(Path::new(BIN).join("psql"))
            .args(["-Xq", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "bik", "-d", "bik"])
            .env("PGPASSWORD", "secret")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let statement = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;\n");
        holder.stdin.as_mut().unwrap().write_all(statement.as_bytes()).unwrap();
        eventually("nobody holds the lock", || {
            let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
            self.sql("bik", held).trim() != "0"
        });
        LockHolder(holder)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> PathBuf {
        self.own.path().join("data")
    }
}

/// Holds a lock of a table.
pub struct LockHolder(Child);

impl Drop for LockHolder {
    fn drop(&mut self) {
        // Its transaction ends with its input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The result of a statement sent to a loopback port: one line per row, values separated by tabs.
pub fn psql(port: u16, database: &str, statement: &str) -> Result<String, String> {
    let output = Command::new(Path::new(BIN).join("psql"))
        .args(["-XqAt", "-F", "\t", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "bik"])
        .args(["-d", database, "-v", "ON_ERROR_STOP=1", "-c", statement])
        .env("PGPASSWORD", "secret")
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn unprivileged(program: &str) -> Command {
    as_nobody(&Path::new(BIN).join(program))
}

/// A program that does not run as root; it ends with the test.
pub fn as_nobody(program: &Path) -> Command {
    let mut command = as_root("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--pdeathsig", "KILL"]);
    command.arg(program);
    command
}
