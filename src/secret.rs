//! Secrets of the configuration: text, `{ env = "NAME" }`, `{ file = "/run/secrets/…" }`, or `{ generate = "FILE" }`,
//! which generates a secret and stores it. No log or error shows a secret. `bikhook auth` prints the credentials of
//! sources. A receiver that generates such credentials prints them when it starts.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::Visitor};

use crate::folder;

/// A secret, resolved when the configuration is read. It has neither `Debug` nor `Display`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, only for comparing and sending. Do not log or show it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Generates a secret: 32 random bytes in URL-safe base64. `file` is needed only for the error message.
    pub(crate) fn random(file: &Path) -> Result<Self, FileError> {
        random_text::<32>().map(Self).map_err(|what| FileError::new(file, what))
    }
}

fn random_text<const BYTES: usize>() -> Result<String, SecretFault> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(SecretFault::Random)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The newtype name under which a [`Secret`] is deserialized. The configuration's deserializer recognizes this name and
/// resolves `env`, `file` and `generate`.
pub(crate) const MARK: &str = "$bikhook::Secret";

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Resolved;

        impl<'de> Visitor<'de> for Resolved {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, text: D) -> Result<Secret, D::Error> {
                String::deserialize(text).map(Secret)
            }
        }

        deserializer.deserialize_newtype_struct(MARK, Resolved)
    }
}

/// Why the secret in a file cannot be used or stored.
#[derive(Debug, thiserror::Error)]
#[error("the secret in {}: {what}", path.display())]
pub struct FileError {
    path: PathBuf,
    #[source]
    what: SecretFault,
}

impl FileError {
    /// True if a restart does not help until the path, the file or a permission is changed.
    pub fn is_lasting(&self) -> bool {
        match &self.what {
            SecretFault::Io(error) => folder::is_lasting(error),
            SecretFault::Empty | SecretFault::TooLarge | SecretFault::NotUtf8 => true,
            SecretFault::Random(_) => false,
        }
    }

    fn new(path: &Path, what: SecretFault) -> Self {
        Self { path: path.to_owned(), what }
    }

    /// True if the file already exists.
    fn is_taken(&self) -> bool {
        matches!(&self.what, SecretFault::Io(error) if error.kind() == io::ErrorKind::AlreadyExists)
    }
}

#[derive(Debug, thiserror::Error)]
enum SecretFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("the file is larger than {LIMIT_BYTES} bytes")]
    TooLarge,
    #[error("the file is not UTF-8")]
    NotUtf8,
    #[error("the operating system returned no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Maximum size of a file with a secret, in bytes.
const LIMIT_BYTES: u64 = 64 * 1024;

/// Reads a secret from a file, without newlines at its end; `None` if the file does not exist.
///
/// # Errors
/// Returns a [`FileError`] if the file cannot be read, is empty, too large or not UTF-8.
pub fn load(path: &Path) -> Result<Option<Secret>, FileError> {
    read(path).map_err(|what| FileError::new(path, what))
}

fn read(path: &Path) -> Result<Option<Secret>, SecretFault> {
    let Some(file) = folder::if_exists(File::open(path))? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(SecretFault::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|_utf8| SecretFault::NotUtf8)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(SecretFault::Empty),
        text => Ok(Some(Secret::new(text))),
    }
}

/// Reads a secret from a file. If the file does not exist, generates a secret and stores it there.
///
/// # Errors
/// Returns the errors of [`load`] and [`store`].
pub fn load_or_make(path: &Path) -> Result<Secret, FileError> {
    if let Some(secret) = load(path)? {
        return Ok(secret);
    }
    let secret = Secret::random(path)?;
    match store(path, &secret) {
        // Another process has created the file in the meantime.
        Err(error) if error.is_taken() => load(path)?.ok_or(error),
        stored => stored.map(|()| secret),
    }
}

/// Stores a secret in a new file that only its owner can read. The file is never visible half-written, and it is on
/// disk when this returns. Missing folders are created with mode 0700.
///
/// # Errors
/// Returns a [`FileError`] if the file already exists or cannot be written.
pub fn store(path: &Path, secret: &Secret) -> Result<(), FileError> {
    write(path, secret).map_err(|what| FileError::new(path, what))
}

fn write(path: &Path, secret: &Secret) -> Result<(), SecretFault> {
    folder::make(folder::of(path), 0o700)?;
    let draft = folder::with_suffix(path, &format!(".{}.new", random_text::<9>()?));
    // Unlike a rename, a hard link fails if the name is taken, so a secret in use is never replaced.
    let written = write_draft(&draft, secret).and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    written?;
    removed?;
    Ok(folder::sync(folder::of(path))?)
}

fn write_draft(draft: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_stored_secret_can_be_read_back_only_by_its_owner() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/data/credential");
        let secret = Secret::random(&path).unwrap();
        assert!(load(&path).unwrap().is_none());
        store(&path, &secret).unwrap();
        assert_eq!(load(&path).unwrap().unwrap().expose(), secret.expose());
        assert_eq!(secret.expose().len(), 43);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_secret_in_use_is_never_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credential");
        store(&path, &Secret::new("first")).unwrap();
        assert!(store(&path, &Secret::new("second")).is_err());
        assert_eq!(load(&path).unwrap().unwrap().expose(), "first");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn threads_that_make_a_secret_at_the_same_time_get_the_same_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data/key");
        let make = || load_or_make(&path).unwrap().expose().to_owned();
        let made: Vec<String> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(made.iter().all(|secret| *secret == made[0]), "{made:?}");
        assert_eq!(make(), made[0]);
    }

    #[test]
    fn a_file_without_a_usable_secret_is_an_error_and_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credential");
        for (bytes, why) in [
            (&b"\n"[..], "empty"),
            (&b""[..], "empty"),
            (&b"\xff\xfe"[..], "UTF-8"),
            (&[b'x'; 70_000][..], "larger"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = load(&path).err().unwrap().to_string();
            assert!(error.contains(why) && error.contains("credential"), "{error}");
        }
        assert!(load(home.path()).is_err(), "a directory");
    }

    #[test]
    fn the_newline_at_the_end_is_not_part_of_the_secret() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credential");
        std::fs::write(&path, " with blanks \r\n").unwrap();
        assert_eq!(load(&path).unwrap().unwrap().expose(), " with blanks ");
    }
}
