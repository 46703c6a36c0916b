//! An event as `bikhook events`, `tail` and `export` get it: one line of JSON, from the API of a running receiver or
//! from the journal of a stopped one.

use serde_json::value::RawValue;

use super::{Error, output::parse};
use crate::{admin::wire::EventLine, event::Element};

/// Parses the line of an event, and the element in it.
pub(super) fn read(line: &RawValue) -> Result<(EventLine<'_>, Element), Error> {
    let line: EventLine<'_> = parse(line)?;
    let element = Element::read(line.event.get().as_bytes())
        .map_err(|error| Error::Failed(format!("cannot read the stored event {}: {error}", line.seq)))?;
    Ok((line, element))
}
