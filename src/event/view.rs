//! Typed views of an element (BIK §2 and §3), for filters and handlers. The bytes of the element stay authoritative.
//! Texts borrow from them, so a view is cheap and is created where it is needed.
//!
//! A field is `None` if it is missing, `null`, or of a wrong type (BIK T5). Ids, times, `owner`, `channel` and `status`
//! are also `None` if they are `""` (BIK T9). A field whose shape is not documented stays raw JSON.

use std::{borrow::Cow, fmt};

use super::words::{Channel, Owner, Status};
use crate::clock::Timestamp;

/// The typed view of an element.
#[derive(Debug)]
pub enum View<'a> {
    /// An event named `incoming-message`.
    Incoming(IncomingMessage<'a>),
    /// An event named `message-status-update`.
    Status(StatusUpdate<'a>),
    /// Envelope B, "BIK Subscribed Events" (BIK §3).
    Subscribed(Box<Subscribed<'a>>),
    /// Any other event (BIK §5).
    Other(Other<'a>),
}

impl<'a> View<'a> {
    /// The element's `storeId`, in both envelopes.
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

    /// The text of the message with that id, received or sent. Looks at all infos.
    pub fn text_of(&self, message_id: &str) -> Option<&str> {
        let (incoming, status, _) = self.infos();
        (incoming.iter().map(|info| (info.message_id.as_deref(), info.message.as_deref())))
            .chain(status.iter().map(|info| (info.message_id.as_deref(), info.message.as_deref())))
            .find_map(|(id, text)| text.filter(|_| id == Some(message_id)))
    }

    /// The customer's addresses on the channel (phone number, e-mail address or opaque id), of all infos or of the
    /// subscribed event.
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

/// A message from a customer (BIK §2).
#[derive(Default)]
pub struct IncomingMessage<'a> {
    /// `storeId`; absent in older payloads.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerDetails`; empty if it is missing.
    pub customer: Customer<'a>,
    /// `eventInfo`: one in every sample, but BIK's table calls it a list.
    pub infos: Vec<IncomingInfo<'a>>,
}

/// One `eventInfo` of an incoming message.
#[derive(Default)]
pub struct IncomingInfo<'a> {
    /// `messageId`; on WhatsApp it contains the customer's phone number.
    pub message_id: Option<Cow<'a, str>>,
    /// `createdAt`, a time in UTC.
    pub created_at: Option<Stamp<'a>>,
    /// `channelId`, the channel of the message.
    pub channel: Option<Channel>,
    /// `status`; `""` in BIK's sample, so `None`.
    pub status: Option<Status>,
    /// `type`; raw, shape not documented.
    pub kind: Option<Raw<'a>>,
    /// `message`, the text of the message.
    pub message: Option<Cow<'a, str>>,
    /// `mediaType`; raw, shape not documented.
    pub media_type: Option<Raw<'a>>,
    /// `header`; raw, shape not documented.
    pub header: Option<Raw<'a>>,
    /// `footer`; raw, shape not documented.
    pub footer: Option<Raw<'a>>,
    /// `buttons`; raw, shape not documented.
    pub buttons: Option<Raw<'a>>,
    /// `body`; raw, shape not documented.
    pub body: Option<Raw<'a>>,
    /// `media`; raw, shape not documented.
    pub media: Option<Raw<'a>>,
    /// `options`; raw, shape not documented.
    pub options: Option<Raw<'a>>,
    /// `location`; raw, shape not documented.
    pub location: Option<Raw<'a>>,
    /// `isDeleted`: the customer deleted the message.
    pub is_deleted: Option<bool>,
    /// `order`; raw, shape not documented.
    pub order: Option<Raw<'a>>,
    /// `catalogId`; raw, shape not documented.
    pub catalog_id: Option<Raw<'a>>,
    /// `productRetailerId`; raw, shape not documented.
    pub product_retailer_id: Option<Raw<'a>>,
    /// `referral`; raw, shape not documented.
    pub referral: Option<Raw<'a>>,
    /// `messageInformation`; raw, shape not documented.
    pub message_information: Option<Raw<'a>>,
    /// `failureReason`: free text without a code.
    pub failure_reason: Option<Cow<'a, str>>,
    /// `owner`; `""` in BIK's sample, so `None`.
    pub owner: Option<Owner>,
    /// `ownerId`; null in BIK's sample.
    pub owner_id: Option<Cow<'a, str>>,
    /// `assetValue`: the customer's address on the channel (phone number, e-mail address or opaque id).
    pub asset_value: Option<Cow<'a, str>>,
    /// `agentName`; in newer payloads only.
    pub agent_name: Option<Cow<'a, str>>,
    /// `agentEmailId`; in newer payloads only.
    pub agent_email_id: Option<Cow<'a, str>>,
    /// `ticketId`; in newer payloads only.
    pub ticket_id: Option<Cow<'a, str>>,
}

/// A status update of a sent message (BIK §2).
#[derive(Default)]
pub struct StatusUpdate<'a> {
    /// `storeId`; absent in older payloads.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerDetails`; empty if it is missing.
    pub customer: Customer<'a>,
    /// `callbackData` next to `eventInfo`; raw, because it is a string or an object.
    pub callback_data: Option<Raw<'a>>,
    /// `eventInfo`: one in every sample, but BIK's table calls it a list.
    pub infos: Vec<StatusInfo<'a>>,
}

/// One `eventInfo` of a status update.
#[derive(Default)]
pub struct StatusInfo<'a> {
    /// `messageId`; on WhatsApp it contains the customer's phone number.
    pub message_id: Option<Cow<'a, str>>,
    /// `createdAt`: in BIK's samples the same for all statuses of a message, so never order statuses by it.
    pub created_at: Option<Stamp<'a>>,
    /// `channelId`, the channel of the message.
    pub channel: Option<Channel>,
    /// `status`, the new status of the message.
    pub status: Option<Status>,
    /// `message`: the text that was sent, repeated in each status.
    pub message: Option<Cow<'a, str>>,
    /// `owner`: who sent the message.
    pub owner: Option<Owner>,
    /// `ownerId`: which broadcast, automation or agent.
    pub owner_id: Option<Cow<'a, str>>,
    /// `assetValue`: the customer's address on the channel (phone number, e-mail address or opaque id).
    pub asset_value: Option<Cow<'a, str>>,
    /// `failureReason`: free text without a code.
    pub failure_reason: Option<Cow<'a, str>>,
    /// `agentName`; in newer payloads only.
    pub agent_name: Option<Cow<'a, str>>,
    /// `agentEmailId`; in newer payloads only.
    pub agent_email_id: Option<Cow<'a, str>>,
    /// `ticketId`; in newer payloads only.
    pub ticket_id: Option<Cow<'a, str>>,
    /// `callbackData` in `eventInfo`; raw, because it is a string or an object.
    pub callback_data: Option<Raw<'a>>,
}

/// `customerDetails`: the customer's name and id.
#[derive(Default)]
pub struct Customer<'a> {
    /// `firstName` of the customer; personal data.
    pub first_name: Option<Cow<'a, str>>,
    /// `lastName` of the customer; personal data.
    pub last_name: Option<Cow<'a, str>>,
    /// `customerId` as text: BIK documents it as a number on one page and as a string on another.
    pub customer_id: Option<Cow<'a, str>>,
}

/// A subscribed event: envelope B (BIK §3).
#[derive(Default)]
pub struct Subscribed<'a> {
    /// `storeId`, the same as in envelope A.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerId`, as text if it is a number.
    pub customer_id: Option<Cow<'a, str>>,
    /// `primaryCustomerId`; in some events only.
    pub primary_customer_id: Option<Cow<'a, str>>,
    /// `eventId`; not unique per occurrence.
    pub event_id: Option<Cow<'a, str>>,
    /// `eventSource`: a part of BIK, such as `Campaigns`.
    pub event_source: Option<Cow<'a, str>>,
    /// `createdAt`, a part of the event's key (BIK T6).
    pub created_at: Option<Stamp<'a>>,
    /// `timestamp`: a few milliseconds after `createdAt`; sometimes absent.
    pub timestamp: Option<Stamp<'a>>,
    /// `channel`; in some events only.
    pub channel: Option<Channel>,
    /// `messageId`; in some events only.
    pub message_id: Option<Cow<'a, str>>,
    /// `broadcastId`, the number as text; in some events only.
    pub broadcast_id: Option<Cow<'a, str>>,
    /// `assets`: the customer's addresses; in some events only.
    pub assets: Vec<Cow<'a, str>>,
    /// `eventProperties`; raw, because its members depend on the event.
    pub properties: Option<Raw<'a>>,
}

/// Any other event (BIK §5).
#[derive(Default)]
pub struct Other<'a> {
    /// `storeId`; absent in older payloads.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerDetails`; empty if it is missing.
    pub customer: Customer<'a>,
    /// `callbackData` next to `eventInfo`; raw, because it is a string or an object.
    pub callback_data: Option<Raw<'a>>,
    /// `eventInfo`: one object or several.
    pub infos: Vec<OtherInfo<'a>>,
}

/// One `eventInfo` of an event without a typed view: the common fields, and the whole object as raw JSON.
pub struct OtherInfo<'a> {
    /// `messageId`; on WhatsApp it contains the customer's phone number.
    pub message_id: Option<Cow<'a, str>>,
    /// `createdAt`, if the event has one.
    pub created_at: Option<Stamp<'a>>,
    /// `channelId`, the channel of the message.
    pub channel: Option<Channel>,
    /// `status`, if the event has one.
    pub status: Option<Status>,
    /// `owner`: who sent the message.
    pub owner: Option<Owner>,
    /// `callbackData` in `eventInfo`; raw, because it is a string or an object.
    pub callback_data: Option<Raw<'a>>,
    /// The whole object, as raw JSON.
    pub raw: Raw<'a>,
}

/// A time, as the text that BIK sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The text, exactly as BIK sent it.
    pub text: Cow<'a, str>,
}

impl Stamp<'_> {
    /// The parsed time. `None` if the text is not a valid time.
    pub fn time(&self) -> Option<Timestamp> {
        self.text.parse().ok()
    }
}

/// The raw JSON of a field whose shape is not documented, as in the element except for trailing commas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(pub(super) &'a str);

impl<'a> Raw<'a> {
    /// Returns the JSON text.
    pub const fn get(self) -> &'a str {
        self.0
    }
}

/// Implements `Debug` so that it prints only the named fields: names, texts, addresses and ids stay out of logs.
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
