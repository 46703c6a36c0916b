//! The answers of the receiver.

use reqwest::StatusCode;
use serde::Deserialize;

use crate::cli::client::detail;

/// The result of posting a body.
pub enum Answer {
    /// Status 200 with its receipt.
    Taken(Receipt),
    /// Another status with the detail of the problem.
    Refused(StatusCode, String),
    /// No usable answer, and why.
    None(String),
}

/// The receipt in a 200 answer.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Receipt {
    /// Number of events stored.
    pub accepted: u64,
    /// Events that had been stored before.
    pub duplicates: u64,
    /// Elements that were quarantined.
    pub quarantined: u64,
}

impl Answer {
    /// Interprets a status and a body.
    pub fn read(status: StatusCode, body: &[u8]) -> Self {
        if status != StatusCode::OK {
            return Self::Refused(status, detail(body).unwrap_or_default());
        }
        match serde_json::from_slice(body) {
            Ok(receipt) => Self::Taken(receipt),
            Err(_) => Self::None("status 200 without a receipt: is this a bikhook?".to_owned()),
        }
    }
}
