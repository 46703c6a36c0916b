//! The typed views of BIK §2 and §3: a projection for filters and handlers. The bytes of the element are what counts.
//!
//! A field is `None` where it is missing, `null`, or of a wrong type (T5); ids, times, `owner`, `channel` and `status`
//! also where they are `""` (T9). Fields whose shape nobody has promised stay raw JSON.

use std::fmt;

use serde_json::value::RawValue;

use super::words::{Channel, Owner, Status};
use crate::clock::Timestamp;

/// The typed view of an element.
#[derive(Debug)]
pub enum View {
    /// `incoming-message`.
    Incoming(IncomingMessage),
    /// `message-status-update`.
    Status(StatusUpdate),
    /// Envelope B: "BIK Subscribed Events".
    Subscribed(Box<Subscribed>),
    /// Any other event name.
    Other(Other),
}

impl View {
    /// `storeId`.
    pub fn store_id(&self) -> Option<&str> {
        match self {
            Self::Incoming(message) => message.store_id.as_deref(),
            Self::Status(update) => update.store_id.as_deref(),
            Self::Subscribed(event) => event.store_id.as_deref(),
            Self::Other(event) => event.store_id.as_deref(),
        }
    }

    /// The statuses of all infos.
    pub fn statuses(&self) -> impl Iterator<Item = &Status> {
        let (incoming, status, other) = self.infos();
        (incoming.iter().filter_map(|info| info.status.as_ref()))
            .chain(status.iter().filter_map(|info| info.status.as_ref()))
            .chain(other.iter().filter_map(|info| info.status.as_ref()))
    }

    /// The owners of all infos.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        let (incoming, status, other) = self.infos();
        (incoming.iter().filter_map(|info| info.owner.as_ref()))
            .chain(status.iter().filter_map(|info| info.owner.as_ref()))
            .chain(other.iter().filter_map(|info| info.owner.as_ref()))
    }

    /// The channels of all infos, or of the subscribed event.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let (incoming, status, other) = self.infos();
        let subscribed = match self {
            Self::Subscribed(event) => event.channel.as_ref(),
            _ => None,
        };
        (incoming.iter().filter_map(|info| info.channel.as_ref()))
            .chain(status.iter().filter_map(|info| info.channel.as_ref()))
            .chain(other.iter().filter_map(|info| info.channel.as_ref()))
            .chain(subscribed)
    }

    fn infos(&self) -> (&[IncomingInfo], &[StatusInfo], &[OtherInfo]) {
        match self {
            Self::Incoming(message) => (&message.infos, &[], &[]),
            Self::Status(update) => (&[], &update.infos, &[]),
            Self::Subscribed(_) => (&[], &[], &[]),
            Self::Other(event) => (&[], &[], &event.infos),
        }
    }
}

/// A message from a customer.
#[derive(Default)]
pub struct IncomingMessage {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<IncomingInfo>,
}

/// One `eventInfo` of an incoming message.
#[derive(Default)]
pub struct IncomingInfo {
    /// `messageId`: for WhatsApp it holds the customer's number.
    pub message_id: Option<String>,
    /// `createdAt`.
    pub created_at: Option<Stamp>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `type`, raw.
    pub kind: Option<Box<RawValue>>,
    /// `message`: the text.
    pub message: Option<String>,
    /// `mediaType`, raw.
    pub media_type: Option<Box<RawValue>>,
    /// `header`, raw.
    pub header: Option<Box<RawValue>>,
    /// `footer`, raw.
    pub footer: Option<Box<RawValue>>,
    /// `buttons`, raw.
    pub buttons: Option<Box<RawValue>>,
    /// `body`, raw.
    pub body: Option<Box<RawValue>>,
    /// `media`, raw.
    pub media: Option<Box<RawValue>>,
    /// `options`, raw.
    pub options: Option<Box<RawValue>>,
    /// `location`, raw.
    pub location: Option<Box<RawValue>>,
    /// `isDeleted`: the customer deleted the message.
    pub is_deleted: Option<bool>,
    /// `order`, raw.
    pub order: Option<Box<RawValue>>,
    /// `catalogId`, raw.
    pub catalog_id: Option<Box<RawValue>>,
    /// `productRetailerId`, raw.
    pub product_retailer_id: Option<Box<RawValue>>,
    /// `referral`, raw.
    pub referral: Option<Box<RawValue>>,
    /// `messageInformation`, raw.
    pub message_information: Option<Box<RawValue>>,
    /// `failureReason`.
    pub failure_reason: Option<String>,
    /// `owner`.
    pub owner: Option<Owner>,
    /// `ownerId`.
    pub owner_id: Option<String>,
    /// `assetValue`: the customer's address on the channel, opaque: a number, an e-mail address or an id.
    pub asset_value: Option<String>,
    /// `agentName`.
    pub agent_name: Option<String>,
    /// `agentEmailId`.
    pub agent_email_id: Option<String>,
    /// `ticketId`.
    pub ticket_id: Option<String>,
}

/// A status of a sent message.
#[derive(Default)]
pub struct StatusUpdate {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `callbackData` where it stands beside `eventInfo`, raw: a string or an object.
    pub callback_data: Option<Box<RawValue>>,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<StatusInfo>,
}

/// One `eventInfo` of a status.
#[derive(Default)]
pub struct StatusInfo {
    /// `messageId`: for WhatsApp it holds the customer's number.
    pub message_id: Option<String>,
    /// `createdAt`: the same for all statuses of a message in the page's samples, so never order by it.
    pub created_at: Option<Stamp>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `message`: the text that was sent, repeated in each status.
    pub message: Option<String>,
    /// `owner`.
    pub owner: Option<Owner>,
    /// `ownerId`.
    pub owner_id: Option<String>,
    /// `assetValue`: the customer's address on the channel, opaque: a number, an e-mail address or an id.
    pub asset_value: Option<String>,
    /// `failureReason`: free text, no code.
    pub failure_reason: Option<String>,
    /// `agentName`.
    pub agent_name: Option<String>,
    /// `agentEmailId`.
    pub agent_email_id: Option<String>,
    /// `ticketId`.
    pub ticket_id: Option<String>,
    /// `callbackData`, raw: a string or an object.
    pub callback_data: Option<Box<RawValue>>,
}

/// `customerDetails`.
#[derive(Default)]
pub struct Customer {
    /// `firstName`.
    pub first_name: Option<String>,
    /// `lastName`.
    pub last_name: Option<String>,
    /// `customerId`: a number on one page of BIK's and a string on another; the text of it.
    pub customer_id: Option<String>,
}

/// A subscribed event (BIK §3).
#[derive(Default)]
pub struct Subscribed {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerId`.
    pub customer_id: Option<String>,
    /// `primaryCustomerId`.
    pub primary_customer_id: Option<String>,
    /// `eventId`: not unique per occurrence.
    pub event_id: Option<String>,
    /// `eventSource`, such as `Campaigns`.
    pub event_source: Option<String>,
    /// `createdAt`.
    pub created_at: Option<Stamp>,
    /// `timestamp`: a few ms later.
    pub timestamp: Option<Stamp>,
    /// `channel`.
    pub channel: Option<Channel>,
    /// `messageId`.
    pub message_id: Option<String>,
    /// `broadcastId`: the text of the number.
    pub broadcast_id: Option<String>,
    /// `assets`.
    pub assets: Vec<String>,
    /// `eventProperties`, raw.
    pub properties: Option<Box<RawValue>>,
}

/// Any other event.
#[derive(Default)]
pub struct Other {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `callbackData` where it stands beside `eventInfo`, raw: a string or an object.
    pub callback_data: Option<Box<RawValue>>,
    /// `eventInfo`.
    pub infos: Vec<OtherInfo>,
}

/// One `eventInfo` of an event that has no type of its own: what it shares with the others, and all of it raw.
pub struct OtherInfo {
    /// `messageId`: for WhatsApp it holds the customer's number.
    pub message_id: Option<String>,
    /// `createdAt`.
    pub created_at: Option<Stamp>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `owner`.
    pub owner: Option<Owner>,
    /// `callbackData`, raw: a string or an object.
    pub callback_data: Option<Box<RawValue>>,
    /// The whole object.
    pub raw: Box<RawValue>,
}

/// A time as BIK wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The text, as it came.
    pub text: String,
    /// What it says; `None` where it is no time.
    pub time: Option<Timestamp>,
}

/// A `Debug` that shows the named fields and says that there are more: names, texts, addresses and ids stay out of logs.
macro_rules! shows_only {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

shows_only! {
    IncomingMessage { infos }
    IncomingInfo { channel, status, owner, is_deleted }
    StatusUpdate { infos }
    StatusInfo { channel, status, owner }
    Customer {}
    Subscribed { channel }
    Other { infos }
    OtherInfo { channel, status, owner }
    Stamp { time }
}
