//! Events as BIK sends them, each with fresh ids: the template that both load generators and the fillers share.

use std::sync::Arc;

use bikhook::{
    event::{Draft, decode},
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

fn decoded(body: &[u8], count: u64) -> Result<Vec<Draft>, Failed> {
    let decoded = decode(&Arc::from("bik"), body)?;
    if decoded.drafts.len() as u64 != count {
        return Err("the template of an event cannot be read".into());
    }
    Ok(decoded.drafts)
}

/// One append of the events `first .. first + count`.
pub fn batch(first: u64, count: u64) -> Result<Batch, Failed> {
    Ok(Batch { drafts: drafts(first, count)?, ..Batch::default() })
}
