//! Public ids of customers: stable names for links and the API. A link with a public id never opens another customer,
//! even after insight's file was rebuilt.

use std::{fmt, path::Path, str::FromStr};

use hmac::{Hmac, KeyInit, Mac};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};

use super::contact_key::ContactKey;
use crate::{
    folder::with_suffix,
    secret::{self, FileError},
};

/// The path of the file with the secret for the public ids of an insight file.
pub(super) fn key_file_of(insight: &Path) -> std::path::PathBuf {
    with_suffix(insight, ".id-key")
}

/// The public id of a customer: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId([u8; 16]);

impl PublicId {
    /// The form in which insight's file stores the id.
    pub(super) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not a public id.
#[derive(Debug, thiserror::Error)]
#[error("is not an id of 32 hexadecimal digits")]
pub struct NotPublicId;

impl FromStr for PublicId {
    type Err = NotPublicId;

    fn from_str(text: &str) -> Result<Self, NotPublicId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotPublicId);
        }
        u128::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_invalid| NotPublicId)
    }
}

impl Serialize for PublicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for PublicId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PublicId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
    }
}

/// Makes public ids. They depend on a secret. If they did not, anyone could find the phone number of an id in seconds,
/// by computing the ids of all phone numbers.
pub(super) struct PublicIdMaker(Hmac<Sha256>);

impl PublicIdMaker {
    /// Reads the secret that belongs to an insight file, or creates it if it is missing. If it is missing although the
    /// insight file has customers, this logs a warning, because their ids were made with another secret.
    ///
    /// # Errors
    /// Returns a [`FileError`] if the secret cannot be read or stored.
    pub(super) fn open(insight: &Path, has_customers: bool) -> Result<Self, FileError> {
        let file = key_file_of(insight);
        let secret = match secret::load(&file)? {
            Some(secret) => secret,
            None => {
                let secret = secret::load_or_make(&file)?;
                if has_customers {
                    tracing::warn!(
                        file = %file.display(),
                        "secret of customers' ids was missing, so a new one was made; stored customers keep their ids \
                         until a rebuild, new customers get ids of the new secret"
                    );
                }
                secret
            }
        };
        Ok(Self::of(secret.expose().as_bytes()))
    }

    fn of(secret: &[u8]) -> Self {
        // The HMAC key has a fixed length. It is a digest of the secret, because the secret can have any length.
        let mut key = [0; 64];
        key[..32].copy_from_slice(&Sha256::digest(secret));
        Self(Hmac::new(&key.into()))
    }

    /// The id of a customer. `key` is the first contact key in the customer's list of contact keys.
    pub(super) fn id(&self, scope: &str, key: &ContactKey) -> PublicId {
        let mut mac = self.0.clone();
        mac.update(format!("{scope}\n{}", key.line()).as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        PublicId(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_the_secret_the_scope_and_the_key() {
        let key = ContactKey::customer("7").unwrap();
        let id = PublicIdMaker::of(b"secret").id("shop", &key);
        assert_eq!(PublicIdMaker::of(b"secret").id("shop", &key), id);
        assert_ne!(PublicIdMaker::of(b"other").id("shop", &key), id);
        assert_ne!(PublicIdMaker::of(b"secret").id("shop 2", &key), id);
        assert_ne!(PublicIdMaker::of(b"secret").id("shop", &ContactKey::customer("8").unwrap()), id);
        assert_eq!(id.to_string().parse::<PublicId>().unwrap(), id);
        for wrong in ["", "7", &"g".repeat(32), &"0".repeat(33), "+0000000000000000000000000000000"] {
            assert!(wrong.parse::<PublicId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_secret_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("insight.db");
        let key = ContactKey::customer("7").unwrap();
        let id = PublicIdMaker::open(&path, false).unwrap().id("shop", &key);
        assert_eq!(PublicIdMaker::open(&path, true).unwrap().id("shop", &key), id);
        let mode = std::fs::metadata(key_file_of(&path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
