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

use super::{answer::Answer, body::Body, generate::Generator, summary::Tally};
use crate::cli::{Error, client::cause};

/// The timeout of a request. It exceeds the receiver's own deadline, so it expires only if something is broken.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// After this many failures without any answer, the receiver counts as unreachable.
const NOBODY: u64 = 10;

/// The source of the bodies.
pub enum Bodies {
    /// Files to post; `-` is standard input.
    Files(std::vec::IntoIter<PathBuf>),
    /// Bodies from a generator.
    Generated(Box<Generator>),
}

impl Bodies {
    /// The number of bodies that are left.
    pub fn count(&self) -> u64 {
        match self {
            Self::Files(files) => files.len() as u64,
            Self::Generated(generator) => generator.bodies(),
        }
    }
}

/// The target of the requests.
pub struct Target {
    /// URL of the source.
    pub url: Url,
    /// The value of the `Authorization` header; `None` if the source requires none.
    pub authorization: Option<HeaderValue>,
    /// The HTTP client to use.
    pub client: Client,
    /// Bodies per second; `None` sends as fast as answers arrive.
    pub rate: Option<f64>,
}

/// Posts all bodies over this many connections.
pub async fn post_all(target: Target, bodies: Bodies, connections: usize) -> Result<Tally, Error> {
    let progress = ProgressBar::new(bodies.count());
    let run = Arc::new(Run {
        target,
        bodies: Mutex::new((0, bodies)),
        tally: Mutex::default(),
        progress: progress.clone(),
        started: Instant::now(),
    });
    let mut workers = JoinSet::new();
    for _ in 0..connections.max(1) {
        let run = Arc::clone(&run);
        workers.spawn(async move { run.work().await });
    }
    let mut ended = Ok(());
    while let Some(worker) = workers.join_next().await {
        let worker = worker
            .unwrap_or_else(|error| Err(Error::Failed(format!("the task of a connection failed: {error}"))));
        // The first failure ends the run and aborts the other workers.
        if worker.is_err() {
            ended = worker;
            break;
        }
    }
    workers.shutdown().await;
    progress.finish_and_clear();
    ended?;
    let mut tally = std::mem::take(&mut *run.tally.lock().unwrap_or_else(PoisonError::into_inner));
    tally.took = run.started.elapsed();
    Ok(tally)
}

struct Run {
    target: Target,
    /// The bodies, with the number of the next one.
    bodies: Mutex<(u64, Bodies)>,
    tally: Mutex<Tally>,
    progress: ProgressBar,
    started: Instant,
}

impl Run {
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
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.count(events, garbage, answer, latency);
            if tally.nobody(NOBODY) {
                return Err(Error::Failed(format!(
                    "cannot reach {}: {}",
                    self.target.url,
                    tally.first_failure()
                )));
            }
        }
        Ok(())
    }

    /// The next body and its number. A file is read under the lock, which delays the other workers; they would have to
    /// read their files as well.
    fn next(&self) -> Result<Option<(u64, Body)>, Error> {
        let mut next = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, bodies) = &mut *next;
        let body = match bodies {
            Bodies::Generated(generator) => generator.next_body(),
            Bodies::Files(files) => files.next().map(|file| Body::read(&file)).transpose()?,
        };
        *number += 1;
        Ok(body.map(|body| (*number - 1, body)))
    }

    async fn post(&self, bytes: Bytes) -> Answer {
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
            Ok((status, body)) => Answer::read(status, &body),
            Err(error) => {
                let error: reqwest::Error = error;
                Answer::None(cause(&error))
            }
        }
    }
}
