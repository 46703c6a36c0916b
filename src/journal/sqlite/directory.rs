//! The key directory: an in-memory index of the keys in the deduplication window.
//!
//! An entry has 8 bytes: 32 bits of the key and the low 32 bits of its seq. An entry only says where the key may be, so
//! each hit is confirmed by reading the key's row. The window never spans 2³² events, so the low bits and the tip
//! determine the whole seq. The index is split into 256 shards to keep each growth step short, because when a shard
//! doubles, only 1/256 of the entries move.

use hashbrown::{HashTable, hash_table::Entry as Slot};

use crate::event::Key;

const SHARDS: usize = 256;

/// Maps keys to the seqs where they may be stored.
pub(super) struct Directory {
    shards: Vec<HashTable<DirectoryEntry>>,
    len: u64,
}

#[derive(Clone, Copy)]
struct DirectoryEntry {
    tag: u32,
    seq: u32,
}

impl Directory {
    /// Creates an empty directory.
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect(), len: 0 }
    }

    /// Number of keys in the directory.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The seqs at which a key may be stored: nearly always none, or only the right one. `tip` is the highest seq.
    pub(super) fn candidates(&self, key: &Key, tip: u64) -> impl Iterator<Item = u64> {
        let (shard, tag) = place(key);
        self.shards[shard]
            .iter_hash(spread(tag))
            .filter(move |entry| entry.tag == tag)
            .map(move |entry| tip - u64::from(low(tip).wrapping_sub(entry.seq)))
    }

    /// Adds a key whose row is committed.
    pub(super) fn insert(&mut self, key: &Key, seq: u64) {
        let (shard, tag) = place(key);
        self.shards[shard]
            .insert_unique(spread(tag), DirectoryEntry { tag, seq: low(seq) }, |entry| spread(entry.tag));
        self.len += 1;
    }

    /// Removes a key whose row is deleted.
    pub(super) fn remove(&mut self, key: &Key, seq: u64) {
        let (shard, tag) = place(key);
        let is_it = |entry: &DirectoryEntry| entry.tag == tag && entry.seq == low(seq);
        if let Slot::Occupied(slot) = self.shards[shard].entry(spread(tag), is_it, |entry| spread(entry.tag))
        {
            slot.remove();
            self.len -= 1;
        }
    }
}

/// A key is already a digest, so its bytes select the shard and the tag.
fn place(key: &Key) -> (usize, u32) {
    let [shard, a, b, c, d, ..] = key.0;
    (usize::from(shard), u32::from_le_bytes([a, b, c, d]))
}

/// Spreads the 32 bits of a tag over the whole hash, because the table takes the position from the low bits of the hash
/// and the control byte from the high bits.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[allow(clippy::cast_possible_truncation)] // only the low 32 bits are wanted
fn low(seq: u64) -> u32 {
    seq as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        Key(bytes)
    }

    #[test]
    fn a_key_is_found_where_it_was_entered_and_nowhere_after_it_left() {
        let mut directory = Directory::new();
        for seq in 1..=10_000 {
            directory.insert(&key(seq), seq);
        }
        assert_eq!(directory.candidates(&key(77), 10_000).collect::<Vec<_>>(), [77]);
        directory.remove(&key(77), 77);
        assert_eq!(directory.candidates(&key(77), 10_000).count(), 0);
        assert_eq!(directory.len(), 9_999);
    }

    #[test]
    fn a_seq_above_32_bits_is_restored() {
        let mut directory = Directory::new();
        let before = (1_u64 << 32) - 2;
        directory.insert(&key(1), before);
        directory.insert(&key(2), before + 5);
        let tip = before + 10;
        assert_eq!(directory.candidates(&key(1), tip).collect::<Vec<_>>(), [before]);
        assert_eq!(directory.candidates(&key(2), tip).collect::<Vec<_>>(), [before + 5]);
    }

    #[test]
    fn two_keys_with_the_same_tag_are_both_candidates() {
        let mut directory = Directory::new();
        let (mut one, mut two) = ([7; 16], [7; 16]);
        one[15] = 1;
        two[15] = 2;
        directory.insert(&Key(one), 3);
        directory.insert(&Key(two), 4);
        let mut found: Vec<u64> = directory.candidates(&Key(one), 9).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
        directory.remove(&Key(one), 3);
        assert_eq!(directory.candidates(&Key(two), 9).collect::<Vec<_>>(), [4]);
    }
}
