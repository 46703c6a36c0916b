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
    sync::{Arc, Mutex as StdMutex, PoisonError, Weak},
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
    open: Mutex<Option<Open>>,
    pub(super) given_up: GivenUp,
}

/// An open connection, and its channels that no delivery uses.
struct Open {
    connection: Connection,
    idle: Arc<IdleChannels>,
}

#[derive(Default)]
struct IdleChannels(StdMutex<Vec<Channel>>);

/// A channel that a delivery uses. If this value is dropped, the channel is closed.
pub(super) struct LentChannel {
    pub(super) channel: Channel,
    connection: ConnectionStatus,
    /// Dangling if the connection of the channel is not to be used again.
    idle: Weak<IdleChannels>,
}

impl LentChannel {
    /// Makes the channel available for reuse, unless its connection is not to be used again. Nothing may be in flight
    /// on the channel.
    pub(super) fn give_back(self) {
        if let Some(idle) = self.idle.upgrade() {
            idle.lock().push(self.channel);
        }
    }

    /// Waits until the broker blocks publishers. AMQP messages published then would wait without limit.
    pub(super) async fn blocked(&self) {
        while !self.connection.blocked() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl IdleChannels {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        // No code panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Channel> {
        let mut idle = self.lock();
        std::iter::from_fn(|| idle.pop()).find(|channel| channel.status().connected())
    }
}

impl Link {
    pub(super) fn new(handler: &str, address: Address, target: Target) -> Self {
        let name = format!("bikhook {handler}");
        Self { name, address, target, open: Mutex::default(), given_up: GivenUp::default() }
    }

    /// Returns a channel with publisher confirms. Connects if needed.
    pub(super) async fn channel(&self) -> Result<LentChannel, Failure> {
        let mut held = self.open.lock().await;
        if self.given_up.take() {
            // Other deliveries may still use this connection. It stays open as long as their channels exist.
            *held = None;
        }
        let sound = held.as_ref().filter(|open| open.connection.status().connected());
        let open = if let Some(open) = sound {
            // Keep a blocked connection, because a new one would be blocked too. The AMQP messages already sent on this
            // one are delivered later.
            if open.connection.status().blocked() {
                return Err(failure::blocked());
            }
            open
        } else {
            *held = None;
            let connection = self.connect().await?;
            &*held.insert(Open { connection, idle: Arc::default() })
        };
        let (connection, idle) = (open.connection.status().clone(), Arc::downgrade(&open.idle));
        let channel = match open.idle.take() {
            Some(channel) => Ok(channel),
            None => open_channel(&open.connection).await,
        };
        // A connection on which no channel can be opened is useless.
        let channel = channel.inspect_err(|_error| *held = None);
        channel
            .map(|channel| LentChannel { channel, connection, idle })
            .map_err(|error| failure::of(&error, Phase::Setup))
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
