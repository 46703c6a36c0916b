//! The customer and the sender of a message, as shown in tables.

use crate::admin::redaction::Redaction;
use crate::insight::{
    PublicId,
    ask::{Contact, MessageRow},
};

/// The number of digits of a customer's id that are shown.
const SHOWN_DIGITS: usize = 6;

/// A customer, shown as a link to the conversation if `contact` is known.
pub(super) struct Person {
    /// The public id of the customer; `None` if the customer is unknown.
    pub(super) contact: Option<PublicId>,
    /// Name and address, masked unless personal data is shown.
    pub(super) text: String,
}

impl Person {
    /// The customer who sent or received a message.
    pub(super) fn of_message(message: &MessageRow, redaction: Redaction) -> Self {
        Self {
            contact: message.contact,
            text: text(message.name.as_deref(), message.address.as_deref(), message.contact, redaction),
        }
    }

    /// The customer that a [`Contact`] describes.
    pub(super) fn of_contact(contact: &Contact, redaction: Redaction) -> Self {
        // A customer has no address if, for example, WhatsApp hides the phone number. BIK's id then tells customers
        // apart.
        let address = contact.address.as_deref().or(contact.customer.as_deref());
        let text = text(contact.name.as_deref(), address, Some(contact.id), redaction);
        Self { contact: Some(contact.id), text }
    }
}

/// The sender of a message to a customer: BIK's `owner`, and the `ownerId` if there is one. Empty if the sender is
/// unknown, and for a message from a customer.
pub(super) fn sent_by(message: &MessageRow) -> String {
    let Some(owner) = &message.owner else { return String::new() };
    message.owner_id.as_ref().map_or_else(|| owner.to_string(), |id| format!("{owner} {id}"))
}

fn text(
    name: Option<&str>,
    address: Option<&str>,
    contact: Option<PublicId>,
    redaction: Redaction,
) -> String {
    let address = address.map(|address| redaction.address(address));
    // The beginning of the id is enough to tell the customers of a page apart.
    let customer = contact.map(|id| format!("Customer {}", &id.to_string()[..SHOWN_DIGITS]));
    match (name.filter(|_| redaction.is_off), address, customer) {
        (Some(name), Some(address), _) => format!("{name} · {address}"),
        (Some(name), None, _) => name.to_owned(),
        (None, Some(address), Some(customer)) if !redaction.is_off => format!("{customer} · {address}"),
        (None, Some(address), _) => address.into_owned(),
        (None, None, Some(customer)) => customer,
        (None, None, None) => "–".to_owned(),
    }
}
