//! The typed views of BIK §2 and §3.

use serde_json::value::RawValue;

use super::words::{Channel, Owner, Status};

/// The typed view of an element.
#[derive(Debug)]
pub enum View {
    /// `incoming-message`.
    Incoming(IncomingMessage),
    /// `message-status-update`.
    Status(StatusUpdate),
    /// Envelope B: "BIK Subscribed Events".
    Subscribed(Subscribed),
    /// Any other event name.
    Other(Other),
}

/// A message from a customer.
#[derive(Debug, Default)]
pub struct IncomingMessage {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<IncomingInfo>,
}

/// One `eventInfo` of an incoming message.
#[derive(Debug, Default)]
pub struct IncomingInfo {
    /// `messageId`.
    pub message_id: Option<String>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `message`.
    pub message: Option<String>,
    /// `media`, raw.
    pub media: Option<Box<RawValue>>,
}

/// A status of a sent message.
#[derive(Debug, Default)]
pub struct StatusUpdate {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<StatusInfo>,
}

/// One `eventInfo` of a status.
#[derive(Debug, Default)]
pub struct StatusInfo {
    /// `messageId`.
    pub message_id: Option<String>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `owner`.
    pub owner: Option<Owner>,
}

/// `customerDetails`.
#[derive(Debug, Default)]
pub struct Customer {
    /// `firstName`.
    pub first_name: Option<String>,
}

/// A subscribed event (BIK §3).
#[derive(Debug, Default)]
pub struct Subscribed {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `channel`.
    pub channel: Option<Channel>,
}

/// Any other event.
#[derive(Debug, Default)]
pub struct Other {
    /// `storeId`.
    pub store_id: Option<String>,
}
