//! The contract, with the files of the `jsonl` kind.

use std::fs;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    contract::{Arrival, Destination, hold_to},
    support::folder::MovableFolder,
};

/// A file for each scene.
struct Files(MovableFolder);

impl Destination for Files {
    fn settings(&self, scene: &str) -> String {
        format!("kind = \"jsonl\"\npath = {:?}", self.0.path().join(format!("{scene}.jsonl")))
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        #[derive(Deserialize)]
        struct Line<'a> {
            seq: u64,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        let text = fs::read_to_string(self.0.path().join(format!("{scene}.jsonl"))).unwrap_or_default();
        // A line that is still being written has no end yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let arrival = |line: &str| {
            let Line { seq, event } = serde_json::from_str(line).unwrap();
            // A file has no keys: of a line `seq` tells a repetition.
            Arrival { key: format!("{seq:032}"), event: event.get().to_owned() }
        };
        whole.lines().map(arrival).collect()
    }

    fn kill(&mut self) {
        self.0.move_away();
    }

    fn start(&mut self) {
        self.0.bring_back();
    }

    fn poison(&self) -> Option<String> {
        None
    }

    fn is_idempotent(&self) -> bool {
        false
    }

    fn may_be_away_at_the_start(&self) -> bool {
        false
    }
}

pub fn destination() -> Box<dyn Destination> {
    Box::new(Files(MovableFolder::new()))
}

#[test]
fn jsonl_keeps_the_contract() {
    hold_to(&mut *destination());
}
