//! The credential for `send`. It is never given on the command line, which all users of the machine can read.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{
    cli::{
        Error,
        auth::{authorization_of, basic},
        client::text_variable,
    },
    clock,
    http::{AuthMode, SourceSettings},
    secret,
};

/// The options for the credential to send. If there is none in the options or in BIKHOOK_SEND_KEY, a credential of the
/// configuration is sent.
#[derive(clap::Args)]
pub(super) struct CredentialArgs {
    /// File with the authorization key. If neither this option nor --user is given, the key is read from
    /// BIKHOOK_SEND_KEY. If that is not set either, a credential of the configuration is used
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "password_file"])]
    key_file: Option<PathBuf>,
    /// Username; its password is read from --password-file, else BIKHOOK_SEND_PASSWORD, else the terminal
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File with the password of --user
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    // `--key` and `--password` are hidden from the help, and rejected because all users of the machine can see a
    // command line. The error names the alternatives.
    #[arg(long, hide = true)]
    key: Option<String>,
    #[arg(long, hide = true)]
    password: Option<String>,
}

impl CredentialArgs {
    /// The given credential as a value of the `Authorization` header; `None` if none is given.
    pub(super) fn read(&self) -> Result<Option<String>, Error> {
        if self.key.is_some() {
            return Err(visible_argument("key"));
        }
        if self.password.is_some() {
            return Err(visible_argument("password"));
        }
        if let Some(user) = &self.user {
            let password = match (&self.password_file, text_variable("BIKHOOK_SEND_PASSWORD")?) {
                (Some(file), _) => read_secret(file)?,
                (None, Some(password)) => password,
                (None, None) => ask_password(user)?,
            };
            return Ok(Some(basic(&format!("{user}:{password}"))));
        }
        let key = match &self.key_file {
            Some(file) => Some(read_secret(file)?),
            None => text_variable("BIKHOOK_SEND_KEY")?,
        };
        Ok(key.map(|key| authorization_of(&key, None)))
    }
}

fn visible_argument(what: &str) -> Error {
    let variable = what.to_uppercase();
    Error::Failed(format!(
        "--{what} would show its value to every user of this machine: use --{what}-file FILE or the variable \
         BIKHOOK_SEND_{variable}"
    ))
}

fn read_secret(file: &Path) -> Result<String, Error> {
    match secret::load(file) {
        Ok(Some(secret)) => Ok(secret.expose().to_owned()),
        Ok(None) => Err(Error::Failed(format!("the file {} does not exist", file.display()))),
        Err(error) => Err(Error::Failed(error.to_string())),
    }
}

/// Asks for the password at the terminal, even if standard input is redirected, and without echo.
fn ask_password(user: &str) -> Result<String, Error> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_none| {
        let what =
            "there is no terminal to ask for the password: use --password-file or BIKHOOK_SEND_PASSWORD";
        Error::Failed(what.to_owned())
    })?;
    let failed = |error: io::Error| Error::Failed(format!("cannot ask for the password: {error}"));
    let echo_off = EchoOff::new(&terminal).map_err(failed)?;
    write!(&terminal, "password of {user}: ")?;
    let mut password = String::new();
    BufReader::new(&terminal).read_line(&mut password).map_err(failed)?;
    drop(echo_off);
    writeln!(&terminal)?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

/// Disables the echo of a terminal. Dropping this value restores the terminal's settings.
struct EchoOff<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> EchoOff<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut echo_off = before.clone();
        echo_off.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &echo_off)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        // An error cannot be reported from here.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// The first of a source's credentials that is accepted now, as a header value; `None` if the source requires none.
/// Returns an error if no credential is accepted now.
pub(super) fn configured(source: &SourceSettings) -> Result<Option<String>, Error> {
    if source.auth == AuthMode::None {
        return Ok(None);
    }
    let now = clock::now();
    let mut accepted =
        source.credentials.values().filter(|credential| credential.not_after.is_none_or(|end| now <= end));
    let wire =
        accepted.find_map(|credential| match (&credential.key, &credential.username, &credential.password) {
            (Some(key), ..) => Some(authorization_of(key.expose(), credential.form)),
            (None, Some(user), Some(password)) => Some(basic(&format!("{user}:{}", password.expose()))),
            _ => None,
        });
    wire.map(Some).ok_or_else(|| {
        Error::Failed(
            "the source has no credential that is accepted now: check its `not_after` times".to_owned(),
        )
    })
}
