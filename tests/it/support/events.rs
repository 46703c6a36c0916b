//! Makes events as BIK sends them.

use std::sync::Arc;

use bikhook::{
    event::{Draft, Quarantined, Reason, decode},
    journal::AppendBatch,
};

/// A status of a message.
pub fn status(id: &str, message: &str, status: &str) -> String {
    format!(
        r#"{{"eventName":"message-status-update","eventInfo":{{"messageId":"{message}","createdAt":"2024-08-01T07:24:23.425Z","channelId":"whatsapp","status":"{status}","message":"Hello","owner":"CAMPAIGN","ownerId":"57","assetValue":"+910000000000","failureReason":null}},"customerDetails":{{"firstName":"A","lastName":"B"}},"id":"{id}"}}"#
    )
}

/// A message from a customer.
pub fn incoming(id: &str, message: &str) -> String {
    format!(
        r#"{{"eventName":"incoming-message","eventInfo":{{"messageId":"{message}","createdAt":"2024-07-26T07:27:07.949Z","channelId":"whatsapp","status":"","message":"Hii sir","owner":"","ownerId":null,"assetValue":"+910000000000"}},"customerDetails":{{"firstName":"A","lastName":"B"}},"id":"{id}"}}"#
    )
}

/// A message from a customer, created now.
pub fn incoming_now(id: &str, message: &str) -> String {
    incoming(id, message).replace("2024-07-26T07:27:07.949Z", &bikhook::clock::now().to_string())
}

/// A draft of an element.
pub fn draft(raw: &str) -> Draft {
    draft_from("bik", raw)
}

/// A draft of an element from a source.
pub fn draft_from(source: &str, raw: &str) -> Draft {
    let decoded = decode(&Arc::from(source), raw.as_bytes()).expect("an element");
    let [draft] = <[_; 1]>::try_from(decoded.drafts).expect("one readable element");
    draft
}

/// A batch of elements.
pub fn batch<S: AsRef<str>>(raws: impl IntoIterator<Item = S>) -> AppendBatch {
    AppendBatch {
        drafts: raws.into_iter().map(|raw| draft(raw.as_ref())).collect(),
        ..AppendBatch::default()
    }
}

/// Bytes that cannot be read.
pub fn unreadable(bytes: &str) -> Quarantined {
    Quarantined {
        source: "bik".into(),
        bytes: bytes.as_bytes().to_vec(),
        reason: Reason::Syntax,
        detail: "made by a test".to_owned(),
    }
}
