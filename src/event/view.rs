//! The typed views of BIK §2 and §3. Every field may be missing, and a wrong type counts as missing (T5): what is not
//! here is in the element's bytes. None of these types can be printed with `{:?}`: they hold personal data.

use serde_json::value::RawValue;

use super::{
    fields::Reader,
    words::{Channel, Owner, Status},
};
use crate::clock::Timestamp;

/// The typed view of an element.
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
pub struct IncomingMessage {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<IncomingInfo>,
}

/// A status of a sent message.
pub struct StatusUpdate {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `callbackData` at the top level: a string that holds JSON, or an object, as it came.
    pub callback_data: Option<Box<RawValue>>,
    /// `eventInfo`: one in every sample; the page's table calls it a list.
    pub infos: Vec<StatusInfo>,
}

/// `customerDetails`.
#[derive(Default)]
pub struct Customer {
    /// `customerId`, opaque.
    pub id: Option<String>,
    /// `firstName`.
    pub first_name: Option<String>,
    /// `lastName`.
    pub last_name: Option<String>,
}

/// What every `eventInfo` has.
#[derive(Default)]
pub struct MessageInfo {
    /// `messageId`; WhatsApp's holds the customer's phone number.
    pub message_id: Option<String>,
    /// `createdAt`, as it came.
    pub created_at: Option<String>,
    /// `createdAt`, where it is a time.
    pub created: Option<Timestamp>,
    /// `channelId`.
    pub channel: Option<Channel>,
    /// `status`.
    pub status: Option<Status>,
    /// `message`: the text.
    pub message: Option<String>,
    /// `owner`.
    pub owner: Option<Owner>,
    /// `ownerId`, opaque.
    pub owner_id: Option<String>,
    /// `assetValue`: the customer's address on the channel.
    pub asset_value: Option<String>,
    /// `failureReason`: free text.
    pub failure_reason: Option<String>,
    /// `agentName`, in newer payloads.
    pub agent_name: Option<String>,
    /// `agentEmailId`, in newer payloads.
    pub agent_email_id: Option<String>,
    /// `ticketId`, opaque.
    pub ticket_id: Option<String>,
}

/// One `eventInfo` of an incoming message. Parts whose shape nobody has shown are kept as they came.
pub struct IncomingInfo {
    /// What every `eventInfo` has.
    pub common: MessageInfo,
    /// `type`.
    pub kind: Option<Box<RawValue>>,
    /// `mediaType`.
    pub media_type: Option<Box<RawValue>>,
    /// `header`.
    pub header: Option<Box<RawValue>>,
    /// `footer`.
    pub footer: Option<Box<RawValue>>,
    /// `buttons`.
    pub buttons: Option<Box<RawValue>>,
    /// `body`.
    pub body: Option<Box<RawValue>>,
    /// `media`.
    pub media: Option<Box<RawValue>>,
    /// `options`.
    pub options: Option<Box<RawValue>>,
    /// `location`.
    pub location: Option<Box<RawValue>>,
    /// `order`.
    pub order: Option<Box<RawValue>>,
    /// `catalogId`.
    pub catalog_id: Option<Box<RawValue>>,
    /// `productRetailerId`.
    pub product_retailer_id: Option<Box<RawValue>>,
    /// `referral`.
    pub referral: Option<Box<RawValue>>,
    /// `messageInformation`.
    pub message_information: Option<Box<RawValue>>,
    /// `isDeleted`: the customer deleted the message.
    pub is_deleted: Option<bool>,
}

/// One `eventInfo` of a status.
pub struct StatusInfo {
    /// What every `eventInfo` has.
    pub common: MessageInfo,
    /// `callbackData`: a string that holds JSON, or an object, as it came.
    pub callback_data: Option<Box<RawValue>>,
}

/// A subscribed event (BIK §3).
pub struct Subscribed {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerId`, opaque.
    pub customer_id: Option<String>,
    /// `primaryCustomerId`, opaque.
    pub primary_customer_id: Option<String>,
    /// `eventProperties`, as it came.
    pub properties: Option<Box<RawValue>>,
    /// `eventSource`.
    pub event_source: Option<String>,
    /// `createdAt`, as it came.
    pub created_at: Option<String>,
    /// `createdAt`, where it is a time.
    pub created: Option<Timestamp>,
    /// `timestamp`, as it came.
    pub timestamp: Option<String>,
    /// `channel`.
    pub channel: Option<Channel>,
    /// `messageId`.
    pub message_id: Option<String>,
    /// `broadcastId`, opaque.
    pub broadcast_id: Option<String>,
    /// `assets`.
    pub assets: Vec<String>,
}

/// Any other event.
pub struct Other {
    /// `storeId`.
    pub store_id: Option<String>,
    /// `customerDetails`.
    pub customer: Customer,
    /// `eventInfo`, where it is an object or a list of them: the fields that messages have.
    pub infos: Vec<MessageInfo>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Incoming(_) => "Incoming",
            Self::Status(_) => "Status",
            Self::Subscribed(_) => "Subscribed",
            Self::Other(_) => "Other",
        })
    }
}

impl View {
    /// Each `eventInfo`, as far as all kinds of messages share it.
    pub fn infos(&self) -> impl Iterator<Item = &MessageInfo> {
        let (incoming, statuses, others) = match self {
            Self::Incoming(view) => (view.infos.as_slice(), [].as_slice(), [].as_slice()),
            Self::Status(view) => ([].as_slice(), view.infos.as_slice(), [].as_slice()),
            Self::Other(view) => ([].as_slice(), [].as_slice(), view.infos.as_slice()),
            Self::Subscribed(_) => ([].as_slice(), [].as_slice(), [].as_slice()),
        };
        incoming.iter().map(|info| &info.common).chain(statuses.iter().map(|info| &info.common)).chain(others)
    }

    /// The statuses of all infos.
    pub fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.infos().filter_map(|info| info.status.as_ref())
    }

    /// The owners of all infos.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.infos().filter_map(|info| info.owner.as_ref())
    }

    /// The channels of all infos, or of a subscribed event.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let subscribed = match self {
            Self::Subscribed(view) => view.channel.as_ref(),
            _ => None,
        };
        self.infos().filter_map(|info| info.channel.as_ref()).chain(subscribed)
    }

    /// `storeId`.
    pub fn store_id(&self) -> Option<&str> {
        match self {
            Self::Incoming(view) => view.store_id.as_deref(),
            Self::Status(view) => view.store_id.as_deref(),
            Self::Subscribed(view) => view.store_id.as_deref(),
            Self::Other(view) => view.store_id.as_deref(),
        }
    }

    /// The first `messageId`: what the event is ordered by.
    pub fn message_id(&self) -> Option<&str> {
        match self {
            Self::Subscribed(view) => view.message_id.as_deref(),
            _ => self.infos().find_map(|info| info.message_id.as_deref()),
        }
    }
}

/// Names of the fields that every `eventInfo` may have; the first [`COMMON`] of each longer list.
const COMMON: usize = 12;
const MESSAGE: [&str; COMMON] = [
    "messageId",
    "createdAt",
    "channelId",
    "status",
    "message",
    "owner",
    "ownerId",
    "assetValue",
    "failureReason",
    "agentName",
    "agentEmailId",
    "ticketId",
];
const STATUS: [&str; COMMON + 1] = extended(["callbackData"]);
const INCOMING: [&str; COMMON + 15] = extended([
    "type",
    "mediaType",
    "header",
    "footer",
    "buttons",
    "body",
    "media",
    "options",
    "location",
    "order",
    "catalogId",
    "productRetailerId",
    "referral",
    "messageInformation",
    "isDeleted",
]);

const fn extended<const MORE: usize, const ALL: usize>(more: [&'static str; MORE]) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < COMMON { MESSAGE[at] } else { more[at - COMMON] };
        at += 1;
    }
    all
}

impl Customer {
    /// Reads `customerDetails`.
    pub(super) fn read(reader: &mut Reader, field: Option<&RawValue>) -> Self {
        let [id, first_name, last_name] = reader.object(field, &["customerId", "firstName", "lastName"]);
        Self { id: reader.id(id), first_name: reader.text(first_name), last_name: reader.text(last_name) }
    }
}

impl MessageInfo {
    /// Reads one `eventInfo`.
    pub(super) fn read(reader: &mut Reader, info: &RawValue) -> Self {
        let fields = reader.object(Some(info), &MESSAGE);
        Self::from_fields(reader, &fields)
    }

    fn from_fields(reader: &mut Reader, fields: &[Option<&RawValue>]) -> Self {
        let [
            message_id,
            created_at,
            channel,
            status,
            message,
            owner,
            owner_id,
            asset_value,
            failure_reason,
            agent_name,
            agent_email_id,
            ticket_id,
            ..,
        ] = fields
        else {
            return Self::default();
        };
        let created_at = reader.text(*created_at);
        Self {
            message_id: reader.id(*message_id),
            created: time(created_at.as_deref()),
            created_at,
            channel: reader.word(*channel).map(|word| Channel::new(&word)),
            status: reader.word(*status).map(|word| Status::new(&word)),
            message: reader.text(*message),
            owner: reader.word(*owner).map(|word| Owner::new(&word)),
            owner_id: reader.id(*owner_id),
            asset_value: reader.text(*asset_value),
            failure_reason: reader.text(*failure_reason),
            agent_name: reader.text(*agent_name),
            agent_email_id: reader.text(*agent_email_id),
            ticket_id: reader.id(*ticket_id),
        }
    }
}

impl StatusInfo {
    /// Reads one `eventInfo`.
    pub(super) fn read(reader: &mut Reader, info: &RawValue) -> Self {
        let fields = reader.object(Some(info), &STATUS);
        Self { common: MessageInfo::from_fields(reader, &fields), callback_data: reader.raw(fields[COMMON]) }
    }
}

impl IncomingInfo {
    /// Reads one `eventInfo`.
    pub(super) fn read(reader: &mut Reader, info: &RawValue) -> Self {
        let fields = reader.object(Some(info), &INCOMING);
        let mut next = fields[COMMON..].iter().copied();
        let mut raw = || next.next().flatten();
        Self {
            common: MessageInfo::from_fields(reader, &fields),
            kind: reader.raw(raw()),
            media_type: reader.raw(raw()),
            header: reader.raw(raw()),
            footer: reader.raw(raw()),
            buttons: reader.raw(raw()),
            body: reader.raw(raw()),
            media: reader.raw(raw()),
            options: reader.raw(raw()),
            location: reader.raw(raw()),
            order: reader.raw(raw()),
            catalog_id: reader.raw(raw()),
            product_retailer_id: reader.raw(raw()),
            referral: reader.raw(raw()),
            message_information: reader.raw(raw()),
            is_deleted: reader.flag(raw()),
        }
    }
}

/// A time as BIK writes it: RFC 3339.
pub(super) fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}
