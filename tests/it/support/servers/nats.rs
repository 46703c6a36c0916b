//! NATS with JetStream, of Debian's package `nats-server`.

use std::{fs, io::Read, net::TcpStream, process::Command, thread};

use async_nats::{
    ConnectOptions, HeaderMap,
    jetstream::{self, Context, stream::Config},
};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{free_ports, process::ServerProcess};

/// A server. Killed when it is dropped.
pub struct NatsServer {
    dir: TempDir,
    port: u16,
    config: String,
    process: Option<ServerProcess>,
    connect: ConnectOptions,
}

/// A message, as stored in a stream.
#[derive(Clone, Debug)]
pub struct Kept {
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: String,
}

impl NatsServer {
    /// Starts a server without authentication.
    pub fn start_new() -> Self {
        Self::with("", ConnectOptions::new())
    }

    /// Starts a server with more in its configuration, and with credentials for the test itself.
    pub fn with(config: &str, connect: ConnectOptions) -> Self {
        let [port] = free_ports();
        let mut server =
            Self { dir: TempDir::new().unwrap(), port, config: config.to_owned(), process: None, connect };
        server.start();
        server
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Other settings, for its next start.
    pub fn configure(&mut self, config: &str) {
        config.clone_into(&mut self.config);
    }

    /// Starts it with its data, and waits until it answers.
    pub fn start(&mut self) {
        let config = self.dir.path().join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: {:?} }}\n{}\n",
            self.port,
            self.dir.path().join("data"),
            self.config
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(config);
        let started = ServerProcess::start(&mut command, self.dir.path(), || self.greets());
        self.process = Some(started);
    }

    fn greets(&self) -> bool {
        let mut greeting = [0; 4];
        let read = TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|mut connection| connection.read_exact(&mut greeting));
        read.is_ok() && &greeting == b"INFO"
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Suspends or continues it, to simulate a hanging server.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Makes a stream.
    pub fn make_stream(&self, config: Config) {
        self.ask(async |jetstream| {
            jetstream.create_stream(config).await.unwrap();
        });
    }

    pub fn delete_stream(&self, stream: &str) {
        self.ask(async |jetstream| {
            jetstream.delete_stream(stream).await.unwrap();
        });
    }

    /// Deletes all messages of a stream.
    pub fn purge(&self, stream: &str) {
        self.ask(async |jetstream| {
            jetstream.get_stream(stream).await.unwrap().purge().await.unwrap();
        });
    }

    /// The messages of a stream from this number on, counted from 1. Empty if there is no such stream.
    pub fn messages(&self, stream: &str, first: u64) -> Vec<Kept> {
        self.ask(async |jetstream| {
            let Ok(stream) = jetstream.get_stream(stream).await else { return Vec::new() };
            let mut messages = Vec::new();
            for seq in first..=stream.cached_info().state.last_sequence {
                let message = stream.get_raw_message(seq).await.unwrap();
                messages.push(Kept {
                    subject: message.subject.to_string(),
                    headers: message.headers,
                    payload: String::from_utf8(message.payload.to_vec()).unwrap(),
                });
            }
            messages
        })
    }

    /// The answer of JetStream. Requested on a separate thread, because the caller may run in another runtime.
    pub fn ask<T: Send>(&self, question: impl AsyncFnOnce(Context) -> T + Send) -> T {
        let asked = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = self.connect.clone().connect(self.url()).await.unwrap();
                question(jetstream::new(client)).await
            })
        };
        thread::scope(|scope| scope.spawn(asked).join()).unwrap()
    }
}
