//! The public side: receives what BIK posts, makes it durable, and answers.
//!
//! [`serve`] accepts connections and enforces their limits; [`Intake`] answers their requests. Each `POST` takes the
//! same steps: find the source by its path (`intake`), check the credential (`auth`) and the rate (`limits`), wait for
//! admission within the limits on requests and bytes in flight (`places`), then read, decompress, decode and append the
//! body (`receive`). A failed step ends the request: with 404 if no source has the path, else with the answer of a
//! `Refusal`.

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
