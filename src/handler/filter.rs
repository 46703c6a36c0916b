//! Which events a handler wants.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::condition::{Condition, ConditionError, ConditionSettings};
use crate::event::{Category, Event, Owner, Pointer, View, canonical_address};

/// The filter keys that every handler has. A key that is not given lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterSettings {
    /// Globs over event names.
    pub events: Option<Vec<String>>,
    /// Owners (`CAMPAIGN`) or categories (`crm`, `broadcast`, `automation`, `dev_api`), in any case.
    pub owners: Option<Vec<String>>,
    /// Statuses, in any case; leaves out events that have none.
    pub statuses: Option<Vec<String>>,
    /// Channels, in any case.
    pub channels: Option<Vec<String>>,
    /// Names of sources.
    pub sources: Option<Vec<String>>,
    /// Store ids.
    pub stores: Option<Vec<String>>,
    /// Message ids.
    pub messages: Option<Vec<String>>,
    /// Phone numbers of customers, compared by their digits; or other addresses, compared whole.
    pub phones: Option<Vec<String>>,
    /// Conditions on the content; all of them must hold.
    #[serde(rename = "where")]
    pub conditions: Option<Vec<ConditionSettings>>,
}

impl FilterSettings {
    /// Whether any key but `where` is given.
    pub fn asks_for_more_than_conditions(&self) -> bool {
        *self != Self { conditions: self.conditions.clone(), ..Self::default() }
    }

    /// What it asks for, on one line; `None` where that is nothing. Of ids and of customers' phones, how many: the line may
    /// be kept somewhere.
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

/// Which events a handler wants: those that each given key matches. Of an event with several infos, any may match.
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

/// What a filter is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// Whatever is stored: the filter of a question, or of a replay beside its handler's own.
    #[default]
    Everything,
    /// What BIK sends.
    Events,
    /// What the journal tells of dead letters.
    DeadLetters,
}

/// What is wrong with a filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// An empty list would match nothing, ever.
    #[error("{key} = [] would let no event pass: leave {key} out to let all pass")]
    Empty {
        /// The key.
        key: &'static str,
    },
    /// Not a glob.
    #[error("events: {glob:?} is not a glob: {what}")]
    Glob {
        /// The glob.
        glob: String,
        /// What is wrong with it.
        what: String,
    },
    /// A condition that says nothing, or too much.
    #[error("where: {0}")]
    Condition(#[from] ConditionError),
}

impl FilterError {
    /// The key that is wrong.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Empty { key } => key,
            Self::Glob { .. } => "events",
            Self::Condition(_) => "where",
        }
    }
}

impl Filter {
    /// From its settings.
    ///
    /// # Errors
    /// Where a glob cannot be read, or a list is empty.
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
                list => list.iter().flatten().map(Condition::new).collect::<Result<_, _>>()?,
            },
        })
    }

    /// The same, about these.
    #[must_use]
    pub fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// Whether the handler wants this event.
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

    /// Where its conditions look.
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.conditions.iter().map(Condition::pointer)
    }

    /// Whether the name and the source do not decide it.
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

/// Words that are compared in any case.
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

/// Whether a word names a category: also as BIK's page writes it, `Dev API`.
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
    use std::sync::Arc;

    use super::*;
    use crate::{clock::Timestamp, event::Element};

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

    /// The events of `ALL`, by their place, that the filter lets pass; all came in by the source `bik`.
    fn passing(toml: &str) -> Vec<usize> {
        let filter = Filter::new(&toml::from_str(toml).unwrap()).unwrap();
        let event = |raw: &str| Event {
            seq: 1,
            came_at: Timestamp::default(),
            received_at: Timestamp::default(),
            source: "bik".into(),
            element: Arc::new(Element::read(raw.as_bytes()).unwrap()),
        };
        (0..ALL.len()).filter(|at| filter.wants(&event(ALL[*at]))).collect()
    }

    #[test]
    fn without_a_key_everything_passes() {
        assert_eq!(passing(""), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn events_are_globs() {
        assert_eq!(passing(r#"events = ["message-*"]"#), [0, 1, 4]);
        assert_eq!(passing(r#"events = ["{incoming-message,opted*}"]"#), [2, 3]);
        assert_eq!(passing(r#"events = ["message"]"#), [0; 0]);
    }

    #[test]
    fn a_status_leaves_out_events_that_have_none_and_any_info_may_have_it() {
        assert_eq!(passing(r#"statuses = ["failed"]"#), [0]);
        assert_eq!(passing(r#"statuses = ["READ", "Eaten"]"#), [1, 4]);
    }

    #[test]
    fn owners_are_words_of_bik_or_categories_in_any_case_and_as_the_page_writes_them() {
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
    fn every_key_that_is_given_must_match() {
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
