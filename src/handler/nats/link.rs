//! A connection, until it breaks.

use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectOptions, Event, ReconnectToServer, Server, ServerAddr, ServerInfo,
    jetstream::{Context, context::ContextBuilder},
};
use tokio::sync::watch;

use super::{Settings, error::of_connect};
use crate::handler::{
    Failure,
    given_up::{Attempt, GivenUp},
};

/// How long a server has to answer before the next is tried.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a stream has to acknowledge, and JetStream to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A connection that was made and is used until something is wrong with it.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    state: watch::Receiver<State>,
    /// Says that it is not sound, where nobody else noticed.
    doubt: watch::Sender<State>,
    /// What is beside such a delivery goes on: it may still be acknowledged.
    given_up: GivenUp,
}

/// What a connection has told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Sound,
    Broken,
    /// The server says that something is not allowed, or ends the connection for a reason.
    Denied(String),
}

impl Link {
    /// Connects to the first server that answers. After one that does not, the next attempt begins with another.
    pub(super) async fn connect(settings: &Settings, turn: &mut usize) -> Result<Self, Failure> {
        let servers = &settings.url.0;
        let begun = Instant::now();
        let mut trouble = Failure::retry("connect", "there is no server");
        for server in servers.iter().cycle().skip(*turn % servers.len()).take(servers.len()) {
            trouble = match Self::connect_to(server, settings).await {
                Err(trouble @ Failure::Retry { .. }) => trouble,
                linked_or_wrong => return linked_or_wrong,
            };
            *turn = turn.wrapping_add(1);
            if begun.elapsed() >= CONNECT {
                break;
            }
        }
        Err(trouble)
    }

    async fn connect_to(server: &ServerAddr, settings: &Settings) -> Result<Self, Failure> {
        let (doubt, state) = watch::channel(State::Sound);
        let client = options(settings, doubt.clone())?
            .connect(server)
            .await
            .map_err(|error| of_connect(&format!("{}:{}", server.host(), server.port()), &error))?;
        let jetstream = ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client.clone());
        Ok(Self { client, jetstream, state, doubt, given_up: GivenUp::default() })
    }

    /// To be called before a delivery does anything here.
    pub(super) const fn attempt(&self) -> Attempt<'_> {
        self.given_up.attempt()
    }

    /// Whether nothing is known to be wrong with it.
    pub(super) fn is_sound(&self) -> bool {
        *self.state.borrow() == State::Sound && !self.given_up.is_so()
    }

    /// Gives it up: a server that does not answer may never.
    pub(super) fn give_up(&self) {
        self.doubt.send_replace(State::Broken);
    }

    /// Waits for what comes of `work`, unless the connection breaks before.
    pub(super) async fn unless_broken<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            trouble = self.broken() => Err(trouble),
        }
    }

    async fn broken(&self) -> Failure {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != State::Sound).await.as_deref() {
            Ok(State::Denied(what)) => denial(what),
            _ => Failure::retry("disconnected", "the connection broke"),
        }
    }
}

/// What the server says of its own accord; of what ends a connection, not all is about who we are.
fn denial(said: &str) -> Failure {
    let what = format!("the server says: {said}");
    let said = said.to_ascii_lowercase();
    if said.contains("permissions violation") {
        Failure::misconfigured("permission", what)
    } else if said.contains("auth") {
        Failure::misconfigured("credentials", what)
    } else {
        Failure::retry("server error", what)
    }
}

/// The client gives up once it is disconnected: what it has buffered must not be sent after it was reported as failed.
fn options(settings: &Settings, tell: watch::Sender<State>) -> Result<ConnectOptions, Failure> {
    let mut options = ConnectOptions::new()
        .name("bikhook")
        .connection_timeout(CONNECT)
        .request_timeout(Some(ANSWER))
        .ignore_discovered_servers()
        .max_reconnects(1)
        // Who names an authority wants to be sure of the server.
        .require_tls(settings.tls || settings.ca.is_some())
        .reconnect_to_server_callback(the_one_at_once)
        .event_callback(move |event| {
            told(&tell, event);
            async {}
        });
    if let Some(ca) = &settings.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    if let Some(token) = &settings.token {
        options = options.token(token.expose().to_owned());
    }
    if let Some(seed) = &settings.nkey {
        options = options.nkey(seed.expose().to_owned());
    }
    if let Some(credentials) = &settings.credentials {
        // A secret has lost the end of its last line, without which the library does not know it.
        let whole = format!("{}\n", credentials.expose());
        options = options.credentials(&whole).map_err(|_quotes_them| {
            Failure::misconfigured(
                "credentials",
                "credentials: this is not what a .creds file holds: a JWT and the seed of an nkey",
            )
        })?;
    }
    Ok(options)
}

/// With a choice of its own the client does not log that it gives up, as an error.
async fn the_one_at_once(servers: Vec<Server>, _info: ServerInfo) -> Option<ReconnectToServer> {
    let server = servers.into_iter().next()?;
    Some(ReconnectToServer { addr: server.addr, delay: Some(Duration::ZERO) })
}

fn told(tell: &watch::Sender<State>, event: Event) {
    let state = match event {
        Event::Disconnected | Event::Closed => State::Broken,
        Event::ServerError(error) => State::Denied(error.to_string()),
        _ => return,
    };
    // The first thing that went wrong is the reason for what follows.
    tell.send_if_modified(|known| {
        let first = *known == State::Sound;
        if first {
            *known = state;
        }
        first
    });
}
