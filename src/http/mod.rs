//! IN: what BIK posts becomes durable, and is answered.
//!
//! [`serve`] accepts connections and holds them to their bounds; [`Intake`] answers what comes in by them. A request goes
//! one way: its source is found by path (`router`), its credential is judged (`auth`), it gets a place (`limits`), and
//! its body is read, unpacked, decoded and appended (`receive`). Whatever ends that way early is a `Refusal`.

mod auth;
mod body;
mod connection;
mod limits;
mod problem;
mod pulse;
mod receive;
mod refusal;
mod router;
mod rules;
mod settings;
mod source;
mod tally;
mod unpack;

pub use auth::{CredentialKind, CredentialStatus, Denied};
pub use connection::{Bounds, Peer, Site, Stopped, bind, serve};
pub use problem::{Problem, RequestId, RequestIds};
pub use router::Intake;
pub use rules::{Unservable, check_http, check_sources, wrong_username};
pub use settings::{AuthMode, CredentialSettings, Form, Settings, SourceSettings};
