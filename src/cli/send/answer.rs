//! The answers of the receiver.

use reqwest::StatusCode;
use serde::Deserialize;

use crate::cli::client::detail;

/// The result of posting a body.
pub(super) enum PostResult {
    /// Status 200 with its receipt.
    Accepted(PostReceipt),
    /// Another status with the detail of the problem.
    Rejected(StatusCode, String),
    /// No usable answer, and why.
    Unanswered(String),
}

/// The receipt in a 200 answer.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct PostReceipt {
    /// Number of events stored.
    pub(super) accepted: u64,
    /// Events that had been stored before.
    pub(super) duplicates: u64,
    /// Elements that were quarantined.
    pub(super) quarantined: u64,
}

impl PostResult {
    /// Interprets the status and the body of an answer.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        if status != StatusCode::OK {
            return Self::Rejected(status, detail(body).unwrap_or_default());
        }
        match serde_json::from_slice(body) {
            Ok(receipt) => Self::Accepted(receipt),
            Err(_) => Self::Unanswered("status 200 without a receipt: is this a bikhook?".to_owned()),
        }
    }
}
