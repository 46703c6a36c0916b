//! The objects of BIK §2 and §3, field by field: which field has which name, and what view, id and key they make.
//!
//! An object is read once, into slots of raw JSON that borrow from the element; a slot is read when it is needed, as
//! the type that it should have. So a wrong type or an unknown shape costs a field and never an event, and of duplicate
//! keys the last counts.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    digest::{Key, OrderKey},
    field::{self, Field, Reader},
    view::{
        Customer, IncomingInfo, IncomingMessage, Other, OtherInfo, StatusInfo, StatusUpdate, Subscribed, View,
    },
};

pub(super) const INCOMING_MESSAGE: &str = "incoming-message";
const MESSAGE_STATUS_UPDATE: &str = "message-status-update";

/// An object whose fields have slots.
trait Slots<'a>: Default {
    /// The slot of a field; `None` for a field that nobody reads.
    fn slot(&mut self, name: &str) -> Option<&mut Field<'a>>;
}

macro_rules! slots {
    ($(#[$doc:meta])* $visibility:vis struct $object:ident { $($field:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        $visibility struct $object<'a> {
            $($field: Field<'a>,)*
        }

        impl<'a> Slots<'a> for $object<'a> {
            fn slot(&mut self, name: &str) -> Option<&mut Field<'a>> {
                match name {
                    $($name => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

slots! {
    /// An element, of either envelope.
    pub(super) struct Envelope {
        event_name = "eventName",
        event_info = "eventInfo",
        store_id = "storeId",
        customer_details = "customerDetails",
        id = "id",
        callback_data = "callbackData",
        event_id = "eventId",
        event_properties = "eventProperties",
        event_source = "eventSource",
        created_at = "createdAt",
        timestamp = "timestamp",
        customer_id = "customerId",
        primary_customer_id = "primaryCustomerId",
        channel = "channel",
        message_id = "messageId",
        broadcast_id = "broadcastId",
        assets = "assets",
    }
}

slots! {
    /// An `eventInfo`, of any event.
    struct Info {
        message_id = "messageId",
        created_at = "createdAt",
        channel_id = "channelId",
        status = "status",
        kind = "type",
        message = "message",
        media_type = "mediaType",
        header = "header",
        footer = "footer",
        buttons = "buttons",
        body = "body",
        media = "media",
        options = "options",
        location = "location",
        is_deleted = "isDeleted",
        order = "order",
        catalog_id = "catalogId",
        product_retailer_id = "productRetailerId",
        referral = "referral",
        message_information = "messageInformation",
        failure_reason = "failureReason",
        owner = "owner",
        owner_id = "ownerId",
        asset_value = "assetValue",
        agent_name = "agentName",
        agent_email_id = "agentEmailId",
        ticket_id = "ticketId",
        callback_data = "callbackData",
    }
}

slots! {
    /// `customerDetails`.
    struct Details {
        first_name = "firstName",
        last_name = "lastName",
        customer_id = "customerId",
    }
}

/// What an element says, and what follows from it.
pub(super) struct Meaning {
    pub(super) id: Option<Box<str>>,
    pub(super) view: View,
    pub(super) key: Key,
    pub(super) order_key: Option<OrderKey>,
    /// How many optional fields had a wrong type.
    pub(super) warnings: u32,
}

impl<'a> Envelope<'a> {
    /// Reads the slots of an object; the whole text is checked to be strict JSON.
    pub(super) fn read(text: &'a str) -> serde_json::Result<Self> {
        object(text)
    }

    /// `eventName`, where it is a non-empty string; else what is wrong with it.
    pub(super) fn name(&self) -> Result<Cow<'a, str>, &'static str> {
        match field::filled(self.event_name) {
            Ok(Some(name)) => Ok(name),
            Ok(None) => Err("eventName is missing, null or empty"),
            Err(field::WrongType) => Err("eventName is not a string"),
        }
    }

    /// What the element says; `raw` are its bytes as they came.
    pub(super) fn meaning(&self, source: &str, name: &str, raw: &str) -> Meaning {
        if self.is_subscribed() {
            self.subscribed(source, name, raw)
        } else {
            self.message(source, name, raw)
        }
    }

    /// Envelope B.
    fn is_subscribed(&self) -> bool {
        field::present(self.event_info).is_none()
            && [self.event_properties, self.event_id, self.event_source]
                .into_iter()
                .any(|slot| field::present(slot).is_some())
    }

    fn subscribed(&self, source: &str, name: &str, raw: &str) -> Meaning {
        let mut reader = Reader::default();
        let view = Subscribed {
            store_id: reader.id(self.store_id),
            customer_id: reader.id(self.customer_id),
            primary_customer_id: reader.id(self.primary_customer_id),
            event_id: reader.id(self.event_id),
            event_source: reader.text(self.event_source),
            created_at: reader.time(self.created_at),
            timestamp: reader.time(self.timestamp),
            channel: reader.word(self.channel),
            message_id: reader.id(self.message_id),
            broadcast_id: reader.id(self.broadcast_id),
            assets: reader.texts(self.assets),
            properties: field::raw(self.event_properties),
        };
        let key = match (&view.event_id, &view.created_at) {
            (Some(event_id), Some(created_at)) => {
                Key::of_subscribed(source, name, event_id, &created_at.text)
            }
            _ => Key::of_bytes(source, raw),
        };
        Meaning {
            id: view.event_id.as_deref().map(Box::from),
            key,
            order_key: view.message_id.as_deref().map(|id| OrderKey::of(source, id)),
            view: View::Subscribed(Box::new(view)),
            warnings: reader.warnings,
        }
    }

    /// Envelope A, and whatever is neither.
    fn message(&self, source: &str, name: &str, raw: &str) -> Meaning {
        let mut reader = Reader::default();
        let mut parts = Vec::new();
        let id = reader.checked(field::id(self.id));
        let view = self.message_view(&mut reader, &mut parts, name);
        let key = match &id {
            Some(id) => Key::of_message(source, name, id, parts.iter().map(Part::texts)),
            None => Key::of_bytes(source, raw),
        };
        let top = field::id(self.message_id).ok().flatten();
        let message_id = parts.into_iter().find_map(|part| part.message_id).or(top);
        Meaning {
            id: id.map(Box::from),
            view,
            key,
            order_key: message_id.map(|id| OrderKey::of(source, &id)),
            warnings: reader.warnings,
        }
    }

    fn message_view(&self, reader: &mut Reader, parts: &mut Vec<Part<'a>>, name: &str) -> View {
        let store_id = reader.id(self.store_id);
        let customer = customer(reader, self.customer_details);
        let callback_data = || field::raw(self.callback_data);
        match name {
            INCOMING_MESSAGE => {
                let infos = self.infos(reader, parts, |reader, info, _raw| info.incoming(reader));
                View::Incoming(IncomingMessage { store_id, customer, infos })
            }
            MESSAGE_STATUS_UPDATE => {
                let infos = self.infos(reader, parts, |reader, info, _raw| info.status(reader));
                View::Status(StatusUpdate { store_id, customer, callback_data: callback_data(), infos })
            }
            _ => {
                let infos = self.infos(reader, parts, |reader, info, raw| info.other(reader, raw));
                View::Other(Other { store_id, customer, callback_data: callback_data(), infos })
            }
        }
    }

    /// `eventInfo`, each as it is wanted; its part in the key goes to `parts`.
    fn infos<T>(
        &self,
        reader: &mut Reader,
        parts: &mut Vec<Part<'a>>,
        wanted: impl Fn(&mut Reader, &Info<'a>, &RawValue) -> T,
    ) -> Vec<T> {
        let mut infos = Vec::new();
        for raw in reader.objects(self.event_info) {
            let info = object(raw.get()).map(Some).map_err(|_no_object| field::WrongType);
            if let Some(info) = reader.checked(info) {
                parts.push(Part::of(&info));
                infos.push(wanted(reader, &info, raw));
            }
        }
        infos
    }
}

/// What an `eventInfo` gives to the key (T6). The words are as they came, not canonical: a key must not change when a
/// word becomes known.
struct Part<'a> {
    message_id: Option<Cow<'a, str>>,
    status: Option<Cow<'a, str>>,
}

impl<'a> Part<'a> {
    fn of(info: &Info<'a>) -> Self {
        Self {
            message_id: field::id(info.message_id).ok().flatten(),
            status: field::filled(info.status).ok().flatten(),
        }
    }

    fn texts(&self) -> (Option<&str>, Option<&str>) {
        (self.message_id.as_deref(), self.status.as_deref())
    }
}

impl Info<'_> {
    fn incoming(&self, reader: &mut Reader) -> IncomingInfo {
        IncomingInfo {
            message_id: reader.id(self.message_id),
            created_at: reader.time(self.created_at),
            channel: reader.word(self.channel_id),
            status: reader.word(self.status),
            kind: field::raw(self.kind),
            message: reader.text(self.message),
            media_type: field::raw(self.media_type),
            header: field::raw(self.header),
            footer: field::raw(self.footer),
            buttons: field::raw(self.buttons),
            body: field::raw(self.body),
            media: field::raw(self.media),
            options: field::raw(self.options),
            location: field::raw(self.location),
            is_deleted: reader.flag(self.is_deleted),
            order: field::raw(self.order),
            catalog_id: field::raw(self.catalog_id),
            product_retailer_id: field::raw(self.product_retailer_id),
            referral: field::raw(self.referral),
            message_information: field::raw(self.message_information),
            failure_reason: reader.text(self.failure_reason),
            owner: reader.word(self.owner),
            owner_id: reader.id(self.owner_id),
            asset_value: reader.id(self.asset_value),
            agent_name: reader.text(self.agent_name),
            agent_email_id: reader.text(self.agent_email_id),
            ticket_id: reader.id(self.ticket_id),
        }
    }

    fn status(&self, reader: &mut Reader) -> StatusInfo {
        StatusInfo {
            message_id: reader.id(self.message_id),
            created_at: reader.time(self.created_at),
            channel: reader.word(self.channel_id),
            status: reader.word(self.status),
            message: reader.text(self.message),
            owner: reader.word(self.owner),
            owner_id: reader.id(self.owner_id),
            asset_value: reader.id(self.asset_value),
            failure_reason: reader.text(self.failure_reason),
            agent_name: reader.text(self.agent_name),
            agent_email_id: reader.text(self.agent_email_id),
            ticket_id: reader.id(self.ticket_id),
            callback_data: field::raw(self.callback_data),
        }
    }

    fn other(&self, reader: &mut Reader, raw: &RawValue) -> OtherInfo {
        OtherInfo {
            message_id: reader.id(self.message_id),
            created_at: reader.time(self.created_at),
            channel: reader.word(self.channel_id),
            status: reader.word(self.status),
            owner: reader.word(self.owner),
            callback_data: field::raw(self.callback_data),
            raw: raw.to_owned(),
        }
    }
}

fn customer(reader: &mut Reader, slot: Field<'_>) -> Customer {
    let details = field::present(slot).map(|raw| object(raw.get()).map_err(|_no_object| field::WrongType));
    let details: Details<'_> = reader.checked(details.transpose()).unwrap_or_default();
    Customer {
        first_name: reader.text(details.first_name),
        last_name: reader.text(details.last_name),
        customer_id: reader.id(details.customer_id),
    }
}

fn object<'a, O: Slots<'a>>(text: &'a str) -> serde_json::Result<O> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let object = deserializer.deserialize_map(SlotsVisitor(PhantomData))?;
    deserializer.end()?;
    Ok(object)
}

struct SlotsVisitor<O>(PhantomData<O>);

impl<'de, O: Slots<'de>> Visitor<'de> for SlotsVisitor<O> {
    type Value = O;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<O, A::Error> {
        let mut object = O::default();
        // Keys are taken raw too: serde_json refuses a lone surrogate in a key that it is to read as text.
        while let Some(key) = map.next_key::<&RawValue>()? {
            match field::unquoted(key).and_then(|name| object.slot(&name)) {
                Some(slot) => *slot = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(object)
    }
}
