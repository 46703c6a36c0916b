//! Filters select the events that a handler receives.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Wrong,
    condition::{Condition, ConditionSettings},
};
use crate::event::{Category, Event, Owner, Pointer, Status, View, canonical_address};

/// The filter keys that every handler has. A key that is not set matches every event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(!default, deny_unknown_fields, transform = no_empty_lists)]
pub struct FilterSettings {
    /// Globs to match event names.
    pub events: Option<Vec<String>>,
    /// Senders of messages: owners such as `CAMPAIGN`, or categories of owners (`crm`, `broadcast`, `automation`,
    /// `dev_api`), case-insensitive.
    pub owners: Option<Vec<String>>,
    /// Statuses, case-insensitive. `failed` also matches `undelivered` and `bounced`. Events without a status do not
    /// match.
    pub statuses: Option<Vec<String>>,
    /// Channels such as `whatsapp`, case-insensitive.
    pub channels: Option<Vec<String>>,
    /// Exact names of sources.
    pub sources: Option<Vec<String>>,
    /// Exact store ids (`storeId`).
    pub stores: Option<Vec<String>>,
    /// Exact message ids (`messageId`).
    pub messages: Option<Vec<String>>,
    /// Phone numbers or other addresses of customers. Phone numbers are compared by their digits, mail addresses
    /// without case, others as a whole.
    pub phones: Option<Vec<String>>,
    /// Conditions on the content of the event; all of them must hold.
    #[serde(rename = "where")]
    pub conditions: Option<Vec<ConditionSettings>>,
}

/// Requires at least one item in each list of the schema, because an empty list would match no event.
fn no_empty_lists(schema: &mut Schema) {
    let lists = schema.get_mut("properties").and_then(Value::as_object_mut);
    for list in lists.into_iter().flat_map(Map::values_mut) {
        list["minItems"] = 1.into();
    }
}

impl FilterSettings {
    /// Returns whether any key other than `where` is set.
    pub fn asks_for_more_than_conditions(&self) -> bool {
        *self != Self { conditions: self.conditions.clone(), ..Self::default() }
    }

    /// Describes the filter on one line; `None` if no key is set. Message ids and phone numbers are only counted, and
    /// conditions show only their pointers, because the line may be stored and must not contain personal data.
    pub fn in_words(&self) -> Option<String> {
        let in_words = |(key, list): (&str, &[String])| match key {
            "messages" | "phones" => format!("{key} ({})", list.len()),
            _ => format!("{key} {}", list.join(", ")),
        };
        let mut asked: Vec<String> = self.lists().map(in_words).collect();
        let looked_at: Vec<&str> = self.conditions.iter().flatten().map(|one| one.pointer.as_str()).collect();
        if !looked_at.is_empty() {
            asked.push(format!("where {}", looked_at.join(", ")));
        }
        (!asked.is_empty()).then(|| asked.join("; "))
    }

    /// The keys that are set, except `where`, each with its list of texts.
    fn lists(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let Self { events, owners, statuses, channels, sources, stores, messages, phones, conditions: _ } =
            self;
        let lists = [
            ("events", events),
            ("owners", owners),
            ("statuses", statuses),
            ("channels", channels),
            ("sources", sources),
            ("stores", stores),
            ("messages", messages),
            ("phones", phones),
        ];
        lists.into_iter().filter_map(|(key, list)| Some((key, list.as_deref()?)))
    }
}

/// A validated filter. An event matches if each key that is set matches. If an event has several infos (objects in
/// `eventInfo`), a key matches if any info does, and different keys may match different infos.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    takes: Takes,
    settings: FilterSettings,
    events: Option<GlobSet>,
    conditions: Vec<Condition>,
}

/// The group of events that a filter selects from. Other events do not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// All stored events. Used for searches, and for the filter of a replay, which applies in addition to the filter of
    /// the handler.
    #[default]
    Everything,
    /// Events that BIK sends.
    Events,
    /// Notices: events that bikhook itself creates, one for each new dead letter.
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
        /// The index of the condition, counted from 0.
        at: usize,
        /// Why the condition is invalid.
        wrong: Wrong,
    },
}

impl FilterError {
    /// The configuration key that is wrong. For `where`, also the index of the condition, counted from 0.
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
        if let Some((key, _)) = settings.lists().find(|(_, list)| list.is_empty()) {
            return Err(FilterError::Empty { key });
        }
        let events = settings.events.as_deref().map(globs).transpose()?;
        if settings.conditions.as_ref().is_some_and(Vec::is_empty) {
            return Err(FilterError::Empty { key: "where" });
        }
        let condition = |(at, one)| Condition::new(one).map_err(|wrong| FilterError::Condition { at, wrong });
        let conditions = settings.conditions.iter().flatten().enumerate().map(condition);
        let conditions = conditions.collect::<Result<_, _>>()?;
        Ok(Self { takes: Takes::default(), settings: settings.clone(), events, conditions })
    }

    /// Returns this filter for the given group of events.
    #[must_use]
    pub fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// Returns whether the filter selects events by name.
    pub const fn names_events(&self) -> bool {
        self.events.is_some()
    }

    /// Returns whether the filter matches this event.
    pub fn wants(&self, event: &Event) -> bool {
        self.is_about(event)
            && passes(&self.events, |globs| globs.is_match(event.element.name()))
            && passes(&self.settings.sources, |names| names.iter().any(|name| **name == *event.source))
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

    /// Returns whether the filter has keys that are tested on the event's [`View`].
    const fn looks_inside(&self) -> bool {
        let settings = &self.settings;
        settings.statuses.is_some()
            || settings.owners.is_some()
            || settings.channels.is_some()
            || settings.stores.is_some()
            || settings.messages.is_some()
            || settings.phones.is_some()
    }

    fn wants_inside(&self, view: &View<'_>) -> bool {
        let FilterSettings { statuses, owners, channels, stores, messages, phones, .. } = &self.settings;
        passes(statuses, |words| view.statuses().any(|status| have_status(words, status)))
            && passes(owners, |words| view.owners().any(|owner| have_owner(words, owner)))
            && passes(channels, |words| view.channels().any(|channel| have(words, channel.as_str())))
            && passes(stores, |ids| view.store_id().is_some_and(|id| ids.iter().any(|want| want == id)))
            && passes(messages, |ids| view.message_ids().any(|id| ids.iter().any(|want| want == id)))
            && passes(phones, |phones| {
                view.addresses().any(|address| {
                    let address = canonical_address(address);
                    phones.iter().any(|phone| canonical_address(phone) == address)
                })
            })
    }
}

/// Returns whether a list contains a word. The case of ASCII letters is ignored.
fn have(words: &[String], word: &str) -> bool {
    words.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
}

/// Returns whether a list contains the status. `failed` stands for every status that reports a failure.
fn have_status(words: &[String], status: &Status) -> bool {
    have(words, status.as_str()) || (status.is_failure() && have(words, Status::Failed.as_str()))
}

fn have_owner(words: &[String], owner: &Owner) -> bool {
    have(words, owner.as_str())
        || owner.category().is_some_and(|category| words.iter().any(|wanted| names(wanted, category)))
}

/// Returns whether a word names a category. Case is ignored, and blanks and dashes count as `_`. So `Dev API`, as BIK
/// writes it, names `dev_api`.
fn names(word: &str, category: Category) -> bool {
    let plain = word.bytes().map(|byte| if matches!(byte, b' ' | b'-') { b'_' } else { byte });
    plain.map(|byte| byte.to_ascii_lowercase()).eq(category.as_str().bytes())
}

fn passes<T>(wanted: &Option<T>, matches: impl FnOnce(&T) -> bool) -> bool {
    wanted.as_ref().is_none_or(matches)
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

    /// The indexes in `ALL` of the events that match the filter. Every event in `ALL` gets the source `bik`.
    fn passing(toml: &str) -> Vec<usize> {
        let filter = Filter::new(&toml::from_str(toml).unwrap()).unwrap();
        (0..ALL.len()).filter(|at| filter.wants(&Delivery::sample(1, ALL[*at]).event)).collect()
    }

    #[test]
    fn a_filter_matches_events_by_the_keys_that_are_set() {
        for (keys, wanted) in [
            ("", &[0, 1, 2, 3, 4][..]),
            // `events` are globs.
            (r#"events = ["message-*"]"#, &[0, 1, 4]),
            (r#"events = ["{incoming-message,opted*}"]"#, &[2, 3]),
            (r#"events = ["message"]"#, &[]),
            // For `statuses`, one matching info is enough. An event without a status does not match.
            (r#"statuses = ["failed"]"#, &[0]),
            (r#"statuses = ["READ", "Eaten"]"#, &[1, 4]),
            // `owners` match owners or categories in any spelling.
            (r#"owners = ["agent"]"#, &[0]),
            (r#"owners = ["CRM"]"#, &[0]),
            (r#"owners = ["broadcast"]"#, &[1]),
            (r#"owners = ["Dev API"]"#, &[1]),
            (r#"owners = ["dev-api", "new-owner"]"#, &[1, 4]),
            (r#"owners = ["automation"]"#, &[]),
            // Channels, sources, stores and messages are compared as a whole.
            (r#"channels = ["WhatsApp"]"#, &[0, 2, 3]),
            (r#"channels = ["pigeon-post", "email"]"#, &[1, 4]),
            (r#"sources = ["bik"]"#, &[0, 1, 2, 3, 4]),
            (r#"sources = ["bi", "BIK"]"#, &[]),
            (r#"stores = ["S1"]"#, &[0]),
            (r#"stores = ["s1", "S"]"#, &[]),
            (r#"messages = ["m", "n"]"#, &[0]),
            (r#"messages = ["M"]"#, &[]),
            // Phone numbers are compared by their digits.
            (r#"phones = ["(91) 90909-09090"]"#, &[2]),
            (r#"phones = ["9090909090", "a@b.example"]"#, &[]),
            // For a condition, one matching value is enough. All conditions must hold.
            (r#"where = [{ pointer = "/eventInfo/status", equals = "read" }]"#, &[1]),
            (
                r#"where = [{ pointer = "/eventInfo/owner", exists = true },
                            { pointer = "/eventInfo/channelId", prefix = "pig" }]"#,
                &[4],
            ),
            // Every key that is set must match.
            ("channels = [\"whatsapp\"]\nevents = [\"opted*\"]", &[3]),
            ("channels = [\"whatsapp\"]\nstatuses = [\"sent\"]", &[]),
        ] {
            assert_eq!(passing(keys), wanted, "{keys}");
        }
    }

    /// Returns whether the filter `key = [value]` matches the event.
    fn wants(key: &str, value: &str, raw: &str) -> bool {
        let filter = Filter::new(&toml::from_str(&format!("{key} = [\"{value}\"]")).unwrap()).unwrap();
        filter.wants(&Delivery::sample(1, raw).event)
    }

    #[test]
    fn failed_matches_every_failure_and_a_failure_its_own_word() {
        let wants = |wanted: &str, status: &str| {
            let info = format!(r#"{{"status":"{status}","messageId":"m"}}"#);
            wants(
                "statuses",
                wanted,
                &format!(r#"{{"eventName":"message-status-update","eventInfo":{info}}}"#),
            )
        };
        for failure in ["failed", "undelivered", "bounced", "BOUNCED"] {
            assert!(wants("Failed", failure) && wants(failure, failure), "{failure}");
        }
        assert!(!wants("bounced", "undelivered") && !wants("bounced", "failed") && !wants("failed", "sent"));
    }

    #[test]
    fn phones_are_compared_without_marks_and_mail_addresses_without_case() {
        let sent_to = |phone: &str, address: &str| {
            let info = format!(r#"{{"assetValue":"{address}"}}"#);
            wants("phones", phone, &format!(r#"{{"eventName":"incoming-message","eventInfo":{info}}}"#))
        };
        assert!(sent_to("+919800000113", "\u{200e}+91 98000 00113"));
        assert!(sent_to("91\u{a0}98000 00113", "919800000113"));
        assert!(sent_to("asha@example.com", "Asha@Example.com"));
        let asset = |event: &str| {
            let members = r#""eventId":"e","eventProperties":{},"assets":["12030878901"]"#;
            wants("phones", "12030878901", &format!(r#"{{"eventName":"{event}",{members}}}"#))
        };
        assert!(asset("optedOut") && !asset("customerCreated"), "asset ids are no addresses");
    }

    #[test]
    fn an_error_names_the_glob_or_the_empty_key() {
        let error = |toml: &str| Filter::new(&toml::from_str(toml).unwrap()).unwrap_err().to_string();
        assert!(error(r#"events = ["ok", "a[b"]"#).contains("\"a[b\""));
        assert!(error("statuses = []").contains("statuses"));
    }
}
