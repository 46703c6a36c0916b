//! Loads the configuration, prints its warnings, and finds the secrets that this process generates.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use super::{Cli, Error};
use crate::{admin, config::Config, http::SourceSettings, secret::Secret};

pub(super) use crate::config::{ConfigError, HandlerConfig, LogFormat, LogSettings};

impl Cli {
    pub(super) fn load(&self) -> Result<Config, Error> {
        Ok(Config::load(self.file().as_deref(), std::env::vars_os())?)
    }

    pub(super) fn load_admin(&self) -> Result<admin::Settings, Error> {
        Ok(Config::load_admin(self.file().as_deref(), std::env::vars_os())?)
    }

    pub(super) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| variable("BIKHOOK_CONFIG").map(PathBuf::from))
    }
}

/// An environment variable. An empty one counts as not set, because container tools often pass an unset variable as
/// an empty one.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Prints the warnings of a valid configuration on standard error.
pub(super) fn warn(config: &Config) -> io::Result<()> {
    if config.warnings.is_empty() {
        return Ok(());
    }
    writeln!(anstream::stderr().lock(), "{}", config.warnings.render(true))
}

/// Checks that the files of all sources' secrets exist. If such a file is missing, each process generates a secret of
/// its own, and only the receiver stores it. The command that calls this would therefore use another secret than the
/// receiver.
pub(super) fn check_secrets_stored(config: &Config) -> Result<(), Error> {
    let credentials = || config.sources.values().flat_map(|source| source.credentials.values());
    let secrets = || credentials().flat_map(|credential| credential.key.iter().chain(&credential.password));
    let is_used = |generated: &Secret| secrets().any(|secret| secret.expose() == generated.expose());
    if let Some((file, _)) = config.not_stored().find(|(_, generated)| is_used(generated)) {
        let file = file.display();
        return Err(Error::Failed(format!("{file} does not exist yet: start bikhook once to create it")));
    }
    Ok(())
}

/// The sources for which this process generates secrets. Credentials without a generated secret are left out.
pub(super) fn generated_credentials(config: &Config) -> BTreeMap<String, SourceSettings> {
    let is_generated =
        |secret: &Secret| config.not_stored().any(|(_, generated)| generated.expose() == secret.expose());
    let mut sources = config.sources.clone();
    for source in sources.values_mut() {
        source
            .credentials
            .retain(|_, credential| credential.key.iter().chain(&credential.password).any(is_generated));
    }
    sources.retain(|_, source| !source.credentials.is_empty());
    sources
}
