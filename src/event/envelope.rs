//! The fields of the objects in BIK §2 and §3, and the view, id and key that follow from them.
//!
//! An object is read once, into slots of raw JSON that borrow from the element. A slot is parsed as the expected type
//! when it is needed. So a wrong type or an unknown shape loses one field and never the event. If a key is duplicated,
//! the last one counts.

use std::borrow::Cow;

use super::{
    digest::Key,
    field::{self, Field, Reader},
    scan::{self, Scanner, Slots},
    view::{
        Customer, IncomingInfo, IncomingMessage, Other, OtherInfo, Raw, StatusInfo, StatusUpdate, Subscribed,
        View,
    },
};

pub(super) const INCOMING_MESSAGE: &str = "incoming-message";
const MESSAGE_STATUS_UPDATE: &str = "message-status-update";

/// The view and the key of an event use at most this many `eventInfo`; every sample has one. The bytes keep all of
/// them.
const INFOS_MAX: usize = 1_000;

/// Declares an object with slots for its fields. A field that holds another such object has two slots: the raw JSON,
/// and the parsed object.
macro_rules! slots {
    ($(#[$doc:meta])* $visibility:vis struct $object:ident {
        $($field:ident = $name:literal $(with $inside:ident: $Inside:ident)?,)*
    }) => {
        $(#[$doc])*
        #[derive(Default)]
        $visibility struct $object<'a> {
            /// The whole object, as raw JSON.
            raw: &'a str,
            $($field: Field<'a>, $($inside: Option<$Inside<'a>>,)?)*
        }

        impl<'a> Slots<'a> for $object<'a> {
            fn field(&mut self, name: &str, scanner: &mut Scanner<'a>) -> Option<&'a str> {
                match name {
                    $($name => {
                        let start = scanner.at();
                        $(
                            self.$inside = None;
                            if scanner.is_at_object() {
                                scanner.object(self.$inside.insert($Inside::default()))?;
                            }
                        )?
                        let raw = if scanner.at() > start { scanner.since(start) } else { scanner.value() };
                        self.$field = raw;
                        raw
                    })*
                    _ => scanner.value(),
                }
            }

            fn whole(&mut self, raw: &'a str) {
                self.raw = raw;
            }
        }
    };
}

slots! {
    /// An element of either envelope.
    pub(super) struct Envelope {
        event_name = "eventName",
        event_info = "eventInfo" with info: Info,
        store_id = "storeId",
        customer_details = "customerDetails" with customer: Details,
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
    /// An `eventInfo` of any event.
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
    /// The object `customerDetails`.
    struct Details {
        first_name = "firstName",
        last_name = "lastName",
        customer_id = "customerId",
    }
}

impl<'a> Envelope<'a> {
    /// Returns `eventName` if it is a non-empty string; else a description of the error.
    pub(super) fn name(&self) -> Result<Cow<'a, str>, &'static str> {
        match field::filled(self.event_name) {
            Ok(Some(name)) => Ok(name),
            Ok(None) => Err("eventName is missing, null or empty"),
            Err(field::WrongType) => Err("eventName is not a string"),
        }
    }

    /// Returns the `id`, or the `eventId` of a subscribed event.
    pub(super) fn id(&self) -> Option<Cow<'a, str>> {
        known(field::id(if self.is_subscribed() { self.event_id } else { self.id }))
    }

    /// Computes the key (BIK T6). `raw` are the element's bytes as they were received.
    pub(super) fn key(&self, source: &str, name: &str, raw: &str) -> Key {
        match self.id() {
            Some(event_id) if self.is_subscribed() => match known(field::filled(self.created_at)) {
                Some(created_at) => Key::of_subscribed(source, name, &event_id, &created_at),
                None => Key::of_bytes(source, raw),
            },
            Some(id) => {
                let infos = self.infos(&mut Reader::default());
                let parts = infos.iter().map(|info| (info.message_id(), info.status_text()));
                Key::of_message(source, name, &id, parts)
            }
            None => Key::of_bytes(source, raw),
        }
    }

    /// Returns the first `messageId`.
    pub(super) fn message_id(&self) -> Option<Cow<'a, str>> {
        let beside = || known(field::id(self.message_id));
        if self.is_subscribed() {
            return beside();
        }
        let infos = self.infos(&mut Reader::default());
        infos.iter().find_map(Info::message_id).or_else(beside)
    }

    /// Returns the typed view. The reader counts the fields with a wrong type.
    pub(super) fn view(&self, name: &str, reader: &mut Reader) -> View<'a> {
        if self.is_subscribed() {
            return View::Subscribed(Box::new(self.subscribed(reader)));
        }
        // No view contains the id, but a wrong type of it counts.
        reader.id(self.id);
        let store_id = reader.id(self.store_id);
        let customer = self.customer(reader);
        let callback_data = || field::raw(self.callback_data);
        let found = self.infos(reader);
        let infos = found.iter();
        match name {
            INCOMING_MESSAGE => {
                let infos = infos.map(|info| info.incoming(reader)).collect();
                View::Incoming(IncomingMessage { store_id, customer, infos })
            }
            MESSAGE_STATUS_UPDATE => {
                let infos = infos.map(|info| info.status(reader)).collect();
                View::Status(StatusUpdate { store_id, customer, callback_data: callback_data(), infos })
            }
            _ => {
                let infos = infos.map(|info| info.other(reader)).collect();
                View::Other(Other { store_id, customer, callback_data: callback_data(), infos })
            }
        }
    }

    /// Returns whether the element has envelope B (BIK §3).
    fn is_subscribed(&self) -> bool {
        field::present(self.event_info).is_none()
            && [self.event_properties, self.event_id, self.event_source]
                .into_iter()
                .any(|slot| field::present(slot).is_some())
    }

    fn subscribed(&self, reader: &mut Reader) -> Subscribed<'a> {
        Subscribed {
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
        }
    }

    fn customer(&self, reader: &mut Reader) -> Customer<'a> {
        let Some(details) = &self.customer else {
            let other = field::present(self.customer_details).map(|_no_object| Err(field::WrongType));
            return reader.checked(other.transpose()).unwrap_or_default();
        };
        Customer {
            first_name: reader.text(details.first_name),
            last_name: reader.text(details.last_name),
            customer_id: reader.id(details.customer_id),
        }
    }

    /// Returns the `eventInfo`: one object, or those of an array up to [`INFOS_MAX`].
    fn infos(&self, reader: &mut Reader) -> Infos<'_, 'a> {
        match &self.info {
            Some(info) => Infos::One(info),
            None => {
                let several = reader.objects(self.event_info).into_iter().take(INFOS_MAX);
                Infos::Several(several.filter_map(scan::whole).map(|info| *info).collect())
            }
        }
    }
}

enum Infos<'e, 'a> {
    One(&'e Info<'a>),
    Several(Vec<Info<'a>>),
}

impl<'a> Infos<'_, 'a> {
    fn iter(&self) -> impl Iterator<Item = &Info<'a>> {
        match self {
            Self::One(info) => std::slice::from_ref(*info),
            Self::Several(infos) => infos,
        }
        .iter()
    }
}

/// Treats a field of a wrong type as missing.
fn known<T>(read: Result<Option<T>, field::WrongType>) -> Option<T> {
    read.ok().flatten()
}

impl<'a> Info<'a> {
    fn message_id(&self) -> Option<Cow<'a, str>> {
        known(field::id(self.message_id))
    }

    /// Returns the status as it was received, not in canonical form: a key must not change when a word becomes known.
    fn status_text(&self) -> Option<Cow<'a, str>> {
        known(field::filled(self.status))
    }

    fn incoming(&self, reader: &mut Reader) -> IncomingInfo<'a> {
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

    fn status(&self, reader: &mut Reader) -> StatusInfo<'a> {
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

    fn other(&self, reader: &mut Reader) -> OtherInfo<'a> {
        OtherInfo {
            message_id: reader.id(self.message_id),
            created_at: reader.time(self.created_at),
            channel: reader.word(self.channel_id),
            status: reader.word(self.status),
            owner: reader.word(self.owner),
            callback_data: field::raw(self.callback_data),
            raw: Raw(self.raw),
        }
    }
}
