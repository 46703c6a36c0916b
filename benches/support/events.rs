//! Events as BIK sends them, each with fresh ids: the template that both load generators and the fillers share.

use std::sync::Arc;

use bikhook::{
    event::{Draft, Event, decode},
    handler::Delivery,
    journal::Batch,
};

use super::run::Failed;

/// A status of a message, cut where a fresh id goes: into its `messageId` and its `id`.
pub const STATUS: [&str; 3] = [
    r#"{"eventName":"message-status-update","eventInfo":{"messageId":"wamid.HBgMOTE4OTg2NDk4MDM4FQIAERgS"#,
    r#"","createdAt":"2024-08-01T07:24:23.425Z","channelId":"whatsapp","status":"delivered","message":"Ok, working","owner":"CAMPAIGN","ownerId":"37","assetValue":"+910000000000","failureReason":null},"storeId":"p60HYv5wjgQaOrPdqT5NjbpkroD2","customerDetails":{"firstName":"Jethalal Champaklal","lastName":"Gada"},"id":""#,
    r#""}"#,
];

/// A message from a customer, cut likewise.
const INCOMING: [&str; 3] = [
    r#"{"eventName":"incoming-message","eventInfo":{"messageId":"wamid.HBgMOTE5OTM4NDM4MTM4FQIAEhgg"#,
    r#"","createdAt":"2024-07-26T07:27:07.949Z","channelId":"whatsapp","status":"","type":null,"message":"Hii sir","mediaType":null,"isDeleted":false,"failureReason":null,"owner":"","ownerId":null,"assetValue":"+910000000000"},"storeId":"p60HYv5wjgQaOrPdqT5NjbpkroD2","customerDetails":{"firstName":"Jethalal Champaklal","lastName":"Gada"},"id":""#,
    r#""}"#,
];

/// Digits of a fresh id: bodies of a run are equally long.
pub const ID_DIGITS: usize = 16;

/// The header that every sender shows.
pub const AUTHORIZATION: &str = "Basic YmlrOmJlbmNo"; // bik:bench

/// Every tenth event is a message from a customer, so that both lanes have work.
fn template(number: u64) -> [&'static str; 3] {
    if number.is_multiple_of(10) { INCOMING } else { STATUS }
}

/// A body of the events `first .. first + count`.
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

/// The events `first .. first + count`, decoded as intake decodes them: what is measured comes after that.
pub fn drafts(first: u64, count: u64) -> Result<Vec<Draft>, Failed> {
    decoded(&body(first, count), count)
}

/// One append of statuses alone.
pub fn statuses(first: u64, count: u64) -> Result<Batch, Failed> {
    Ok(Batch { drafts: decoded(&body_of(first, count, |_| STATUS), count)?, ..Batch::default() })
}

/// One append of messages with four statuses each, those of a message apart from each other as they come: some hundred
/// events, and no two the same number. Of the events `first .. first + count`, a multiple of four.
pub fn messages(first: u64, count: u64) -> Result<Batch, Failed> {
    let mut order: Vec<(u64, u64)> = (first..first + count)
        .map(|number| {
            // Fibonacci hashing: the same in every run.
            let apart = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
            (number / 4 * 4 + number % 4 * (100 + apart), number)
        })
        .collect();
    // Of a message in their order: a later status never comes before an earlier one.
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
    Ok(Batch { drafts: decoded(body.as_bytes(), count)?, ..Batch::default() })
}

fn decoded(body: &[u8], count: u64) -> Result<Vec<Draft>, Failed> {
    let decoded = decode(&Arc::from("bik"), body)?;
    if decoded.drafts.len() as u64 != count {
        return Err("the template of an event cannot be read".into());
    }
    Ok(decoded.drafts)
}

/// The events `0 .. count` as a handler is given them, from a journal that has these alone.
pub fn deliveries(count: u64) -> Result<Vec<Delivery>, Failed> {
    let received_at = bikhook::clock::now();
    let delivery = |(draft, seq): (Draft, u64)| {
        let event =
            Event { seq, came_at: received_at, received_at, source: draft.source, element: draft.element };
        Delivery::new(Arc::new(event), 1, false)
    };
    let mut all = Vec::new();
    // A body has no more than so many.
    for first in (0..count).step_by(4_000) {
        all.extend(drafts(first, (count - first).min(4_000))?);
    }
    Ok(all.into_iter().zip(1..).map(delivery).collect())
}

/// One append of the events `first .. first + count`.
pub fn batch(first: u64, count: u64) -> Result<Batch, Failed> {
    Ok(Batch { drafts: drafts(first, count)?, ..Batch::default() })
}
