//! Starts the parts of the application, connects them, and stops them.
//!
//! Start: bind the listeners, so that an early connection waits and is not refused; store generated secrets; open the
//! journal and enrol every handler; open intake; start the lanes, insight and the admin side. Each lane opens its
//! handler in the background, so a destination can neither delay intake nor make the start fail.
//!
//! Stop: report "not ready", then stop intake, the lanes, the journal and the admin side, in this order. If the journal
//! fails or a task panics, the process ends, and its supervisor restarts it.

mod enrol;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, timeout},
};

use crate::{
    admin,
    config::{Config, HandlerConfig, Memory, MemoryLimit},
    dispatch::{DispatchControl, HandlerSpec, Replayer},
    handler::Deferred,
    http::{self, Intake, Site},
    insight::{self, Insight},
    journal::{
        self, Enrolment, Journal, JournalState,
        sqlite::{self, NOTHING_LOST, SqliteJournal},
    },
    metrics::Metrics,
    panics, secret,
};

/// Time for requests in flight to finish after the stop begins. If the journal answers, intake and lanes stop within
/// 8 s: this time and `LANES_GRACE`.
const INTAKE_GRACE: Duration = Duration::from_secs(5);
/// Time for deliveries in flight to finish after intake has stopped.
const LANES_GRACE: Duration = Duration::from_secs(3);
/// Time for the lanes and the journal to end after `LANES_GRACE` is over. Then the stop no longer waits for them.
const STALLED_GRACE: Duration = Duration::from_secs(2);
/// Number of open files that are reserved for the journal and the handlers.
const OTHER_FILES: usize = 256;
/// Time for an operator's request to finish after everything else has stopped.
const OPERATOR_GRACE: Duration = Duration::from_secs(1);
/// Maximum number of connections to the admin side. A further connection closes the one that has been idle longest, or
/// else one with an unfinished request head.
const OPERATOR_CONNECTIONS: usize = 128;
const SUMMARY_EVERY: Duration = Duration::from_secs(60);

/// Why the application did not start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be bound, for example because it is in use.
    #[error("cannot listen on {address} ([{section}] listen): {source}")]
    Listen {
        /// The section of the configuration, such as `http`.
        section: &'static str,
        /// The address that could not be bound.
        address: SocketAddr,
        source: io::Error,
    },
    /// A secret could not be generated or stored.
    #[error(transparent)]
    Secret(#[from] secret::FileError),
    #[error(transparent)]
    Open(#[from] journal::JournalOpenError),
    /// A journal operation failed during start or stop.
    #[error("{0}")]
    Journal(#[from] journal::Error),
    /// The journal failed while the application ran.
    #[error("the journal failed: {0}")]
    Failed(Arc<str>),
    /// The lanes or the journal did not finish in time.
    #[error("the journal did not answer in time; {}", NOTHING_LOST)]
    Stalled,
    /// A task of the application panicked or was cancelled.
    #[error("a task of the process ended: {}", panics::why_ended(.0))]
    Panicked(#[from] JoinError),
}

impl Error {
    /// Returns true if a restart does not help until the configuration, a file or a permission is changed.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Listen { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Secret(error) => error.is_lasting(),
            Self::Open(error) => error.is_lasting(),
            Self::Journal(_) | Self::Failed(_) | Self::Stalled | Self::Panicked(_) => false,
        }
    }
}

/// The addresses that the application listens on.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The public side: the address that BIK posts to.
    pub http: SocketAddr,
    /// The admin side: page, API and metrics.
    pub admin: SocketAddr,
}

/// Serves until `stop` resolves, then stops gracefully. Calls `ready` once intake is open and the lanes run. A `stop`
/// during the start ends the start.
///
/// # Errors
/// Returns an [`Error`] if the application cannot start, or if the journal or a task fails.
pub async fn serve(
    mut config: Config,
    metrics: Arc<Metrics>,
    ready: impl FnOnce(Addresses),
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    tokio::pin!(stop);
    let most = raise_open_files(config.http.connections);
    if let Some(shortage) = MemoryLimit::of_process().and_then(|limit| Memory::of(&config).shortage(limit)) {
        tracing::warn!("{shortage}");
    }
    let public = listen("http", config.http.listen)?;
    let operator = listen("admin", config.admin.listen)?;
    let addresses = Addresses {
        http: public.local_addr().unwrap_or(config.http.listen),
        admin: operator.local_addr().unwrap_or(config.admin.listen),
    };
    // Bind first, then store the generated credentials. Only the start that stores a credential prints it, and a start
    // that cannot bind prints nothing. In the other order, a failed bind would leave a stored credential that no start
    // prints.
    config.store_generated()?;
    let journal = tokio::select! {
        opened = open_journal(&config, &metrics) => opened?,
        () = &mut stop => {
            tracing::info!("stopped before the journal was opened");
            return Ok(());
        }
    };
    let intake =
        Intake::new(&config.http, &config.checked_sources, Arc::clone(&journal), Arc::clone(&metrics));
    let mut running = Running::new(journal);
    let limits = http::Settings { connections: most.public, ..config.http.clone() };
    running.serve_public(public, intake.clone(), limits);
    let run = async {
        let handlers = config.handlers.iter().map(about).collect();
        let (control, replayer) = running.start_lanes(config.handlers, &metrics).await?;
        let insight = running.start_insight(config.insight, &metrics).await;
        let site = admin::router(admin::ReceiverParts {
            settings: admin::Settings { listen: addresses.admin, ..config.admin },
            journal: Arc::clone(&running.journal),
            handlers,
            desk: Arc::new(control),
            replayer,
            insight,
            open_sources: intake.open_sources(),
            credentials: Arc::new(move || intake.credentials()),
            metrics,
            stopping: running.not_ready.subscribe(),
        });
        let limits = http::Settings { connections: most.operator, ..config.http };
        running.serve_operator(operator, site, limits);
        tracing::info!(http = %addresses.http, admin = %addresses.admin, "ready");
        ready(addresses);
        Err::<(), Error>(running.failure().await)
    };
    let ended = tokio::select! {
        failed = run => failed,
        () = stop => Ok(()),
    };
    running.stop(ended).await
}

/// The journal, and the running tasks in the order in which they stop, each with the signal that stops it. The admin
/// side stops last, so that an operator can watch intake and lanes stop.
struct Running {
    journal: Arc<dyn Journal>,
    not_ready: watch::Sender<bool>,
    stop_intake: watch::Sender<Option<Instant>>,
    servers: JoinSet<()>,
    stop_lanes: watch::Sender<bool>,
    lanes: JoinSet<()>,
    stop_operator: watch::Sender<Option<Instant>>,
    operators: JoinSet<()>,
}

impl Running {
    fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            not_ready: watch::Sender::new(false),
            stop_intake: watch::Sender::new(None),
            servers: JoinSet::new(),
            stop_lanes: watch::Sender::new(false),
            lanes: JoinSet::new(),
            stop_operator: watch::Sender::new(None),
            operators: JoinSet::new(),
        }
    }

    fn serve_public(&mut self, listener: TcpListener, intake: Intake, limits: http::Settings) {
        let cut_at = cut_at(self.stop_intake.subscribe());
        self.servers.spawn(log_cut(http::serve(listener, intake.clone(), limits, cut_at)));
        self.servers.spawn(summaries(intake, self.stop_intake.subscribe()));
    }

    fn serve_operator(&mut self, listener: TcpListener, site: impl Site, limits: http::Settings) {
        let cut_at = cut_at(self.stop_operator.subscribe());
        self.operators.spawn(log_cut(http::serve(listener, site, limits, cut_at)));
    }

    async fn start_lanes(
        &mut self,
        handlers: Vec<HandlerConfig>,
        metrics: &Arc<Metrics>,
    ) -> Result<(DispatchControl, Arc<Replayer>), journal::Error> {
        let specs = handlers.into_iter().map(spec).collect();
        let shutdown = self.stop_lanes.subscribe();
        DispatchControl::start(specs, &self.journal, metrics, &mut self.lanes, &shutdown, LANES_GRACE).await
    }

    /// Returns `None` if insight is disabled or cannot be opened. Intake and handlers do not depend on it.
    async fn start_insight(
        &mut self,
        settings: insight::Settings,
        metrics: &Arc<Metrics>,
    ) -> Option<Arc<Insight>> {
        let path = settings.path.clone().filter(|_| settings.enabled)?;
        let (opening, clock) = (Arc::clone(metrics), self.journal.clock().clone());
        let opened = spawn_blocking(move || Insight::open(&path, &settings, opening, clock)).await;
        let error = match opened {
            Ok(Ok(insight)) => {
                let insight = Arc::new(insight);
                let (journal, stop) = (Arc::clone(&self.journal), self.stop_lanes.subscribe());
                self.lanes.spawn(Arc::clone(&insight).run(journal, stop));
                return Some(insight);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        metrics.insight_failed.set(1);
        // The cursor of insight cannot be read, so all events up to the tip count as lag.
        metrics.insight_lag.set(i64::try_from(*self.journal.tip().borrow()).unwrap_or(i64::MAX));
        tracing::error!(error, "insight cannot be opened: the receiver runs without it until its next start");
        None
    }

    /// Returns when the journal fails or a task panics. The process must then end, because otherwise it would run
    /// without doing its work.
    async fn failure(&mut self) -> Error {
        let mut state = self.journal.state();
        tokio::select! {
            failed = state.wait_for(|state| matches!(state, JournalState::Failed(_))) => match failed.as_deref() {
                Ok(JournalState::Failed(what)) => Error::Failed(Arc::clone(what)),
                _ => Error::Failed("its thread ended".into()),
            },
            error = panicked(&mut self.servers) => error.into(),
            error = panicked(&mut self.lanes) => error.into(),
            error = panicked(&mut self.operators) => error.into(),
        }
    }

    /// Stops intake, then the lanes and the journal, then the admin side.
    ///
    /// # Errors
    /// Returns the failure that ended the run, or else the first failure of the stop itself.
    async fn stop(mut self, ended: Result<(), Error>) -> Result<(), Error> {
        tracing::info!(graceful = ended.is_ok(), "stopping");
        self.not_ready.send_replace(true);
        self.stop_intake.send_replace(Some(Instant::now() + INTAKE_GRACE));
        let intake_ended = join_all(&mut self.servers).await;
        self.stop_lanes.send_replace(true);
        let closing = async {
            join_all(&mut self.lanes).await?;
            Ok::<_, Error>(self.journal.close().await?)
        };
        let closed = timeout(LANES_GRACE + STALLED_GRACE, closing).await;
        self.stop_operator.send_replace(Some(Instant::now() + OPERATOR_GRACE));
        let operator_ended = join_all(&mut self.operators).await;
        ended?;
        intake_ended?;
        closed.map_err(|_elapsed| Error::Stalled)??;
        operator_ended?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Maximum numbers of open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connections {
    public: usize,
    operator: usize,
}

impl Connections {
    /// Divides the allowed open files. The admin side, the journal and the handlers together get at most half of them.
    /// The public side gets the rest, up to the configured number.
    fn within(files: usize, configured: usize) -> Self {
        let operator = OPERATOR_CONNECTIONS.min(files / 8);
        let others = OTHER_FILES.min(files * 3 / 8);
        Self {
            public: configured.min(files.saturating_sub(operator + others)).max(1),
            operator: operator.max(1),
        }
    }
}

/// Raises the soft limit of open files as far as needed and allowed, because each connection is an open file and the
/// usual soft limit is 1,024. Returns the numbers of connections that fit.
fn raise_open_files(configured: usize) -> Connections {
    let wanted = configured.saturating_add(OPERATOR_CONNECTIONS + OTHER_FILES);
    let as_u64 = |files| u64::try_from(files).unwrap_or(u64::MAX);
    let as_usize = |files| usize::try_from(files).unwrap_or(usize::MAX);
    let limit = getrlimit(Resource::Nofile);
    let mut allowed = limit.current.map_or(usize::MAX, as_usize);
    if allowed < wanted {
        let raised = limit.maximum.map_or(wanted, |maximum| wanted.min(as_usize(maximum)));
        let new = Rlimit { current: Some(as_u64(raised)), maximum: limit.maximum };
        match setrlimit(Resource::Nofile, new) {
            Ok(()) => allowed = raised,
            Err(error) => tracing::warn!(%error, wanted, allowed, "cannot raise the limit of open files"),
        }
    }
    let connections = Connections::within(allowed, configured);
    if connections.public < configured {
        tracing::warn!(
            configured,
            used = connections.public,
            open_files = allowed,
            wanted,
            "the limit of open files allows fewer connections than http.connections: raise `ulimit -n` or LimitNOFILE"
        );
    }
    connections
}

fn listen(section: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    http::bind(address).map_err(|source| Error::Listen { section, address, source })
}

/// Opens the journal and enrols every handler. The journal reports a stalled disk once an append has waited as long as
/// a request may wait.
async fn open_journal(config: &Config, metrics: &Arc<Metrics>) -> Result<Arc<dyn Journal>, Error> {
    let metrics = Arc::clone(metrics);
    let settings = sqlite::Settings { deadline: config.http.deadline, ..config.journal.clone() };
    let path = settings.path.display().to_string();
    let began = Instant::now();
    let sqlite = spawn_blocking(move || SqliteJournal::open(settings, metrics)).await??;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(path, took_ms, tip = *sqlite.tip().borrow(), "journal opened");
    let journal: Arc<dyn Journal> = Arc::new(sqlite);
    enrol::enrol(config.handlers.iter().map(enrolment).collect(), &journal).await?;
    Ok(journal)
}

fn enrolment(handler: &HandlerConfig) -> Enrolment {
    let HandlerConfig { name, start, dead_letters, .. } = handler;
    Enrolment { handler: Arc::clone(name), start: *start, dead_letters: *dead_letters }
}

/// Prepares a handler for its lanes. The lanes open the handler later.
fn spec(config: HandlerConfig) -> HandlerSpec {
    let HandlerConfig { name, kind, opener, destination, filter, mask, dispatch: settings, .. } = config;
    let destination: Arc<str> = destination.into();
    let (named, to) = (Arc::clone(&name), Arc::clone(&destination));
    HandlerSpec {
        handler: Arc::new(Deferred::new(named, kind.name, to, opener, *settings.timeout)),
        name,
        kind: kind.name,
        destination,
        filter,
        mask,
        batch: settings.batch.unwrap_or(kind.batch),
        concurrency: settings.concurrency.unwrap_or(kind.concurrency),
        settings,
    }
}

/// Describes a handler's configuration for the admin side.
fn about(handler: &HandlerConfig) -> admin::HandlerDescription {
    let HandlerConfig { name, wants, mask, dead_letters, .. } = handler;
    admin::HandlerDescription {
        handler: Arc::clone(name),
        wants: wants.in_words(),
        masks: (!mask.is_empty()).then(|| mask.in_words()),
        dead_letters: *dead_letters,
    }
}

/// Resolves when one of the tasks has panicked; never if all end without a panic.
async fn panicked(tasks: &mut JoinSet<()>) -> JoinError {
    match join_all(tasks).await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

/// Resolves when all tasks have ended, or one has panicked.
async fn join_all(tasks: &mut JoinSet<()>) -> Result<(), JoinError> {
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

/// Waits for a stop; returns the time at which requests in flight are aborted.
async fn cut_at(mut shutdown: watch::Receiver<Option<Instant>>) -> Instant {
    let at = shutdown.wait_for(Option::is_some).await;
    at.ok().and_then(|at| *at).unwrap_or_else(Instant::now)
}

async fn log_cut(server: impl Future<Output = http::Stopped>) {
    let http::Stopped { cut } = server.await;
    if cut > 0 {
        tracing::warn!(cut, "connections closed by the stop: their requests did not finish in time");
    }
}

/// Logs a summary of intake every minute and at the stop.
async fn summaries(intake: Intake, mut shutdown: watch::Receiver<Option<Instant>>) {
    let mut minutes = tokio::time::interval(SUMMARY_EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = minutes.tick() => intake.log_summary(),
            _ = shutdown.wait_for(Option::is_some) => break intake.log_summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_process_and_one_that_finishes_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            sqlite::Settings { path: folder.path().join("journal.db"), ..sqlite::Settings::default() };
        let mut running = Running::new(Arc::new(SqliteJournal::open(settings, Metrics::new()).unwrap()));
        running.servers.spawn(async {});
        timeout(Duration::from_millis(20), running.failure()).await.unwrap_err();
        running.lanes.spawn(async { panic!("a bug") });
        assert!(matches!(running.failure().await, Error::Panicked(error) if error.is_panic()));
    }

    #[test]
    fn open_files_are_divided_so_that_the_other_parts_keep_their_share() {
        let within = |files, configured| {
            let Connections { public, operator } = Connections::within(files, configured);
            (public, operator)
        };
        assert_eq!(within(usize::MAX / 8, 20_000), (20_000, 128));
        assert_eq!(within(20_384, 20_000), (20_000, 128));
        assert_eq!(within(20_000, 20_000), (19_616, 128));
        assert_eq!(within(1_024, 20_000), (640, 128));
        assert_eq!(within(256, 20_000), (128, 32));
        assert_eq!(within(256, 10), (10, 32));
        assert_eq!(within(0, 10), (1, 1));
    }
}
