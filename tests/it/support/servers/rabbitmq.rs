//! RabbitMQ, of Debian's package `rabbitmq-server`, without plugins: a node of its own with an epmd of its own.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{FieldTable, ShortString},
};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::{certificate::Certificate, free_ports, process::until_it_answers};

/// Larger messages are refused.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A broker. Killed when it is dropped.
pub struct RabbitMq {
    dir: TempDir,
    port: u16,
    tls_port: u16,
    dist_port: u16,
    epmd_port: u16,
    epmd: Child,
    node: Option<Child>,
}

/// A message as it was in a queue.
pub struct Received {
    pub body: String,
    pub routing_key: String,
    pub properties: BasicProperties,
}

impl RabbitMq {
    /// Starts one, and waits until it answers.
    pub fn start_new() -> Self {
        Self::with("")
    }

    /// One with more in its configuration.
    pub fn with(config: &str) -> Self {
        Self::start_with(None, config)
    }

    /// One that speaks TLS, too.
    pub fn with_tls(certificate: &Certificate) -> Self {
        Self::start_with(Some(certificate), "")
    }

    fn start_with(certificate: Option<&Certificate>, more: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing, which this test needs. Debian's package is `rabbitmq-server`; tests/run installs it"
        );
        let dir = TempDir::new().unwrap();
        let [port, tls_port, dist_port, epmd_port] = free_ports();
        let mut config = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nmax_message_size = {MAX_MESSAGE_BYTES}\n\
             disk_free_limit.absolute = 1MB\nloopback_users.guest = true\n{more}"
        );
        if let Some(certificate) = certificate {
            config += &format!(
                "listeners.ssl.1 = 127.0.0.1:{tls_port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
                 ssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
                certificate.ca().display(),
                certificate.cert().display(),
                certificate.key().display()
            );
        }
        fs::write(dir.path().join("rabbitmq.conf"), config).unwrap();
        fs::write(dir.path().join("plugins"), "[].\n").unwrap();
        let epmd = Command::new("epmd")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .args(["-port", &epmd_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut broker = Self { dir, port, tls_port, dist_port, epmd_port, epmd, node: None };
        broker.start();
        broker
    }

    /// Its URL, with the default user.
    pub fn url(&self) -> String {
        self.url_of("guest:guest", "%2f")
    }

    pub fn url_of(&self, user: &str, vhost: &str) -> String {
        format!("amqp://{user}@127.0.0.1:{}/{vhost}", self.port)
    }

    /// Its URL with TLS.
    pub fn tls_url(&self) -> String {
        format!("amqps://guest:guest@127.0.0.1:{}/%2f", self.tls_port)
    }

    /// Starts the killed node with its data, and waits until it answers.
    pub fn start(&mut self) {
        let at = |name: &str| self.dir.path().join(name);
        let log = File::options().create(true).append(true).open(at("said")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        self.name_to(&mut command);
        let node = command
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1 -kernel inet_dist_use_interface {127,0,0,1}")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn();
        let mut node = node.unwrap();
        let said = at("said");
        until_it_answers(&command, &mut node, &said, || self.block_on(async || self.connect().await.is_ok()));
        self.node = Some(node);
    }

    /// Kills the node and all processes that it started.
    pub fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            let group = Pid::from_child(&node);
            // It may have ended already.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = node.wait();
        }
    }

    /// Suspends or continues the node, to simulate a hanging broker.
    pub fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(self.node.as_ref().unwrap()), signal).unwrap();
    }

    /// Runs `rabbitmqctl`, for example to add a user, and returns its output.
    pub fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        self.name_to(&mut command);
        let done = command.args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn name_to(&self, command: &mut Command) {
        command
            .env("RABBITMQ_NODENAME", format!("bikhook{}@localhost", self.port))
            .env("RABBITMQ_CONF_ENV_FILE", self.dir.path().join("no-such-file"))
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.dir.path())
            // Not where the tests run.
            .env("ERL_CRASH_DUMP", self.dir.path().join("erl_crash.dump"));
    }

    /// Declares a durable topic exchange, and a durable queue of the same name that gets all its messages.
    pub fn make_exchange(&self, name: &str) {
        self.on_a_channel(async |channel| {
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            channel.exchange_declare(short(name), ExchangeKind::Topic, options, FieldTable::default()).await
        });
        self.make_queue(name, FieldTable::default());
        self.bind(name, name, "#");
    }

    /// A durable queue.
    pub fn make_queue(&self, name: &str, arguments: FieldTable) {
        self.on_a_channel(async |channel| {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(short(name), options, arguments.clone()).await.map(drop)
        });
    }

    pub fn delete_exchange(&self, name: &str) {
        self.on_a_channel(async |channel| {
            channel.exchange_delete(short(name), ExchangeDeleteOptions::default()).await
        });
    }

    pub fn delete_queue(&self, name: &str) {
        self.on_a_channel(async |channel| {
            channel.queue_delete(short(name), QueueDeleteOptions::default()).await.map(drop)
        });
    }

    fn bind(&self, exchange: &str, queue: &str, routing_key: &str) {
        self.on_a_channel(async |channel| {
            let (queue, exchange, key) = (short(queue), short(exchange), short(routing_key));
            let options = QueueBindOptions::default();
            channel.queue_bind(queue, exchange, key, options, FieldTable::default()).await
        });
    }

    /// Removes and returns all messages of a queue.
    pub fn take_all(&self, queue: &str) -> Vec<Received> {
        self.on_a_channel(async |channel| {
            let mut all = Vec::new();
            let options = BasicGetOptions { no_ack: true };
            while let Some(BasicGetMessage { delivery, .. }) =
                channel.basic_get(short(queue), options).await?
            {
                all.push(Received {
                    body: String::from_utf8(delivery.data).unwrap(),
                    routing_key: delivery.routing_key.to_string(),
                    properties: delivery.properties,
                });
            }
            Ok(all)
        })
    }

    /// Runs an operation on a new connection.
    pub fn on_a_channel<T: Send>(&self, act: impl AsyncFnOnce(Channel) -> lapin::Result<T> + Send) -> T {
        self.block_on(async || {
            let connection = self.connect().await?;
            act(connection.create_channel().await?).await
        })
        .unwrap()
    }

    /// The library may wait forever for a broker that is still starting.
    async fn connect(&self) -> lapin::Result<Connection> {
        let url = self.url();
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        let late = |_elapsed| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        tokio::time::timeout(Duration::from_secs(5), connecting).await.unwrap_or_else(late)
    }

    /// On a separate thread, because the test may run in a runtime.
    fn block_on<T: Send>(&self, act: impl AsyncFnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let done = scope.spawn(|| {
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                let done = runtime.block_on(act());
                // Not awaited, because a hanging connection would block.
                runtime.shutdown_background();
                done
            });
            done.join().unwrap()
        })
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.kill();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
    }
}

pub fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}
