//! Tests the proof itself. It must detect a receiver that answers before it stores, and accept one that stores first.

use std::{
    collections::{HashSet, VecDeque},
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::value::RawValue;

use super::{Receiver, kill_under_load, proof};
use crate::support::{dice::Dice, home::Stored, proof::Violation};

#[test]
fn a_receiver_that_answers_before_it_stores_is_caught() {
    let mut early = Stub::new(Answers::BeforeItStores);
    let ledger = kill_under_load(&mut early, 5, Dice::seed("BIKHOOK_CRASH_SEED"));
    let violations = proof(&early, &ledger).violations();
    let caught = violations.iter().any(|violation| matches!(violation, Violation::Lost(_)));
    assert!(caught, "not caught: {violations:?}");
}

#[test]
fn a_receiver_that_stores_before_it_answers_passes() {
    let mut honest = Stub::new(Answers::AfterItStored);
    let ledger = kill_under_load(&mut honest, 5, Dice::seed("BIKHOOK_CRASH_SEED"));
    proof(&honest, &ledger).assert_kept();
}

#[derive(Clone, Copy, PartialEq)]
enum Answers {
    AfterItStored,
    BeforeItStores,
}

/// The number of bodies that a stub that answers early has only in memory.
const IN_MEMORY: usize = 4;

/// A minimal receiver. A kill deletes its memory, but not its disk.
struct Stub {
    answers: Answers,
    memory: Arc<Mutex<Memory>>,
    server: Option<Server>,
}

#[derive(Default)]
struct Memory {
    disk: Vec<String>,
    pending: VecDeque<Vec<String>>,
    /// The events on disk and in memory.
    known: HashSet<String>,
}

struct Server {
    address: SocketAddr,
    dead: Arc<AtomicBool>,
    acceptor: JoinHandle<()>,
}

impl Stub {
    fn new(answers: Answers) -> Self {
        Self { answers, memory: Arc::default(), server: None }
    }

    fn end(&mut self) {
        let Server { address, dead, acceptor } = self.server.take().unwrap();
        dead.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(address));
        acceptor.join().unwrap();
    }
}

impl Receiver for Stub {
    fn start(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dead = Arc::<AtomicBool>::default();
        let (answers, memory, told) = (self.answers, Arc::clone(&self.memory), Arc::clone(&dead));
        let acceptor = thread::spawn(move || accept(&listener, &told, answers, &memory));
        self.server = Some(Server { address, dead, acceptor });
        address
    }

    fn kill(&mut self) {
        self.end();
        let mut memory = self.memory.lock().unwrap();
        memory.pending.clear();
        memory.known = memory.disk.iter().cloned().collect();
    }

    fn kill_while_it_starts(&mut self, _after: Duration) {
        self.start();
        self.kill();
    }

    fn stop(&mut self) {
        self.end();
        let mut memory = self.memory.lock().unwrap();
        while memory.write_oldest() {}
    }

    fn each_stored(&self, see: &mut dyn FnMut(Stored)) {
        for (seq, raw) in (1..).zip(&self.memory.lock().unwrap().disk) {
            see(Stored { seq, raw: raw.clone() });
        }
    }

    fn each_line(&self, see: &mut dyn FnMut(&str)) {
        self.each_stored(&mut |Stored { seq, raw }| see(&format!("{{\"seq\":{seq},\"event\":{raw}}}\n")));
    }
}

impl Memory {
    /// Accepts a body, and returns the receipt.
    fn take(&mut self, elements: Vec<String>, answers: Answers) -> String {
        let sent = elements.len();
        let fresh: Vec<String> =
            elements.into_iter().filter(|element| self.known.insert(element.clone())).collect();
        let accepted = fresh.len();
        self.pending.push_back(fresh);
        while answers == Answers::AfterItStored && self.write_oldest() {}
        if self.pending.len() > IN_MEMORY {
            self.write_oldest();
        }
        let highest = self.disk.len() + self.pending.iter().flatten().count();
        let seq = if accepted == 0 { "null".to_owned() } else { highest.to_string() };
        let duplicates = sent - accepted;
        format!("{{\"accepted\":{accepted},\"duplicates\":{duplicates},\"quarantined\":0,\"seq\":{seq}}}\n")
    }

    /// Returns whether there was something to write.
    fn write_oldest(&mut self) -> bool {
        let oldest = self.pending.pop_front();
        let some = oldest.is_some();
        self.disk.extend(oldest.into_iter().flatten());
        some
    }
}

/// Serves until it is killed; then no connection is left.
fn accept(listener: &TcpListener, dead: &AtomicBool, answers: Answers, memory: &Arc<Mutex<Memory>>) {
    let mut connections: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
    for stream in listener.incoming() {
        if dead.load(Ordering::SeqCst) {
            break;
        }
        let (stream, memory) = (stream.unwrap(), Arc::clone(memory));
        let other_end = stream.try_clone().unwrap();
        let served = thread::spawn(move || {
            // It ends when the sender hangs up, or when it is killed.
            while answer_one(&stream, answers, &memory).is_ok() {}
        });
        connections.push((other_end, served));
    }
    for (stream, served) in connections {
        // The sender may have hung up before.
        drop(stream.shutdown(Shutdown::Both));
        served.join().unwrap();
    }
}

fn answer_one(stream: &TcpStream, answers: Answers, memory: &Mutex<Memory>) -> io::Result<()> {
    let mut request = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        request.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None if line == "\r\n" => break,
            None if line.starts_with("POST ") => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    let mut body = vec![0; length];
    request.read_exact(&mut body)?;
    let elements: Vec<&RawValue> = serde_json::from_slice(&body).unwrap();
    let elements = elements.into_iter().map(|element| element.get().to_owned()).collect();
    let receipt = memory.lock().unwrap().take(elements, answers);
    let mut stream = stream;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{receipt}", receipt.len());
    // In one write, as the real receiver does: a kill between two writes would leave half an answer.
    stream.write_all(answer.as_bytes())
}
