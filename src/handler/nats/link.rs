//! A connection to NATS, used until it breaks.

use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectOptions, Event, ReconnectToServer, Server, ServerAddr, ServerInfo,
    jetstream::{Context, context::ContextBuilder},
};
use tokio::sync::watch;

use super::{
    Settings,
    error::{NatsFailure, of_connect},
};
use crate::handler::{Failure, FailureText, given_up::GivenUp};

/// How long to wait for one server. A call of [`Link::connect`] that has taken this long tries no further server.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait until a stream acknowledges a NATS message, and until JetStream answers a request.
const ANSWER: Duration = Duration::from_secs(5);
/// Subject prefix of the JetStream API.
const API: &str = "$JS.API.";

/// A connection that is used until it breaks or a delivery on it is cancelled.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    state: watch::Sender<State>,
    /// Whether a delivery on the connection was cancelled. Then no new delivery uses the connection. Deliveries in
    /// flight continue, because they may still be acknowledged.
    pub(super) given_up: GivenUp,
}

/// The state of a connection: sound, or with a known problem.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Sound,
    Broken,
    /// The server denied something, or closed the connection with a reason.
    Denied(String),
}

impl Link {
    /// Connects to the first server that answers, starting with the server at index `turn`. Tries no further server
    /// when an error shows a wrong setting, or when [`CONNECT`] has passed. The next call starts after the last server
    /// that did not answer.
    pub(super) async fn connect(settings: &Settings, turn: &mut usize) -> Result<Self, Failure> {
        let servers = &settings.url;
        let begun = Instant::now();
        let mut trouble = Failure::retry("connect", "no server is configured");
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
        let state = watch::Sender::new(State::Sound);
        let client = options(settings, state.clone())?
            .connect(server)
            .await
            .map_err(|error| of_connect(&format!("{}:{}", server.host(), server.port()), &error))?;
        let jetstream = ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client.clone());
        Ok(Self { client, jetstream, state, given_up: GivenUp::default() })
    }

    /// Returns whether the next delivery may use the connection: no problem is known, and no delivery was cancelled.
    pub(super) fn is_sound(&self) -> bool {
        !self.has_trouble() && !self.given_up.is_so()
    }

    /// Returns whether the connection has a known problem. Acknowledgements may then be missing.
    pub(super) fn has_trouble(&self) -> bool {
        *self.state.borrow() != State::Sound
    }

    /// Marks the connection as broken. Call this method if the server does not answer in time, because the server may
    /// never answer.
    pub(super) fn give_up(&self) {
        self.state.send_replace(State::Broken);
    }

    /// Waits for `work`, but fails if the connection breaks first.
    pub(super) async fn unless_broken<T>(&self, work: impl Future<Output = T>) -> Result<T, NatsFailure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            trouble = self.broken() => Err(trouble),
        }
    }

    async fn broken(&self) -> NatsFailure {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| *state != State::Sound).await.as_deref() {
            Ok(State::Denied(what)) => denial(what),
            _ => Failure::retry("disconnected", "the connection was lost").into(),
        }
    }
}

/// The failure for an error that the server sent. An error that is not about permissions or credentials may be
/// temporary, so it becomes a [`Failure::Retry`].
fn denial(said: &str) -> NatsFailure {
    let what = FailureText::from("the server says").saying(said);
    let lower = said.to_ascii_lowercase();
    if lower.contains("permissions violation") {
        let failure = Failure::misconfigured("permission", what);
        return if said.contains(API) { NatsFailure::NoApi(failure) } else { failure.into() };
    }
    if lower.contains("auth") {
        return Failure::misconfigured("credentials", what).into();
    }
    Failure::retry("server error", what).into()
}

/// The client's options. A client that reconnects sends its buffered messages, although they were reported as failed.
/// So reconnecting has the lowest limit that the library offers: one attempt. A limit of 0 would mean no limit.
fn options(settings: &Settings, tell: watch::Sender<State>) -> Result<ConnectOptions, Failure> {
    let mut options = ConnectOptions::new()
        .name("bikhook")
        .connection_timeout(CONNECT)
        .request_timeout(Some(ANSWER))
        .ignore_discovered_servers()
        .max_reconnects(1)
        // A configured `ca` implies that TLS is required.
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
        // Reading a secret strips its last newline, but the library needs it.
        let whole = format!("{}\n", credentials.expose());
        options = options.credentials(&whole).map_err(|_quotes_them| {
            Failure::misconfigured(
                "credentials",
                "credentials: not the content of a .creds file, which has a JWT and the seed of an nkey",
            )
        })?;
    }
    Ok(options)
}

/// Chooses the server for the only attempt to reconnect. If that attempt fails, a client that chooses the server itself
/// logs an error. A client with this callback does not.
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
    // Keep the first problem; it causes the later ones.
    tell.send_if_modified(|known| {
        let first = *known == State::Sound;
        if first {
            *known = state;
        }
        first
    });
}
