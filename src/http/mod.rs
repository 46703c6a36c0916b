//! IN: what BIK posts becomes durable, and is answered.
//!
//! [`serve`] accepts connections and holds them to their bounds; [`Intake`] answers what comes in by them. A request goes
//! one way: its source is found by path (`router`), its credential is judged (`auth`), it gets a place (`places`), and
//! its body is read, unpacked, decoded and appended (`receive`). Whatever ends that way early is a `Refusal`.

mod auth;
mod body;
mod closing;
mod connection;
mod failures;
mod head;
mod limits;
mod listener;
mod network;
mod places;
mod problem;
mod pulse;
mod receive;
mod refusal;
mod router;
mod rules;
mod settings;
mod socket;
mod source;
mod table;
mod tally;
mod unpack;

pub use auth::{CredentialKind, CredentialStatus, Denied};
pub use connection::{Peer, Site};
pub use failures::{Failures, TooManyFailures};
pub use limits::Quiet;
pub use listener::{Stopped, bind, serve};
pub use network::{Network, NetworkError};
pub use problem::{Problem, RequestId, RequestIds};
pub use router::Intake;
pub use rules::{Unservable, check_http, check_sources, wrong_username};
pub use settings::{AuthMode, CredentialSettings, Form, Settings, SourceSettings};
pub use table::Bounds;
