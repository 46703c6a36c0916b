//! The configuration keys of this kind, and the client made from them.

use std::{path::PathBuf, time::Duration};

use object_store::{
    Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use serde::Deserialize;

use super::object::{Compress, Form};
use crate::{
    handler::ca::Ca,
    secret::Secret,
    settings::{Period, Wrong},
};

/// Timeout for connecting to the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Upper limit of `interval`. A delivery has 15 s by default, and the object must be put in the rest of this time.
const MAX_INTERVAL: Period = Period::secs(10);

/// The kind's own configuration keys, checked.
#[derive(Clone)]
pub(crate) struct Settings(Keys);

/// The kind's own configuration keys, as written.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    /// The bucket, which must exist.
    bucket: String,
    /// The prefix of every object name.
    #[serde(default)]
    prefix: String,
    /// The region of the bucket.
    #[serde(default = "default_region")]
    region: String,
    /// The URL of a compatible store, such as `https://minio.example:9000`. By default Amazon's own.
    #[serde(default)]
    endpoint: Option<String>,
    /// A PEM file with certificates to trust in addition to those of the system.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// The access key. By default the credentials come from the environment or the machine's role.
    #[serde(default)]
    access_key_id: Option<String>,
    /// The secret of `access_key_id`; both are given together.
    #[serde(default)]
    secret_access_key: Option<Secret>,
    /// The session token, for temporary credentials.
    #[serde(default)]
    session_token: Option<Secret>,
    #[serde(default)]
    compress: Compress,
    /// The minimum time between two objects, while events accumulate.
    #[serde(default = "default_interval")]
    interval: Period,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

const fn default_interval() -> Period {
    Period::secs(1)
}

impl Keys {
    /// Checks each key, and that the keys fit together.
    ///
    /// # Errors
    /// Returns the wrong key, and what to write.
    pub(super) fn check(self) -> Result<Settings, Wrong> {
        let wrong = |key, what: &str| Err(Wrong::new(&[key], what));
        if self.bucket.is_empty() || self.bucket.contains('/') {
            return wrong("bucket", "write only the name of the bucket: a path belongs in `prefix`");
        }
        Path::parse(&self.prefix).map_err(|error| Wrong::new(&["prefix"], error.to_string()))?;
        let url = self.endpoint.as_deref().map(reqwest::Url::parse).transpose();
        let url = url.map_err(|error| Wrong::new(&["endpoint"], error.to_string()))?;
        if url.as_ref().is_some_and(|url| !["http", "https"].contains(&url.scheme())) {
            return wrong("endpoint", "write it as https://host:port");
        }
        if self.ca.is_some() && url.is_some_and(|url| url.scheme() == "http") {
            return wrong("ca", "needs TLS: write `endpoint` with https://, or remove `ca`");
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(Wrong::new(&[], "set both `access_key_id` and `secret_access_key`, or neither"));
        }
        if self.interval > MAX_INTERVAL {
            return wrong("interval", &format!("must be at most {MAX_INTERVAL}: a delivery waits for it"));
        }
        Ok(Settings(self))
    }
}

impl Settings {
    pub(super) fn form(&self, handler: &str) -> Form {
        // The prefix was validated before, so this does not fail.
        let prefix = Path::parse(&self.0.prefix).unwrap_or_default();
        Form { handler: handler.to_owned(), prefix, compress: self.0.compress }
    }

    /// Bucket, prefix, and endpoint or region, for messages.
    pub(super) fn destination(&self) -> String {
        let Keys { bucket, prefix, region, .. } = &self.0;
        format!("s3://{bucket}/{prefix} at {}", self.server().as_ref().unwrap_or(region))
    }

    /// The endpoint without the parts that may be secret.
    fn server(&self) -> Option<String> {
        let endpoint = reqwest::Url::parse(self.0.endpoint.as_deref()?).ok()?;
        Some(endpoint.origin().ascii_serialization())
    }

    pub(super) fn interval(&self) -> Duration {
        self.0.interval.0
    }

    /// Makes the client. No request is sent yet.
    pub(super) async fn client(&self) -> Result<AmazonS3, String> {
        let keys = &self.0;
        let is_plain = keys.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut options =
            ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_allow_http(is_plain);
        if let Some(ca) = &keys.ca {
            for certificate in Ca::read(ca).await?.certificates() {
                let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
                options = options.with_root_certificate(certificate);
            }
        }
        // Dispatch decides when to retry.
        let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = match (&keys.access_key_id, &keys.secret_access_key) {
            (Some(id), Some(secret)) => {
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.expose())
            }
            _ => AmazonS3Builder::from_env(),
        };
        if let Some(token) = &keys.session_token {
            builder = builder.with_token(token.expose());
        }
        if let Some(endpoint) = &keys.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder
            .with_bucket_name(&keys.bucket)
            .with_region(&keys.region)
            .with_client_options(options)
            .with_retry(once)
            .build()
            .map_err(|error| error.to_string())
    }

    /// Advice for a person if the bucket refuses objects.
    pub(super) fn advice(&self) -> String {
        let Keys { bucket, region, .. } = &self.0;
        let at = self.server().unwrap_or_else(|| "Amazon".to_owned());
        format!(
            " (check that the bucket {bucket:?} exists in region {region:?} at {at}, and that this key has the \
             permission s3:PutObject)"
        )
    }
}
