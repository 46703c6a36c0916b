//! `[handlers.NAME]`: the keys that every handler has, and the keys of its kind. Each key is read by the module that
//! defines it.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use serde::{Deserialize, Deserializer, de::Error};

use super::reading::Reading;
use crate::{
    clock::Timestamp,
    dispatch,
    event::{Category, Channel, Owner, Status},
    handler::{
        ABSENT, Configured, Filter, FilterSettings, KINDS, KindRow, Mask, MaskSettings, Opener, Preview,
        Takes,
    },
    journal::LaneStart,
    settings::{Problem, Section, Wrong, keys_of, meant, nearest, quoted},
};

/// One handler, as configured.
pub struct HandlerConfig {
    pub name: Arc<str>,
    /// The handler's kind, with its keys.
    pub kind: &'static KindRow,
    /// Opens the handler; may be called more than once.
    pub opener: Opener,
    /// Renders an event as the destination receives it, for `check --show`.
    pub preview: Preview,
    /// The files that the handler writes, each with the configuration key that names it.
    pub files: Vec<(&'static str, PathBuf)>,
    /// The destination of its events, without secrets.
    pub destination: String,
    /// The settings of its filter, as configured.
    pub wants: FilterSettings,
    /// Selects the events that the handler gets.
    pub filter: Filter,
    /// Removes or hashes the parts of an event that the destination must not see.
    pub mask: Mask,
    /// The settings for the delivery of its events.
    pub dispatch: dispatch::Settings,
    /// Where the handler starts in the journal, if the journal does not know the handler yet.
    pub start: Option<LaneStart>,
    /// True if the handler gets only notices about dead letters of other handlers.
    pub dead_letters: bool,
}

struct StartAt(LaneStart);

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "now" => Ok(Self(LaneStart::Now)),
            "beginning" => Ok(Self(LaneStart::Beginning)),
            time => time.parse::<Timestamp>().map(|time| Self(LaneStart::At(time))).map_err(|_wrong| {
                D::Error::custom(format!(
                    "invalid start {text:?}: use \"now\", \"beginning\" or a time such as 2026-01-31T09:30:00Z"
                ))
            }),
        }
    }
}

/// The keys that every handler has, without the keys of `FilterSettings` and `dispatch::Settings`.
const OWN_KEYS: [&str; 4] = ["kind", "start", "dead_letters", "mask"];

/// The keys that every handler has.
pub(super) fn common_keys() -> Vec<&'static str> {
    [&OWN_KEYS[..], keys_of::<FilterSettings>(), keys_of::<dispatch::Settings>()].concat()
}

/// Every handler that can be read, in the order of the file. The errors are in `reading`.
pub(super) fn read(reading: &mut Reading) -> Vec<HandlerConfig> {
    let names = reading.names(&["handlers"]);
    names.iter().filter_map(|name| read_one(reading, name)).collect()
}

fn read_one(reading: &mut Reading, name: &str) -> Option<HandlerConfig> {
    let mut own = reading.section(&["handlers", name])?;
    let filter = own.split(keys_of::<FilterSettings>());
    let dispatch = own.split(keys_of::<dispatch::Settings>());

    let start = reading.take_key::<StartAt>(&mut own, "start");
    let dead_letters = reading.take_key::<bool>(&mut own, "dead_letters").map(Option::unwrap_or_default);
    let filter = reading.take(filter.read::<FilterSettings>()).and_then(|settings| {
        let filter = check_filter(reading, name, &settings, dead_letters == Some(true))?;
        Some((filter, settings))
    });
    let mask = reading.take_key::<MaskSettings>(&mut own, "mask").and_then(|settings| {
        let mask = Mask::new(settings.as_ref());
        mask.map_err(|wrong| reading.refuse(&["handlers", name, "mask"], [wrong])).ok()
    });
    let dispatch = reading.take(dispatch.read::<dispatch::Settings>());
    if let Some(dispatch) = &dispatch {
        let wrong = dispatch.check(|key| reading.has(&["handlers", name, key]));
        reading.refuse(&["handlers", name], wrong);
    }
    let kind = reading.take_key::<String>(&mut own, "kind")?;
    let kind = find_kind(reading, name, kind.as_deref())?;
    let own = known_keys(reading, name, kind, own);
    let configured = reading.take((kind.read)(own));
    let Configured { opener, preview, files, destination } = configured?;
    let (filter, wants) = filter?;
    Some(HandlerConfig {
        name: name.into(),
        kind,
        opener,
        preview,
        files,
        destination,
        wants,
        filter: filter.takes(if dead_letters? { Takes::DeadLetters } else { Takes::Events }),
        mask: mask?,
        dispatch: dispatch?,
        start: start?.map(|start| start.0),
        dead_letters: dead_letters?,
    })
}

fn find_kind(reading: &mut Reading, name: &str, kind: Option<&str>) -> Option<&'static KindRow> {
    let kinds: Vec<&str> = KINDS.iter().map(|row| row.name).collect();
    let Some(kind) = kind else {
        let missing = Wrong::new(&["handlers", name], "the key `kind` is missing");
        reading.wrong(missing.help(format!("use one of {}", quoted(&kinds))));
        return None;
    };
    let row = KINDS.iter().find(|row| row.name == kind);
    if ABSENT.contains(&kind) {
        let message = format!("this binary is built without the kind {kind:?}");
        let help = format!("build bikhook with `--features {kind}`; the release image has every kind");
        reading.wrong(Wrong::new(&["handlers", name, "kind"], message).help(help));
    } else if row.is_none() {
        let wrong = Wrong::new(&["handlers", name, "kind"], format!("{kind:?} is not a kind of handler"));
        reading.wrong(Wrong { help: meant(kind, &kinds), ..wrong });
    }
    row
}

/// Returns the keys that belong to the kind, and reports all others as unknown. The caller has already removed from
/// `own` the keys that every handler has.
fn known_keys(reading: &mut Reading, name: &str, kind: &KindRow, mut own: Section) -> Section {
    let known = (kind.keys)();
    let all: BTreeSet<&str> = known.iter().copied().chain(common_keys()).collect();
    let all = Vec::from_iter(all);
    for (key, entry) in own.entries().filter(|(key, _)| !known.contains(key)) {
        let problem = Problem::new(entry.key.clone(), format!("unknown key `handlers.{name}.{key}`"));
        reading.problems.push(problem.help(match nearest(key, all.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of the keys of kind `{}`: {}", kind.name, quoted(&all)),
        }));
    }
    own.split(known)
}

fn check_filter(
    reading: &mut Reading,
    name: &str,
    settings: &FilterSettings,
    dead_letters: bool,
) -> Option<Filter> {
    if dead_letters && settings.asks_for_more_than_conditions() {
        let message = "a notice of a dead letter can be filtered by `where` only";
        let help = "remove the other filters, or use a condition such as `{ pointer = \"/handler\", equals = \"crm\" }`";
        reading.wrong(Wrong::new(&["handlers", name, "dead_letters"], message).help(help));
    }
    let sources = reading.names(&["sources"]);
    for source in settings.sources.iter().flatten() {
        if !sources.contains(source) {
            let help = nearest(source, sources.iter().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?"));
            let message = format!("there is no source {source:?}");
            reading.warn(Wrong { help, ..Wrong::new(&["handlers", name, "sources"], message) });
        }
    }
    let owners: Vec<&str> = Owner::KNOWN.iter().copied().chain(Category::ALL.map(Category::as_str)).collect();
    for (key, words, known) in [
        ("owners", &settings.owners, owners.as_slice()),
        ("statuses", &settings.statuses, Status::KNOWN),
        ("channels", &settings.channels, Channel::KNOWN),
    ] {
        words.iter().flatten().for_each(|word| check_word(reading, name, key, word, known));
    }
    let filter = Filter::new(settings);
    filter
        .map_err(|error| {
            let (key, item) = error.key();
            let place = reading.place(&["handlers", name, key], item);
            reading.problems.push(Problem::new(place, format!("handlers.{name}: {error}")));
        })
        .ok()
}

/// Warns if an unknown owner, status or channel in a filter is close to a known one, because it is probably a typing
/// error and would match no event. Other unknown words cause no warning, because BIK may use new words.
fn check_word(reading: &mut Reading, handler: &str, key: &str, word: &str, known: &[&str]) {
    let plain = word.replace([' ', '-'], "_");
    if known.iter().any(|known| known.eq_ignore_ascii_case(&plain)) {
        return;
    }
    if let Some(near) = nearest(&plain, known.iter().copied()) {
        let message = format!("{word:?} is not a value that BIK is known to use");
        let wrong = Wrong::new(&["handlers", handler, key], message);
        reading.warn(wrong.help(format!("did you mean `{near}`?")));
    }
}
