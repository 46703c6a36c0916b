//! Sends the requests that retry or drop dead letters and quarantine entries, and prints the result.

use std::io::Write;

use super::{
    Error,
    client::Client,
    output::{json_line, stdout},
    selection::FilterJson,
};
use crate::admin::wire::{Changed, ChangedRows, RowsRequest};

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

    /// Sends a request for each body, adds the answers to `rows` and prints the sum. Then returns an error if ids are
    /// unknown.
    pub(super) fn change(
        &self,
        client: &Client,
        verb: &str,
        bodies: &[RowsRequest<FilterJson>],
        (rows, done): (ChangedRows, &str),
        json: bool,
    ) -> Result<(), Error> {
        let mut sum = Changed::new(rows, Vec::new());
        for body in bodies {
            sum.add(client.post(&[self.path, verb], body)?);
        }
        let out = &mut stdout();
        if json {
            json_line(out, &sum)?;
        } else {
            writeln!(out, "{} {done}", sum.rows.count())?;
        }
        out.flush()?;
        self.check_known(&sum.unknown)
    }

    /// Returns an error if ids are unknown.
    pub(super) fn check_known(&self, unknown: &[i64]) -> Result<(), Error> {
        if unknown.is_empty() { Ok(()) } else { Err(Error::Failed((self.unknown)(unknown))) }
    }
}
