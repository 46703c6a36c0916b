//! The configuration keys of this kind, and the client made from them.

use std::{path::PathBuf, time::Duration};

use object_store::{
    Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};
use serde::Deserialize;

use super::object::Compress;
use crate::{handler::ca::Ca, secret::Secret, settings::Period};

/// Timeout for connecting to the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The kind's own configuration keys.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The bucket, which must exist.
    pub(super) bucket: String,
    /// The prefix of every object name.
    #[serde(default)]
    pub(super) prefix: String,
    /// The region of the bucket.
    #[serde(default = "default_region")]
    pub(super) region: String,
    /// The URL of a compatible store, such as `https://minio.example:9000`. By default Amazon's own.
    pub(super) endpoint: Option<String>,
    /// A PEM file with certificates to trust in addition to those of the system.
    pub(super) ca: Option<PathBuf>,
    /// The access key. By default the credentials come from the environment or the machine's role.
    pub(super) access_key_id: Option<String>,
    /// The secret of `access_key_id`; both are given together.
    pub(super) secret_access_key: Option<Secret>,
    /// The session token of `access_key_id`, if these credentials are temporary.
    pub(super) session_token: Option<Secret>,
    #[serde(default)]
    pub(super) compress: Compress,
    /// How long to wait after an object before the next one is put, while events accumulate.
    #[serde(default = "default_interval")]
    pub(super) interval: Period,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

const fn default_interval() -> Period {
    Period::secs(1)
}

impl Settings {
    /// The endpoint without the parts that may be secret; `None` for Amazon's own.
    pub(super) fn server(&self) -> Option<String> {
        let endpoint = reqwest::Url::parse(self.endpoint.as_deref()?).ok()?;
        Some(endpoint.origin().ascii_serialization())
    }

    /// Makes the client. No request is sent yet.
    pub(super) async fn client(&self) -> Result<AmazonS3, String> {
        let is_plain = self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut options =
            ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_allow_http(is_plain);
        if let Some(ca) = &self.ca {
            for certificate in Ca::read(ca).await?.certificates() {
                let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
                options = options.with_root_certificate(certificate);
            }
        }
        // The library must not retry, because the module `dispatch` decides when to retry.
        let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => {
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.expose())
            }
            _ => AmazonS3Builder::from_env(),
        };
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token.expose());
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_client_options(options)
            .with_retry(once)
            .build()
            .map_err(|error| error.to_string())
    }

    /// Advice if the bucket refuses objects: the settings to check.
    pub(super) fn advice(&self) -> String {
        let Self { bucket, region, .. } = self;
        let at = self.server().unwrap_or_else(|| "Amazon".to_owned());
        format!(
            " (check that the bucket {bucket:?} exists in region {region:?} at {at}, and that this key has the \
             permission s3:PutObject)"
        )
    }
}
