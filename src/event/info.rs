//! One info of an event (BIK §2). The only list of its fields is the call of the macro `object!` below. It has one line
//! for each field, with the type and the name in JSON.

use std::borrow::Cow;

use super::{
    field::{self, Field, Reader},
    scan::{Scanner, Slots},
    sent::{Raw, Stamp},
    words::{Channel, Owner, Status},
};

/// Which fields of an object are read. Each variant includes the ones before it.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum ViewFields {
    /// The fields that an event of any name can have.
    Common,
    /// Also the fields of a message or a status.
    Message,
    /// Also the fields of a message from a customer.
    Incoming,
}

/// Declares an object of an event: its slots of raw JSON, its typed view, and how each field is read. Every field has
/// a slot. The block of `slots` lists the fields that are not in the view. In that block, `with` marks a field whose
/// value is another declared object. Such a field has two slots: the raw JSON, and the parsed object. After the view's
/// name, `with` adds the whole object as raw JSON.
macro_rules! object {
    (
        $(#[$slots_doc:meta])*
        slots $slots:ident {
            $($slot:ident = $slot_name:literal $(with $inside:ident: $Inside:ident)?,)*
        }

        $(#[$doc:meta])*
        pub struct $view:ident<$a:lifetime> $(with $raw:ident)? {
            $($fields:ident {
                $($(#[$field_doc:meta])* $field:ident: $type:ty = $read:ident $name:literal,)*
            })*
        }
    ) => {
        $(#[$slots_doc])*
        #[derive(Clone, Default)]
        pub(super) struct $slots<$a> {
            $(pub(super) $slot: Field<$a>, $(pub(super) $inside: Option<$Inside<$a>>,)?)*
            $($(pub(super) $field: Field<$a>,)*)*
            $($raw: &$a str,)?
        }

        impl<$a> Slots<$a> for $slots<$a> {
            fn field(&mut self, name: &str, scanner: &mut Scanner<$a>) -> Option<&$a str> {
                match name {
                    $($slot_name => {
                        let start = scanner.at();
                        $(
                            self.$inside = None;
                            if scanner.is_at_object() {
                                scanner.object(self.$inside.insert($Inside::default()))?;
                            }
                        )?
                        self.$slot = if scanner.at() > start { scanner.since(start) } else { scanner.value() };
                        self.$slot
                    })*
                    $($($name => {
                        self.$field = scanner.value();
                        self.$field
                    })*)*
                    _ => scanner.value(),
                }
            }

            $(fn whole(&mut self, raw: &$a str) {
                self.$raw = raw;
            })?
        }

        $(#[$doc])*
        #[derive(Default)]
        pub struct $view<$a> {
            $($($(#[$field_doc])* pub $field: $type,)*)*
            $(
                /// The whole object, as raw JSON.
                pub $raw: Raw<$a>,
            )?
        }

        impl<$a> $slots<$a> {
            /// Returns the typed view. The reader counts the fields with a wrong type. If it only counts, the result is
            /// `None`, so that no large view is built for nothing.
            pub(super) fn read(&self, fields: ViewFields, reader: &mut Reader) -> Option<$view<$a>> {
                if reader.only_counts {
                    $($(let _: $type = reader.$read(self.$field.filter(|_| fields >= ViewFields::$fields));)*)*
                    return None;
                }
                Some($view {
                    $($($field: reader.$read(self.$field.filter(|_| fields >= ViewFields::$fields)),)*)*
                    $($raw: Raw(self.$raw),)?
                })
            }
        }
    };
}
pub(super) use object;

object! {
    /// One info of an event of any name.
    slots InfoSlots {}

    /// One info. The event's name decides which fields are read. The others are `None`.
    pub struct Info<'a> with raw {
        Common {
            /// `messageId`; on WhatsApp it contains the customer's phone number.
            message_id: Option<Cow<'a, str>> = id "messageId",
            /// `createdAt`, a time in UTC. In BIK's samples it is the same for all statuses of a message, so never
            /// order statuses by it.
            created_at: Option<Stamp<'a>> = time "createdAt",
            /// `channelId`, the channel of the message.
            channel: Option<Channel> = word "channelId",
            /// `status`: the new status of the message. BIK's sample of an incoming message has `""`, which gives
            /// `None`.
            status: Option<Status> = word "status",
            /// `owner`: who sent the message. BIK's sample of an incoming message has `""`, which gives `None`.
            owner: Option<Owner> = word "owner",
            /// `callbackData` in `eventInfo`; raw, because it is a string or an object.
            callback_data: Option<Raw<'a>> = raw "callbackData",
        }
        Message {
            /// `message`, the text of the message; repeated in each status.
            message: Option<Cow<'a, str>> = text "message",
            /// `failureReason`: free text in BIK's sample. A code, or an object with a code and a title, becomes a
            /// text.
            failure_reason: Option<Cow<'a, str>> = reason "failureReason",
            /// `ownerId`: the broadcast, automation or agent that sent the message.
            owner_id: Option<Cow<'a, str>> = id "ownerId",
            /// `assetValue`: the customer's address on the channel (phone number, e-mail address or opaque id).
            asset_value: Option<Cow<'a, str>> = id "assetValue",
            /// `agentName`; in newer payloads only.
            agent_name: Option<Cow<'a, str>> = text "agentName",
            /// `agentEmailId`; in newer payloads only.
            agent_email_id: Option<Cow<'a, str>> = text "agentEmailId",
            /// `ticketId`; in newer payloads only.
            ticket_id: Option<Cow<'a, str>> = id "ticketId",
        }
        Incoming {
            /// `type`; raw, shape not documented.
            kind: Option<Raw<'a>> = raw "type",
            /// `mediaType`; raw, shape not documented.
            media_type: Option<Raw<'a>> = raw "mediaType",
            /// `header`; raw, shape not documented.
            header: Option<Raw<'a>> = raw "header",
            /// `footer`; raw, shape not documented.
            footer: Option<Raw<'a>> = raw "footer",
            /// `buttons`; raw, shape not documented.
            buttons: Option<Raw<'a>> = raw "buttons",
            /// `body`; raw, shape not documented.
            body: Option<Raw<'a>> = raw "body",
            /// `media`; raw, shape not documented.
            media: Option<Raw<'a>> = raw "media",
            /// `options`; raw, shape not documented.
            options: Option<Raw<'a>> = raw "options",
            /// `location`; raw, shape not documented.
            location: Option<Raw<'a>> = raw "location",
            /// `isDeleted`: the customer deleted the message.
            is_deleted: Option<bool> = flag "isDeleted",
            /// `isEdited`: the customer edited the message; in edited messages only.
            is_edited: Option<bool> = flag "isEdited",
            /// `order`; raw, shape not documented.
            order: Option<Raw<'a>> = raw "order",
            /// `catalogId`; raw, shape not documented.
            catalog_id: Option<Raw<'a>> = raw "catalogId",
            /// `productRetailerId`; raw, shape not documented.
            product_retailer_id: Option<Raw<'a>> = raw "productRetailerId",
            /// `referral`; raw, shape not documented.
            referral: Option<Raw<'a>> = raw "referral",
            /// `messageInformation`; raw, shape not documented.
            message_information: Option<Raw<'a>> = raw "messageInformation",
        }
    }
}

impl<'a> InfoSlots<'a> {
    pub(super) fn message_id(&self) -> Option<Cow<'a, str>> {
        field::known(field::id(self.message_id))
    }

    /// Returns the status as it was received, not in canonical form. The status is part of the key, which must never
    /// change. The canonical form can change: a later version of bikhook may know a status that is unknown now.
    pub(super) fn status_text(&self) -> Option<Cow<'a, str>> {
        field::known(field::filled(self.status))
    }
}
