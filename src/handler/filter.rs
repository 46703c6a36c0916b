//! Filters select the events that a handler receives.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::{
    Wrong,
    condition::{Condition, ConditionSettings},
};
use crate::event::{Category, Event, Owner, Pointer, View, canonical_address};

/// The filter keys that every handler has. A key that is not set matches every event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterSettings {
    /// Globs to match event names.
    pub events: Option<Vec<String>>,
    /// Owners (`CAMPAIGN`) or categories (`crm`, `broadcast`, `automation`, `dev_api`), case-insensitive.
    pub owners: Option<Vec<String>>,
    /// Statuses, case-insensitive. Events without a status do not match.
    pub statuses: Option<Vec<String>>,
    /// Channels such as `whatsapp`, case-insensitive.
    pub channels: Option<Vec<String>>,
    /// Exact names of sources.
    pub sources: Option<Vec<String>>,
    /// Exact store ids (`storeId`).
    pub stores: Option<Vec<String>>,
    /// Exact message ids (`messageId`).
    pub messages: Option<Vec<String>>,
    /// Phone numbers of customers, compared by their digits. Other addresses are compared as a whole.
    pub phones: Option<Vec<String>>,
    /// Conditions on the content of the event; all of them must hold.
    #[serde(rename = "where")]
    pub conditions: Option<Vec<ConditionSettings>>,
}

impl FilterSettings {
    /// Returns whether any key other than `where` is set.
    pub fn asks_for_more_than_conditions(&self) -> bool {
        *self != Self { conditions: self.conditions.clone(), ..Self::default() }
    }

    /// Describes the filter on one line; `None` if no key is set. Message ids and phone numbers are only counted,
    /// because the line may be stored.
    pub fn in_words(&self) -> Option<String> {
        let Self { events, owners, statuses, channels, sources, stores, messages, phones, conditions } = self;
        let lists = [
            ("events", events),
            ("owners", owners),
            ("statuses", statuses),
            ("channels", channels),
            ("sources", sources),
            ("stores", stores),
        ];
        let listed =
            lists.into_iter().filter_map(|(key, list)| Some(format!("{key} {}", list.as_ref()?.join(", "))));
        let counted = [("messages", messages), ("phones", phones)]
            .into_iter()
            .filter_map(|(key, list)| Some(format!("{key} ({})", list.as_ref()?.len())));
        let looked_at: Vec<&str> = conditions.iter().flatten().map(|one| one.pointer.as_str()).collect();
        let conditions = (!looked_at.is_empty()).then(|| format!("where {}", looked_at.join(", ")));
        let asked: Vec<String> = listed.chain(counted).chain(conditions).collect();
        (!asked.is_empty()).then(|| asked.join("; "))
    }
}

/// A validated filter. An event matches if each key that is set matches. If an event has several infos, one that
/// matches is enough.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    takes: Takes,
    events: Option<GlobSet>,
    owners: Option<Words>,
    statuses: Option<Words>,
    channels: Option<Words>,
    sources: Option<Vec<String>>,
    stores: Option<Vec<String>>,
    messages: Option<Vec<String>>,
    phones: Option<Vec<String>>,
    conditions: Vec<Condition>,
}

/// Which group of events a filter applies to, before its keys are tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// All stored events. Used for searches, and for the filter that a replay has in addition to its handler's own.
    #[default]
    Everything,
    /// Events that BIK sends.
    Events,
    /// Events that the journal records about dead letters.
    DeadLetters,
}

/// Why a filter is invalid.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A list is empty, so it would match nothing.
    #[error("{key} = [] matches no event: remove {key} to match all events")]
    Empty { key: &'static str },
    #[error("events: {glob:?} is not a glob: {what}")]
    Glob { glob: String, what: String },
    /// A condition of `where` is invalid.
    #[error("where: {wrong}")]
    Condition {
        /// The number of the condition, counted from 0.
        at: usize,
        /// Why the condition is invalid.
        wrong: Wrong,
    },
}

impl FilterError {
    /// The configuration key that is wrong, and the item of its list.
    pub const fn key(&self) -> (&'static str, Option<usize>) {
        match self {
            Self::Empty { key } => (key, None),
            Self::Glob { .. } => ("events", None),
            Self::Condition { at, .. } => ("where", Some(*at)),
        }
    }
}

impl Filter {
    /// Validates the settings of a filter.
    ///
    /// # Errors
    /// Returns [`FilterError`] if a list is empty, or if a glob or a condition is invalid.
    pub fn new(settings: &FilterSettings) -> Result<Self, FilterError> {
        let exact =
            |key, list: &Option<Vec<String>>| given(key, list).map(|list| list.map(<[String]>::to_vec));
        let words = |key, list| given(key, list).map(|list| list.map(|list| Words(list.to_vec())));
        Ok(Self {
            takes: Takes::default(),
            events: given("events", &settings.events)?.map(globs).transpose()?,
            owners: words("owners", &settings.owners)?,
            statuses: words("statuses", &settings.statuses)?,
            channels: words("channels", &settings.channels)?,
            sources: exact("sources", &settings.sources)?,
            stores: exact("stores", &settings.stores)?,
            messages: exact("messages", &settings.messages)?,
            phones: exact("phones", &settings.phones)?,
            conditions: match &settings.conditions {
                Some(list) if list.is_empty() => return Err(FilterError::Empty { key: "where" }),
                list => {
                    let condition =
                        |(at, one)| Condition::new(one).map_err(|wrong| FilterError::Condition { at, wrong });
                    list.iter().flatten().enumerate().map(condition).collect::<Result<_, _>>()?
                }
            },
        })
    }

    /// Returns this filter for the given group of events.
    #[must_use]
    pub fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// Returns whether the filter matches this event.
    pub fn wants(&self, event: &Event) -> bool {
        self.is_about(event)
            && passes(&self.events, |globs| globs.is_match(event.element.name()))
            && passes(&self.sources, |names| names.iter().any(|name| **name == *event.source))
            && (!self.looks_inside() || self.wants_inside(&event.element.view()))
            && self.conditions.iter().all(|condition| condition.holds(&event.element))
    }

    fn is_about(&self, event: &Event) -> bool {
        match self.takes {
            Takes::Everything => true,
            Takes::Events => !event.is_own(),
            Takes::DeadLetters => event.is_own(),
        }
    }

    /// The pointers of the conditions.
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.conditions.iter().map(Condition::pointer)
    }

    /// Returns whether the filter has keys that need the parsed content of the event.
    const fn looks_inside(&self) -> bool {
        self.statuses.is_some()
            || self.owners.is_some()
            || self.channels.is_some()
            || self.stores.is_some()
            || self.messages.is_some()
            || self.phones.is_some()
    }

    fn wants_inside(&self, view: &View<'_>) -> bool {
        passes(&self.statuses, |words| view.statuses().any(|status| words.have(status.as_str())))
            && passes(&self.owners, |words| view.owners().any(|owner| words.have_owner(owner)))
            && passes(&self.channels, |words| view.channels().any(|channel| words.have(channel.as_str())))
            && passes(&self.stores, |ids| view.store_id().is_some_and(|id| ids.iter().any(|want| want == id)))
            && passes(&self.messages, |ids| view.message_ids().any(|id| ids.iter().any(|want| want == id)))
            && passes(&self.phones, |phones| {
                view.addresses().any(|address| {
                    let address = canonical_address(address);
                    phones.iter().any(|phone| canonical_address(phone) == address)
                })
            })
    }
}

/// Words that are compared case-insensitively.
#[derive(Clone, Debug)]
struct Words(Vec<String>);

impl Words {
    fn have(&self, word: &str) -> bool {
        self.0.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
    }

    fn have_owner(&self, owner: &Owner) -> bool {
        self.have(owner.as_str())
            || owner.category().is_some_and(|category| self.0.iter().any(|wanted| names(wanted, category)))
    }
}

/// Returns whether a word names a category. Also accepts the spelling of BIK's page, such as `Dev API`.
fn names(word: &str, category: Category) -> bool {
    let plain = word.bytes().map(|byte| if matches!(byte, b' ' | b'-') { b'_' } else { byte });
    plain.map(|byte| byte.to_ascii_lowercase()).eq(category.as_str().bytes())
}

fn passes<T>(wanted: &Option<T>, matches: impl FnOnce(&T) -> bool) -> bool {
    wanted.as_ref().is_none_or(matches)
}

fn given<'a>(key: &'static str, list: &'a Option<Vec<String>>) -> Result<Option<&'a [String]>, FilterError> {
    match list.as_deref() {
        Some([]) => Err(FilterError::Empty { key }),
        given => Ok(given),
    }
}

fn globs(list: &[String]) -> Result<GlobSet, FilterError> {
    let wrong = |glob: &str, error: &globset::Error| FilterError::Glob {
        glob: glob.to_owned(),
        what: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for text in list {
        set.add(GlobBuilder::new(text).build().map_err(|error| wrong(text, &error))?);
    }
    set.build().map_err(|error| wrong(error.glob().unwrap_or_default(), &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::Delivery;

    const FAILED: &str = r#"{"eventName":"message-status-update","storeId":"S1",
        "eventInfo":{"messageId":"m","channelId":"whatsapp","status":"failed","owner":"AGENT"}}"#;
    const BROADCAST: &str = r#"{"eventName":"message-status-update",
        "eventInfo":[{"channelId":"sms","status":"sent","owner":"CAMPAIGN"},
                     {"channelId":"email","status":"read","owner":"DEV_API"}]}"#;
    const INCOMING: &str = r#"{"eventName":"incoming-message",
        "eventInfo":{"channelId":"whatsapp","status":"","owner":"","message":"hello","assetValue":"+919090909090"}}"#;
    const OPTED_OUT: &str = r#"{"eventName":"optedOut","storeId":"S2","eventId":"optedOut-1",
        "channel":"whatsapp","eventProperties":{}}"#;
    const UNKNOWN_WORDS: &str = r#"{"eventName":"message-status-update",
        "eventInfo":{"channelId":"pigeon-post","status":"eaten","owner":"New-Owner"}}"#;
    const ALL: [&str; 5] = [FAILED, BROADCAST, INCOMING, OPTED_OUT, UNKNOWN_WORDS];

    /// The indexes in `ALL` of the events that match the filter. All of them came from the source `bik`.
    fn passing(toml: &str) -> Vec<usize> {
        let filter = Filter::new(&toml::from_str(toml).unwrap()).unwrap();
        (0..ALL.len()).filter(|at| filter.wants(&Delivery::sample(1, ALL[*at]).event)).collect()
    }

    #[test]
    fn without_keys_every_event_matches() {
        assert_eq!(passing(""), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn events_are_globs() {
        assert_eq!(passing(r#"events = ["message-*"]"#), [0, 1, 4]);
        assert_eq!(passing(r#"events = ["{incoming-message,opted*}"]"#), [2, 3]);
        assert_eq!(passing(r#"events = ["message"]"#), [0; 0]);
    }

    #[test]
    fn statuses_match_any_info_and_no_event_without_a_status() {
        assert_eq!(passing(r#"statuses = ["failed"]"#), [0]);
        assert_eq!(passing(r#"statuses = ["READ", "Eaten"]"#), [1, 4]);
    }

    #[test]
    fn owners_match_owners_or_categories_in_any_spelling() {
        assert_eq!(passing(r#"owners = ["agent"]"#), [0]);
        assert_eq!(passing(r#"owners = ["CRM"]"#), [0]);
        assert_eq!(passing(r#"owners = ["broadcast"]"#), [1]);
        assert_eq!(passing(r#"owners = ["Dev API"]"#), [1]);
        assert_eq!(passing(r#"owners = ["dev-api", "new-owner"]"#), [1, 4]);
        assert_eq!(passing(r#"owners = ["automation"]"#), [0; 0]);
    }

    #[test]
    fn channels_sources_and_stores_are_compared_whole() {
        assert_eq!(passing(r#"channels = ["WhatsApp"]"#), [0, 2, 3]);
        assert_eq!(passing(r#"channels = ["pigeon-post", "email"]"#), [1, 4]);
        assert_eq!(passing(r#"sources = ["bik"]"#), [0, 1, 2, 3, 4]);
        assert_eq!(passing(r#"sources = ["bi", "BIK"]"#), [0; 0]);
        assert_eq!(passing(r#"stores = ["S1"]"#), [0]);
        assert_eq!(passing(r#"stores = ["s1", "S"]"#), [0; 0]);
    }

    #[test]
    fn messages_are_compared_whole_and_phones_by_their_digits() {
        assert_eq!(passing(r#"messages = ["m", "n"]"#), [0]);
        assert_eq!(passing(r#"messages = ["M"]"#), [0; 0]);
        assert_eq!(passing(r#"phones = ["(91) 90909-09090"]"#), [2]);
        assert_eq!(passing(r#"phones = ["9090909090", "a@b.example"]"#), [0; 0]);
    }

    #[test]
    fn conditions_look_at_any_value_and_all_must_hold() {
        assert_eq!(passing(r#"where = [{ pointer = "/eventInfo/status", equals = "read" }]"#), [1]);
        assert_eq!(
            passing(
                r#"where = [{ pointer = "/eventInfo/owner", exists = true },
                            { pointer = "/eventInfo/channelId", prefix = "pig" }]"#
            ),
            [4]
        );
    }

    #[test]
    fn every_key_that_is_set_must_match() {
        assert_eq!(passing("channels = [\"whatsapp\"]\nevents = [\"opted*\"]"), [3]);
        assert_eq!(passing("channels = [\"whatsapp\"]\nstatuses = [\"sent\"]"), [0; 0]);
    }

    #[test]
    fn an_error_names_the_glob_or_the_empty_key() {
        let error = |toml: &str| Filter::new(&toml::from_str(toml).unwrap()).unwrap_err().to_string();
        assert!(error(r#"events = ["ok", "a[b"]"#).contains("\"a[b\""));
        assert!(error("statuses = []").contains("statuses"));
    }
}
