//! The period of the figures: the last day, week or month, or a custom period.

use super::form_fields::FormFields;
use crate::{
    admin::error::RequestError,
    clock::Timestamp,
    insight::{HOUR_MS, ask::Dimension},
};

const DAY_MS: i64 = 24 * HOUR_MS;
/// Periods up to this length are shown per hour, longer ones per day.
const BY_HOUR_MS: i64 = 3 * DAY_MS;
/// A step is one hour or one day of the period. Steps without messages are listed only if the period has at most this
/// many steps.
const STEPS_MAX: i64 = 400;

pub(super) struct FigurePeriod {
    /// The value of the field `range`: `24h`, `7d`, `30d`, or `own`.
    pub(super) range: &'static str,
    /// Start of the period, inclusive.
    pub(super) since: Timestamp,
    /// End of the period, exclusive.
    pub(super) until: Timestamp,
}

/// The ranges: value and label.
pub(super) const RANGES: [(&str, &str); 4] =
    [("24h", "Last 24 hours"), ("7d", "Last 7 days"), ("30d", "Last 30 days"), ("own", "Custom (From, To)")];

impl FigurePeriod {
    /// The period that the form selects. With `range=own`, it is set by the fields `since` and `until`. The default of
    /// `until` is one hour from now. The default of `since` is seven days before `until`.
    pub(super) fn of(form: &FormFields, now: Timestamp) -> Result<Self, RequestError> {
        // The figures are kept per hour, and the hour that contains `until` is excluded. With `until` one hour from
        // now, the current hour is included, although it is not over yet.
        let last = |range, ms: i64| Self { range, since: now.plus_ms(-ms), until: now.plus_ms(HOUR_MS) };
        match form.text("range") {
            Some("24h") => Ok(last("24h", DAY_MS)),
            None | Some("7d") => Ok(last("7d", 7 * DAY_MS)),
            Some("30d") => Ok(last("30d", 30 * DAY_MS)),
            Some("own") => {
                let until = form.time("until")?.unwrap_or_else(|| now.plus_ms(HOUR_MS));
                let since = form.time("since")?.unwrap_or_else(|| until.plus_ms(-7 * DAY_MS));
                if since >= until {
                    return Err(RequestError::parameter("since", "must be before until"));
                }
                Ok(Self { range: "own", since, until })
            }
            Some(_) => Err(RequestError::parameter("range", "must be 24h, 7d, 30d or own")),
        }
    }

    /// The unit of one step: an hour or a day.
    pub(super) fn step(&self) -> Dimension {
        if self.until.ms_since(self.since) <= BY_HOUR_MS { Dimension::Hour } else { Dimension::Day }
    }

    /// The start of each step; empty if there are more than [`STEPS_MAX`].
    pub(super) fn steps(&self) -> Vec<Timestamp> {
        let step = if self.step() == Dimension::Hour { HOUR_MS } else { DAY_MS };
        let (first, end) = (self.since.as_ms().div_euclid(step), (self.until.as_ms() - 1).div_euclid(step));
        let end =
            if self.range == "own" { end } else { end.min((self.until.as_ms() - HOUR_MS).div_euclid(step)) };
        if end - first >= STEPS_MAX {
            return Vec::new();
        }
        (first..=end).map(|at| Timestamp::from_ms(at * step)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(query: &str) -> Result<FigurePeriod, RequestError> {
        // 2026-01-10T12:30:00Z
        let now = Timestamp::from_ms(1_768_048_200_000);
        FigurePeriod::of(&FormFields::of(&format!("/?{query}").parse().unwrap()), now)
    }

    #[test]
    fn each_range_has_its_unit_and_its_number_of_steps() {
        let day = period("range=24h").unwrap();
        assert_eq!((day.step(), day.steps().len()), (Dimension::Hour, 25));
        let week = period("").unwrap();
        assert_eq!((week.range, week.step(), week.steps().len()), ("7d", Dimension::Day, 8));
        let own = period("range=own&since=2026-01-01&until=2026-01-02").unwrap();
        assert_eq!((own.step(), own.steps().len()), (Dimension::Hour, 24));
        let longest = period("range=own&since=2025-01-01&until=2026-02-05").unwrap();
        assert_eq!(i64::try_from(longest.steps().len()), Ok(STEPS_MAX));
        let too_long = period("range=own&since=2025-01-01&until=2026-02-06").unwrap();
        assert_eq!(too_long.steps().len(), 0);
        for wrong in ["range=1y", "range=own&since=2026-01-02&until=2026-01-01", "range=own&since=soon"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
