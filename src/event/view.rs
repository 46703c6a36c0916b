//! The typed views of BIK §2 and §3: a projection for filters and handlers. The bytes of the element are what counts.
//! Texts borrow from them, so a view costs little, and is made where it is looked at.
//!
//! A field is `None` where it is missing, `null`, or of a wrong type (T5); ids, times, `owner`, `channel` and `status`
//! also where they are `""` (T9). Fields whose shape nobody has promised stay raw JSON.

use std::{borrow::Cow, fmt};

use super::words::{Channel, Owner, Status};
use crate::clock::Timestamp;

/// The typed view of an element.
#[derive(Debug)]
pub enum View<'a> {
    /// `incoming-message`.
    Incoming(IncomingMessage<'a>),
    /// `message-status-update`.
    Status(StatusUpdate<'a>),
    /// Envelope B: "BIK Subscribed Events".
    Subscribed(Box<Subscribed<'a>>),
    /// Any other event name.
    Other(Other<'a>),
}

impl<'a> View<'a> {
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

    /// The message ids of all infos, or of the subscribed event.
    pub fn message_ids(&self) -> impl Iterator<Item = &str> {
        let (incoming, status, other) = self.infos();
        let subscribed = match self {
            Self::Subscribed(event) => event.message_id.as_deref(),
            _ => None,
        };
        (incoming.iter().filter_map(|info| info.message_id.as_deref()))
            .chain(status.iter().filter_map(|info| info.message_id.as_deref()))
            .chain(other.iter().filter_map(|info| info.message_id.as_deref()))
            .chain(subscribed)
    }

    /// The text of a message, from the customer or to it.
    pub fn text_of(&self, message_id: &str) -> Option<&str> {
        let (incoming, status, _) = self.infos();
        (incoming.iter().map(|info| (info.message_id.as_deref(), info.message.as_deref())))
            .chain(status.iter().map(|info| (info.message_id.as_deref(), info.message.as_deref())))
            .find_map(|(id, text)| text.filter(|_| id == Some(message_id)))
    }

    /// The customer's addresses on the channel (phone, e-mail, or an opaque id), of all infos or of the subscribed event.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let (incoming, status, _) = self.infos();
        let subscribed = match self {
            Self::Subscribed(event) => event.assets.as_slice(),
            _ => &[],
        };
        (incoming.iter().filter_map(|info| info.asset_value.as_deref()))
            .chain(status.iter().filter_map(|info| info.asset_value.as_deref()))
            .chain(subscribed.iter().map(AsRef::as_ref))
    }

    fn infos(&self) -> (&[IncomingInfo<'a>], &[StatusInfo<'a>], &[OtherInfo<'a>]) {
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
pub struct IncomingMessage<'a> {
    /// `storeId`.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerDetails`.
    pub customer: Customer<'a>,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<IncomingInfo<'a>>,
}

/// One `eventInfo` of an incoming message.
#[derive(Default)]
pub struct IncomingInfo<'a> {
    /// `messageId`: for WhatsApp it holds the customer's number.
    pub message_id: Option<Cow<'a, str>>,
    /// `createdAt`.
    pub created_at: Option<Stamp<'a>>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `type`, raw.
    pub kind: Option<Raw<'a>>,
    /// `message`: the text.
    pub message: Option<Cow<'a, str>>,
    /// `mediaType`, raw.
    pub media_type: Option<Raw<'a>>,
    /// `header`, raw.
    pub header: Option<Raw<'a>>,
    /// `footer`, raw.
    pub footer: Option<Raw<'a>>,
    /// `buttons`, raw.
    pub buttons: Option<Raw<'a>>,
    /// `body`, raw.
    pub body: Option<Raw<'a>>,
    /// `media`, raw.
    pub media: Option<Raw<'a>>,
    /// `options`, raw.
    pub options: Option<Raw<'a>>,
    /// `location`, raw.
    pub location: Option<Raw<'a>>,
    /// `isDeleted`: the customer deleted the message.
    pub is_deleted: Option<bool>,
    /// `order`, raw.
    pub order: Option<Raw<'a>>,
    /// `catalogId`, raw.
    pub catalog_id: Option<Raw<'a>>,
    /// `productRetailerId`, raw.
    pub product_retailer_id: Option<Raw<'a>>,
    /// `referral`, raw.
    pub referral: Option<Raw<'a>>,
    /// `messageInformation`, raw.
    pub message_information: Option<Raw<'a>>,
    /// `failureReason`.
    pub failure_reason: Option<Cow<'a, str>>,
    /// `owner`.
    pub owner: Option<Owner>,
    /// `ownerId`.
    pub owner_id: Option<Cow<'a, str>>,
    /// `assetValue`: the customer's address on the channel, opaque: a number, an e-mail address or an id.
    pub asset_value: Option<Cow<'a, str>>,
    /// `agentName`.
    pub agent_name: Option<Cow<'a, str>>,
    /// `agentEmailId`.
    pub agent_email_id: Option<Cow<'a, str>>,
    /// `ticketId`.
    pub ticket_id: Option<Cow<'a, str>>,
}

/// A status of a sent message.
#[derive(Default)]
pub struct StatusUpdate<'a> {
    /// `storeId`.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerDetails`.
    pub customer: Customer<'a>,
    /// `callbackData` where it stands beside `eventInfo`, raw: a string or an object.
    pub callback_data: Option<Raw<'a>>,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<StatusInfo<'a>>,
}

/// One `eventInfo` of a status.
#[derive(Default)]
pub struct StatusInfo<'a> {
    /// `messageId`: for WhatsApp it holds the customer's number.
    pub message_id: Option<Cow<'a, str>>,
    /// `createdAt`: the same for all statuses of a message in the page's samples, so never order by it.
    pub created_at: Option<Stamp<'a>>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `message`: the text that was sent, repeated in each status.
    pub message: Option<Cow<'a, str>>,
    /// `owner`.
    pub owner: Option<Owner>,
    /// `ownerId`.
    pub owner_id: Option<Cow<'a, str>>,
    /// `assetValue`: the customer's address on the channel, opaque: a number, an e-mail address or an id.
    pub asset_value: Option<Cow<'a, str>>,
    /// `failureReason`: free text, no code.
    pub failure_reason: Option<Cow<'a, str>>,
    /// `agentName`.
    pub agent_name: Option<Cow<'a, str>>,
    /// `agentEmailId`.
    pub agent_email_id: Option<Cow<'a, str>>,
    /// `ticketId`.
    pub ticket_id: Option<Cow<'a, str>>,
    /// `callbackData`, raw: a string or an object.
    pub callback_data: Option<Raw<'a>>,
}

/// `customerDetails`.
#[derive(Default)]
pub struct Customer<'a> {
    /// `firstName`.
    pub first_name: Option<Cow<'a, str>>,
    /// `lastName`.
    pub last_name: Option<Cow<'a, str>>,
    /// `customerId`: a number on one page of BIK's and a string on another; the text of it.
    pub customer_id: Option<Cow<'a, str>>,
}

/// A subscribed event (BIK §3).
#[derive(Default)]
pub struct Subscribed<'a> {
    /// `storeId`.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerId`.
    pub customer_id: Option<Cow<'a, str>>,
    /// `primaryCustomerId`.
    pub primary_customer_id: Option<Cow<'a, str>>,
    /// `eventId`: not unique per occurrence.
    pub event_id: Option<Cow<'a, str>>,
    /// `eventSource`, such as `Campaigns`.
    pub event_source: Option<Cow<'a, str>>,
    /// `createdAt`.
    pub created_at: Option<Stamp<'a>>,
    /// `timestamp`: a few ms later.
    pub timestamp: Option<Stamp<'a>>,
    /// `channel`.
    pub channel: Option<Channel>,
    /// `messageId`.
    pub message_id: Option<Cow<'a, str>>,
    /// `broadcastId`: the text of the number.
    pub broadcast_id: Option<Cow<'a, str>>,
    /// `assets`.
    pub assets: Vec<Cow<'a, str>>,
    /// `eventProperties`, raw.
    pub properties: Option<Raw<'a>>,
}

/// Any other event.
#[derive(Default)]
pub struct Other<'a> {
    /// `storeId`.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerDetails`.
    pub customer: Customer<'a>,
    /// `callbackData` where it stands beside `eventInfo`, raw: a string or an object.
    pub callback_data: Option<Raw<'a>>,
    /// `eventInfo`.
    pub infos: Vec<OtherInfo<'a>>,
}

/// One `eventInfo` of an event that has no type of its own: what it shares with the others, and all of it raw.
pub struct OtherInfo<'a> {
    /// `messageId`: for WhatsApp it holds the customer's number.
    pub message_id: Option<Cow<'a, str>>,
    /// `createdAt`.
    pub created_at: Option<Stamp<'a>>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `owner`.
    pub owner: Option<Owner>,
    /// `callbackData`, raw: a string or an object.
    pub callback_data: Option<Raw<'a>>,
    /// The whole object.
    pub raw: Raw<'a>,
}

/// A time as BIK wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The text, as it came.
    pub text: Cow<'a, str>,
}

impl Stamp<'_> {
    /// What it says; `None` where it is no time.
    pub fn time(&self) -> Option<Timestamp> {
        self.text.parse().ok()
    }
}

/// The JSON of a field whose shape nobody has promised, as it stands in the element (less trailing commas).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(pub(super) &'a str);

impl<'a> Raw<'a> {
    /// The JSON.
    pub const fn get(self) -> &'a str {
        self.0
    }
}

/// A `Debug` that shows the named fields and says that there are more: names, texts, addresses and ids stay out of logs.
macro_rules! shows_only {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl fmt::Debug for $name<'_> {
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
}
