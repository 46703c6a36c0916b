//! Sends the requests that retry dead letters, or drop dead letters or quarantine entries. Prints the result.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::{
    Error,
    client::Client,
    output::{json_line, stdout},
    selection::FilterJson,
};
use crate::admin::wire::{DroppedRows, MatchingRows, RetriedRows, RowsRequest};

/// A list whose rows can be changed by id.
pub(super) struct Changeable {
    /// The path of the list in the API.
    pub(super) path: &'static str,
    /// The maximum number of ids in one request.
    pub(super) ids: usize,
    /// The error about ids that no row has.
    pub(super) unknown: fn(&[i64]) -> String,
}

impl Changeable {
    /// The bodies of the requests that select rows by id.
    pub(super) fn bodies(&self, ids: &[i64]) -> Vec<RowsRequest<FilterJson>> {
        let body = |ids: &[i64]| RowsRequest { ids: Some(ids.to_vec()), ..RowsRequest::default() };
        ids.chunks(self.ids).map(body).collect()
    }

    /// Sends a request for each body and prints the sum of the answers. Then returns an error if ids are unknown.
    pub(super) fn change(
        &self,
        client: &Client,
        verb: &str,
        bodies: &[RowsRequest<FilterJson>],
        done: &str,
        json: bool,
    ) -> Result<(), Error> {
        // The commands require ids or a handler, so there is at least one body.
        let Some((first, others)) = bodies.split_first() else { return Ok(()) };
        let mut sum: ChangeAnswer = client.post(&[self.path, verb], first)?;
        for body in others {
            sum.add(client.post(&[self.path, verb], body)?);
        }
        let out = &mut stdout();
        if json {
            json_line(out, &sum)?;
        } else {
            writeln!(out, "{} {done}", sum.parts().0)?;
        }
        out.flush()?;
        self.check_known(sum.parts().1)
    }

    /// Returns an error if ids are unknown.
    pub(super) fn check_known(&self, unknown: &[i64]) -> Result<(), Error> {
        if unknown.is_empty() { Ok(()) } else { Err(Error::Failed((self.unknown)(unknown))) }
    }
}

/// The answer to a change, or the sum of several.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ChangeAnswer {
    Retried(RetriedRows),
    Dropped(DroppedRows),
    DryRun(MatchingRows),
}

impl ChangeAnswer {
    fn add(&mut self, mut other: Self) {
        let ((count, unknown), (other_count, other_unknown)) = (self.parts(), other.parts());
        *count += *other_count;
        unknown.append(other_unknown);
    }

    /// The number of rows, and the ids that no row has.
    fn parts(&mut self) -> (&mut usize, &mut Vec<i64>) {
        match self {
            Self::Retried(RetriedRows { retried, unknown }) => (retried, unknown),
            Self::Dropped(DroppedRows { dropped, unknown }) => (dropped, unknown),
            Self::DryRun(MatchingRows { matches, unknown, .. }) => (matches, unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_answers_has_the_form_of_an_answer() {
        for (answer, sum) in [
            (r#"{"retried":2,"unknown":[7]}"#, r#"{"retried":4,"unknown":[7,7]}"#),
            (r#"{"dropped":2,"unknown":[],"more":1}"#, r#"{"dropped":4,"unknown":[]}"#),
            (r#"{"dryRun":true,"matches":2,"unknown":[]}"#, r#"{"dryRun":true,"matches":4,"unknown":[]}"#),
        ] {
            let mut changed: ChangeAnswer = serde_json::from_str(answer).unwrap();
            changed.add(serde_json::from_str(answer).unwrap());
            assert_eq!(serde_json::to_string(&changed).unwrap(), sum);
        }
    }
}
