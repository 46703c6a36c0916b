//! `kind = "log"`.

use serde::Deserialize;

use super::{Delivery, Failure, Kind, OpenError};

/// The handler.
pub struct Log;

/// Its own keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

impl Kind for Log {
    const NAME: &'static str = "log";
    const ABOUT: &'static str = "";
    const CONCURRENCY: usize = 1;
    const BATCH: usize = 500;
    type Settings = Settings;

    async fn open(_name: &str, _settings: Settings) -> Result<Self, OpenError> {
        unimplemented!()
    }

    async fn deliver(&self, _events: &[Delivery]) -> Result<(), Failure> {
        unimplemented!()
    }
}
