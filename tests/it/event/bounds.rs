//! Bounds of what one body, and one event, may make of its bytes.

use bikhook::event::{Reason, View};

use super::{decoded, element};

fn array(elements: usize) -> Vec<u8> {
    format!("[{}]", vec![r#"{"eventName":"x"}"#; elements].join(",")).into_bytes()
}

#[test]
fn a_body_of_more_elements_than_are_read_goes_to_quarantine_whole() {
    let most = decoded(&array(20_000)).unwrap();
    assert_eq!((most.drafts.len(), most.quarantined.len()), (20_000, 0));
    let body = array(20_001);
    let more = decoded(&body).unwrap();
    assert!(more.drafts.is_empty());
    assert_eq!(more.quarantined.len(), 1);
    assert_eq!(more.quarantined[0].reason, Reason::TooMany);
    assert_eq!(more.quarantined[0].bytes, body);
}

#[test]
fn of_an_event_with_very_many_infos_the_view_sees_the_first_and_the_bytes_have_all() {
    let infos = vec![r#"{"status":"read"}"#; 5_000].join(",");
    let body = format!(r#"{{"eventName":"message-status-update","id":"1","eventInfo":[{infos}]}}"#);
    let element = element(body.as_bytes());
    let View::Status(update) = element.view() else { panic!("a status is a status") };
    assert_eq!(update.infos.len(), 1_000);
    assert_eq!(element.raw(), body);
}
