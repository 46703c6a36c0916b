//! The guarantees that every kind of handler gives to its destination. The real binary delivers to a real server, and
//! both are killed, stopped and started again. The test of a kind provides a [`Destination`], and calls [`hold_to`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::support::{
    events::{incoming, status},
    home::{Home, Process, eventually},
};

/// A destination of one kind: a private server (or file, or script) of the test's own.
pub trait Destination {
    /// `kind = "…"` and the kind's own keys, for a scene. Each scene writes to a place of its own.
    fn settings(&self, scene: &str) -> String;
    /// The arrivals of a scene, in their order. A visible repetition is included each time.
    fn arrived(&mut self, scene: &str) -> Vec<Arrival>;
    /// Kills it, as `kill -9` does. Then nothing answers at its address.
    fn kill(&mut self);
    /// Starts it again at the same address, with all data that it had acknowledged.
    fn start(&mut self);
    /// An element that it will never accept, as BIK would post it; `None` if there is no such element.
    fn poison(&self) -> Option<String>;
    /// True if a redelivery with the same key changes nothing there.
    fn is_idempotent(&self) -> bool;
    /// True if a handler can start without it. False for a file: if it cannot be opened, the start fails.
    fn may_be_away_at_the_start(&self) -> bool {
        true
    }
}

/// One event as the destination received it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The id by which it recognizes a repetition.
    pub key: String,
    /// The element, rendered.
    pub event: String,
}

/// Longer than anything here takes on a loaded machine.
const LONG: Duration = Duration::from_secs(60);
/// Waits are short, so that a recovered destination is probed soon.
const IMPATIENT: &str = "probe_first = \"50ms\"\nprobe_max = \"250ms\"\naside_first = \"50ms\"";
/// The statuses of a message, in their order.
const STATUSES: [&str; 3] = ["sent", "delivered", "read"];

/// Plays every scene with a destination.
pub fn hold_to(destination: &mut dyn Destination) {
    delivered_on_success(destination);
    the_same_key_after_a_crash_before_the_settle(destination);
    everything_in_order_once_it_is_back(destination);
    a_pause_loses_nothing(destination);
    a_stop_in_mid_delivery_loses_nothing(destination);
    one_poison_event_is_the_only_dead_letter(destination);
}

/// A receiver with one handler, `out`.
struct Scene<'a> {
    name: &'static str,
    destination: &'a mut dyn Destination,
    home: Home,
    posted: usize,
}

impl<'a> Scene<'a> {
    fn new(name: &'static str, destination: &'a mut dyn Destination) -> Self {
        let settings = destination.settings(name);
        let mut home = Home::new();
        home.more = format!("[handlers.out]\n{settings}\n{IMPATIENT}\nstart = \"beginning\"\n");
        Self { name, destination, home, posted: 0 }
    }

    /// Posts the statuses of this many messages in turn, and a message from a customer for every tenth.
    fn post(&mut self, receiver: &Process, messages: usize) {
        let mut connection = receiver.connect();
        let mut body = Vec::new();
        for step in STATUSES {
            for message in self.posted..self.posted + messages {
                body.push(status(&format!("{message}-{step}"), &format!("m-{message}"), step));
                if message % 10 == 0 && step == "sent" {
                    body.push(incoming(&format!("{message}-in"), &format!("in-{message}")));
                }
            }
        }
        for part in body.chunks(200) {
            assert_eq!(connection.post(&format!("[{}]", part.join(","))).unwrap().status, 200);
        }
        self.posted += messages;
    }

    /// Waits until everything that was posted has arrived, and checks the guarantees.
    fn everything_arrives(&mut self, receiver: &Process) {
        let wanted = expected(self.posted);
        let begun = Instant::now();
        let arrived = loop {
            let arrived = self.destination.arrived(self.name);
            let ids: BTreeSet<String> = arrived.iter().map(Arrival::id).collect();
            if ids.len() >= wanted.len() {
                break arrived;
            }
            if begun.elapsed() > LONG {
                let missing: Vec<&String> = wanted.difference(&ids).take(5).collect();
                let handlers = receiver.operator().get("/api/v1/handlers").unwrap().body;
                panic!("{}: {missing:?} do not arrive\n{handlers}\n{}", self.name, self.home.log());
            }
            thread::sleep(Duration::from_millis(20));
        };
        let ids: BTreeSet<String> = arrived.iter().map(Arrival::id).collect();
        assert_eq!(ids, wanted, "{}", self.name);
        self.check(&arrived);
    }

    /// Each event has one key, even if it was repeated. The first arrivals of a message are in the order of posting.
    fn check(&self, arrived: &[Arrival]) {
        let mut keys: HashMap<String, &str> = HashMap::new();
        let mut steps: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for arrival in arrived {
            let id = arrival.id();
            let first = !keys.contains_key(&id);
            let key = keys.entry(id.clone()).or_insert(&arrival.key);
            assert_eq!(*key, arrival.key, "{}: {id} came with two keys", self.name);
            assert_eq!(arrival.key.len(), 32, "{}: no key: {:?}", self.name, arrival.key);
            if let (true, Some((message, step))) = (first, id.split_once('-')) {
                steps.entry(message.to_owned()).or_default().push(step.to_owned());
            }
            assert!(first || !self.destination.is_idempotent(), "{}: {id} is there twice", self.name);
        }
        let distinct: BTreeSet<&str> = keys.values().copied().collect();
        assert_eq!(distinct.len(), keys.len(), "{}: two events with one key", self.name);
        for (message, steps) in steps {
            let statuses: Vec<&str> =
                steps.iter().map(String::as_str).filter(|step| STATUSES.contains(step)).collect();
            let in_order: Vec<&str> =
                STATUSES.iter().copied().filter(|step| statuses.contains(step)).collect();
            assert_eq!(statuses, in_order, "{}: message {message} came out of order", self.name);
        }
    }

    fn handler(receiver: &Process) -> Handler {
        let answer = receiver.operator().get("/api/v1/handlers").unwrap();
        let Handlers { handlers } = serde_json::from_str(&answer.body).unwrap();
        handlers.into_iter().find(|row| row.handler == "out").expect("the handler")
    }

    fn log(&self) -> String {
        self.home.log()
    }
}

impl Arrival {
    /// BIK's id of it, which no other event of a scene has.
    fn id(&self) -> String {
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        let parsed: Id =
            serde_json::from_str(&self.event).unwrap_or_else(|error| panic!("{error}: {}", self.event));
        parsed.id
    }
}

#[derive(Deserialize)]
struct Handlers {
    handlers: Vec<Handler>,
}

#[derive(Deserialize)]
struct Handler {
    handler: String,
    dead: u64,
    lanes: Vec<Lane>,
}

#[derive(Deserialize)]
struct Lane {
    state: String,
    lag: u64,
    failures: u32,
    delivered: u64,
}

fn expected(messages: usize) -> BTreeSet<String> {
    let statuses = (0..messages).flat_map(|message| STATUSES.map(|step| format!("{message}-{step}")));
    statuses.chain((0..messages).step_by(10).map(|message| format!("{message}-in"))).collect()
}

fn delivered_on_success(destination: &mut dyn Destination) {
    let mut scene = Scene::new("success", destination);
    let mut receiver = scene.home.start();
    scene.post(&receiver, 100);
    scene.everything_arrives(&receiver);
    receiver.stop();
    assert!(!scene.log().contains(" ERROR "), "{}", scene.log());
}

/// A settle is stored with a commit within a second. A receiver that is killed right after an arrival has not settled
/// it, or not all of it.
fn the_same_key_after_a_crash_before_the_settle(destination: &mut dyn Destination) {
    let mut scene = Scene::new("crash", destination);
    for _ in 0..3 {
        let mut receiver = scene.home.start();
        let before = scene.destination.arrived(scene.name).len();
        scene.post(&receiver, 50);
        eventually("crash: nothing arrives", || scene.destination.arrived(scene.name).len() > before);
        receiver.kill();
    }
    let mut receiver = scene.home.start();
    scene.everything_arrives(&receiver);
    receiver.stop();
}

fn everything_in_order_once_it_is_back(destination: &mut dyn Destination) {
    let mut scene = Scene::new("away", destination);
    let mut receiver = scene.home.start();
    scene.post(&receiver, 20);
    scene.everything_arrives(&receiver);
    scene.destination.kill();
    scene.post(&receiver, 50);
    eventually("away: it is not noticed", || {
        Scene::handler(&receiver).lanes.iter().any(|lane| lane.failures > 0 && lane.lag > 0)
    });
    if scene.destination.may_be_away_at_the_start() {
        receiver.stop();
        receiver = scene.home.start();
        scene.post(&receiver, 20);
        eventually("away: it is not noticed after the start", || {
            Scene::handler(&receiver).lanes.iter().any(|lane| lane.failures > 0)
        });
    }
    scene.destination.start();
    scene.everything_arrives(&receiver);
    assert_eq!(Scene::handler(&receiver).dead, 0);
    receiver.stop();
}

fn a_pause_loses_nothing(destination: &mut dyn Destination) {
    let mut scene = Scene::new("pause", destination);
    let mut receiver = scene.home.start();
    scene.post(&receiver, 10);
    scene.everything_arrives(&receiver);
    let answer = receiver.operator().ask("/api/v1/handlers/out/pause", "{}").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let before = scene.destination.arrived(scene.name).len();
    scene.post(&receiver, 30);
    eventually("pause: the lanes do not pause", || {
        Scene::handler(&receiver).lanes.iter().all(|lane| lane.state == "paused" && lane.lag > 0)
    });
    receiver.stop();
    receiver = scene.home.start();
    eventually("pause: it is forgotten by a restart", || {
        Scene::handler(&receiver).lanes.iter().all(|lane| lane.state == "paused" && lane.delivered == 0)
    });
    assert_eq!(scene.destination.arrived(scene.name).len(), before);
    let answer = receiver.operator().ask("/api/v1/handlers/out/resume", "{}").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    scene.everything_arrives(&receiver);
    receiver.stop();
}

fn a_stop_in_mid_delivery_loses_nothing(destination: &mut dyn Destination) {
    let mut scene = Scene::new("stop", destination);
    let mut receiver = scene.home.start();
    scene.post(&receiver, 400);
    eventually("stop: nothing arrives", || !scene.destination.arrived(scene.name).is_empty());
    receiver.stop();
    let mut receiver = scene.home.start();
    scene.everything_arrives(&receiver);
    receiver.stop();
}

fn one_poison_event_is_the_only_dead_letter(destination: &mut dyn Destination) {
    let Some(poison) = destination.poison() else { return };
    let mut scene = Scene::new("poison", destination);
    let mut receiver = scene.home.start();
    scene.post(&receiver, 160);
    assert_eq!(receiver.connect().post(&format!("[{poison}]")).unwrap().status, 200);
    scene.post(&receiver, 160);
    scene.everything_arrives(&receiver);
    eventually("poison: it does not die", || Scene::handler(&receiver).dead == 1);
    eventually("poison: the lanes do not go on", || {
        Scene::handler(&receiver).lanes.iter().all(|lane| lane.lag == 0)
    });
    assert_eq!(Scene::handler(&receiver).dead, 1);
    receiver.stop();
}
