//! Counts in texts: singular for 1, plural for every other number.

/// The form of a word for this count.
pub fn plural<'a>(count: impl Into<i128>, one: &'a str, many: &'a str) -> &'a str {
    if count.into() == 1 { one } else { many }
}

/// A count with its noun: `1 event`, `2 events`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", plural(count, one, many))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_1_has_a_singular() {
        assert_eq!(
            [0, 1, 2, 21].map(|count| counted(count, "event is", "events are")),
            ["0 events are", "1 event is", "2 events are", "21 events are"]
        );
        assert_eq!([-1, 1].map(|count| plural(count, "entry", "entries")), ["entries", "entry"]);
    }
}
