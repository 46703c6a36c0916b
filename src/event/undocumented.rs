//! Reads values whose shape BIK does not document: an object, a list, a text or a number may be there.

use std::borrow::Cow;

use super::{
    field::{Field, id, known, present},
    scan,
};

/// A value of any type that is neither `null` nor empty, as raw JSON.
#[derive(Clone, Copy)]
pub(super) struct Undocumented<'a>(&'a str);

impl<'a> Undocumented<'a> {
    /// Returns the value of a field. `None` if it is missing or `null`, a blank text, or an object or list without
    /// content.
    pub(super) fn of(field: Field<'a>) -> Option<Self> {
        present(field).filter(|raw| !is_empty(raw)).map(Self)
    }

    /// Returns a member of the object. `None` if the value is not an object, or if the member is missing, `null` or
    /// empty. If a name is duplicated, the last one counts.
    pub(super) fn get(self, name: &str) -> Option<Self> {
        let members = self.is_object().then(|| scan::members(self.0)).flatten()?;
        Self::of(members.into_iter().rev().find(|(member, ..)| member == name).map(|(.., value)| value))
    }

    /// Looks up these names in order. Returns the first member that [`Self::get`] finds.
    pub(super) fn first(self, names: &[&str]) -> Option<Self> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Looks up these names in order. Returns, as text, the first member that is a number or a non-blank text.
    pub(super) fn first_text(self, names: &[&str]) -> Option<Cow<'a, str>> {
        names.iter().find_map(|name| self.get(name)?.text())
    }

    /// Returns the items of a list, without empty ones. If the value is not a list, returns only the value itself.
    pub(super) fn items(self) -> Vec<Self> {
        match scan::items(self.0) {
            Some(items) => items.into_iter().filter_map(|item| Self::of(Some(item))).collect(),
            None => vec![self],
        }
    }

    /// Returns a text that is not blank, or a number with its exact text; `None` for any other type.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        known(id(Some(self.0))).filter(|text| !text.trim().is_empty())
    }

    /// Returns the raw JSON.
    pub(super) const fn json(self) -> &'a str {
        self.0
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_list(self) -> bool {
        self.0.starts_with('[')
    }
}

/// Returns whether a value is a blank text, or an object or list without content.
fn is_empty(raw: &str) -> bool {
    raw.starts_with(['"', '{', '['])
        && raw.get(1..raw.len() - 1).is_some_and(|inside| inside.trim().is_empty())
}
