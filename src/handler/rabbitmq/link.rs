//! The connection, and the channels on it.
//!
//! One connection for the handler, one channel for each delivery under way: a broker answers a wrong message by closing
//! its channel, which must not fail the delivery beside it. Channels of deliveries that went well are used again. A
//! connection that broke is made again by the next delivery, and so is one on which a delivery was given up half-way: the
//! broker may hang. What the settings name is looked at (or made) each time, since it may be a new broker.

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
    failure::{self, Phase},
};
use crate::handler::{
    Failure,
    given_up::{Attempt, GivenUp},
};

/// How often a delivery under way looks whether the broker blocks.
const LOOK: Duration = Duration::from_millis(250);

/// What the settings name on the broker.
#[derive(Clone)]
pub(super) enum Target {
    /// A named exchange.
    Exchange {
        /// Its name.
        name: ShortString,
        /// It is made where it is missing.
        declare: bool,
    },
    /// A queue, by way of the default exchange.
    Queue {
        /// Its name.
        name: ShortString,
        /// It is made where it is missing.
        declare: bool,
    },
    /// Queues whose names are only known with each event.
    Queues,
}

/// The way to the broker.
pub(super) struct Link {
    /// As the broker shows the connection.
    name: String,
    address: Address,
    target: Target,
    connection: Mutex<Option<Connection>>,
    idle: StdMutex<Vec<Channel>>,
    given_up: GivenUp,
}

impl Link {
    pub(super) fn new(handler: &str, address: Address, target: Target) -> Self {
        let name = format!("bikhook {handler}");
        let (connection, idle) = (Mutex::new(None), StdMutex::new(Vec::new()));
        Self { name, address, target, connection, idle, given_up: GivenUp::default() }
    }

    /// To be called before a delivery does anything here.
    pub(super) const fn attempt(&self) -> Attempt<'_> {
        self.given_up.attempt()
    }

    /// A channel on which everything published is confirmed; connects where that is needed.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        let mut held = self.connection.lock().await;
        if self.given_up.take() {
            // A delivery beside this one keeps it open, through its channel, until that has ended.
            *held = None;
        }
        if let Some(connection) = held.as_ref().filter(|connection| connection.status().connected()) {
            // A connection that is blocked is kept: another one would be blocked as well, and what was already given to
            // this one goes out on it sooner or later.
            if connection.status().blocked() {
                return Err(failure::blocked());
            }
            if let Some(channel) = self.take_idle() {
                return Ok(channel);
            }
        } else {
            self.idle().clear();
            *held = None;
            *held = Some(self.connect().await?);
        }
        let opened = match held.as_ref() {
            Some(connection) => open_channel(connection).await,
            None => return Err(failure::blocked()),
        };
        // A connection on which not even a channel can be opened is of no use.
        opened.inspect_err(|_error| *held = None).map_err(|error| failure::of(&error, Phase::Setup))
    }

    /// For the next delivery: nothing is under way on it.
    pub(super) fn give_back(&self, channel: Channel) {
        self.idle().push(channel);
    }

    /// Returns when the broker blocks publishers: what is published then waits, however long.
    pub(super) async fn blocked(&self) {
        let status = self.connection.lock().await.as_ref().map(|connection| connection.status().clone());
        while !status.as_ref().is_some_and(ConnectionStatus::blocked) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        // Nothing panics while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Channel> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop()).find(|channel| channel.status().connected())
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let at = |failure| self.told(failure);
        let connection = self.address.connect(&self.name).await;
        let connection = connection.map_err(|error| at(failure::of(&error, Phase::Setup)))?;
        self.look_at_target(&connection).await.map_err(|error| at(failure::of(&error, Phase::Setup)))?;
        Ok(connection)
    }

    /// On a channel of its own: where the target is missing, the broker closes it.
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

    /// A failure to connect, with what a person needs to put it right.
    fn told(&self, failure: Failure) -> Failure {
        let advice = match &failure {
            Failure::Misconfigured { class, .. } => self.advice(class),
            _ => String::new(),
        };
        failure.retold(|error| format!("{}: {error}{advice}", self.address.place()))
    }

    fn advice(&self, class: &str) -> String {
        let vhost = self.address.vhost();
        match (class, &self.target) {
            ("not found", Target::Exchange { name, .. }) => format!(
                " (make it: `rabbitmqadmin --vhost={vhost} declare exchange name={name} type=topic durable=true`; or \
                 write `declare = true`)"
            ),
            ("not found", Target::Queue { name, .. }) => format!(
                " (make it: `rabbitmqadmin --vhost={vhost} declare queue name={name} durable=true`; or write \
                 `declare = true`)"
            ),
            ("access refused", _) => format!(
                " (look at user and password in `url`, and at the user's permissions in the vhost {vhost:?})"
            ),
            ("not allowed", _) => format!(" (is there a vhost {vhost:?}, and may the user see it?)"),
            ("precondition failed", _) => {
                " (it is there, but of another type or not durable: write `declare = false` to use it as it is)"
                    .to_owned()
            }
            ("tls", _) => {
                " (look at host and port in `url`; `ca` names a file with the certificate of a private authority)"
                    .to_owned()
            }
            _ => String::new(),
        }
    }
}

async fn open_channel(connection: &Connection) -> lapin::Result<Channel> {
    let channel = within(CONNECT_TIMEOUT, connection.create_channel()).await?;
    within(CONNECT_TIMEOUT, channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}
