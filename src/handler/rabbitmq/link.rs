//! The connection to the broker, and its channels.
//!
//! A handler has one connection, and one channel for each delivery in flight. The broker answers an invalid AMQP
//! message by closing the channel. With separate channels, this does not affect other deliveries. After a successful
//! delivery the channel is reused.
//!
//! If the connection breaks, the next delivery makes a new one. The same happens after a cancelled delivery, because
//! the broker may hang. The target (the exchange or the queue) is checked or declared on each new connection, because
//! the same address may lead to another broker.

use std::{
    sync::{Mutex as StdMutex, PoisonError},
    time::Duration,
};

use lapin::{
    Channel, Connection, ConnectionStatus, ExchangeKind,
    options::{ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use tokio::sync::Mutex;

use super::{
    address::{Address, CONNECT_TIMEOUT, within},
    failure::{self, Misconfiguration, Phase},
};
use crate::handler::{Failure, given_up::GivenUp};

/// How often a delivery in flight checks whether the broker blocks publishers.
const LOOK: Duration = Duration::from_millis(250);

/// The exchange or the queues that the settings name.
#[derive(Clone)]
pub(super) enum Target {
    Exchange {
        name: ShortString,
        /// Whether to create it if it is missing.
        declare: bool,
    },
    /// A queue, addressed through the default exchange.
    Queue {
        name: ShortString,
        /// Whether to create it if it is missing.
        declare: bool,
    },
    /// Queues whose names depend on the event, so they cannot be checked in advance.
    Queues,
}

/// The connection of a handler to the broker.
pub(super) struct Link {
    /// The connection name that the broker shows.
    name: String,
    address: Address,
    target: Target,
    connection: Mutex<Option<Connection>>,
    idle: StdMutex<Vec<Channel>>,
    pub(super) given_up: GivenUp,
}

impl Link {
    pub(super) fn new(handler: &str, address: Address, target: Target) -> Self {
        let name = format!("bikhook {handler}");
        let (connection, idle) = (Mutex::new(None), StdMutex::new(Vec::new()));
        Self { name, address, target, connection, idle, given_up: GivenUp::default() }
    }

    /// Returns a channel with publisher confirms. Connects if needed.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        let mut held = self.connection.lock().await;
        if self.given_up.take() {
            // The channels of other deliveries keep the connection open until these deliveries end.
            *held = None;
        }
        let sound = held.as_ref().filter(|connection| connection.status().connected());
        let connection = if let Some(connection) = sound {
            // Keep a blocked connection, because a new one would be blocked too. The AMQP messages already sent on this
            // one are delivered later.
            if connection.status().blocked() {
                return Err(failure::blocked());
            }
            if let Some(channel) = self.take_idle() {
                return Ok(channel);
            }
            connection
        } else {
            self.idle().clear();
            *held = None;
            &*held.insert(self.connect().await?)
        };
        let opened = open_channel(connection).await;
        // A connection on which no channel can be opened is useless.
        opened.inspect_err(|_error| *held = None).map_err(|error| failure::of(&error, Phase::Setup))
    }

    /// Takes a channel back for reuse. Nothing may be in flight on the channel.
    pub(super) fn give_back(&self, channel: Channel) {
        self.idle().push(channel);
    }

    /// Waits until the broker blocks publishers. AMQP messages published then would wait without limit.
    pub(super) async fn blocked(&self) {
        let status = self.connection.lock().await.as_ref().map(|connection| connection.status().clone());
        while !status.as_ref().is_some_and(ConnectionStatus::blocked) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        // No code panics while it holds this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Channel> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop()).find(|channel| channel.status().connected())
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let connection =
            self.address.connect(&self.name).await.map_err(|error| self.connect_failure(&error))?;
        self.look_at_target(&connection).await.map_err(|error| self.connect_failure(&error))?;
        Ok(connection)
    }

    /// Checks or creates the target. Uses a separate channel, because the broker closes the channel if the target is
    /// missing.
    async fn look_at_target(&self, connection: &Connection) -> lapin::Result<()> {
        let channel = within(CONNECT_TIMEOUT, connection.create_channel()).await?;
        let no_arguments = FieldTable::default;
        match &self.target {
            Target::Exchange { name, declare } => {
                let options =
                    ExchangeDeclareOptions { passive: !declare, durable: true, ..Default::default() };
                let declared =
                    channel.exchange_declare(name.clone(), ExchangeKind::Topic, options, no_arguments());
                within(CONNECT_TIMEOUT, declared).await
            }
            Target::Queue { name, declare } => {
                let options = QueueDeclareOptions { passive: !declare, durable: true, ..Default::default() };
                let declared = channel.queue_declare(name.clone(), options, no_arguments());
                within(CONNECT_TIMEOUT, declared).await.map(drop)
            }
            Target::Queues => Ok(()),
        }
    }

    /// The failure for an error while connecting, with the broker's address, and advice on what to change.
    fn connect_failure(&self, error: &lapin::Error) -> Failure {
        let wrong = Misconfiguration::of(error, Phase::Setup);
        let advice = wrong.map_or_else(String::new, |wrong| self.advice(wrong));
        failure::of(error, Phase::Setup).at(self.address.place()).advised(&advice)
    }

    fn advice(&self, wrong: Misconfiguration) -> String {
        let vhost = self.address.vhost();
        match (wrong, &self.target) {
            (Misconfiguration::NotFound, Target::Exchange { name, .. }) => format!(
                " (create it with `rabbitmqadmin --vhost={vhost} declare exchange name={name} type=topic durable=true`, or \
                 set `declare = true`)"
            ),
            (Misconfiguration::NotFound, Target::Queue { name, .. }) => format!(
                " (create it with `rabbitmqadmin --vhost={vhost} declare queue name={name} durable=true`, or set \
                 `declare = true`)"
            ),
            (Misconfiguration::AccessRefused, _) => format!(
                " (check user and password in `url`, and the user's permissions in the vhost {vhost:?})"
            ),
            (Misconfiguration::NotAllowed, _) => {
                format!(" (check that the vhost {vhost:?} exists and that the user may access it)")
            }
            (Misconfiguration::PreconditionFailed, _) => {
                " (it exists, but has another type or is not durable: set `declare = false` to use it as it is)"
                    .to_owned()
            }
            (Misconfiguration::Tls, _) => {
                " (check host and port in `url`; for a private CA, set `ca` to a file with its certificate)"
                    .to_owned()
            }
            (Misconfiguration::NotFound, Target::Queues) => String::new(),
        }
    }
}

async fn open_channel(connection: &Connection) -> lapin::Result<Channel> {
    let channel = within(CONNECT_TIMEOUT, connection.create_channel()).await?;
    within(CONNECT_TIMEOUT, channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}
