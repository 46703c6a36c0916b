//! bikhook: a webhook receiver for BIK.
//!
//! ```text
//!  BIK ─POST─▶ http::auth ─▶ event::decode ─▶ journal.append ─▶ 200     the answer, once the events are durable
//!                 401           quarantine          │ 503 if the journal cannot store
//!                                              ┌────▼─────┐
//!                                              │ journal  │  one SQLite file
//!                                              └────┬─────┘
//!                              ┌────────────────────┼───────────────────┐
//!                        dispatch "audit"     dispatch "crm"          insight      message outcomes:
//!                          claim → deliver → settle,                     │         states, figures, search
//!                          each at its own pace, with its own cursor     ▼
//!                              │                    │             admin: page, API, metrics; the command line
//!                        handler::jsonl       handler::http
//! ```
//!
//! # Words
//!
//! Each word has one meaning in Rust, TOML, SQL, metrics and on the command line.
//!
//! - **source**: a URL that BIK posts to.
//! - **event**: one element of a POST from BIK. **draft**: an event that is not durable yet.
//! - **journal**: the store where events are durable, in order of **seq**. **quarantine**: data that could not be
//!   stored as an event, with its bytes.
//! - **handler**: the configured delivery to one destination, of a **kind**. **lane**: one of a handler's two queues:
//!   messages from customers, and all other events.
//! - **cursor**: the seq up to which a lane is done. **claim**: events that a lane takes from the journal to deliver.
//!   **settle**: record how deliveries ended.
//! - **attempt**: one try of a delivery. **dead letter**: an event that a handler does not get unless somebody
//!   retries it.
//! - **replay**: stored events, delivered to a handler again. **insight**: facts about messages and customers,
//!   learned from events.
//! - **funnel**: how many messages were sent, delivered, read, or failed.
//!
//! # Invariants
//!
//! - A 200 is sent only after its events are on disk.
//! - Nothing that an authenticated sender posts is dropped silently: it is stored, recognized as a duplicate, kept in
//!   quarantine with its bytes, or refused with a status that says so.
//! - An event that comes again within the deduplication window (`journal.dedup_window`) is not stored again. A `seq`
//!   never repeats and never falls, except after a backup was restored.
//! - A stored event is delivered at least once to every handler whose filter it matches, in order per message, unless
//!   it becomes a dead letter or an operator skips it.
//! - `http` uses neither `dispatch` nor `handler`, so an answer cannot wait for a destination. `handler` does not use
//!   `journal`, so the code for a destination cannot settle events.
//!
//! The modules below are listed in layers. A module uses only modules that are listed after it. This does not hold
//! within the last layer, which is in alphabetical order. A test checks which module uses which.

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
mod names;
pub mod panics;
pub mod plural;
pub mod secret;
pub mod trace;
