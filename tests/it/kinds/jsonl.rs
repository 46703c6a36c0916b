//! The contract, with the files of the `jsonl` kind.

use std::{fs, path::PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::contract::{Arrival, Destination, hold_to};

/// A folder that can be moved away.
struct Folder {
    own: TempDir,
}

impl Folder {
    fn there(&self) -> PathBuf {
        self.own.path().join("there")
    }
}

impl Destination for Folder {
    fn settings(&self, scene: &str) -> String {
        format!("kind = \"jsonl\"\npath = {:?}", self.there().join(format!("{scene}.jsonl")))
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        #[derive(Deserialize)]
        struct Line<'a> {
            seq: u64,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        let text = fs::read_to_string(self.there().join(format!("{scene}.jsonl"))).unwrap_or_default();
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
        fs::rename(self.there(), self.own.path().join("away")).unwrap();
        // What cannot be a folder is made to none.
        fs::write(self.there(), "").unwrap();
    }

    fn start(&mut self) {
        fs::remove_file(self.there()).unwrap();
        fs::rename(self.own.path().join("away"), self.there()).unwrap();
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
    Box::new(Folder { own: TempDir::new().unwrap() })
}

#[test]
fn jsonl_keeps_the_contract() {
    hold_to(&mut *destination());
}
