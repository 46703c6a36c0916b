//! Nothing that got a 200 is lost, whenever the process is killed; and no 200 goes out before its events are on disk.
//!
//! SIGKILL does not affect the page cache. So the first proof shows only that data written before an answer is found
//! again, in order and once. The second proof shows from the system calls that the data was on disk.
//!
//! `BIKHOOK_CRASHES=1000` kills 1,000 times. `BIKHOOK_CRASH_SEED=…` repeats the load and the kill times of a run, as
//! far as the machine allows.

mod checker;
mod stub;
mod sync;
mod trace;

use std::{net::SocketAddr, thread, time::Duration};

use crate::support::{
    dice::Dice,
    home::{Home, Process, Stored},
    load::{Ledger, Load},
    proof::Proof,
};

const SENDERS: u64 = 8;

/// A receiver of events that can be killed and started again.
trait Receiver {
    /// Starts it, and returns its address.
    fn start(&mut self) -> SocketAddr;
    /// Kills it.
    fn kill(&mut self);
    /// Starts it and kills it after this time, ready or not.
    fn kill_while_it_starts(&mut self, after: Duration);
    /// Stops it gracefully, after everything was delivered.
    fn stop(&mut self);
    /// Every event that it has, in the order of seq.
    fn each_stored(&self, see: &mut dyn FnMut(Stored));
    /// Every line that its handler wrote.
    fn each_line(&self, see: &mut dyn FnMut(&str));
}

/// Sends load, kills it this many times, and stops it. Returns the answers that the senders got.
fn kill_under_load(receiver: &mut impl Receiver, crashes: u64, seed: u64) -> Ledger {
    let mut dice = Dice::new(seed);
    let load = Load::new(SENDERS, seed);
    load.aim(receiver.start());
    for _ in 0..crashes {
        load.wait_for_answers(dice.below(120));
        thread::sleep(Duration::from_micros(dice.below(3_000)));
        receiver.kill();
        if dice.percent(20) {
            receiver.kill_while_it_starts(Duration::from_millis(dice.below(80)));
        }
        load.aim(receiver.start());
    }
    let ledger = load.finish();
    receiver.stop();
    ledger
}

/// Compares its events with the answers that the senders got.
fn proof<'a>(receiver: &impl Receiver, ledger: &'a Ledger) -> Proof<'a> {
    let mut proof = Proof::new(ledger);
    receiver.each_stored(&mut |stored| proof.stored(&stored));
    receiver.each_line(&mut |line| proof.line(line));
    proof
}

/// The real binary.
struct Binary {
    home: Home,
    process: Option<Process>,
}

impl Receiver for Binary {
    fn start(&mut self) -> SocketAddr {
        self.process.insert(self.home.start()).address()
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    fn kill_while_it_starts(&mut self, after: Duration) {
        let mut process = self.home.spawn(self.home.command());
        thread::sleep(after);
        process.kill();
    }

    fn stop(&mut self) {
        self.home.wait_until_delivered();
        self.process.take().unwrap().stop();
    }

    fn each_stored(&self, see: &mut dyn FnMut(Stored)) {
        self.home.each_stored(see);
    }

    fn each_line(&self, see: &mut dyn FnMut(&str)) {
        self.home.each_line(see);
    }
}

#[test]
fn every_event_that_got_a_200_outlives_kills_at_random_moments() {
    let crashes = std::env::var("BIKHOOK_CRASHES").map_or(25, |crashes| crashes.parse().unwrap());
    let mut home = Home::new();
    home.audit_keys = "rotate_size = \"1MiB\"\ngzip = true";
    let mut binary = Binary { home, process: None };
    let ledger = kill_under_load(&mut binary, crashes, Dice::seed("BIKHOOK_CRASH_SEED"));
    let posted_again = ledger.posts.iter().filter(|post| post.tries > 1).count();
    println!("{crashes} crashes, {} events, {posted_again} bodies posted again", ledger.events.len());
    proof(&binary, &ledger).assert_kept();
    assert_eq!(binary.home.quarantined(), 0);
    assert!(posted_again > 0, "no kill came while a body was on its way: nothing was shown");
}
