//! Settings that their module does not accept.

use std::fmt;

use super::{Place, Problem};

/// A setting that its module does not accept. The module knows only the path of the setting; the code that read the
/// configuration adds the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The path of the key; empty for the section as a whole.
    pub path: Vec<String>,
    /// The item of the list at the path, counted from 0.
    pub item: Option<usize>,
    /// The problem, and what to write instead. Quotes no secret.
    pub message: String,
    /// A hint on how to correct the setting.
    pub help: Option<String>,
}

impl Wrong {
    /// A wrong value at a path, without help.
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        Self { path, item: None, message: message.into(), help: None }
    }

    /// Sets the hint on how to correct the setting.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Limits the error to an item of the list at the path.
    #[must_use]
    pub fn item(self, item: usize) -> Self {
        Self { item: Some(item), ..self }
    }

    /// Prepends the path of a section to the path of the key.
    #[must_use]
    pub fn under(mut self, section: &[&str]) -> Self {
        self.path.splice(0..0, section.iter().map(|key| (*key).to_owned()));
        self
    }

    /// Converts the error to a problem of the configuration at this place.
    pub(crate) fn at(self, place: Place) -> Problem {
        Problem { place, message: self.to_string(), help: self.help }
    }

    /// An error for each key whose flag says that its value is 0.
    pub fn zeros(keys: &[(&str, bool)]) -> Vec<Self> {
        let zeros = keys.iter().filter(|(_, is_zero)| *is_zero);
        zeros.map(|(key, _)| Self::new(&[key], "must be more than 0")).collect()
    }
}

/// Writes the path and the message, without the help.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.join("."))?;
        if let Some(item) = self.item {
            write!(f, "[{item}]")?;
        }
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.message)
    }
}
