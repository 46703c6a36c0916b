//! Signatures of Standard Webhooks: HMAC-SHA256 of `id.timestamp.body`. A request has one signature for each configured
//! signing key. While the old and the new signing key are both configured, the destination can change from one to the
//! other (rotate its key) without losing requests.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::{clock::Timestamp, secret::Secret};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A decoded signing key, ready for use.
#[derive(Clone)]
pub(super) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Decodes a key: `whsec_`, then 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// Returns what is wrong with the key, without quoting any part of it.
    pub(super) fn read(secret: &Secret) -> Result<Self, String> {
        const HOW: &str =
            "write whsec_ and then 24 to 64 random bytes in base64, such as from `openssl rand -base64 32`";
        let Some(text) = secret.expose().strip_prefix("whsec_") else {
            return Err(format!("does not begin with whsec_: {HOW}"));
        };
        let bytes = BASE64_STANDARD.decode(text).map_err(|_invalid| format!("not valid base64: {HOW}"))?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(format!("the key has {} bytes: {HOW}", bytes.len()));
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|error| error.to_string())
    }

    fn sign(&self, id: &str, secs: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{secs}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Adds the three signature headers; without keys, adds none.
pub(super) fn sign(
    keys: &[SigningKey],
    id: &HeaderValue,
    body: &[u8],
    now: Timestamp,
    headers: &mut HeaderMap,
) {
    if keys.is_empty() {
        return;
    }
    let secs = now.as_ms() / 1000;
    let signatures: Vec<String> =
        keys.iter().map(|key| key.sign(id.to_str().unwrap_or_default(), secs, body)).collect();
    headers.insert(ID, id.clone());
    headers.insert(TIMESTAMP, HeaderValue::from(secs));
    // `try_from` cannot fail, because base64, commas and blanks are valid in a header.
    headers.extend(HeaderValue::try_from(signatures.join(" ")).map(|value| (SIGNATURE, value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_vector_of_standard_webhooks_has_its_signature() {
        let key = SigningKey::read(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_error_of_an_invalid_key_does_not_quote_it() {
        for (key, why) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_"),
            ("whsec_MfKQ9r8GKYqrTwjU", "12 bytes"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", "base64"),
        ] {
            let error = SigningKey::read(&Secret::new(key)).err().unwrap();
            assert!(error.contains(why) && !error.contains("MfKQ"), "{error}");
        }
    }
}
