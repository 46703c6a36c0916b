//! A server on a free port, a journal that the test controls, and a client that is a plain socket.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bikhook::{
    event::Quarantined,
    http::{AuthMode, CredentialSettings, Intake, Settings, SourceSettings, Sources, Stopped, bind, serve},
    journal::{
        AppendBatch, AppendError, AppendReceipt, Claim, DeadLetter, DeadQuery, Ends, Enrolment, EventPage,
        EventQuery, HandlerPlace, Journal, JournalFigures, JournalFuture, JournalState, LaneId, LaneState,
        QuarantineEntry, QuarantineQuery, RenameError,
    },
    metrics::Metrics,
    secret::Secret,
};
use tokio::{
    runtime::Runtime,
    sync::{oneshot, watch},
    task::JoinSet,
};

pub(super) const KEY: &str = "s3cret-key";
/// Longer than anything here takes, unless it hangs.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// An event as BIK sends it, in an array of one.
pub(super) fn event(id: &str) -> String {
    format!(r#"[{{"eventName":"incoming-message","eventInfo":{{"messageId":"m-{id}"}},"id":"{id}"}}]"#)
}

pub(super) fn key(key: &str) -> CredentialSettings {
    CredentialSettings { key: Some(Secret::new(key)), ..CredentialSettings::default() }
}

pub(super) fn pair(username: &str, password: &str) -> CredentialSettings {
    CredentialSettings {
        username: Some(username.to_owned()),
        password: Some(Secret::new(password)),
        ..CredentialSettings::default()
    }
}

/// A source with one credential, named `portal`.
pub(super) fn source(path: &str, credential: CredentialSettings) -> SourceSettings {
    SourceSettings {
        path: path.to_owned(),
        auth: AuthMode::Basic,
        credentials: BTreeMap::from([("portal".to_owned(), credential)]),
        rate: None,
        tenant: None,
    }
}

/// A server, with its journal and metrics.
pub(super) struct World {
    pub(super) address: SocketAddr,
    pub(super) intake: Intake,
    pub(super) journal: Arc<Told>,
    pub(super) metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<Duration>>,
    server: JoinSet<Stopped>,
    runtime: Runtime,
}

impl World {
    /// One source `bik` at `/webhook`, which takes [`KEY`].
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(settings: impl FnOnce(&mut Settings)) -> Self {
        Self::of(settings, &BTreeMap::from([("bik".to_owned(), source("/webhook", key(KEY)))]))
    }

    pub(super) fn of(change: impl FnOnce(&mut Settings), sources: &BTreeMap<String, SourceSettings>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self::on(runtime.unwrap(), change, sources)
    }

    pub(super) fn on(
        runtime: Runtime,
        change: impl FnOnce(&mut Settings),
        sources: &BTreeMap<String, SourceSettings>,
    ) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let (journal, metrics) = (Told::new(), Metrics::new());
        let sources =
            Sources::check(sources.iter().map(|(name, source)| (name.as_str(), source))).ok().unwrap();
        let intake = Intake::new(&settings, &sources, Arc::<Told>::clone(&journal), Arc::clone(&metrics));
        let entered = runtime.enter();
        let listener = bind((own_address(), 0).into()).unwrap();
        drop(entered);
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let mut server = JoinSet::new();
        let site = intake.clone();
        let serving = async move {
            let stop = async { tokio::time::Instant::now() + stopped.await.unwrap_or(Duration::ZERO) };
            serve(listener, site, settings, stop).await
        };
        server.spawn_on(serving, runtime.handle());
        Self { address, intake, journal, metrics, stop: Some(stop), server, runtime }
    }

    pub(super) fn connect(&self) -> Client {
        Client::to(self.address)
    }

    /// Posts with [`KEY`] on a connection of its own.
    pub(super) fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        self.connect().ask(post(body))
    }

    /// The value of a metric, by the start of its line; 0 if it is absent.
    pub(super) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has that value.
    pub(super) fn until(&self, name: &str, value: u64) {
        eventually(name, || self.metric(name) == value);
    }

    /// Stops the server, with this time limit.
    pub(super) fn stop(&mut self, give_up: Duration) {
        self.stop.take().unwrap().send(give_up).unwrap();
    }

    /// Waits for the server to end, and returns the result.
    pub(super) fn stopped(&mut self) -> Stopped {
        let Self { runtime, server, .. } = self;
        runtime
            .block_on(async { tokio::time::timeout(LONG, server.join_next()).await })
            .unwrap()
            .unwrap()
            .unwrap()
    }
}

/// A loopback address that no other server uses, so that no other server answers at its port after it has stopped.
fn own_address() -> [u8; 4] {
    static SERVERS: AtomicU16 = AtomicU16::new(1);
    let [high, low] = SERVERS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    [127, 128 + (std::process::id() % 100) as u8, high, low]
}

/// Waits until a condition is true. Panics with its description if it never is.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A request with [`KEY`].
pub(super) fn post(body: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST /webhook", &[&format!("Authorization: Basic {KEY}")], body)
}

/// A request with these lines in its head, and the length of its body.
pub(super) fn request(line: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.as_ref().len());
    let head = head(line, &[headers, &[&length]].concat());
    [head.as_bytes(), body.as_ref()].concat()
}

/// Sends the head of a request, unchanged.
pub(super) fn head(line: &str, headers: &[&str]) -> String {
    let mut head = format!("{line} HTTP/1.1\r\nHost: test\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head + "\r\n"
}

/// A socket.
pub(super) struct Client(pub(super) TcpStream);

impl Client {
    pub(super) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self(stream)
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(super) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    /// Reads one answer.
    pub(super) fn answer(&mut self) -> Answer {
        self.answer_to(false)
    }

    /// Reads one answer, without a body if it is one to HEAD.
    pub(super) fn answer_to(&mut self, head_only: bool) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            // `read_exact` continues after a signal, which another test's process may cause when it ends.
            let read = self.0.read_exact(&mut byte);
            assert!(read.is_ok(), "{read:?} after {:?}", text(&head));
            head.push(byte[0]);
        }
        let mut answer = Answer::of(&text(&head));
        if answer.status >= 200 && !head_only {
            let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            answer.body = text(&body);
        }
        answer
    }

    /// Waits for the end of the connection; fails on any byte before it.
    pub(super) fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(text(&rest), ""),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    /// Whether the connection is open, with nothing to read.
    pub(super) fn is_open(&mut self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let read = self.0.read(&mut [0]);
        self.0.set_nonblocking(false).unwrap();
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    pub(super) fn finish_sending(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An answer, as received.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    fn of(head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self { status, headers: headers.collect(), body: String::new() }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn retry_after(&self) -> u64 {
        self.header("retry-after").expect("no Retry-After").parse().unwrap()
    }

    /// Asserts that it is a complete problem of this status, with the id that is also in the header.
    pub(super) fn assert_problem(&self, status: u16) {
        self.assert_problem_without_id(status);
        assert_eq!(self.json()["requestId"].as_str(), self.header("x-request-id"));
    }

    /// Asserts that it is a complete problem of this status.
    pub(super) fn assert_problem_without_id(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let members = self.json();
        assert_eq!(members["type"], "about:blank");
        assert_eq!(members["status"], status);
        assert!(!members["title"].as_str().unwrap().is_empty());
        assert!(!members["detail"].as_str().unwrap().is_empty());
    }
}

/// A journal on a thread of its own, which stores appends when the test allows it.
pub(super) struct Told {
    clock: bikhook::clock::Clock,
    queue: Mutex<Option<mpsc::SyncSender<Job>>>,
    gate: Arc<Gate>,
    mood: Mutex<Mood>,
    state: watch::Sender<JournalState>,
    tip: watch::Sender<u64>,
}

type Job = (AppendBatch, oneshot::Sender<Result<AppendReceipt, AppendError>>);

#[derive(Default)]
struct Gate {
    kept: Mutex<Kept>,
    changed: Condvar,
}

/// The appends that it stored.
#[derive(Default)]
struct Kept {
    stalled: bool,
    ids: Vec<String>,
    quarantined: Vec<Quarantined>,
}

#[derive(Clone)]
enum Mood {
    Well,
    Fails(AppendError),
    Panics,
}

impl Told {
    pub(super) fn new() -> Arc<Self> {
        let (queue, jobs) = mpsc::sync_channel(100_000);
        let gate = Arc::new(Gate::default());
        let journal = Arc::clone(&gate);
        thread::spawn(move || journal.run(&jobs));
        Arc::new(Self {
            clock: bikhook::clock::Clock::system(),
            queue: Mutex::new(Some(queue)),
            gate,
            mood: Mutex::new(Mood::Well),
            state: watch::Sender::new(JournalState::Ready),
            tip: watch::Sender::new(0),
        })
    }

    /// Makes appends wait from now on.
    pub(super) fn stall(&self) {
        self.gate.kept.lock().unwrap().stalled = true;
    }

    /// Lets appends continue.
    pub(super) fn resume(&self) {
        self.gate.kept.lock().unwrap().stalled = false;
        self.gate.changed.notify_all();
    }

    pub(super) fn fail(&self, error: AppendError) {
        *self.mood.lock().unwrap() = Mood::Fails(error);
    }

    pub(super) fn panic(&self) {
        *self.mood.lock().unwrap() = Mood::Panics;
    }

    pub(super) fn recover(&self) {
        *self.mood.lock().unwrap() = Mood::Well;
    }

    pub(super) fn say(&self, state: JournalState) {
        self.state.send_replace(state);
    }

    /// The ids of the stored events.
    pub(super) fn ids(&self) -> Vec<String> {
        self.gate.kept.lock().unwrap().ids.clone()
    }

    pub(super) fn quarantined(&self) -> Vec<Quarantined> {
        self.gate.kept.lock().unwrap().quarantined.clone()
    }
}

impl Gate {
    fn run(&self, jobs: &mpsc::Receiver<Job>) {
        while let Ok((batch, done)) = jobs.recv() {
            let mut kept = self.kept.lock().unwrap();
            while kept.stalled {
                kept = self.changed.wait(kept).unwrap();
            }
            let receipt = kept.take(&batch);
            drop(kept);
            drop(batch.hold);
            // The caller may have been cancelled meanwhile, as some of the tests intend.
            let _ = done.send(Ok(receipt));
        }
    }
}

impl Kept {
    fn take(&mut self, batch: &AppendBatch) -> AppendReceipt {
        self.ids.extend(batch.drafts.iter().map(|draft| draft.element.id().unwrap_or_default().to_owned()));
        self.quarantined.extend(batch.quarantined.iter().cloned());
        AppendReceipt {
            accepted: batch.drafts.len() as u32,
            quarantined: batch.quarantined.len() as u32,
            seq: (!batch.drafts.is_empty()).then_some(self.ids.len() as u64),
            ..AppendReceipt::default()
        }
    }
}

impl Journal for Told {
    fn clock(&self) -> &bikhook::clock::Clock {
        &self.clock
    }

    fn accept_clock(&self) -> JournalFuture<'_, bool> {
        unreachable!("intake never asks")
    }

    fn received_from(&self, _: bikhook::clock::Timestamp) -> JournalFuture<'_, Option<u64>> {
        unreachable!("intake never asks")
    }

    fn append(&self, batch: AppendBatch) -> JournalFuture<'_, AppendReceipt, AppendError> {
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Well => {}
            Mood::Fails(error) => return Box::pin(async { Err(error) }),
            Mood::Panics => panic!("as it was told"),
        }
        let (done, receipt) = oneshot::channel();
        self.queue.lock().unwrap().as_ref().unwrap().try_send((batch, done)).unwrap();
        Box::pin(async { receipt.await.unwrap_or(Err(AppendError::Stopped)) })
    }

    fn state(&self) -> watch::Receiver<JournalState> {
        self.state.subscribe()
    }

    fn tip(&self) -> watch::Receiver<u64> {
        self.tip.subscribe()
    }

    fn retries(&self) -> watch::Receiver<u64> {
        unreachable!("intake never asks")
    }

    fn handlers(&self) -> JournalFuture<'_, Vec<HandlerPlace>> {
        unreachable!("intake never asks")
    }

    fn rename_handler(&self, _: Arc<str>, _: Arc<str>) -> JournalFuture<'_, (), RenameError> {
        unreachable!("intake never asks")
    }

    fn enrol(&self, _: Vec<Enrolment>) -> JournalFuture<'_, ()> {
        unreachable!("intake never asks")
    }

    fn lane(&self, _: LaneId) -> JournalFuture<'_, LaneState> {
        unreachable!("intake never asks")
    }

    fn set_aside(&self, _: LaneId, _: u64, _: u64) -> JournalFuture<'_, Vec<u64>> {
        unreachable!("intake never asks")
    }

    fn claim(&self, _: bikhook::event::Class, _: u64, _: usize) -> JournalFuture<'_, Claim> {
        unreachable!("intake never asks")
    }

    fn settle(&self, _: LaneId, _: Ends) -> JournalFuture<'_, ()> {
        unreachable!("intake never asks")
    }

    fn flush(&self) -> JournalFuture<'_, ()> {
        unreachable!("intake never asks")
    }

    fn get(&self, _: u64) -> JournalFuture<'_, Option<Arc<bikhook::event::Event>>> {
        unreachable!("intake never asks")
    }

    fn handler_progress(
        &self,
        _: bikhook::event::Class,
        _: u64,
    ) -> JournalFuture<'_, Vec<bikhook::journal::HandlerProgress>> {
        unreachable!("intake never asks")
    }

    fn events(&self, _: EventQuery) -> JournalFuture<'_, EventPage> {
        unreachable!("intake never asks")
    }

    fn dead_letters(&self, _: DeadQuery) -> JournalFuture<'_, Vec<DeadLetter>> {
        unreachable!("intake never asks")
    }

    fn dead_letter(&self, _: i64) -> JournalFuture<'_, Option<DeadLetter>> {
        unreachable!("intake never asks")
    }

    fn retry_dead(&self, _: Vec<i64>) -> JournalFuture<'_, Vec<i64>> {
        unreachable!("intake never asks")
    }

    fn drop_dead(&self, _: Vec<i64>, _: Arc<str>) -> JournalFuture<'_, Vec<i64>> {
        unreachable!("intake never asks")
    }

    fn retrying(&self, _: LaneId) -> JournalFuture<'_, Vec<DeadLetter>> {
        unreachable!("intake never asks")
    }

    fn pause(&self, _: Arc<str>, _: String) -> JournalFuture<'_, ()> {
        unreachable!("intake never asks")
    }

    fn resume(&self, _: Arc<str>) -> JournalFuture<'_, bool> {
        unreachable!("intake never asks")
    }

    fn paused(&self) -> watch::Receiver<bikhook::journal::Pauses> {
        unreachable!("intake never asks")
    }

    fn start_replay(&self, _: bikhook::journal::NewReplay) -> JournalFuture<'_, i64> {
        unreachable!("intake never asks")
    }

    fn change_replay(&self, _: i64, _: bikhook::journal::ReplayState) -> JournalFuture<'_, bool> {
        unreachable!("intake never asks")
    }

    fn replays(&self) -> watch::Receiver<bikhook::journal::Replays> {
        unreachable!("intake never asks")
    }

    fn quarantine(&self, _: QuarantineQuery) -> JournalFuture<'_, Vec<QuarantineEntry>> {
        unreachable!("intake never asks")
    }

    fn quarantined(&self, _: i64) -> JournalFuture<'_, Option<QuarantineEntry>> {
        unreachable!("intake never asks")
    }

    fn drop_quarantined(&self, _: Vec<i64>) -> JournalFuture<'_, Vec<i64>> {
        unreachable!("intake never asks")
    }

    fn figures(&self) -> JournalFuture<'_, JournalFigures> {
        unreachable!("intake never asks")
    }

    fn close(&self) -> JournalFuture<'_, ()> {
        unreachable!("intake never asks")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.journal.resume();
    }
}
