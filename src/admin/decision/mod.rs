//! What an operator decides. The API and the page do it by the same functions, and who did it is in the log.

pub(super) mod clock;
pub(super) mod dead;
pub(super) mod handlers;
pub(super) mod quarantine;
pub(super) mod replays;

use super::Shared;

impl Shared {
    /// Who decides, for the log: the user of the credentials. Whoever came in gave these, where there are any.
    pub(super) fn user(&self) -> &str {
        self.known_user().unwrap_or("without credentials")
    }

    /// The user of the credentials, where there are any.
    pub(super) fn known_user(&self) -> Option<&str> {
        self.state.settings.credentials.as_ref().map(|known| known.username.as_str())
    }
}
