//! A handler that fails, hangs or panics does not affect intake or another handler. Once it works again, it gets all
//! missed events, also after a restart.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bikhook::{
    dispatch::{DispatchControl, HandlerSpec, Settings},
    handler::{Delivery, Failure, Filter, Handler, Mask},
    http::{self, AuthMode, CredentialSettings, Intake, SourceSettings, Sources, Stopped},
    journal::Journal,
    metrics::Metrics,
    secret::Secret,
    settings::Period,
};
use tokio::{
    runtime::Runtime,
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::Sender;
use crate::support::{
    client::{Client, KEY},
    home::eventually,
    journals::{Place, from_beginning},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Fails,
    Hangs,
    Panics,
}

/// A handler with a set behaviour, which records the seqs that it accepted.
struct Moody {
    mood: Mood,
    asked: watch::Sender<u64>,
    taken: Mutex<Vec<u64>>,
}

impl Moody {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood, asked: watch::Sender::new(0), taken: Mutex::default() })
    }

    /// In order; the lanes run independently.
    fn taken(&self) -> Vec<u64> {
        let mut taken = self.taken.lock().unwrap().clone();
        taken.sort_unstable();
        taken
    }
}

impl Handler for Moody {
    fn deliver<'a>(
        &'a self,
        events: &'a [Delivery],
    ) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>> {
        Box::pin(async move {
            self.asked.send_modify(|asked| *asked += 1);
            let (class, error) = ("test".to_owned(), "told to".to_owned());
            match self.mood {
                Mood::Well => {}
                Mood::Fails => return Err(Failure::retry(class, error)),
                Mood::Hangs => std::future::pending().await,
                Mood::Panics => panic!("told to"),
            }
            self.taken.lock().unwrap().extend(events.iter().map(|delivery| delivery.event.seq));
            Ok(())
        })
    }
}

/// Intake, journal and dispatch, with handlers of the test.
struct World {
    address: SocketAddr,
    journal: Arc<dyn Journal>,
    stop_intake: oneshot::Sender<()>,
    stop_lanes: watch::Sender<bool>,
    servers: JoinSet<Stopped>,
    lanes: JoinSet<()>,
    runtime: Runtime,
}

impl World {
    fn start(place: &Place, handlers: &[(&str, &Arc<Moody>)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let (journal, metrics) = (place.open(), Metrics::new());
        let (stop_lanes, told) = watch::channel(false);
        let mut lanes = JoinSet::new();
        runtime.block_on(async {
            let enrolments = handlers.iter().map(|(name, _)| from_beginning(name));
            journal.enrol(enrolments.collect()).await.unwrap();
            for (name, handler) in handlers {
                start_lanes(name, handler, &journal, &metrics, &told, &mut lanes).await;
            }
        });
        let (stop_intake, stopped) = oneshot::channel();
        let settings = http::Settings::default();
        let sources = Sources::check([("bik", &source())]).ok().unwrap();
        let intake = Intake::new(&settings, &sources, Arc::clone(&journal), metrics);
        let entered = runtime.enter();
        let listener = http::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut servers = JoinSet::new();
        servers.spawn(async move {
            let stop = async { stopped.await.map_or_else(|_| soon(), |()| soon()) };
            http::serve(listener, intake, settings, stop).await
        });
        drop(entered);
        Self { address, journal, stop_intake, stop_lanes, servers, lanes, runtime }
    }

    /// The same order of stopping as in `app`: intake, lanes, journal.
    fn stop(self) {
        let Self { journal, stop_intake, stop_lanes, mut servers, mut lanes, runtime, .. } = self;
        runtime.block_on(async {
            stop_intake.send(()).unwrap();
            servers.join_next().await.unwrap().unwrap();
            stop_lanes.send_replace(true);
            while let Some(ended) = lanes.join_next().await {
                ended.unwrap();
            }
            journal.close().await.unwrap();
        });
    }
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(5)
}

fn source() -> SourceSettings {
    let credential = CredentialSettings { key: Some(Secret::new(KEY)), ..CredentialSettings::default() };
    SourceSettings {
        path: "/webhook".to_owned(),
        auth: AuthMode::Basic,
        credentials: BTreeMap::from([("portal".to_owned(), credential)]),
        rate: None,
        tenant: None,
    }
}

async fn start_lanes(
    name: &str,
    handler: &Arc<Moody>,
    journal: &Arc<dyn Journal>,
    metrics: &Arc<Metrics>,
    stop: &watch::Receiver<bool>,
    lanes: &mut JoinSet<()>,
) {
    let soon = Period(Duration::from_millis(20));
    let settings = Settings { timeout: soon, probe_first: soon, probe_max: soon, ..Settings::default() };
    let spec = HandlerSpec {
        name: name.into(),
        kind: "moody",
        destination: "there".into(),
        handler: Arc::clone(handler) as Arc<dyn Handler>,
        filter: Filter::default(),
        mask: Mask::default(),
        batch: 20,
        concurrency: 2,
        settings,
    };
    let grace = Duration::from_millis(100);
    DispatchControl::start(vec![spec], journal, metrics, lanes, stop, grace).await.unwrap();
}

fn one_in_trouble_disturbs_nobody(mood: Mood) {
    let place = Place::new();
    let (troubled, well) = (Moody::new(mood), Moody::new(Mood::Well));
    let world = World::start(&place, &[("troubled", &troubled), ("well", &well)]);
    let mut sender = Sender::default();
    let mut client = Client::connect(world.address).unwrap();
    sender.post_new(&mut client, 4);
    // The failure is repeated, not only a single one.
    eventually("it is not asked", || *troubled.asked.borrow() > 20);
    for size in 0..50 {
        sender.post_new(&mut client, size % 10);
    }
    let all: Vec<u64> = (1..=sender.ledger.events.len() as u64).collect();
    eventually("the other handler does not get everything", || well.taken().len() == all.len());
    assert_eq!(well.taken(), all);
    assert_eq!(troubled.taken(), [0; 0]);
    drop(client);
    world.stop();

    let (cured, still_well) = (Moody::new(Mood::Well), Moody::new(Mood::Well));
    let world = World::start(&place, &[("troubled", &cured), ("well", &still_well)]);
    eventually("it does not get what it has missed", || cured.taken().len() == all.len());
    sender.post_new(&mut Client::connect(world.address).unwrap(), 1);
    let new = all.len() as u64 + 1;
    eventually("the other handler is not given new events", || still_well.taken() == [new]);
    eventually("it is not given new events", || cured.taken().last() == Some(&new));
    let everything: Vec<u64> = (1..=new).collect();
    assert_eq!(cured.taken(), everything);
    world.stop();
}

#[test]
fn a_handler_that_fails_disturbs_neither_intake_nor_another_handler() {
    one_in_trouble_disturbs_nobody(Mood::Fails);
}

#[test]
fn a_handler_that_hangs_disturbs_neither_intake_nor_another_handler() {
    one_in_trouble_disturbs_nobody(Mood::Hangs);
}

#[test]
fn a_handler_that_panics_disturbs_neither_intake_nor_another_handler() {
    one_in_trouble_disturbs_nobody(Mood::Panics);
}
