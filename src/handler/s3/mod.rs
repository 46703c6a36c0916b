//! `kind = "s3"`: objects of JSON lines in a bucket of S3, or of what speaks as S3 does.
//!
//! One delivery is one object, complete before its events count as delivered: there is no object in parts that a crash
//! could leave half. So an object is as large as what had gathered when its delivery began, and [`Pace`] leaves time for
//! that. The same events have the same name of an object: a repetition replaces it. After a crash the same events may come
//! in other company, and then are in two objects: a reader goes by the `key` of each line.

mod failure;
mod object;
mod pace;
mod settings;

use object_store::{ObjectStoreExt, PutPayload, aws::AmazonS3, path::Path};

use super::{Delivery, Failure, Kind, OpenError};
use crate::panics;
use object::{Form, Object};
use pace::Pace;
use settings::Settings;

/// Put at each start, empty: to see that this handler may write.
const PROBE: &str = ".bikhook";

/// The handler.
pub struct S3 {
    bucket: AmazonS3,
    form: Form,
    pace: Pace,
    /// What to do where it is refused.
    advice: String,
}

impl Kind for S3 {
    const NAME: &'static str = "s3";
    const ABOUT: &'static str =
        "puts objects of JSON lines into a bucket of S3 or its like, named by date and hour";
    const CONCURRENCY: usize = 2;
    const BATCH: usize = 10_000;
    type Settings = Settings;

    fn destination(settings: &Settings) -> String {
        settings.destination()
    }

    async fn open(name: &str, settings: Settings) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError::new(name, Self::NAME, what);
        let bucket = settings.client().await.map_err(wrong)?;
        let (form, pace) = (settings.form(name), Pace::new(settings.interval()));
        Ok(Self { bucket, form, pace, advice: settings.advice() })
    }

    async fn look(&self) -> Result<(), Failure> {
        let probed = self.put(self.form.named(PROBE), PutPayload::default()).await;
        probed.map_err(|failure| match failure {
            away @ Failure::Retry { .. } => away,
            wrong => wrong.retold(|error| error + &self.advice),
        })
    }

    async fn deliver(&self, events: &[Delivery]) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let (form, events) = (self.form.clone(), events.to_vec());
        let made = tokio::task::spawn_blocking(move || form.object(&events)).await;
        let Object { path, bytes } = made
            .map_err(|ended| Failure::retry("interrupted", panics::why_ended(&ended)))?
            .map_err(|error| Failure::retry("not compressed", error))?;
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
