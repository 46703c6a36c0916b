//! Events as BIK sends them, each with new ids. The load generators and the fillers share the template.

use std::sync::Arc;

use bikhook::{
    event::{Draft, Event, decode},
    handler::Delivery,
    journal::AppendBatch,
};

use super::run::Failed;

/// A status of a message, split where a new id is inserted: in its `messageId` and its `id`.
pub const STATUS: [&str; 3] = [
    r#"{"eventName":"message-status-update","eventInfo":{"messageId":"wamid.HBgMOTE4OTg2NDk4MDM4FQIAERgS"#,
    r#"","createdAt":"2024-08-01T07:24:23.425Z","channelId":"whatsapp","status":"delivered","message":"Ok, working","owner":"CAMPAIGN","ownerId":"37","assetValue":"+910000000000","failureReason":null},"storeId":"p60HYv5wjgQaOrPdqT5NjbpkroD2","customerDetails":{"firstName":"Jethalal Champaklal","lastName":"Gada"},"id":""#,
    r#""}"#,
];

/// A customer message, split at the same fields.
const INCOMING: [&str; 3] = [
    r#"{"eventName":"incoming-message","eventInfo":{"messageId":"wamid.HBgMOTE5OTM4NDM4MTM4FQIAEhgg"#,
    r#"","createdAt":"2024-07-26T07:27:07.949Z","channelId":"whatsapp","status":"","type":null,"message":"Hii sir","mediaType":null,"isDeleted":false,"failureReason":null,"owner":"","ownerId":null,"assetValue":"+910000000000"},"storeId":"p60HYv5wjgQaOrPdqT5NjbpkroD2","customerDetails":{"firstName":"Jethalal Champaklal","lastName":"Gada"},"id":""#,
    r#""}"#,
];

/// Number of digits of an id. It is constant, so that all bodies of a run have the same length.
pub const ID_DIGITS: usize = 16;

/// The `Authorization` header of every sender.
pub const AUTHORIZATION: &str = "Basic YmlrOmJlbmNo"; // bik:bench

/// Every tenth event is a customer message, so that both lanes have events.
fn template(number: u64) -> [&'static str; 3] {
    if number.is_multiple_of(10) { INCOMING } else { STATUS }
}

/// Builds a body of the events `first .. first + count`.
pub fn body(first: u64, count: u64) -> Vec<u8> {
    body_of(first, count, template)
}

fn body_of(first: u64, count: u64, template: fn(u64) -> [&'static str; 3]) -> Vec<u8> {
    let mut body = String::with_capacity(usize::try_from(count).unwrap_or(0) * 512);
    for number in first..first + count {
        let id = format!("{number:0ID_DIGITS$}");
        body.push(if number == first { '[' } else { ',' });
        body.push_str(&template(number).join(id.as_str()));
    }
    body.push(']');
    body.into_bytes()
}

/// Returns the events `first .. first + count`, decoded in the same way as in intake.
pub fn drafts(first: u64, count: u64) -> Result<Vec<Draft>, Failed> {
    decoded(&body(first, count), count)
}

/// Builds one append of statuses only.
pub fn statuses(first: u64, count: u64) -> Result<AppendBatch, Failed> {
    Ok(AppendBatch { drafts: decoded(&body_of(first, count, |_| STATUS), count)?, ..AppendBatch::default() })
}

/// Builds one append of messages with four statuses each: the events `first .. first + count`, a multiple of four. As in
/// real traffic, the statuses of a message are about a hundred events or more apart, at varying distances.
pub fn messages(first: u64, count: u64) -> Result<AppendBatch, Failed> {
    let mut order: Vec<(u64, u64)> = (first..first + count)
        .map(|number| {
            // Fibonacci hashing: the same in every run.
            let apart = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
            (number / 4 * 4 + number % 4 * (100 + apart), number)
        })
        .collect();
    // The statuses of a message stay in order.
    order.sort_unstable();
    let mut body = String::with_capacity(order.len() * 512);
    let mut next_of = std::collections::HashMap::new();
    for (_, number) in order {
        let message = number / 4;
        let turn: &mut u64 = next_of.entry(message).or_default();
        let id = format!("{:0ID_DIGITS$}", message * 4 + *turn);
        *turn += 1;
        body.push(if body.is_empty() { '[' } else { ',' });
        body.extend([STATUS[0], &format!("{message:0ID_DIGITS$}"), STATUS[1], &id, STATUS[2]]);
    }
    body.push(']');
    Ok(AppendBatch { drafts: decoded(body.as_bytes(), count)?, ..AppendBatch::default() })
}

fn decoded(body: &[u8], count: u64) -> Result<Vec<Draft>, Failed> {
    let decoded = decode(&Arc::from("bik"), body)?;
    if decoded.drafts.len() as u64 != count {
        return Err("the template of an event cannot be decoded".into());
    }
    Ok(decoded.drafts)
}

/// Returns the events `0 .. count` as deliveries, as from a journal with only these events.
pub fn deliveries(count: u64) -> Result<Vec<Delivery>, Failed> {
    let received_at = bikhook::clock::now();
    let delivery = |(draft, seq): (Draft, u64)| {
        let event =
            Event { seq, came_at: received_at, received_at, source: draft.source, element: draft.element };
        Delivery::new(Arc::new(event), 1, false)
    };
    let mut all = Vec::new();
    // In parts, because a body has a maximum number of elements.
    for first in (0..count).step_by(4_000) {
        all.extend(drafts(first, (count - first).min(4_000))?);
    }
    Ok(all.into_iter().zip(1..).map(delivery).collect())
}

/// Builds one append of the events `first .. first + count`.
pub fn batch(first: u64, count: u64) -> Result<AppendBatch, Failed> {
    Ok(AppendBatch { drafts: drafts(first, count)?, ..AppendBatch::default() })
}
