//! Faults around a receiver. Each test checks the answer that a sender gets, and that no event with a 200 is lost.

mod dead;
mod disk;
mod handlers;
mod process;

use std::io;

use crate::support::{
    client::{Answer, Client},
    home::{Home, Process},
    load::{Ledger, Made, Post},
    proof::Proof,
};

/// A sender with one connection at a time, which records its answers in a ledger.
#[derive(Default)]
struct Sender {
    ledger: Ledger,
    made: usize,
}

/// A body that has no 200 yet.
struct Body {
    events: Vec<Made>,
    text: String,
    /// The number of times it was posted.
    tries: u64,
}

impl Sender {
    /// A body with this many new events.
    fn body(&mut self, events: usize) -> Body {
        let new = self.made..self.made + events;
        self.made += events;
        let make = |number| Made {
            id: format!("e-{number}"),
            message: format!("m-{number}"),
            step: (number % 4 > 0).then_some(0),
            padding: 0,
        };
        let events: Vec<Made> = new.map(make).collect();
        let elements: Vec<String> = events.iter().map(Made::element).collect();
        Body { events, text: format!("[{}]", elements.join(",")), tries: 0 }
    }

    /// Posts a body and reads the answer. A 200 is recorded in the ledger.
    fn post(&mut self, client: &mut Client, body: &mut Body) -> Answer {
        self.try_post(client, body).expect("an answer")
    }

    /// Like the method above, but the connection may end without an answer.
    fn try_post(&mut self, client: &mut Client, body: &mut Body) -> io::Result<Answer> {
        body.tries += 1;
        let answer = client.post(&body.text)?;
        if answer.status == 200 {
            let (events, fresh) = (body.events.len() as u64, body.events.len() as u64);
            self.ledger.posts.push(Post { events, fresh, tries: body.tries, receipt: answer.receipt() });
            self.ledger.events.append(&mut body.events);
        }
        Ok(answer)
    }

    /// Posts new events, which must get a 200 on the first attempt.
    fn post_new(&mut self, client: &mut Client, events: usize) {
        let mut body = self.body(events);
        let answer = self.post(client, &mut body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Stops the receiver after everything was delivered. Asserts that every event with a 200 is in the journal and was
    /// delivered.
    fn assert_kept(&self, home: &Home, process: &mut Process) {
        home.wait_until_delivered();
        process.stop();
        let mut proof = Proof::new(&self.ledger);
        home.each_stored(|stored| proof.stored(&stored));
        home.each_line(|line| proof.line(line));
        proof.assert_kept();
    }
}
