//! An event as a table row, for the kinds that write tables.
//!
//! `raw` has the event's original bytes, and `event` has the event as JSON. `key`, `seq`, `received_at`, `source`,
//! `attempt` and `replay` describe the delivery. The other columns are extracted from the event for joins and filters,
//! and are NULL if the event does not have the value. If an event has several infos, each of `status`, `channel` and
//! `owner` has the value of the first info that has one, and `category` is the category of that owner. Other values of
//! infos come from the first info.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Delivery, Wrong};
use crate::{
    clock::Timestamp,
    event::{Channel, Owner, Status},
};

/// The version of [`COLUMNS`]. If a table was created with an older version, the missing columns are added to it,
/// unless the handler is configured with `create = false`.
pub(super) const VERSION: u32 = 1;

/// The table name if none is configured.
pub(super) fn default_table() -> String {
    "bik_events".to_owned()
}

/// A column, and its type in each database.
pub struct Column {
    pub name: &'static str,
    /// The column's type in PostgreSQL.
    pub postgres: &'static str,
    pub sqlite: &'static str,
    /// Whether the column is NOT NULL.
    pub required: bool,
}

const fn column(name: &'static str, postgres: &'static str, sqlite: &'static str, required: bool) -> Column {
    Column { name, postgres, sqlite, required }
}

/// All columns, in the order of the fields of [`Row`]. The first is the primary key.
pub const COLUMNS: [Column; 21] = [
    column("key", "text", "TEXT", true),
    column("seq", "bigint", "INTEGER", true),
    column("received_at", "timestamp with time zone", "TEXT", true),
    column("source", "text", "TEXT", true),
    column("event_name", "text", "TEXT", true),
    column("bik_id", "text", "TEXT", false),
    column("store_id", "text", "TEXT", false),
    column("message_id", "text", "TEXT", false),
    column("status", "text", "TEXT", false),
    column("channel", "text", "TEXT", false),
    column("owner", "text", "TEXT", false),
    column("category", "text", "TEXT", false),
    column("customer_id", "text", "TEXT", false),
    column("customer_name", "text", "TEXT", false),
    column("phone", "text", "TEXT", false),
    column("created_at", "timestamp with time zone", "TEXT", false),
    column("failure_reason", "text", "TEXT", false),
    column("attempt", "bigint", "INTEGER", true),
    column("replay", "boolean", "INTEGER", true),
    column("event", "jsonb", "TEXT", false),
    column("raw", "bytea", "BLOB", true),
];

/// The column definitions of CREATE TABLE; `type_of` returns a column's type in the database.
pub(super) fn definitions(type_of: fn(&Column) -> &'static str) -> String {
    let definition = |column: &Column| {
        let primary = if column.name == COLUMNS[0].name { " PRIMARY KEY" } else { "" };
        let required = if column.required { " NOT NULL" } else { "" };
        format!("{} {}{primary}{required}", column.name, type_of(column))
    };
    COLUMNS.each_ref().map(definition).join(", ")
}

/// The columns that a table lacks, for ALTER TABLE: each with its name and type, without NOT NULL.
pub(super) fn lacking(type_of: fn(&Column) -> &'static str, has: impl Fn(&str) -> bool) -> Vec<String> {
    let lacking = COLUMNS.iter().filter(|column| !has(column.name));
    lacking.map(|column| format!("{} {}", column.name, type_of(column))).collect()
}

/// The values of a row. Texts are as in the event, or in canonical form. Each kind handles texts that its database
/// cannot store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// [`Delivery::key`] as 32 hexadecimal digits.
    pub key: String,
    /// The event's number in the journal.
    pub seq: i64,
    /// When the event was received.
    pub received_at: Timestamp,
    /// The source that received the event.
    pub source: String,
    /// The event's name (`eventName`).
    pub event_name: String,
    /// BIK's `id`, or the `eventId` of a subscribed event (BIK §3).
    pub bik_id: Option<String>,
    /// The store's id (`storeId`).
    pub store_id: Option<String>,
    /// The message's id (`messageId`).
    pub message_id: Option<String>,
    /// The `status`, in canonical form if it is a known one.
    pub status: Option<String>,
    /// `channelId`, or the `channel` of a subscribed event.
    pub channel: Option<String>,
    /// Who sent the message (`owner`), in canonical form if it is a known one.
    pub owner: Option<String>,
    /// The category of the owner (BIK §2).
    pub category: Option<String>,
    /// The customer's id (`customerId`).
    pub customer_id: Option<String>,
    /// The customer's first and last name.
    pub customer_name: Option<String>,
    /// The customer's address on the channel, such as a phone number on WhatsApp: `assetValue`, or the first address in
    /// `assets`.
    pub phone: Option<String>,
    /// BIK's time (`createdAt`). It is the same for all statuses of a message, so it gives no order (BIK §4).
    pub created_at: Option<Timestamp>,
    /// Why the message failed (`failureReason`).
    pub failure_reason: Option<String>,
    /// Number of the attempt that wrote the row, counted from 1.
    pub attempt: i64,
    /// Whether the event was delivered by a replay.
    pub replay: bool,
    /// The event as one line of JSON (BIK T7, "rendered").
    #[serde(serialize_with = "as_json")]
    pub event: String,
    /// The event's bytes exactly as received (BIK T7, "stored").
    #[serde(serialize_with = "as_text")]
    pub raw: Vec<u8>,
}

impl Row {
    /// Extracts the columns from a delivery.
    pub fn of(delivery: &Delivery) -> Self {
        let event = &delivery.event;
        let element = &event.element;
        let view = element.view();
        let first = view.facts().next().unwrap_or_default();
        let owner = view.owners().next();
        Self {
            key: delivery.key().to_string(),
            seq: i64::try_from(event.seq).unwrap_or(i64::MAX),
            received_at: event.came_at,
            source: event.source.to_string(),
            event_name: element.name().to_owned(),
            bik_id: element.id().map(str::to_owned),
            store_id: first.store_id.map(str::to_owned),
            message_id: first.message_id.map(str::to_owned),
            status: view.statuses().next().map(Status::as_str).map(str::to_owned),
            channel: view.channels().next().map(Channel::as_str).map(str::to_owned),
            owner: owner.map(Owner::as_str).map(str::to_owned),
            category: owner.and_then(Owner::category).map(|category| category.as_str().to_owned()),
            customer_id: first.customer_id.map(str::to_owned),
            customer_name: first.name(),
            phone: first.address.map(str::to_owned),
            created_at: first.time(),
            failure_reason: first.failure_reason.map(str::to_owned),
            attempt: i64::from(delivery.attempt),
            replay: delivery.replay,
            event: element.rendered().into_owned(),
            raw: element.raw().as_bytes().to_vec(),
        }
    }

    /// The columns as a JSON object, for `check --show`.
    pub fn to_json(&self) -> String {
        // Serializing texts and numbers cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn as_json<S: Serializer>(event: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(event).ok().serialize(serializer)
}

fn as_text<S: Serializer>(raw: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    String::from_utf8_lossy(raw).serialize(serializer)
}

/// Splits the value of the configuration key `table` at its dots into the schema, if there is one, and the table's
/// name. The parts are safe to quote.
///
/// # Errors
/// Returns what is wrong with the value, and what to write. More than `parts_max` parts are an error.
pub(super) fn table_name(text: &str, parts_max: usize) -> Result<Vec<&str>, Wrong> {
    let parts: Vec<&str> = text.split('.').collect();
    let is_name = |part: &&str| {
        part.len() <= 63
            && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if parts.len() <= parts_max && parts.iter().all(is_name) {
        return Ok(parts);
    }
    let schema = if parts_max > 1 { ", optionally after a schema and a dot" } else { "" };
    let what = format!(
        "{text:?} is not a valid table name: use at most 63 letters, digits and _, not starting with a digit{schema}, \
         such as \"bik_events\""
    );
    Err(Wrong::new(&["table"], what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(raw: &str) -> Row {
        Row::of(&Delivery { attempt: 2, replay: true, ..Delivery::sample(3, raw) })
    }

    #[test]
    fn every_sample_of_the_page_has_its_columns() {
        let mut seen = 0;
        for entry in std::fs::read_dir("fixtures/bik/page").unwrap() {
            let body = std::fs::read(entry.unwrap().path()).unwrap();
            let decoded = crate::event::decode(&"bik".into(), &body).unwrap();
            for draft in decoded.drafts {
                let row = row(draft.element.raw());
                assert_eq!(row.raw, draft.element.raw().as_bytes());
                assert!(row.message_id.is_some() && row.created_at.is_some(), "{row:?}");
                assert!(row.phone.is_some() && row.channel.as_deref() == Some("whatsapp"), "{row:?}");
                seen += 1;
            }
        }
        assert!(seen >= 5, "{seen}");
    }

    #[test]
    fn columns_have_the_values_of_the_first_info_and_the_bytes_stay() {
        let raw = r#"{"eventName":"message-status-update", "eventInfo":[{"messageId":"m1","status":"FAILED","owner":"campaign",
            "channelId":"whatsapp","assetValue":"+91","failureReason":"no","createdAt":"2026-01-31T09:30:00.5Z"},{"messageId":"m2"}],
            "storeId":"s","customerDetails":{"firstName":"J","lastName":"G","customerId":17},"id":5,}"#;
        let row = row(raw);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        assert_eq!((row.seq, row.attempt, row.replay, row.key.len()), (3, 2, true, 32));
        assert_eq!(
            (text(&row.message_id), text(&row.status), text(&row.owner)),
            ("m1".into(), "failed".into(), "CAMPAIGN".into())
        );
        assert_eq!((text(&row.customer_name), text(&row.customer_id)), ("J G".into(), "17".into()));
        assert_eq!(
            (text(&row.bik_id), text(&row.phone), text(&row.failure_reason)),
            ("5".into(), "+91".into(), "no".into())
        );
        assert_eq!(row.created_at.unwrap().to_string(), "2026-01-31T09:30:00.500Z");
        assert!(row.category.is_some());
        assert_eq!(row.raw, raw.as_bytes());
        assert!(row.event.starts_with(r#"{"eventName":"message-status-update","eventInfo":[{"#));
    }

    #[test]
    fn asset_ids_are_no_phone_and_a_reason_of_any_type_is_a_text() {
        let of_case = |name: &str| {
            let body = std::fs::read(format!("fixtures/cases/{name}.json")).unwrap();
            let drafts = crate::event::decode(&"bik".into(), &body).unwrap().drafts;
            row(drafts[0].element.raw())
        };
        let created = of_case("f10-asset-ids-are-no-addresses");
        assert_eq!((created.phone, created.customer_id.as_deref()), (None, Some("6800001")));
        let undelivered = of_case("f13-sms-and-email-failures");
        let told = (undelivered.status.as_deref(), undelivered.failure_reason.as_deref());
        assert_eq!(told, (Some("undelivered"), Some("Carrier rejected")));
        let info = r#"{"messageId":"m","status":"failed","failureReason":{"code":131047,"title":"Re-engagement message"}}"#;
        let failed = row(&format!(r#"{{"eventName":"message-status-update","eventInfo":{info}}}"#));
        assert_eq!(failed.failure_reason.as_deref(), Some("131047: Re-engagement message"));
    }

    #[test]
    fn a_row_is_shown_with_every_column_in_its_order() {
        let shown = row(r#"{"eventName":"x","n":1.0}"#).to_json();
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&shown).unwrap();
        let mut from = 0;
        for column in COLUMNS {
            let name = format!("\"{}\":", column.name);
            from += shown[from..].find(&name).unwrap_or_else(|| panic!("{name} in {shown}"));
        }
        assert_eq!(members.len(), COLUMNS.len());
        assert!(shown.contains(r#""event":{"eventName":"x","n":1.0},"raw":"{\"eventName\""#), "{shown}");
    }

    #[test]
    fn a_table_name_cannot_inject_sql() {
        assert_eq!(table_name("crm.bik_events", 2).unwrap(), ["crm", "bik_events"]);
        for wrong in ["", "a.b.c", "1a", "a b", "a\"b", "a;b", ".a", "a."] {
            assert!(table_name(wrong, 2).unwrap_err().to_string().starts_with("table: "), "{wrong}");
        }
        table_name("crm.bik_events", 1).unwrap_err();
    }
}
