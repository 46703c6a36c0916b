//! Computes the view, the id and the key of an element from the fields of its objects (BIK §2 and §3).
//!
//! An object is read once, into slots of raw JSON that borrow from the element. A slot is parsed as the expected type
//! when it is needed. So a wrong type or an unknown shape loses one field and never the event. If a field name is
//! duplicated, the last field counts.

use std::borrow::Cow;

use super::{
    digest::Key,
    field::{self, Reader, known},
    info::{InfoSlots, ViewFields},
    scan,
    view::{Customer, Envelope, Message, View},
};

pub(super) const INCOMING_MESSAGE: &str = "incoming-message";
const MESSAGE_STATUS_UPDATE: &str = "message-status-update";

/// The view and the key of an event use at most this many infos. No sample of BIK has more than one. The bytes of the
/// element keep all infos.
const INFOS_MAX: usize = 1_000;

impl<'a> Envelope<'a> {
    /// Returns `eventName` if it is a non-empty string; else a description of the error.
    pub(super) fn name(&self) -> Result<Cow<'a, str>, &'static str> {
        match field::filled(self.event_name) {
            Ok(Some(name)) => Ok(name),
            Ok(None) => Err("eventName is missing, null or empty"),
            Err(field::WrongType) => Err("eventName is not a string"),
        }
    }

    /// Returns the `id`, or the `eventId` of a subscribed event (BIK §3).
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

    /// Returns the first `messageId` inside `eventInfo`. If there is none, returns the element's own `messageId`. A
    /// subscribed event has no `eventInfo`, so only its own `messageId` counts.
    pub(super) fn message_id(&self) -> Option<Cow<'a, str>> {
        let beside = || known(field::id(self.message_id));
        if self.is_subscribed() {
            return beside();
        }
        let infos = self.infos(&mut Reader::default());
        infos.iter().find_map(InfoSlots::message_id).or_else(beside)
    }

    /// Returns the typed view. The reader counts the fields with a wrong type.
    pub(super) fn view(&self, name: &str, reader: &mut Reader) -> View<'a> {
        if self.is_subscribed() {
            return View::Subscribed(self.read(ViewFields::Common, reader).unwrap_or_default().into());
        }
        // No view contains the id, but an id of a wrong type counts as a warning.
        reader.id(self.id);
        let (fields, view): (_, fn(Message<'a>) -> View<'a>) = match name {
            INCOMING_MESSAGE => (ViewFields::Incoming, View::Incoming),
            MESSAGE_STATUS_UPDATE => (ViewFields::Message, View::Status),
            _ => (ViewFields::Common, View::Other),
        };
        view(Message {
            store_id: reader.id(self.store_id),
            customer: self.customer(reader),
            callback_data: reader.raw(self.callback_data),
            infos: self.infos(reader).iter().filter_map(|info| info.read(fields, reader)).collect(),
        })
    }

    /// Returns whether the element is a subscribed event, which has envelope B (BIK §3).
    fn is_subscribed(&self) -> bool {
        field::present(self.event_info).is_none()
            && [self.properties, self.event_id, self.event_source]
                .into_iter()
                .any(|slot| field::present(slot).is_some())
    }

    fn customer(&self, reader: &mut Reader) -> Customer<'a> {
        match &self.customer {
            Some(details) => details.read(ViewFields::Common, reader),
            None => {
                let other = field::present(self.customer_details).map(|_no_object| Err(field::WrongType));
                reader.checked(other.transpose())
            }
        }
        .unwrap_or_default()
    }

    /// Returns the infos. `eventInfo` is one object or an array; of an array, the first [`INFOS_MAX`] objects are used.
    fn infos(&self, reader: &mut Reader) -> Cow<'_, [InfoSlots<'a>]> {
        match &self.info {
            Some(info) => Cow::Borrowed(std::slice::from_ref(info)),
            None => {
                let several = reader.objects(self.event_info).into_iter().take(INFOS_MAX);
                several.filter_map(scan::whole).map(|info| *info).collect()
            }
        }
    }
}
