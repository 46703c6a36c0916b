//! Operator decisions. The API and the page share these functions. A decision that changes something is logged with its
//! user.

pub(super) mod clock;
pub(super) mod dead;
pub(super) mod handlers;
pub(super) mod quarantine;
pub(super) mod replays;

use std::sync::Arc;

use super::AdminState;

impl AdminState {
    /// The user for the log: the username of the configured credentials, or `without credentials` if none are
    /// configured. If credentials are configured, every decision requires them.
    pub(super) fn user(&self) -> &str {
        self.known_user().unwrap_or("without credentials")
    }

    /// The user that the journal records with a decision: the username, or `an operator` if no credentials are
    /// configured.
    pub(super) fn recorded_user(&self) -> Arc<str> {
        self.known_user().unwrap_or("an operator").into()
    }

    /// The user of the configured credentials, if there are any.
    pub(super) fn known_user(&self) -> Option<&str> {
        self.parts.settings.credentials.as_ref().map(|known| known.username.as_str())
    }
}
