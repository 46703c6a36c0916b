//! `kind = "s3"`: puts objects of JSON lines into a bucket of S3, or of a compatible store.
//!
//! Each delivery puts one object, which is complete before its events count as delivered. There are no multipart
//! uploads that a crash could leave incomplete. The size of an object depends on the events that were pending when its
//! delivery began. [`Pace`] leaves time for events to accumulate.
//!
//! The same events always have the same object name, so a retry replaces the object. If events are batched differently,
//! for example after a crash, an event may be in two objects. Readers should deduplicate by the `key` of each line.

mod failure;
mod object;
mod pace;
mod settings;

use object_store::{ObjectStoreExt, PutPayload, aws::AmazonS3, path::Path};
use reqwest::Url;

use super::{Delivery, Failure, Kind, OpenError, Wrong};
use crate::settings::Period;
use object::{Form, Object};
use pace::Pace;
use settings::Settings;

/// The name, under the prefix, of an empty object. [`Kind::look`] puts this object to check that the handler may write.
const PROBE: &str = ".bikhook";

/// Upper limit of `interval`. By default, a delivery must end within 15 s. It waits for at most `interval`, and then
/// puts the object.
const MAX_INTERVAL: Period = Period::secs(10);

/// A handler that puts objects into a bucket.
pub(super) struct S3 {
    bucket: AmazonS3,
    form: Form,
    pace: Pace,
    /// Advice if the store refuses the handler: the settings to check. Appended to the error of [`Kind::look`].
    advice: String,
}

impl Kind for S3 {
    const NAME: &'static str = "s3";
    const ABOUT: &'static str =
        "puts objects of JSON lines into a bucket of S3 or a compatible store, named by date and hour";
    const CONCURRENCY: usize = 2;
    const BATCH: usize = 10_000;
    const HARMLESS: &'static [&'static str] = &["bucket", "prefix", "region", "ca", "compress", "interval"];
    const SECRET: &'static [&'static str] = &["secret_access_key", "session_token"];
    type Keys = Settings;
    type Settings = Settings;

    fn check(keys: Settings) -> Result<Settings, Wrong> {
        let wrong = |key, what: &str| Err(Wrong::new(&[key], what));
        if keys.bucket.is_empty() || keys.bucket.contains('/') {
            return wrong("bucket", "write only the name of the bucket: a path belongs in `prefix`");
        }
        Path::parse(&keys.prefix).map_err(|error| Wrong::new(&["prefix"], error.to_string()))?;
        let url = keys.endpoint.as_deref().map(Url::parse).transpose();
        let url = url.map_err(|error| Wrong::new(&["endpoint"], error.to_string()))?;
        if url.as_ref().is_some_and(|url| !["http", "https"].contains(&url.scheme())) {
            return wrong("endpoint", "write it as https://host:port");
        }
        if keys.ca.is_some() && url.is_some_and(|url| url.scheme() == "http") {
            return wrong("ca", "needs TLS: write `endpoint` with https://, or remove `ca`");
        }
        if keys.access_key_id.is_some() != keys.secret_access_key.is_some() {
            return Err(Wrong::new(&[], "set both `access_key_id` and `secret_access_key`, or neither"));
        }
        if keys.session_token.is_some() && keys.access_key_id.is_none() {
            return wrong(
                "session_token",
                "needs `access_key_id` and `secret_access_key`, which it belongs to",
            );
        }
        if keys.interval > MAX_INTERVAL {
            return wrong("interval", &format!("must be at most {MAX_INTERVAL}: a delivery waits for it"));
        }
        Ok(keys)
    }

    fn destination(settings: &Settings) -> String {
        let Settings { bucket, prefix, region, .. } = settings;
        format!("s3://{bucket}/{prefix} at {}", settings.server().as_ref().unwrap_or(region))
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let bucket = settings.client().await?;
        // The prefix was checked before, so this does not fail.
        let prefix = Path::parse(&settings.prefix).unwrap_or_default();
        let form = Form { handler: name.to_owned(), prefix, compress: settings.compress };
        Ok(Self { bucket, form, pace: Pace::new(*settings.interval), advice: settings.advice() })
    }

    async fn look(&self) -> Result<(), Failure> {
        let probed = self.put(self.form.named(PROBE), PutPayload::default()).await;
        probed.map_err(|failure| match failure {
            away @ Failure::Retry { .. } => away,
            wrong => wrong.advised(&self.advice),
        })
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        let (form, events) = (self.form.clone(), events.to_vec());
        let made = tokio::task::spawn_blocking(move || form.object(&events)).await?;
        let Object { path, bytes } = made.map_err(|error| Failure::retry("not compressed", error))?;
        self.pace.wait().await;
        self.put(path, bytes.into()).await?;
        self.pace.passed();
        Ok(())
    }
}

impl S3 {
    async fn put(&self, path: Path, bytes: PutPayload) -> Result<(), Failure> {
        self.bucket.put(&path, bytes).await.map(drop).map_err(|error| failure::of(&error))
    }
}
