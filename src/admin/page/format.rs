//! Formatted values on a page: times, colored words, shares, durations. Times, colored words and shares are HTML. Each
//! has its own template, which escapes its content. The template of a page therefore inserts them without escaping.

use askama::{Template, filters::HtmlSafe};

use crate::{
    clock::Timestamp, dispatch::LaneCondition, event::Status, insight::MessageState, plural::plural,
};

/// A time: RFC 3339 in the markup, and displayed to the second.
#[derive(Template)]
#[template(source = r#"<time class="nowrap" datetime="{{ exact }}">{{ text }}</time>"#, ext = "html")]
pub(super) struct When {
    exact: String,
    text: String,
}

impl HtmlSafe for When {}

impl From<Timestamp> for When {
    fn from(time: Timestamp) -> Self {
        let exact = time.to_string();
        let text = exact.get(..19).unwrap_or(&exact).replace('T', " ");
        Self { exact, text }
    }
}

impl When {
    /// A past time, displayed as the time elapsed since then.
    pub(super) fn ago(time: Timestamp, now: Timestamp) -> Self {
        let ms = now.ms_since(time).max(0);
        let text = if ms < 1_000 { "just now".to_owned() } else { format!("{} ago", duration(ms)) };
        Self { exact: time.to_string(), text }
    }
}

/// A word in a color. The color is one of the CSS classes `ok`, `warn`, `bad`, `note` and `info`, or none.
#[derive(Clone, Template)]
#[template(source = r#"<span class="tag {{ colour }}">{{ word }}</span>"#, ext = "html")]
pub(super) struct Tag {
    colour: &'static str,
    word: String,
}

impl HtmlSafe for Tag {}

impl Tag {
    pub(super) fn new(colour: &'static str, word: impl Into<String>) -> Self {
        Self { colour, word: word.into() }
    }

    /// The state of a message; `None` is an incoming message.
    pub(super) fn of_state(state: Option<MessageState>) -> Self {
        let Some(state) = state else { return Self::new("note", "incoming") };
        let colour = match state {
            MessageState::Accepted => "",
            MessageState::Sent => "info",
            MessageState::Delivered | MessageState::Read | MessageState::Played => "ok",
            MessageState::Failed => "bad",
        };
        Self::new(colour, state.as_str())
    }

    /// The condition of a lane or of a handler.
    pub(super) fn of_condition(condition: LaneCondition) -> Self {
        match condition {
            LaneCondition::Running => Self::new("ok", "running"),
            LaneCondition::Waiting => Self::new("warn", "unwell"),
            LaneCondition::Paused => Self::new("warn", "paused"),
            LaneCondition::Full => Self::new("bad", "full"),
            LaneCondition::Stuck => Self::new("bad", "stuck"),
            LaneCondition::Stopped => Self::new("", "stopped"),
            LaneCondition::NotConfigured => Self::new("", "not configured"),
        }
    }

    /// A status in BIK's own spelling.
    pub(super) fn of_status(status: &str) -> Self {
        match MessageState::from_any_case(status) {
            Some(state) => Self::of_state(Some(state)),
            None if Status::from(status).is_failure() => Self::new("bad", status),
            None => Self::new("", status),
        }
    }
}

/// A part of a whole, as a percentage with a bar.
#[derive(Template)]
#[template(
    source = r#"{{ text }}<svg class="bar {{ colour }}" aria-hidden="true"><rect width="{{ width }}%" height="100%"/></svg>"#,
    ext = "html"
)]
pub(super) struct Percentage {
    text: String,
    colour: &'static str,
    width: String,
}

impl HtmlSafe for Percentage {}

impl Percentage {
    pub(super) fn new(part: i64, whole: i64, colour: &'static str) -> Self {
        if whole <= 0 {
            return Self { text: "–".to_owned(), colour, width: "0".to_owned() };
        }
        let share = 100.0 * part as f64 / whole as f64;
        let text = match share {
            _ if part == 0 || part == whole => format!("{share:.0} %"),
            // Show a nonzero part as more than 0 %, and an incomplete part as less than 100 %.
            share if share < 0.1 => "< 0.1 %".to_owned(),
            share if share > 99.9 => "> 99.9 %".to_owned(),
            _ => format!("{share:.1} %"),
        };
        Self { text, colour, width: format!("{:.1}", share.clamp(0.0, 100.0)) }
    }
}

/// A time in the format of a browser's time field: to the minute, UTC.
pub(super) fn time_field(time: Timestamp) -> String {
    time.to_string().chars().take(16).collect()
}

/// A number with thousands separators.
pub(super) fn number(value: impl Into<i128>) -> String {
    let value: i128 = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("−{text}") } else { text }
}

/// A number with its noun in the singular or plural.
pub(super) fn quantity(value: impl Into<i128>, one: &str, many: &str) -> String {
    let value: i128 = value.into();
    format!("{} {}", number(value), plural(value, one, many))
}

/// A duration in its one or two largest units, such as `1.5 s` or `1 h 1 min`.
pub(super) fn duration(ms: i64) -> String {
    let secs = ms / 1_000;
    match secs {
        _ if ms < 1_000 => format!("{ms} ms"),
        0..10 => format!("{secs}.{} s", ms % 1_000 / 100),
        10..60 => format!("{secs} s"),
        60..3_600 => two(secs / 60, "min", secs % 60, "s"),
        3_600..86_400 => two(secs / 3_600, "h", secs % 3_600 / 60, "min"),
        _ => two(secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    }
}

/// A duration in seconds, formatted by [`duration`].
pub(super) fn duration_of_secs(secs: u64) -> String {
    duration(i64::try_from(secs).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000))
}

/// A duration, or a dash if it is not known.
pub(super) fn maybe_duration(ms: Option<i64>) -> String {
    ms.map_or_else(|| "–".to_owned(), duration)
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_durations_and_shares_are_formatted() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(number(-1_000), "−1,000");
        assert_eq!(
            [5, 1_540, 12_000, 60_000, 3_661_000, 90_000_000].map(duration),
            ["5 ms", "1.5 s", "12 s", "1 min", "1 h 1 min", "1 d 1 h"]
        );
        let share = |part, whole| Percentage::new(part, whole, "").text;
        assert_eq!(
            [share(0, 0), share(0, 9), share(9, 9), share(1, 9_999), share(9_998, 9_999), share(1, 3)],
            ["–", "0 %", "100 %", "< 0.1 %", "> 99.9 %", "33.3 %"]
        );
    }

    #[test]
    fn every_failure_is_shown_in_its_own_word_and_as_bad() {
        for status in ["failed", "undelivered", "bounced"] {
            let tag = Tag::of_status(status);
            assert_eq!((tag.colour, &*tag.word), ("bad", status));
        }
        assert_eq!(Tag::of_status("queued").colour, "");
    }

    #[test]
    fn tags_escape_their_content() {
        let hostile = Tag::new("", "<script>alert('x')</script>").to_string();
        assert!(!hostile.contains("<script>"), "{hostile}");
        assert_eq!(
            When::from(Timestamp::from_ms(1_767_225_600_000)).to_string(),
            r#"<time class="nowrap" datetime="2026-01-01T00:00:00.000Z">2026-01-01 00:00:00</time>"#
        );
    }
}
