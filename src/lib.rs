//! bikhook: a webhook receiver for BIK.
//!
//! ```text
//!  BIK ─POST─▶ http::auth ─▶ event::decode ─▶ journal.append ─▶ 200     the answer, after it is durable
//!                 401           quarantine          │ 503 when it cannot store
//!                                              ┌────▼─────┐
//!                                              │ journal  │  one SQLite file
//!                                              └────┬─────┘
//!                              ┌────────────────────┼───────────────────┐
//!                        dispatch "audit"     dispatch "crm"          insight      what became of each message:
//!                          claim → deliver → settle,                     │         message states, figures, search
//!                          each at its own pace, with its own cursor     ▼
//!                              │                    │             admin: page, API, metrics; the command line
//!                        handler::jsonl       handler::http
//! ```
//!
//! # Words
//!
//! Each has one meaning in Rust, TOML, SQL, metrics and on the command line.
//!
//! - **source**: a URL that BIK posts to. **event**: one element of what it posts. **draft**: an event not durable yet.
//! - **journal**: where events are durable, in order of **seq**. **quarantine**: what could not be read, with its bytes.
//! - **handler**: a destination, of a **kind**. **lane**: one of a handler's two queues, incoming messages and the rest.
//! - **cursor**: up to where a lane is done. **claim**: events taken to be delivered. **settle**: how they ended.
//! - **attempt**: one try of a delivery. **dead letter**: an event that a handler will not get unless somebody asks.
//! - **replay**: what is stored, delivered to a handler once more. **insight**: what is learnt of messages and customers.
//! - **funnel**: how many messages were sent, delivered, read, or failed.
//!
//! # Invariants
//!
//! - A 200 goes out after its events are on disk, never before.
//! - Nothing an authenticated sender posts is thrown away: what cannot be read is quarantined.
//! - Inside the window a duplicate is stored once. A `seq` never repeats and never falls.
//! - Once in, an event is delivered at least once to every handler that wants it, in order per message.
//! - `http` knows neither `dispatch` nor `handler`: an answer cannot wait for a destination. `handler` does not know
//!   `journal`: a destination cannot acknowledge itself.
//!
//! Modules in the order of the flow, from those who use to those who are used; a module uses only what is below it, and
//! a test says so.

pub mod cli;

pub mod app;
pub mod config;

pub mod admin;
pub mod http;

pub mod dispatch;

pub mod insight;

pub mod handler;

pub mod journal;

pub mod event;

pub mod settings;

pub mod clock;
pub mod disk;
pub mod file_id;
pub mod folder;
pub mod lock;
pub mod metrics;
pub mod panics;
pub mod secret;
pub mod trace;
