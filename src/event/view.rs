//! Typed views of an element (BIK §2 and §3), for filters and handlers. The bytes of the element stay authoritative. A
//! view is not stored but parsed where it is needed; most of its texts borrow from the bytes.
//!
//! A field is `None` if it is missing, `null`, or of a wrong type (BIK T5). Ids, times, `owner`, `channel` and `status`
//! are also `None` if they are `""` (BIK T9). A field whose shape is not documented stays raw JSON.

use std::{borrow::Cow, fmt};

use super::{
    content::{MessageContent, is_reaction},
    field::{Field, Reader},
    info::{Info, InfoSlots, ViewFields, object},
    scan::{Scanner, Slots},
    sent::{Raw, Stamp},
    words::{Channel, Owner, Status},
};
use crate::clock::Timestamp;

/// The typed view of an element.
#[derive(Debug)]
pub enum View<'a> {
    /// The event `incoming-message` of envelope A.
    Incoming(Message<'a>),
    /// The event `message-status-update` of envelope A.
    Status(Message<'a>),
    /// Envelope B, "BIK Subscribed Events" (BIK §3).
    Subscribed(Box<Subscribed<'a>>),
    /// Any other event of envelope A (BIK §5).
    Other(Message<'a>),
}

impl<'a> View<'a> {
    /// One [`Fact`] for each info, in the order of the event. An event without infos has a single [`Fact`].
    pub fn facts(&self) -> impl Iterator<Item = Fact<'_>> {
        let (whole, infos): (_, &[Info<'a>]) = match self {
            Self::Subscribed(event) => (Fact::of_subscribed(event), &[]),
            Self::Incoming(message) | Self::Status(message) | Self::Other(message) => {
                (Fact::of_message(message, matches!(self, Self::Incoming(_))), &message.infos)
            }
        };
        let is_message = matches!(self, Self::Incoming(_) | Self::Status(_));
        let fact = move |info| Fact { info: Some(info).filter(|_| is_message), ..whole.with(info) };
        infos.iter().map(fact).chain(infos.is_empty().then_some(whole))
    }

    /// The element's `storeId`, in both envelopes.
    pub fn store_id(&self) -> Option<&str> {
        self.facts().next()?.store_id
    }

    /// The statuses of all infos.
    pub fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.facts().filter_map(|fact| fact.status)
    }

    /// The owners of all infos.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.facts().filter_map(|fact| fact.owner)
    }

    /// The channels of all infos, or of the subscribed event.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.facts().filter_map(|fact| fact.channel)
    }

    /// The message ids of all infos, or of the subscribed event.
    pub fn message_ids(&self) -> impl Iterator<Item = &str> {
        self.facts().filter_map(|fact| fact.message_id)
    }

    /// The customer's addresses on the channel (phone number, e-mail address or opaque id), of all infos or of the
    /// subscribed event.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let assets = match self {
            Self::Subscribed(event) => Some(event.addresses()),
            _ => None,
        };
        // The single fact of a subscribed event already contains the first address.
        let others = assets.into_iter().flatten().skip(1);
        self.facts().filter_map(|fact| fact.address).chain(others)
    }
}

/// The facts of one info, or of an event without infos. The form is the same for both envelopes.
#[derive(Clone, Copy, Default)]
pub struct Fact<'a> {
    /// BIK's id of the message.
    pub message_id: Option<&'a str>,
    /// Whether the customer sent the message.
    pub is_incoming: bool,
    /// The status of the message.
    pub status: Option<&'a Status>,
    /// Why the message failed, as free text from BIK.
    pub failure_reason: Option<&'a str>,
    /// The info of a message or a status; [`Fact::content`] reads the text from it. `None` for other events, because
    /// they have no text. Also `None` for an event without infos.
    pub info: Option<&'a Info<'a>>,
    /// The store that the event belongs to.
    pub store_id: Option<&'a str>,
    /// The channel of the message.
    pub channel: Option<&'a Channel>,
    /// Who sent the message, such as `CAMPAIGN`.
    pub owner: Option<&'a Owner>,
    /// The id of the sender, such as that of one broadcast or automation.
    pub owner_id: Option<&'a str>,
    /// The customer's address on the channel. If a subscribed event has several, the first one.
    pub address: Option<&'a str>,
    /// BIK's id of the customer.
    pub customer_id: Option<&'a str>,
    /// The customer's first and last name; [`Fact::name`] joins them.
    pub names: [Option<&'a str>; 2],
    /// When the message or the subscribed event was created, as the text that BIK sent.
    pub created_at: Option<&'a Stamp<'a>>,
    /// Whether the customer deleted the message.
    pub is_deleted: bool,
    /// Whether the customer edited the message. If so, the text in this info replaces the message's earlier text.
    pub is_edited: bool,
    /// Whether the customer reacted to a message with an emoji, or removed the reaction.
    pub is_reaction: bool,
}

impl<'a> Fact<'a> {
    fn of_message(message: &'a Message<'_>, is_incoming: bool) -> Self {
        let Customer { first_name, last_name, customer_id } = &message.customer;
        Self {
            is_incoming,
            store_id: message.store_id.as_deref(),
            customer_id: customer_id.as_deref(),
            names: [first_name.as_deref(), last_name.as_deref()],
            ..Self::default()
        }
    }

    fn of_subscribed(event: &'a Subscribed<'_>) -> Self {
        Self {
            message_id: event.message_id.as_deref(),
            store_id: event.store_id.as_deref(),
            channel: event.channel.as_ref(),
            address: event.addresses().next(),
            customer_id: event.customer_id.as_deref(),
            created_at: event.created_at.as_ref(),
            ..Self::default()
        }
    }

    fn with(self, info: &'a Info<'_>) -> Self {
        Self {
            message_id: info.message_id.as_deref(),
            status: info.status.as_ref(),
            failure_reason: info.failure_reason.as_deref(),
            channel: info.channel.as_ref(),
            owner: info.owner.as_ref(),
            owner_id: info.owner_id.as_deref(),
            address: info.asset_value.as_deref(),
            created_at: info.created_at.as_ref(),
            is_deleted: info.is_deleted == Some(true),
            is_edited: info.is_edited == Some(true),
            is_reaction: is_reaction(info),
            ..self
        }
    }

    /// The content that the message shows: its text, the title of what the customer chose, or a description of other
    /// content. `None` if the event has no info, or if it is neither a message nor a status.
    pub fn content(&self) -> Option<MessageContent<'a>> {
        self.info.map(MessageContent::of)
    }

    /// Joins the customer's first and last name; an empty one is left out. `None` if there is neither.
    pub fn name(&self) -> Option<String> {
        let names: Vec<&str> = self.names.into_iter().flatten().filter(|name| !name.is_empty()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }

    /// When the message or the subscribed event was created. `None` if that time is missing or not valid.
    pub fn time(&self) -> Option<Timestamp> {
        self.created_at.and_then(Stamp::time)
    }
}

/// Joins the values of several infos. Leaves out a value that is equal to the previous one. `None` if there is no
/// value.
pub fn joined(texts: impl IntoIterator<Item = String>, separator: &str) -> Option<String> {
    let mut texts: Vec<String> = texts.into_iter().collect();
    texts.dedup();
    (!texts.is_empty()).then(|| texts.join(separator))
}

/// An event of envelope A: a message, a status, or any other event (BIK §2 and §5).
#[derive(Default)]
pub struct Message<'a> {
    /// `storeId`; absent in older payloads.
    pub store_id: Option<Cow<'a, str>>,
    /// `customerDetails`; empty if it is missing.
    pub customer: Customer<'a>,
    /// `callbackData` next to `eventInfo`; raw, because it is a string or an object.
    pub callback_data: Option<Raw<'a>>,
    /// `eventInfo`: one object in every sample, but an array according to BIK's table of fields.
    pub infos: Vec<Info<'a>>,
}

object! {
    /// The object `customerDetails`.
    slots CustomerSlots {}

    /// `customerDetails`: the customer's name and id.
    pub struct Customer<'a> {
        Common {
            /// `firstName` of the customer; personal data.
            first_name: Option<Cow<'a, str>> = text "firstName",
            /// `lastName` of the customer; personal data.
            last_name: Option<Cow<'a, str>> = text "lastName",
            /// `customerId` as text: BIK documents it as a number on one page and as a string on another.
            customer_id: Option<Cow<'a, str>> = id "customerId",
        }
    }
}

object! {
    /// An element of either envelope.
    slots Envelope {
        event_info = "eventInfo" with info: InfoSlots,
        customer_details = "customerDetails" with customer: CustomerSlots,
        id = "id",
        callback_data = "callbackData",
    }

    /// A subscribed event: envelope B (BIK §3).
    pub struct Subscribed<'a> {
        Common {
            /// `eventName`, which decides the meaning of some other fields.
            event_name: Option<Cow<'a, str>> = text "eventName",
            /// `storeId`, the same as in envelope A.
            store_id: Option<Cow<'a, str>> = id "storeId",
            /// `customerId`; a number becomes text.
            customer_id: Option<Cow<'a, str>> = id "customerId",
            /// `primaryCustomerId`; in some events only.
            primary_customer_id: Option<Cow<'a, str>> = id "primaryCustomerId",
            /// `eventId`; several events may have the same one.
            event_id: Option<Cow<'a, str>> = id "eventId",
            /// `eventSource`: a part of BIK, such as `Campaigns`.
            event_source: Option<Cow<'a, str>> = text "eventSource",
            /// `createdAt`, a part of the event's key (BIK T6).
            created_at: Option<Stamp<'a>> = time "createdAt",
            /// `timestamp`: a few milliseconds after `createdAt`; sometimes absent.
            timestamp: Option<Stamp<'a>> = time "timestamp",
            /// `channel`; in some events only.
            channel: Option<Channel> = word "channel",
            /// `messageId`; in some events only.
            message_id: Option<Cow<'a, str>> = id "messageId",
            /// `broadcastId`, a number that becomes text; in some events only.
            broadcast_id: Option<Cow<'a, str>> = id "broadcastId",
            /// `assets`: ids or addresses; in some events only. [`Subscribed::addresses`] returns the addresses.
            assets: Vec<Cow<'a, str>> = texts "assets",
            /// `eventProperties`; raw, because its members depend on the event.
            properties: Option<Raw<'a>> = raw "eventProperties",
        }
    }
}

/// The name of the subscribed event whose `assets` are ids.
const CUSTOMER_CREATED: &str = "customerCreated";
/// An asset that is a number with fewer digits than this is an id of BIK, not a phone number with its country code.
const PHONE_DIGITS: usize = 9;

impl Subscribed<'_> {
    /// The customer's addresses among the `assets`. In `customerCreated`, all `assets` are ids of BIK. For other
    /// events, BIK does not document whether they are ids or addresses, so only short numbers count as ids.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let are_ids = self.event_name.as_deref() == Some(CUSTOMER_CREATED);
        let is_id =
            |asset: &str| asset.len() < PHONE_DIGITS && asset.bytes().all(|byte| byte.is_ascii_digit());
        self.assets.iter().map(AsRef::as_ref).filter(move |asset| !are_ids && !is_id(asset))
    }
}

/// Implements `Debug` so that it prints only the listed fields. The other fields, such as names, addresses and message
/// texts, stay out of logs.
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
    Message { infos }
    Info { channel, status, owner, is_deleted, is_edited }
    Customer {}
    Subscribed { channel }
}
