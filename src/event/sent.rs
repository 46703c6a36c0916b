//! Values of fields that are kept as BIK sent them.

use std::borrow::Cow;

use crate::clock::Timestamp;

/// A time, as the text that BIK sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The text, exactly as BIK sent it.
    pub text: Cow<'a, str>,
}

impl Stamp<'_> {
    /// The parsed time. `None` if the text is not a valid time.
    pub fn time(&self) -> Option<Timestamp> {
        self.text.parse().ok()
    }
}

/// The raw JSON of a field without a fixed type, or of a whole object. It is the text in the element, but with a blank
/// in place of each trailing comma.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw<'a>(pub(super) &'a str);

impl<'a> Raw<'a> {
    /// Returns the JSON text.
    pub const fn get(self) -> &'a str {
        self.0
    }
}
