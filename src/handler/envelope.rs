//! The envelope: a delivery as one line of JSON. It is the same for all kinds.

use std::fmt::Write;

use super::Delivery;

impl Delivery {
    /// Returns the envelope: `key` (the same in every delivery of this event), `attempt` and `replay`, then the fields
    /// of `Event::to_json_line`: `seq`, `receivedAt`, `source`, `eventName`, `id`, `event`. All fields are always
    /// present and in this order. There is no line break at the end.
    pub fn to_envelope(&self) -> String {
        let mut line = String::with_capacity(self.event.json_line_size_hint() + 80);
        self.push_envelope(&mut line);
        line
    }

    /// Appends the envelope that [`Delivery::to_envelope`] returns.
    pub(crate) fn push_envelope(&self, out: &mut String) {
        let (key, attempt, replay) = (self.key(), self.attempt, self.replay);
        // Writing to a String does not fail.
        let _ = write!(out, "{{\"key\":\"{key}\",\"attempt\":{attempt},\"replay\":{replay},");
        self.event.push_json_fields(out);
        out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_the_line_of_the_event_with_the_key_before_it() {
        let sample = Delivery::sample(5, r#"{ "eventName": "x", "id": 7, }"#);
        let key = sample.event.key();
        let delivery = Delivery { attempt: 2, replay: true, ..sample };
        assert_eq!(
            delivery.to_envelope(),
            format!(
                r#"{{"key":"{key}","attempt":2,"replay":true,"seq":5,"receivedAt":"1970-01-01T00:00:00.000Z","source":"bik","eventName":"x","id":"7","event":{{"eventName":"x","id":7}}}}"#
            )
        );
        assert_eq!(key.to_string().len(), 32);
    }
}
