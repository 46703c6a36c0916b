//! Redis, of Debian's package `redis-server`: what it acknowledged is in its append-only file.

use std::process::Command;

use redis::{Connection, FromRedisValue, RedisResult};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{free_ports, process::ServerProcess};

/// A server. Killed when it is dropped.
pub struct RedisServer {
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<ServerProcess>,
}

impl RedisServer {
    /// Starts a server without authentication.
    pub fn start_new() -> Self {
        Self::with(&[])
    }

    /// Starts a server with more arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let [port] = free_ports();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { dir: TempDir::new().unwrap(), port, arguments, process: None };
        server.start();
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it with its data, and waits until it answers.
    pub fn start(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.arguments);
        let answers = || {
            let connected = self.connect();
            connected.and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection)).is_ok()
        };
        let started = ServerProcess::start(&mut command, self.dir.path(), answers);
        self.process = Some(started);
    }

    /// Its URL with TLS, if its arguments have this port.
    pub fn tls_url(port: u16) -> String {
        format!("rediss://127.0.0.1:{port}")
    }

    fn connect(&self) -> RedisResult<Connection> {
        redis::Client::open(self.url())?.get_connection()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Suspends or continues it, to simulate a hanging server.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// The reply to a command.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let (name, arguments) = command.split_first().unwrap();
        let mut connection = self.connect().unwrap();
        redis::cmd(name)
            .arg(arguments)
            .query(&mut connection)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }
}
