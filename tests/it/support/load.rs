//! Senders like BIK in the worst case: several connections, batches of 1 to 20, the statuses of a message in turn,
//! duplicates, impatience. A body that got no answer is posted again until it gets one.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    client::{Answer, Client, Receipt, request},
    dice::Dice,
    events,
};

const STATUSES: [&str; 3] = ["sent", "delivered", "read"];
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// An event that was made, and got its 200.
#[derive(Clone, Debug)]
pub struct Made {
    /// BIK's `id`: no other event has it.
    pub id: String,
    pub message: String,
    /// Which of the statuses; `None` for a message from a customer.
    pub step: Option<usize>,
    /// The number of extra letters in the text of a status.
    pub padding: usize,
}

impl Made {
    /// As it was posted.
    pub fn element(&self) -> String {
        let element = match self.step {
            Some(step) => events::status(&self.id, &self.message, STATUSES[step]),
            None => return events::incoming(&self.id, &self.message),
        };
        match self.padding {
            0 => element,
            more => element.replacen("Hello", &format!("Hello{}", "o".repeat(more)), 1),
        }
    }
}

/// A body that got its 200.
#[derive(Clone, Debug)]
pub struct Post {
    /// Events in it.
    pub events: u64,
    /// How many of these events were in no earlier body.
    pub fresh: u64,
    /// The number of times it was posted.
    pub tries: u64,
    /// The receipt of the 200.
    pub receipt: Receipt,
}

/// The posts of the senders, and the answers that they got.
#[derive(Debug, Default)]
pub struct Ledger {
    /// In the order of creation, for each message.
    pub events: Vec<Made>,
    pub posts: Vec<Post>,
    /// Answers of 503.
    pub refused: u64,
}

/// Running senders.
pub struct Load {
    senders: Vec<JoinHandle<Ledger>>,
    board: Arc<Board>,
}

impl Load {
    /// The number of senders that wait for the receiver's address.
    pub fn new(senders: u64, seed: u64) -> Self {
        let board = Arc::<Board>::default();
        let spawn = |name| {
            let sender = Sender::new(name, seed, Arc::clone(&board));
            thread::spawn(move || sender.work())
        };
        Self { senders: (0..senders).map(spawn).collect(), board }
    }

    /// Gives the senders the address of the started receiver.
    pub fn aim(&self, address: SocketAddr) {
        let mut notes = self.board.notes();
        notes.receiver = Some(address);
        notes.starts += 1;
        self.board.changed.notify_all();
    }

    /// Waits for this many more answers of 200.
    pub fn wait_for_answers(&self, more: u64) {
        let notes = self.board.notes();
        let enough = notes.answers + more;
        drop(self.board.wait(notes, "the senders get no answers", |notes| notes.answers >= enough));
    }

    /// Lets every sender get its outstanding answer. Returns the posts of all senders.
    pub fn finish(self) -> Ledger {
        self.board.notes().finished = true;
        let mut all = Ledger::default();
        for sender in self.senders {
            let Ledger { events, posts, refused } = sender.join().expect("a sender failed");
            all.events.extend(events);
            all.posts.extend(posts);
            all.refused += refused;
        }
        all
    }
}

/// The state shared by the senders and the test.
#[derive(Default)]
struct Board {
    notes: Mutex<Notes>,
    changed: Condvar,
}

#[derive(Default)]
struct Notes {
    receiver: Option<SocketAddr>,
    starts: u64,
    answers: u64,
    finished: bool,
}

impl Board {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    fn wait<'a>(
        &self,
        notes: MutexGuard<'a, Notes>,
        otherwise: &str,
        is_so: impl Fn(&Notes) -> bool,
    ) -> MutexGuard<'a, Notes> {
        let (notes, waited) = self.changed.wait_timeout_while(notes, LONG, |notes| !is_so(notes)).unwrap();
        assert!(!waited.timed_out(), "{otherwise}");
        notes
    }

    /// Waits until the receiver was started more than `starts` times. Returns its address and the number of starts.
    fn receiver_after(&self, starts: u64) -> (SocketAddr, u64) {
        let notes =
            self.wait(self.notes(), "the receiver was not started again", |notes| notes.starts > starts);
        (notes.receiver.unwrap(), notes.starts)
    }

    fn answered(&self) {
        self.notes().answers += 1;
        self.changed.notify_all();
    }
}

/// The sender of one connection.
struct Sender {
    name: u64,
    dice: Dice,
    board: Arc<Board>,
    client: Option<Client>,
    receiver: Option<SocketAddr>,
    starts: u64,
    made: u64,
    /// Messages with a status still to come: the event that got its 200 last.
    open: VecDeque<Made>,
    ledger: Ledger,
}

impl Sender {
    fn new(name: u64, seed: u64, board: Arc<Board>) -> Self {
        Self {
            name,
            dice: Dice::new(seed ^ name.wrapping_mul(0x1000_0001)),
            board,
            client: None,
            receiver: None,
            starts: 0,
            made: 0,
            open: VecDeque::new(),
            ledger: Ledger::default(),
        }
    }

    fn work(mut self) -> Ledger {
        while !self.board.notes().finished {
            let (fresh, again) = self.compose();
            let elements: Vec<String> = fresh.iter().chain(&again).map(Made::element).collect();
            let body = format!("[{}]", elements.join(","));
            let (tries, receipt) = self.post_until_answered(&body);
            self.board.answered();
            let (events, new) = (elements.len() as u64, fresh.len() as u64);
            self.ledger.posts.push(Post { events, fresh: new, tries, receipt });
            let more = |made: &&Made| made.step.is_some_and(|step| step + 1 < STATUSES.len());
            self.open.extend(fresh.iter().filter(more).cloned());
            self.ledger.events.extend(fresh);
        }
        self.ledger
    }

    /// Events for a body: new ones, at most one per message, and some that were posted before.
    fn compose(&mut self) -> (Vec<Made>, Vec<Made>) {
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        for _ in 0..=self.dice.below(20) {
            let known = self.ledger.events.len() as u64;
            if known > 0 && self.dice.percent(8) {
                let which = self.dice.below(known) as usize;
                again.push(self.ledger.events[which].clone());
                continue;
            }
            let made = self.make();
            if self.dice.percent(2) {
                again.push(made.clone());
            }
            fresh.push(made);
        }
        (fresh, again)
    }

    fn make(&mut self) -> Made {
        self.made += 1;
        let id = format!("e-{}-{}", self.name, self.made);
        let message = format!("m-{}-{}", self.name, self.made);
        if self.dice.percent(15) {
            return Made { id, message, step: None, padding: 0 };
        }
        // A fifth of the messages get no further status, as with BIK.
        match self.open.pop_front().filter(|_| self.dice.percent(80)) {
            Some(before) => {
                Made { id, message: before.message, step: before.step.map(|step| step + 1), padding: 0 }
            }
            None => Made { id, message, step: Some(0), padding: 0 },
        }
    }

    /// Posts until there is a 200. Returns the number of posts and the receipt.
    fn post_until_answered(&mut self, body: &str) -> (u64, Receipt) {
        for tries in 1.. {
            match self.post(body) {
                Ok(answer) if answer.status == 200 => return (tries, answer.receipt()),
                Ok(answer) => {
                    answer.assert_come_again();
                    self.ledger.refused += 1;
                    thread::sleep(Duration::from_millis(20));
                }
                Err(_no_answer) => self.client = None,
            }
        }
        unreachable!("it is posted for ever")
    }

    fn post(&mut self, body: &str) -> io::Result<Answer> {
        let impatient = self.dice.percent(2);
        let client = self.connected()?;
        if impatient {
            client.send(&request(body))?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let answer = client.post(body)?;
        if answer.closes() {
            self.client = None;
        }
        Ok(answer)
    }

    /// The connection. If it can no longer be made, one to the receiver that is started next.
    fn connected(&mut self) -> io::Result<&mut Client> {
        if self.client.is_none() {
            let receiver = match self.receiver {
                Some(receiver) => receiver,
                None => {
                    let (receiver, starts) = self.board.receiver_after(self.starts);
                    self.starts = starts;
                    *self.receiver.insert(receiver)
                }
            };
            match Client::connect(receiver) {
                Ok(client) => self.client = Some(client),
                Err(error) => {
                    self.receiver = None;
                    return Err(error);
                }
            }
        }
        self.client.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
