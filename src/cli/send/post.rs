//! Posts bodies over several connections, as fast as possible or at a rate, and counts the answers.
//!
//! With a rate, each body has an intended start time. Latency is measured from that time, even if the body had to wait
//! for a connection. A sender that measures from the actual start hides every stall (coordinated omission).

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use indicatif::ProgressBar;
use reqwest::{
    Client, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{answer::PostResult, body::PostBody, generate::Generator, summary::PostSummary};
use crate::cli::{Error, client::cause};

/// The timeout of a request. It exceeds the receiver's own deadline, so it expires only if something is broken.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// After this many failures without any answer, the receiver counts as unreachable.
const UNANSWERED_MAX: u64 = 10;

/// The source of the bodies.
pub(super) enum Bodies {
    /// Files to post; `-` is standard input.
    Files(std::vec::IntoIter<PathBuf>),
    /// Bodies from a generator.
    Generated(Box<Generator>),
}

impl Bodies {
    /// The number of bodies that are left.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Files(files) => files.len() as u64,
            Self::Generated(generator) => generator.bodies(),
        }
    }
}

/// The target of the requests.
pub(super) struct PostTarget {
    /// URL of the source.
    pub(super) url: Url,
    /// The value of the `Authorization` header; `None` if the source requires none.
    pub(super) authorization: Option<HeaderValue>,
    /// The HTTP client to use.
    pub(super) client: Client,
    /// Bodies per second; `None` sends as fast as answers arrive.
    pub(super) rate: Option<f64>,
}

/// Posts all bodies over this many connections.
pub(super) async fn post_all(
    target: PostTarget,
    bodies: Bodies,
    connections: usize,
) -> Result<PostSummary, Error> {
    let progress = ProgressBar::new(bodies.count());
    let run = Arc::new(PostRun {
        target,
        bodies: Mutex::new((0, bodies)),
        summary: Mutex::default(),
        progress: progress.clone(),
        started: Instant::now(),
    });
    let mut workers = JoinSet::new();
    for _ in 0..connections.max(1) {
        let run = Arc::clone(&run);
        workers.spawn(async move { run.work().await });
    }
    let mut result = Ok(());
    while let Some(worker) = workers.join_next().await {
        let worker = worker
            .unwrap_or_else(|error| Err(Error::Failed(format!("the task of a connection failed: {error}"))));
        // The first failure ends the run and aborts the other workers.
        if worker.is_err() {
            result = worker;
            break;
        }
    }
    workers.shutdown().await;
    progress.finish_and_clear();
    result?;
    let mut summary = std::mem::take(&mut *run.summary.lock().unwrap_or_else(PoisonError::into_inner));
    summary.took = run.started.elapsed();
    Ok(summary)
}

struct PostRun {
    target: PostTarget,
    /// The bodies, with the number of the next one.
    bodies: Mutex<(u64, Bodies)>,
    summary: Mutex<PostSummary>,
    progress: ProgressBar,
    started: Instant,
}

impl PostRun {
    async fn work(&self) -> Result<(), Error> {
        while let Some((number, body)) = self.next()? {
            let intended =
                self.target.rate.map(|rate| self.started + Duration::from_secs_f64(number as f64 / rate));
            if let Some(intended) = intended {
                sleep_until(intended).await;
            }
            let from = intended.unwrap_or_else(Instant::now);
            let (events, garbage) = (body.events, body.garbage);
            let answer = self.post(body.bytes).await;
            let latency = from.elapsed();
            self.progress.inc(1);
            let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.count(events, garbage, answer, latency);
            if summary.nothing_answered(UNANSWERED_MAX) {
                return Err(Error::Failed(format!(
                    "cannot reach {}: {}",
                    self.target.url,
                    summary.first_failure()
                )));
            }
        }
        Ok(())
    }

    /// The next body and its number. A file is read under the lock, which delays the other workers; they would have to
    /// read their files as well.
    fn next(&self) -> Result<Option<(u64, PostBody)>, Error> {
        let mut next = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, bodies) = &mut *next;
        let body = match bodies {
            Bodies::Generated(generator) => generator.next_body(),
            Bodies::Files(files) => files.next().map(|file| PostBody::read(&file)).transpose()?,
        };
        *number += 1;
        Ok(body.map(|body| (*number - 1, body)))
    }

    async fn post(&self, bytes: Bytes) -> PostResult {
        let mut request =
            self.target.client.post(self.target.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.target.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answered = async {
            let response = request.body(bytes).send().await?;
            let status = response.status();
            Ok((status, response.bytes().await?))
        };
        match answered.await {
            Ok((status, body)) => PostResult::read(status, &body),
            Err(error) => {
                let error: reqwest::Error = error;
                PostResult::Unanswered(cause(&error))
            }
        }
    }
}
