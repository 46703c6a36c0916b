//! Parses `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date in one of the three formats of section 5.6.7.

use std::time::Duration;

use jiff::{civil::DateTime, fmt::strtime, tz::TimeZone};

use crate::clock::Timestamp;

/// Longer waits are reduced to this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// IMF-fixdate and asctime, without the day of the week, which is not needed.
const FOUR_DIGIT_YEARS: [&str; 2] = ["%d %b %Y %H:%M:%S GMT", "%b %e %H:%M:%S %Y"];
/// The date format of RFC 850.
const TWO_DIGIT_YEARS: &str = "%d-%b-%y %H:%M:%S GMT";

/// How long the destination asks to wait; `None` if the header cannot be parsed.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let after = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit into a u64 becomes the largest one.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let now = jiff::Timestamp::from_millisecond(now.as_ms()).ok()?.to_zoned(TimeZone::UTC).datetime();
        // A date in the past means no wait.
        Duration::try_from(date(text, now)?.duration_since(now)).unwrap_or_default()
    };
    Some(after.min(LONGEST))
}

fn date(text: &str, now: DateTime) -> Option<DateTime> {
    let (_day_of_week, rest) = text.split_once([',', ' '])?;
    let rest = rest.trim_start();
    let parsed = |form: &str| strtime::parse(form, rest).ok()?.to_datetime().ok();
    FOUR_DIGIT_YEARS.into_iter().find_map(parsed).or_else(|| Some(in_century(parsed(TWO_DIGIT_YEARS)?, now)))
}

/// Completes a two-digit year. A year more than 50 years in the future becomes the year 100 years earlier (RFC 9110,
/// section 5.6.7).
fn in_century(date: DateTime, now: DateTime) -> DateTime {
    let year = now.year() - now.year().rem_euclid(100) + date.year().rem_euclid(100);
    let year = if year > now.year() + 50 { year - 100 } else { year };
    date.with().year(year).build().unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_in_any_format() {
        let now = Timestamp::from_ms(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        for (text, secs) in [
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Wed Nov 16 08:50:37 1994", Some(86_400)),
            // The day of the week is wrong, the date is correct.
            ("Mon, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("99999999999", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("", None),
            ("Sun, 31 Feb 1994 08:50:37 GMT", None),
        ] {
            assert_eq!(retry_after(text, now), secs.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_two_digit_year_is_at_most_50_years_in_the_future() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, secs) in [
            ("Saturday, 31-Jan-26 12:01:00 GMT", 60),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
            ("Thursday, 31-Jan-75 12:00:00 GMT", 86_400),
        ] {
            assert_eq!(retry_after(text, now), Some(Duration::from_secs(secs)), "{text}");
        }
    }
}
