//! The public side: receives what BIK posts, makes it durable, and answers.
//!
//! [`serve`] accepts connections and enforces their limits; [`Intake`] answers their requests. Each request takes the
//! same steps: find its source by path (`intake`), check its credential (`auth`), take a place (`places`), then read,
//! unpack, decode and append its body (`receive`). A step that fails ends the request with a `Refusal`.

mod auth;
mod body;
mod closing;
mod connection;
mod failures;
mod head;
mod intake;
mod limits;
mod listener;
mod network;
mod places;
mod problem;
mod pulse;
mod receive;
mod refusal;
mod rules;
mod settings;
mod socket;
mod source;
mod table;
mod tally;
mod unpack;

pub use auth::{CredentialStatus, Denied};
pub use connection::{Peer, Site};
pub use failures::{AuthFailures, TooManyFailures};
pub use intake::Intake;
pub use limits::LogLimiter;
pub use listener::{Stopped, bind, serve};
pub use network::{Network, NetworkError};
pub use problem::{Problem, RequestId};
pub use rules::{CredentialKind, Sources, wrong_username};
pub use settings::{AuthMode, CredentialSettings, Form, Settings, SourceSettings};
pub use socket::RequestBody;
