//! IN
mod settings;

pub use settings::{AuthMode, CredentialSettings, Form, Settings, SourceSettings};
