//! Posts bodies over several connections, as fast as possible or at a rate, and counts the answers.
//!
//! With a rate, each body has an intended start time. Latency is measured from that time, even if the body had to wait
//! for a connection. A sender that measures from the actual start hides every stall (coordinated omission).

use std::{sync::Arc, time::Duration};

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

use super::{answer::PostResult, body::PostBody, summary::PostSummary};
use crate::cli::{Error, client::cause};

/// The timeout of a request. It exceeds the defaults of the receiver's `body_timeout` and `deadline` together (17 s),
/// so it normally expires only if something is broken.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Posting stops with an error if this number of bodies was posted and none got a usable answer. An answer with status
/// 200 is usable only if its body is a `PostReceipt`.
const UNANSWERED_MAX: u64 = 10;

/// The bodies to post.
pub(super) struct Bodies {
    pub(super) count: u64,
    pub(super) bodies: Box<dyn Iterator<Item = Result<PostBody, Error>> + Send>,
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

/// A body that was posted.
struct PostedBody {
    events: u64,
    garbage: bool,
    result: PostResult,
    latency: Duration,
}

/// Posts all bodies over this many connections. An unexpected answer is counted and does not stop the posting.
///
/// # Errors
/// Returns an error, and aborts the requests in flight, if a body cannot be read, or if [`UNANSWERED_MAX`] bodies were
/// posted and none got a usable answer.
pub(super) async fn post_all(
    target: PostTarget,
    Bodies { count, bodies }: Bodies,
    connections: usize,
) -> Result<PostSummary, Error> {
    let target = Arc::new(target);
    // The progress bar is cleared from the terminal when it is dropped.
    let progress = ProgressBar::new(count);
    let started = Instant::now();
    let mut summary = PostSummary::default();
    let mut bodies = bodies.enumerate();
    let mut in_flight = JoinSet::new();
    loop {
        // `bodies.next()` may read a file, which delays the counting of answers. The latencies stay correct, because
        // `PostTarget::post` measures them.
        while in_flight.len() < connections
            && let Some((number, body)) = bodies.next()
        {
            let start = target.rate.map(|rate| started + Duration::from_secs_f64(number as f64 / rate));
            in_flight.spawn(Arc::clone(&target).post(body?, start));
        }
        let Some(posted) = in_flight.join_next().await else { break };
        let PostedBody { events, garbage, result, latency } =
            posted.map_err(|error| Error::Failed(format!("the task of a connection failed: {error}")))?;
        progress.inc(1);
        summary.count(events, garbage, result, latency);
        if summary.nothing_answered(UNANSWERED_MAX) {
            let why = summary.first_failure();
            return Err(Error::Failed(format!("cannot reach {}: {why}", target.url)));
        }
    }
    summary.took = started.elapsed();
    Ok(summary)
}

impl PostTarget {
    /// Posts a body, not before its intended start.
    async fn post(self: Arc<Self>, body: PostBody, start: Option<Instant>) -> PostedBody {
        let PostBody { bytes, events, garbage } = body;
        if let Some(start) = start {
            sleep_until(start).await;
        }
        let from = start.unwrap_or_else(Instant::now);
        let result = self.answer(bytes).await;
        PostedBody { events, garbage, result, latency: from.elapsed() }
    }

    async fn answer(&self, bytes: Bytes) -> PostResult {
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answered = async {
            let response = request.body(bytes).send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        match answered.await {
            Ok((status, body)) => PostResult::read(status, &body),
            Err(error) => PostResult::Unanswered(cause(&error)),
        }
    }
}
