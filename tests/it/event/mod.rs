//! Decoding of BIK's bodies: the samples of BIK's page, payloads that may arrive, and properties of any bytes.

mod bounds;
mod made;
mod page;
mod properties;

use std::{path::PathBuf, sync::Arc};

use bikhook::event::{Decoded, Draft, Element, NotJson, decode};

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", "bik", name].iter().collect()
}

fn fixture(path: &str) -> Vec<u8> {
    let path = folder(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn decoded(body: &[u8]) -> Result<Decoded, NotJson> {
    decode(&Arc::from("bik"), body)
}

/// The drafts of a body in which everything is an event.
fn drafts(body: &[u8]) -> Vec<Draft> {
    let decoded = decoded(body).unwrap();
    assert!(decoded.quarantined.is_empty(), "{:?}", decoded.quarantined);
    decoded.drafts
}

/// The one draft of a body in which everything is an event.
fn draft(body: &[u8]) -> Draft {
    let [draft] = <[_; 1]>::try_from(drafts(body)).unwrap();
    draft
}

/// The elements of a body in which everything is an event.
fn elements(body: &[u8]) -> Vec<Arc<Element>> {
    drafts(body).into_iter().map(|draft| draft.element).collect()
}

/// The one element of a body in which everything is an event.
fn element(body: &[u8]) -> Arc<Element> {
    draft(body).element
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
