//! What an answer means. 2xx alone is success: everything else is an error, and says which.

use std::time::Duration;

use reqwest::{Response, header::RETRY_AFTER};

use super::retry_after::retry_after;
use crate::{clock, handler::Failure};

/// As much of an answer is read; of the rest nobody would read an error text.
const ANSWER_BYTES: usize = 16 * 1024;
/// As long is waited for its body: its status has decided already.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// How the delivery ended.
///
/// # Errors
/// The failure that the status stands for, with the answer's text in its error.
pub(super) async fn outcome(answer: Response) -> Result<(), Failure> {
    let status = answer.status();
    let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = asked.and_then(|text| retry_after(text, clock::now()));
    // Read to its end where it is short: the connection is used again then.
    let text = body(answer).await;
    let class = format!("status {}", status.as_u16());
    let error = if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
    match status.as_u16() {
        200..=299 => Ok(()),
        400 | 413 | 414 | 422 => Err(Failure::Refuse { class, error }),
        408 | 425 | 429 | 500..=599 => Err(Failure::Retry { class, error, after }),
        410 => Err(Failure::Gone { class, error }),
        300..=399 => {
            let error = format!("{error}; redirects are not followed: write the final address as `url`");
            Err(Failure::Misconfigured { class, error })
        }
        _ => Err(Failure::Misconfigured { class, error }),
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
    // What came until then is the text.
    let _ = tokio::time::timeout(BODY_WAIT, read).await;
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
