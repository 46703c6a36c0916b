//! What comes back.

use reqwest::StatusCode;
use serde::Deserialize;

use crate::cli::client::detail;

/// What came back for a body.
pub enum Answer {
    /// 200, with its receipt.
    Taken(Receipt),
    /// Another status, and what the problem says.
    Refused(StatusCode, String),
    /// Nothing, and why.
    None(String),
}

/// What a 200 says.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Receipt {
    /// Events stored.
    pub accepted: u64,
    /// Events that were stored before.
    pub duplicates: u64,
    /// What went to quarantine.
    pub quarantined: u64,
}

impl Answer {
    /// From a status and a body.
    pub fn read(status: StatusCode, body: &[u8]) -> Self {
        if status != StatusCode::OK {
            return Self::Refused(status, detail(body).unwrap_or_default());
        }
        match serde_json::from_slice(body) {
            Ok(receipt) => Self::Taken(receipt),
            Err(_) => Self::None("a 200 without a receipt: is this a bikhook?".to_owned()),
        }
    }
}
