//! The rows that the handler kinds with tables write, for the bare runs.

use bikhook::handler::Delivery;
use serde_json::Value;

/// The columns, with their types in PostgreSQL and in SQLite.
pub const COLUMNS: [(&str, &str, &str); 21] = [
    ("key", "text PRIMARY KEY", "TEXT PRIMARY KEY NOT NULL"),
    ("seq", "bigint NOT NULL", "INTEGER NOT NULL"),
    ("received_at", "timestamp with time zone NOT NULL", "TEXT NOT NULL"),
    ("source", "text NOT NULL", "TEXT NOT NULL"),
    ("event_name", "text NOT NULL", "TEXT NOT NULL"),
    ("bik_id", "text", "TEXT"),
    ("store_id", "text", "TEXT"),
    ("message_id", "text", "TEXT"),
    ("status", "text", "TEXT"),
    ("channel", "text", "TEXT"),
    ("owner", "text", "TEXT"),
    ("category", "text", "TEXT"),
    ("customer_id", "text", "TEXT"),
    ("customer_name", "text", "TEXT"),
    ("phone", "text", "TEXT"),
    ("created_at", "timestamp with time zone", "TEXT"),
    ("failure_reason", "text", "TEXT"),
    ("attempt", "bigint NOT NULL", "INTEGER NOT NULL"),
    ("replay", "boolean NOT NULL", "INTEGER NOT NULL"),
    ("event", "jsonb", "TEXT"),
    ("raw", "bytea NOT NULL", "BLOB NOT NULL"),
];

/// The names of the columns, with commas.
pub fn names() -> String {
    COLUMNS.map(|(name, ..)| name).join(", ")
}

/// The values of one row.
#[derive(Clone)]
pub struct Row {
    pub key: String,
    pub seq: i64,
    pub received_at_ms: i64,
    pub received_at: String,
    pub source: String,
    pub event_name: String,
    pub bik_id: Option<String>,
    pub store_id: Option<String>,
    pub message_id: Option<String>,
    pub status: Option<String>,
    pub channel: Option<String>,
    pub owner: Option<String>,
    pub category: Option<String>,
    pub customer_id: Option<String>,
    pub customer_name: Option<String>,
    pub phone: Option<String>,
    pub created_at_ms: Option<i64>,
    pub created_at: Option<String>,
    pub failure_reason: Option<String>,
    pub attempt: i64,
    pub replay: bool,
    pub event: String,
    pub raw: Vec<u8>,
}

impl Row {
    /// Builds the row of an event that was made from the bench's template.
    pub fn of(delivery: &Delivery) -> Self {
        let event = &delivery.event;
        let element = &event.element;
        let json: Value = serde_json::from_str(element.raw()).unwrap_or_default();
        let (info, customer) = (&json["eventInfo"], &json["customerDetails"]);
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let created_at: Option<bikhook::clock::Timestamp> =
            info["createdAt"].as_str().and_then(|time| time.parse().ok());
        let names =
            [&customer["firstName"], &customer["lastName"]].map(|name| name.as_str().unwrap_or_default());
        Self {
            key: delivery.key().to_string(),
            seq: event.seq.cast_signed(),
            received_at_ms: event.received_at.as_ms(),
            received_at: event.received_at.to_string(),
            source: event.source.to_string(),
            event_name: element.name().to_owned(),
            bik_id: element.id().map(str::to_owned),
            store_id: text(&json["storeId"]),
            message_id: text(&info["messageId"]),
            status: text(&info["status"]),
            channel: text(&info["channelId"]),
            owner: text(&info["owner"]),
            category: text(&info["owner"]).map(|_| "broadcast".to_owned()),
            customer_id: None,
            customer_name: Some(names.join(" ")),
            phone: text(&info["assetValue"]),
            created_at_ms: created_at.map(bikhook::clock::Timestamp::as_ms),
            created_at: created_at.map(|time| time.to_string()),
            failure_reason: None,
            attempt: delivery.attempt.into(),
            replay: delivery.replay,
            event: element.rendered().into_owned(),
            raw: element.raw().as_bytes().to_vec(),
        }
    }
}
