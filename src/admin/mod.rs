//! ASK
mod settings;

pub use settings::{Credentials, Settings};
