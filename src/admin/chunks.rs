//! Reading a list whose entries carry payloads. It is read in chunks, so that not all payloads are in memory at once.

use super::error::RequestError;
use crate::journal;

/// Entries per read; each may carry a payload of several MiB.
pub(super) const CHUNK: usize = 16;

/// Maps up to `limit` entries with `map`, which returns each entry's id and result. `read(None, count)` returns the
/// newest `count` entries, newest first. `read(Some(id), count)` does the same for the entries with a lower id.
pub(super) async fn each<T, S, F>(
    limit: usize,
    before: Option<i64>,
    read: impl Fn(Option<i64>, usize) -> F,
    map: impl Fn(&T) -> (i64, S),
) -> Result<Vec<(i64, S)>, RequestError>
where
    F: Future<Output = Result<Vec<T>, journal::Error>>,
{
    let mut seen: Vec<(i64, S)> = Vec::new();
    while seen.len() < limit {
        let wanted = CHUNK.min(limit - seen.len());
        let chunk = read(seen.last().map(|(id, _)| *id).or(before), wanted).await?;
        seen.extend(chunk.iter().map(&map));
        if chunk.len() < wanted {
            break;
        }
    }
    Ok(seen)
}
