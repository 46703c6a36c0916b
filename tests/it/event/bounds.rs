//! Limits on the elements of a body and on the infos of an event.

use bikhook::event::{Decoder, View, decode_within, elements_limit};

use super::element;

fn array(elements: usize) -> Vec<u8> {
    format!("[{}]", vec![r#"{"eventName":"x"}"#; elements].join(",")).into_bytes()
}

#[test]
fn the_bound_of_elements_grows_with_the_body_and_is_never_below_a_batch() {
    assert_eq!([0, 1 << 20, 5 << 20, 64 << 20].map(elements_limit), [20_000, 20_000, 20_480, 262_144]);
}

#[test]
fn a_body_with_more_elements_than_the_bound_is_recognised() {
    let within = |elements, limit| decode_within(&"bik".into(), &array(elements), limit);
    assert_eq!(within(300, 300).unwrap().expect("as many").drafts.len(), 300);
    assert!(within(301, 300).unwrap().is_none());
    let broken = [&array(300)[..], b" and more"].concat();
    assert!(decode_within(&"bik".into(), &broken, 300).is_err());
}

#[test]
fn a_body_that_is_read_in_parts_has_the_same_elements() {
    let source = "bik".into();
    let body = [b"[17,", &array(1_000)[1..]].concat();
    for most in [1, 7, 500, 1_001, 2_000] {
        let mut decoder = Decoder::of(&source, &body);
        let (mut drafts, mut unreadable) = (0, 0);
        while let Some(part) = decoder.part(most).unwrap() {
            assert!(part.drafts.len() + part.quarantined.len() <= most);
            drafts += part.drafts.len();
            unreadable += part.quarantined.len();
        }
        assert_eq!((drafts, unreadable), (1_000, 1), "in parts of {most}");
    }
}

#[test]
fn a_view_has_the_first_1_000_infos_and_the_bytes_have_all() {
    let infos = vec![r#"{"status":"read"}"#; 5_000].join(",");
    let body = format!(r#"{{"eventName":"message-status-update","id":"1","eventInfo":[{infos}]}}"#);
    let element = element(body.as_bytes());
    let View::Status(update) = element.view() else { panic!("a status is a status") };
    assert_eq!(update.infos.len(), 1_000);
    assert_eq!(element.raw(), body);
}
