//! The customer and the sender of a message, as shown in tables.

use super::redaction::Redaction;
use crate::insight::ask::{Contact, MessageRow};

/// A customer, with the link to the conversation.
pub(super) struct Person {
    /// The id of the customer in insight; `None` if the customer is unknown.
    pub(super) contact: Option<i64>,
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

    /// The customer of a contact.
    pub(super) fn of_contact(contact: &Contact, redaction: Redaction) -> Self {
        let text = text(contact.name.as_deref(), Some(&contact.address), Some(contact.id), redaction);
        Self { contact: Some(contact.id), text }
    }
}

/// The sender of a message to a customer: BIK's `owner`, and the `ownerId` if there is one. Empty if the sender is
/// unknown, and for a message from a customer.
pub(super) fn sent_by(message: &MessageRow) -> String {
    let Some(owner) = &message.owner else { return String::new() };
    message.owner_id.as_ref().map_or_else(|| owner.to_string(), |id| format!("{owner} {id}"))
}

fn text(name: Option<&str>, address: Option<&str>, contact: Option<i64>, redaction: Redaction) -> String {
    let address = address.map(|address| redaction.address(address));
    match (name.filter(|_| redaction.is_off), address, contact) {
        (Some(name), Some(address), _) => format!("{name} · {address}"),
        (Some(name), None, _) => name.to_owned(),
        (None, Some(address), Some(number)) if !redaction.is_off => format!("Customer {number} · {address}"),
        (None, Some(address), _) => address.into_owned(),
        (None, None, Some(number)) => format!("Customer {number}"),
        (None, None, None) => "–".to_owned(),
    }
}
