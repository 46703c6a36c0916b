//! Splits a batch into waves, whose events can be in flight together.
//!
//! A destination keeps the order in which it receives events, but it may reject one event and accept the next. The
//! rejected event is sent again, and then arrives after the accepted one. The events of one BIK message must arrive in
//! order, so a wave has at most one of them. A wave is sent only after the destination has confirmed every event of the
//! wave before.

use std::collections::HashSet;

use super::Delivery;

/// Splits events into waves with at most one event of each BIK message, in order.
pub(super) fn waves(events: &[Delivery]) -> impl Iterator<Item = &[Delivery]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut messages = HashSet::new();
        let repeats =
            |delivery: &Delivery| delivery.order_key().is_some_and(|message| !messages.insert(message));
        let end = rest.iter().position(repeats).unwrap_or(rest.len());
        let (wave, after) = rest.split_at(end);
        rest = after;
        (!wave.is_empty()).then_some(wave)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::{Mask, MaskSettings};

    fn delivery(seq: u64, message: Option<&str>) -> Delivery {
        let info = message.map_or(String::new(), |id| format!(r#","eventInfo":{{"messageId":"{id}"}}"#));
        Delivery::sample(seq, &format!(r#"{{"eventName":"x","id":"{seq}"{info}}}"#))
    }

    fn seqs(events: &[Delivery]) -> Vec<Vec<u64>> {
        waves(events).map(|wave| wave.iter().map(|delivery| delivery.event.seq).collect()).collect()
    }

    #[test]
    fn a_mask_that_hides_the_message_changes_no_wave() {
        let settings: MaskSettings = toml::from_str("drop = [\"/eventInfo/messageId\"]").unwrap();
        let mask = Mask::new(Some(&settings)).unwrap();
        let events: Vec<Delivery> = [1, 2].map(|seq| delivery(seq, Some("a")).masked(&mask).unwrap()).into();
        assert_eq!(seqs(&events), [[1], [2]]);
    }

    #[test]
    fn a_wave_has_no_two_events_of_one_message() {
        let events: Vec<Delivery> =
            [Some("a"), Some("b"), None, None, Some("a"), Some("b"), Some("b"), Some("c")]
                .into_iter()
                .zip(1..)
                .map(|(message, seq)| delivery(seq, message))
                .collect();
        assert_eq!(seqs(&events), [vec![1, 2, 3, 4], vec![5, 6], vec![7, 8]]);
        assert_eq!(seqs(&[]), Vec::<Vec<u64>>::new());
    }
}
