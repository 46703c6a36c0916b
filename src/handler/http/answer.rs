//! Decides from the HTTP response whether a delivery succeeded. Only 2xx is success; every other status is a failure.

use std::time::Duration;

use reqwest::{Response, header::RETRY_AFTER};

use super::retry_after::retry_after;
use crate::{
    clock,
    handler::{About, Failure, FailureText},
};

/// How much of the response body is read, in bytes. Longer error texts are of no use.
const ANSWER_BYTES: usize = 16 * 1024;
/// How long to wait for the response body. The outcome does not depend on the body.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// Returns the outcome of the delivery. `conflict` is the [`About`] of status 409.
///
/// # Errors
/// Returns the failure for the status. Its error text includes the response body.
pub(super) async fn outcome(answer: Response, conflict: About) -> Result<(), Failure> {
    let status = answer.status();
    let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = asked.and_then(|text| retry_after(text, clock::now()));
    // Reading a short body to its end lets the connection be reused.
    let text = body(answer).await;
    let class = format!("status {}", status.as_u16());
    let error = FailureText { own: status.to_string(), said: (!text.is_empty()).then_some(text) };
    judge(status.as_u16(), class, error, after, conflict)
}

/// Maps a status to an outcome. A 4xx or 5xx with `Retry-After` is about the destination. Without `Retry-After`:
///
/// - 400, 413, 414 and 422 refuse the event.
/// - The [`About`] of 409 is `conflict`.
/// - 410 is [`Failure::Gone`].
/// - 401, 403, 407, 408, 425 and 429 are about the destination.
/// - 500 and every other 4xx are about the event, because the destination answered and may accept another event.
/// - 502 and 504 are [`About::Unanswered`].
/// - Every other failure, such as a redirect, is about the destination.
fn judge(
    status: u16,
    class: String,
    error: FailureText,
    after: Option<Duration>,
    conflict: About,
) -> Result<(), Failure> {
    let retry = |about, class, error| Err(Failure::Retry { class, error, after, about });
    match status {
        200..=299 => Ok(()),
        400..=599 if after.is_some() => retry(About::Destination, class, error),
        400 | 413 | 414 | 422 => Err(Failure::Refuse { class, error }),
        // A destination may answer 409 because the first request with this idempotency key is still in progress. So the
        // event is not refused, but retried.
        409 => retry(conflict, class, error),
        410 => Err(Failure::Gone { class, error }),
        500 => retry(About::Event, class, error),
        // The gateway got no valid answer in time; the server behind it may have the event.
        502 | 504 => retry(About::Unanswered, class, error),
        408 | 425 | 429 | 501..=599 => retry(About::Destination, class, error),
        300..=399 => {
            let advice = "; redirects are not followed: set `url` to the final address";
            Err(Failure::misconfigured(class, error).advised(advice))
        }
        401 | 403 | 407 => Err(Failure::misconfigured(class, error)),
        400..=499 => Err(Failure::Misconfigured { class, error, about: About::Event }),
        _ => Err(Failure::misconfigured(class, error)),
    }
}

async fn body(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while bytes.len() < ANSWER_BYTES
            && let Ok(Some(chunk)) = answer.chunk().await
        {
            let room = ANSWER_BYTES - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
    };
    // After a timeout, the text is the part that was read.
    let _ = tokio::time::timeout(BODY_WAIT, read).await;
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_about_the_event_or_about_the_destination() {
        let about = |status, after: Option<u64>, conflict| {
            let after = after.map(Duration::from_secs);
            match judge(status, String::new(), "".into(), after, conflict) {
                Ok(()) => None,
                Err(Failure::Retry { about, .. } | Failure::Misconfigured { about, .. }) => Some(about),
                Err(Failure::Refuse { .. } | Failure::Gone { .. }) => Some(About::Event),
            }
        };
        for status in [400, 402, 404, 405, 406, 409, 410, 411, 413, 415, 422, 423, 451, 500] {
            assert_eq!(about(status, None, About::Event), Some(About::Event), "{status}");
            assert_eq!(
                about(status, Some(5), About::Event),
                Some(About::Destination),
                "{status}, asked to wait"
            );
        }
        for status in [301, 401, 403, 407, 408, 425, 429, 501, 503, 505] {
            assert_eq!(about(status, None, About::Event), Some(About::Destination), "{status}");
        }
        for status in [502, 504] {
            assert_eq!(about(status, None, About::Event), Some(About::Unanswered), "{status}");
        }
        assert_eq!(about(409, None, About::Repetition), Some(About::Repetition));
        assert_eq!(about(204, Some(5), About::Event), None);
    }
}
