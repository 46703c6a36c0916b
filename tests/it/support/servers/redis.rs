//! Redis, of Debian's package `redis-server`: what it acknowledged is in its append-only file.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use redis::{Connection, FromRedisValue, RedisResult};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{free_ports, signal::send};
use crate::support::patience::eventually;

/// A server. Killed when it is dropped.
pub struct RedisServer {
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that lets everybody in.
    pub fn start_new() -> Self {
        Self::with(&[])
    }

    /// Starts one with more arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let [port] = free_ports();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { dir: TempDir::new().unwrap(), port, arguments, child: None };
        server.start();
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it with what it had, and waits until it answers.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{error}: Debian's package is `redis-server`; tests/run installs it")
            });
        self.child = Some(child);
        eventually("redis-server does not start", || {
            self.connect()
                .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection))
                .is_ok()
        });
    }

    /// Where it speaks TLS, given this port among its arguments.
    pub fn tls_url(port: u16) -> String {
        format!("rediss://127.0.0.1:{port}")
    }

    fn connect(&self) -> RedisResult<Connection> {
        redis::Client::open(self.url())?.get_connection()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops and continues it: what hangs, and what comes back.
    pub fn signal(&self, signal: Signal) {
        send(self.child.as_ref().unwrap(), signal);
    }

    /// What it answers to a command.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let (name, arguments) = command.split_first().unwrap();
        let mut connection = self.connect().unwrap();
        redis::cmd(name)
            .arg(arguments)
            .query(&mut connection)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
