//! `kind = "s3"`: puts objects of JSON lines into a bucket of S3, or of a compatible store.
//!
//! Each delivery puts one object, which is complete before its events count as delivered. There are no multipart
//! uploads that a crash could leave incomplete. So the size of an object depends on the events that were pending when
//! its delivery began. [`Pace`] leaves time for events to accumulate.
//!
//! The same events always have the same object name, so a retry replaces the object. After a crash, events may be
//! batched differently and then be in two objects. Readers should deduplicate by the `key` of each line.

mod failure;
mod object;
mod pace;
mod settings;

use object_store::{ObjectStoreExt, PutPayload, aws::AmazonS3, path::Path};

use super::{Delivery, Failure, Kind, OpenError, Wrong};
use object::{Form, Object};
use pace::Pace;
use settings::{Keys, Settings};

/// An empty object that is put at each start, to check that the handler may write.
const PROBE: &str = ".bikhook";

/// A handler that puts objects into a bucket.
pub(super) struct S3 {
    bucket: AmazonS3,
    form: Form,
    pace: Pace,
    /// Advice for a person if the store refuses the handler.
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
    type Keys = Keys;
    type Settings = Settings;

    fn check(keys: Keys) -> Result<Settings, Wrong> {
        keys.check()
    }

    fn destination(settings: &Settings) -> String {
        settings.destination()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let bucket = settings.client().await?;
        let (form, pace) = (settings.form(name), Pace::new(settings.interval()));
        Ok(Self { bucket, form, pace, advice: settings.advice() })
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
