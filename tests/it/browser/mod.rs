//! The page in a real browser: headless Chromium over the real binary. The scripts of this folder click and report
//! errors. This module starts the receivers for them.

mod hostile;
mod scripts;
mod world;

use serde_json::json;
use tempfile::TempDir;

use self::{scripts::play, world::World};
use crate::support::{client::KEY, events::status, home::eventually};

/// Pages that are not linked.
const MORE: [&str; 2] = ["/search?q=nothing", "/conversations?address=%2B910000000000"];

#[test]
fn every_page_is_quiet_readable_by_all_and_fits_a_phone() {
    let world = World::new();
    world.campaign();
    let expected = [
        "/",
        "/tail",
        "/handlers",
        "/handlers/refuses",
        "/replays",
        "/dead",
        "/dead/N",
        "/dead/N/drop",
        "/quarantine",
        "/quarantine/N",
        "/quarantine/N/drop",
        "/credentials",
        "/search",
        "/search?state",
        "/messages/N",
        "/conversations",
        "/conversations?waiting",
        "/conversations/N",
        "/events",
        "/events/N",
    ];
    play("sound", &world, json!({ "more": MORE, "expected": expected }));
}

#[test]
fn the_pages_of_a_receiver_that_has_nothing_yet_are_so_too() {
    let world = World::new();
    play(
        "sound",
        &world,
        json!({ "more": ["/search", "/conversations?waiting=1"], "expected": ["/", "/events"] }),
    );
}

#[test]
fn everything_is_reached_by_the_keyboard_and_seen_to_have_the_focus() {
    let world = World::new();
    world.campaign();
    play("keys", &world, json!({ "more": MORE }));
}

#[test]
fn every_page_says_what_it_has_to_say_without_javascript() {
    let world = World::new();
    world.campaign();
    play("plain", &world, json!({ "more": MORE, "phone": world::PHONE }));
}

#[test]
fn a_search_finds_a_phone_and_a_message_and_hides_personal_data() {
    let world = World::new();
    world.campaign();
    let way =
        ["sent", "delivered", "read"].map(|step| status(&format!("way-{step}"), "wamid.theWayOfOne", step));
    world.post(&way);
    world.learnt();
    play("find", &world, json!({ "phone": world::PHONE, "message": "wamid.theWayOfOne", "words": "Hello" }));
}

#[test]
fn stored_markup_is_text_on_every_page() {
    let world = World::with(hostile::REFUSES);
    let shown = hostile::fill(&world);
    play("hostile", &world, json!({ "more": hostile::PAGES, "hostile": hostile::VALUES, "shown": shown }));
}

#[test]
fn an_event_is_on_the_live_page_within_a_second_and_a_pause_loses_nothing() {
    let world = World::new();
    let told = json!({ "webhook": world.webhook(), "key": KEY, "hostile": hostile::VALUES });
    play("live", &world, told);
}

#[test]
fn a_page_left_open_says_its_time_and_that_the_receiver_is_gone() {
    let world = World::new();
    play("stale", &world, json!({ "pid": world.pid() }));
}

#[test]
fn each_button_performs_the_decision_of_its_label() {
    let folder = TempDir::new().unwrap();
    let door = folder.path().join("door");
    let world = World::with(&world::refusing(&format!("test -e {} || ", door.display())));
    world.campaign();
    eventually("the handlers do not take what there is", || {
        let handlers = world.ask("/api/v1/handlers");
        handlers["handlers"].as_array().unwrap().iter().all(|handler| {
            handler["lanes"].as_array().unwrap().iter().all(|lane| lane["lag"] == 0 && lane["setAside"] == 0)
        })
    });
    let told = json!({ "webhook": world.webhook(), "key": KEY, "door": door, "events": [status("held", "wamid.held", "sent")] });
    play("act", &world, told);
}
