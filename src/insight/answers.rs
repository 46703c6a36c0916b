//! `[insight.answers]`: which messages to a customer are answers. That depends on the owner, BIK's word for the sender.

use std::collections::BTreeSet;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    event::Owner,
    settings::{Wrong, nearest},
};

/// The owners whose messages are answers unless the settings say otherwise: people, the merchant, and bots.
const ANSWERING: [&str; 3] = ["AGENT", "MERCHANT", "BOT"];

/// Changes to the owners whose messages are answers. Each item is an `OWNER` or an `OWNER:ownerId`; the longer form
/// decides where both match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerSettings {
    /// Messages of these senders are answers, too.
    pub add: Vec<String>,
    /// Messages of these senders are not answers.
    pub exempt: Vec<String>,
}

impl AnswerSettings {
    /// Returns the wrong items: those whose owner is not one of BIK's words, those with an empty owner id, and those
    /// that stand in both lists.
    pub(super) fn check(&self) -> Vec<Wrong> {
        let mut all = Vec::new();
        for (name, items) in [("add", &self.add), ("exempt", &self.exempt)] {
            for (at, item) in items.iter().enumerate() {
                if let Some((what, help)) = wrong_item(item) {
                    all.push(Wrong::new(&[name], what).item(at).help(help));
                }
            }
        }
        let add: BTreeSet<String> = self.add.iter().map(|item| canonical(item)).collect();
        for (at, item) in self.exempt.iter().enumerate() {
            if add.contains(&canonical(item)) {
                let what = format!("{item:?} is also in `add`");
                all.push(Wrong::new(&["exempt"], what).item(at).help("remove it from one of the lists"));
            }
        }
        all
    }
}

/// Describes what is wrong with an item, and how to mend it.
fn wrong_item(item: &str) -> Option<(String, String)> {
    let (owner, id) = item.split_once(':').map_or((item, None), |(owner, id)| (owner, Some(id)));
    if let Owner::Other(_) = Owner::from(owner) {
        let help = match nearest(&owner.to_ascii_uppercase(), Owner::KNOWN.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of {}", Owner::KNOWN.join(", ")),
        };
        return Some((format!("{owner:?} is not an owner of BIK"), help));
    }
    let is_empty = id.is_some_and(str::is_empty);
    is_empty.then(|| {
        (format!("{item:?} has no owner id"), format!("write `{owner}`, or `{owner}:` and the owner id"))
    })
}

/// The item with the owner as BIK writes it.
fn canonical(item: &str) -> String {
    match item.split_once(':') {
        Some((owner, id)) => format!("{}:{id}", Owner::from(owner).as_str()),
        None => Owner::from(item).as_str().to_owned(),
    }
}

/// The rules which decide whether a message is an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerRules {
    add: BTreeSet<String>,
    exempt: BTreeSet<String>,
}

impl AnswerRules {
    pub(super) fn new(settings: &AnswerSettings) -> Self {
        let canonical = |items: &[String]| items.iter().map(|item| canonical(item)).collect();
        Self { add: canonical(&settings.add), exempt: canonical(&settings.exempt) }
    }

    /// Returns whether a message of this owner is an answer; false if BIK does not document the owner.
    pub(super) fn is_answer(&self, owner: &str, owner_id: Option<&str>) -> bool {
        let with_id = owner_id.map(|id| format!("{owner}:{id}"));
        for item in with_id.as_deref().into_iter().chain([owner]) {
            if self.exempt.contains(item) {
                return false;
            }
            if self.add.contains(item) {
                return true;
            }
        }
        ANSWERING.contains(&owner)
    }

    /// A digest of the rules: equal rules have the same one.
    pub(super) fn digest(&self) -> i64 {
        let mut sha = Sha256::new();
        for (list, items) in [(b"+", &self.add), (b"-", &self.exempt)] {
            for item in items {
                sha.update(list);
                sha.update(item.as_bytes());
                sha.update(b"\n");
            }
        }
        let digest = sha.finalize();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(add: &[&str], exempt: &[&str]) -> AnswerSettings {
        let owned = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        AnswerSettings { add: owned(add), exempt: owned(exempt) }
    }

    #[test]
    fn people_the_merchant_and_bots_answer_and_no_one_else() {
        let rules = AnswerRules::default();
        let answering: Vec<&str> =
            Owner::KNOWN.iter().copied().filter(|owner| rules.is_answer(owner, Some("57"))).collect();
        assert_eq!(answering, ["AGENT", "MERCHANT", "BOT"]);
        assert!(!rules.is_answer("ROBOT", None));
    }

    #[test]
    fn an_owner_id_decides_over_its_owner() {
        let rules = AnswerRules::new(&settings(&["dev_api", "CAMPAIGN:9"], &["BOT:57", "AGENT"]));
        for (owner, id, expected) in [
            ("DEV_API", None, true),
            ("CAMPAIGN", Some("9"), true),
            ("CAMPAIGN", Some("8"), false),
            ("BOT", Some("57"), false),
            ("BOT", Some("58"), true),
            ("BOT", None, true),
            ("AGENT", Some("57"), false),
        ] {
            assert_eq!(rules.is_answer(owner, id), expected, "{owner} {id:?}");
        }
        let rules = AnswerRules::new(&settings(&["BOT:57"], &["BOT"]));
        assert_eq!([rules.is_answer("BOT", Some("57")), rules.is_answer("BOT", Some("58"))], [true, false]);
    }

    #[test]
    fn an_item_without_a_known_owner_or_in_both_lists_is_wrong() {
        let wrong = |add: &[&str], exempt: &[&str]| settings(add, exempt).check().len();
        assert_eq!(wrong(&["DEV_API", "CAMPAIGN:9"], &["BOT:57"]), 0);
        assert_eq!(wrong(&["ROBOT"], &["BOT:", "AGNET:5"]), 3);
        assert_eq!(wrong(&["bot:57"], &["BOT:57"]), 1);
    }

    #[test]
    fn the_digest_changes_with_the_rules_and_not_with_their_order() {
        let digest = |add: &[&str], exempt: &[&str]| AnswerRules::new(&settings(add, exempt)).digest();
        assert_eq!(digest(&["BOT:1", "BOT:2"], &[]), digest(&["BOT:2", "bot:1"], &[]));
        assert_ne!(digest(&["BOT:1"], &[]), digest(&[], &["BOT:1"]));
        assert_ne!(digest(&[], &[]), digest(&[], &["BOT"]));
    }
}
