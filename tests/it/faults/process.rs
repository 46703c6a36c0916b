//! A process that is stopped, killed or started twice, and peers that hang up.

use std::{fs, thread, time::Duration};

use super::Sender;
use crate::support::{
    client::{Receipt, request},
    dice::Dice,
    home::Home,
    load::Load,
    proof::Proof,
};

#[test]
fn a_second_process_on_a_journal_ends_with_an_error_that_names_the_lock() {
    let home = Home::new();
    let mut first = home.start();
    let mut sender = Sender::default();
    let mut client = first.connect();
    sender.post_new(&mut client, 5);

    assert_eq!(home.spawn(home.command()).exit_code(), 1);
    let lock = home.journal_file().with_extension("db.lock");
    let log = home.log();
    let error = log.lines().last().unwrap();
    assert!(error.contains("in use by another process"), "{error}");
    assert!(error.contains(lock.to_str().unwrap()), "{error}");
    assert!(error.contains(&format!("held by process {}", first.pid())), "{error}");

    assert_eq!(fs::read_to_string(lock).unwrap(), first.pid().to_string());
    sender.post_new(&mut client, 5);
    sender.assert_kept(&home, &mut first);
}

#[test]
fn the_lock_of_a_killed_process_does_not_block_the_next_start() {
    let home = Home::new();
    let mut sender = Sender::default();
    let mut killed = home.start();
    sender.post_new(&mut killed.connect(), 5);
    killed.kill();
    assert!(home.journal_file().with_extension("db.lock").exists());
    let mut process = home.start();
    sender.post_new(&mut process.connect(), 5);
    sender.assert_kept(&home, &mut process);
}

#[test]
fn duplicates_and_conflicts_are_recognised_after_a_crash() {
    let home = Home::new();
    let mut sender = Sender::default();
    let mut killed = home.start();
    let mut client = killed.connect();
    // More keys than one run holds, in bodies of every size.
    let bodies: Vec<String> = (0..30)
        .map(|size| {
            let mut body = sender.body(size);
            assert_eq!(sender.post(&mut client, &mut body).status, 200);
            body.text
        })
        .collect();
    killed.kill();

    let mut process = home.start();
    let mut client = process.connect();
    for (size, body) in (0..).zip(&bodies) {
        let receipt = client.post(body).unwrap().receipt();
        assert_eq!(receipt, Receipt { accepted: 0, duplicates: size, quarantined: 0, seq: None });
    }
    let conflicting = bodies[20].replace("Hello", "Hullo").replace("Hii", "Huu");
    let receipt = client.post(&conflicting).unwrap().receipt();
    assert_eq!(receipt, Receipt { accepted: 0, duplicates: 0, quarantined: 20, seq: None });
    sender.post_new(&mut client, 5);
    sender.assert_kept(&home, &mut process);
    assert_eq!(home.quarantined(), 20);
}

#[test]
fn a_stop_under_load_keeps_every_200_and_gives_no_false_answer() {
    let home = Home::new();
    let seed = Dice::seed("BIKHOOK_CRASH_SEED");
    let mut dice = Dice::new(seed);
    let load = Load::new(8, seed);
    let mut process = home.start();
    load.aim(process.address());
    for _ in 0..5 {
        load.wait_for_answers(50 + dice.below(100));
        thread::sleep(Duration::from_micros(dice.below(2_000)));
        process.stop();
        process = home.start();
        load.aim(process.address());
    }
    let ledger = load.finish();
    home.wait_until_delivered();
    process.stop();
    let mut proof = Proof::new(&ledger);
    home.each_stored(|stored| proof.stored(&stored));
    home.each_line(|line| proof.line(line));
    proof.assert_kept();
    assert_eq!(home.quarantined(), 0);
}

#[test]
fn peers_that_hang_up_in_mid_request_leave_whole_bodies_or_nothing() {
    let home = Home::new();
    let mut process = home.start();
    let mut dice = Dice::new(Dice::seed("BIKHOOK_CRASH_SEED"));
    let mut sender = Sender::default();
    let mut hung_up = Vec::new();
    for round in 0..60 {
        let body = sender.body(1 + round % 7);
        let request = request(&body.text);
        // Every third peer sends the whole request, and does not wait for the answer.
        let whole = request.len() as u64;
        let sent = if round % 3 == 0 { whole } else { dice.below(whole) };
        let mut client = process.connect();
        client.send(&request[..usize::try_from(sent).unwrap()]).unwrap();
        drop(client);
        hung_up.push(body);
    }
    assert!(process.is_alive());
    let mut client = process.connect();
    for mut body in hung_up {
        // The receipt shows whether the first attempt was stored.
        body.tries = 1;
        assert_eq!(sender.post(&mut client, &mut body).status, 200);
    }
    sender.assert_kept(&home, &mut process);
    assert_eq!(home.quarantined(), 0);
}
