//! Events like those of a merchant: messages to hundreds of thousands of customers with statuses, answers and several
//! kinds of failures, and some events without a message. Each event is built from its number alone.

use std::{fmt::Write, sync::Arc};

use bikhook::{event::decode, journal::AppendBatch};

use super::support::run::Failed;

/// Number of customers.
const CUSTOMERS: u64 = 300_000;
const REASONS: [&str; 4] = [
    "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
    "Message Undeliverable.",
    "This message was not delivered to maintain healthy ecosystem engagement.",
    "Spam rate limit hit",
];
const OWNERS: [&str; 4] = ["CAMPAIGN", "CAMPAIGN", "AGENT", "BOT"];

/// Builds one append of the events `first .. first + count`.
pub fn batch(first: u64, count: u64) -> Result<AppendBatch, Failed> {
    let mut body = String::with_capacity(usize::try_from(count).unwrap_or(0) * 512);
    for number in first..first + count {
        body.push(if number == first { '[' } else { ',' });
        push(&mut body, number)?;
    }
    body.push(']');
    let decoded = decode(&Arc::from("bik"), body.as_bytes())?;
    if decoded.drafts.len() as u64 != count {
        return Err("an event of the campaign cannot be decoded".into());
    }
    Ok(AppendBatch { drafts: decoded.drafts, ..AppendBatch::default() })
}

/// Four events per message: three statuses, and one other event.
fn push(body: &mut String, number: u64) -> Result<(), Failed> {
    let message = number / 4;
    let phone = phone(customer(message));
    let id = message_id(message);
    match number % 4 {
        3 if message.is_multiple_of(50) => write!(
            body,
            r#"{{"eventName":"optedOut","storeId":"S1","customerId":"{}","eventId":"optedOut-{message}","createdAt":"2026-01-01T00:00:00.000Z","channel":"whatsapp","eventProperties":{{"channel":"whatsapp"}},"assets":["+{phone}"]}}"#,
            customer(message)
        )?,
        3 => write!(
            body,
            r#"{{"eventName":"incoming-message","eventInfo":{{"messageId":"{id}-in","createdAt":"2026-01-01T00:00:00.000Z","channelId":"whatsapp","status":"","message":"Where is my order {message}?","owner":"","ownerId":null,"assetValue":"+{phone}"}},"storeId":"S1","customerDetails":{{"firstName":"Asha","lastName":"Rao {}","customerId":{}}},"id":"i{number}"}}"#,
            customer(message),
            customer(message)
        )?,
        step => {
            let fails = message.is_multiple_of(10);
            let status = match step {
                0 => "sent",
                1 if fails => "failed",
                1 => "delivered",
                _ if fails => "failed",
                _ => "read",
            };
            let reason = if fails && step > 0 {
                format!("{:?}", REASONS[usize::try_from(message / 10 % 4)?])
            } else {
                "null".to_owned()
            };
            let owner = OWNERS[usize::try_from(message % 4)?];
            write!(
                body,
                r#"{{"eventName":"message-status-update","eventInfo":{{"messageId":"{id}","createdAt":"2026-01-01T00:00:00.000Z","channelId":"whatsapp","status":"{status}","message":"Your order {message} is on its way","owner":"{owner}","ownerId":"{}","assetValue":"+{phone}","failureReason":{reason}}},"storeId":"S1","customerDetails":{{"firstName":"Asha","lastName":"Rao {}","customerId":{}}},"id":"s{number}"}}"#,
                message / 10_000 % 40,
                customer(message),
                customer(message)
            )?;
        }
    }
    Ok(())
}

/// The customer of a message. Consecutive messages have different customers.
pub const fn customer(message: u64) -> u64 {
    message.wrapping_mul(2_654_435_761) % CUSTOMERS
}

/// The phone number of a customer.
pub fn phone(customer: u64) -> String {
    format!("9190{customer:08}")
}

/// The `messageId` of a message.
pub fn message_id(message: u64) -> String {
    format!("wamid.HBgMOTE4OTg2NDk4MDM4FQIAERgS{:016X}", message.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
