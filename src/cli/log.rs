//! The log on standard error.
//!
//! A write to a pipe that nobody reads, or to a paused terminal, blocks. A thread of the runtime or of the journal must
//! not block in such a write. Therefore log lines go through a bounded queue to a separate thread; lines that do not
//! fit are dropped and counted. The lines of the `log` handler are deliveries: they are written directly, on a thread
//! that may block, and count as delivered only once they are written.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::writer::MakeWriterExt, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::{
    Error,
    settings::{LogFormat, LogSettings},
};
use crate::{handler, metrics::Metrics, panics, plural::counted, trace};

/// The size of the queue in log lines. Lines that do not fit are dropped and counted.
const QUEUE_LINES: usize = 4_096;
/// How long the process waits for the last lines when it ends.
const LAST_LINES_TIMEOUT: Duration = Duration::from_millis(500);

/// The running log. Dropping it waits until the last lines are written, but no longer than [`LAST_LINES_TIMEOUT`].
pub(super) struct ProcessLog {
    // Dropped before `_lines`, because the export of the last spans may still log.
    #[cfg(feature = "otel")]
    _spans: Option<trace::Exporter>,
    _lines: LogQueue,
}

struct LogQueue(SyncSender<LogEntry>);

enum LogEntry {
    Line(Vec<u8>),
    /// Sent after the last line. When the log thread drops this entry, `_written` is dropped too. That ends the wait in
    /// `LogQueue::drop`.
    End {
        _written: SyncSender<()>,
    },
}

impl ProcessLog {
    /// Starts the log of the process on standard error; standard output is for the results of commands.
    #[cfg_attr(not(feature = "otel"), allow(unused_variables))]
    pub(super) fn start(settings: &LogSettings, metrics: &Metrics) -> Result<Self, Error> {
        let failed = |what: &dyn std::fmt::Display| Error::Failed(format!("cannot start the log: {what}"));
        let quiet = handler::KINDS.iter().flat_map(|row| row.quiet).chain([&trace::TARGET]);
        let off: String = quiet.map(|target| format!("{target}=off,")).collect();
        // A later directive for the same target wins, so the configured level can enable targets that are off by
        // default.
        let filter = EnvFilter::try_new(off + &settings.level)
            .map_err(|error| Error::Failed(format!("invalid log.level: {error}")))?;
        let (lines, entries) = sync_channel(QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let queue = Arc::new(LogOutlet { lines: lines.clone(), dropped: Arc::clone(&dropped) });
        let is_delivery = |metadata: &Metadata<'_>| metadata.target() == handler::LOG_TARGET;
        let outlet = io::stderr.with_filter(is_delivery).or_else(queue);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(&entries, &dropped))
            .map_err(|error| failed(&error))?;
        // If the log cannot be written, for example to a full disk, the subscriber would report this on the same
        // output. That write would fail as well, and panic. So the subscriber's reports are off.
        let log = tracing_subscriber::fmt::layer().with_writer(outlet).log_internal_errors(false);
        let log = match settings.format {
            LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => log.json().flatten_event(true).boxed(),
        };
        let log = log.with_filter(filter).boxed();
        #[cfg(feature = "otel")]
        let (layers, _spans) = {
            let dropped = metrics.spans_dropped.clone();
            let spans =
                trace::Exporter::start(settings.otlp.as_deref(), dropped).map_err(|error| failed(&error))?;
            (spans.iter().map(trace::Exporter::layer).chain([log]).collect::<Vec<_>>(), spans)
        };
        #[cfg(not(feature = "otel"))]
        let layers = vec![log];
        tracing_subscriber::registry().with(layers).try_init().map_err(|error| failed(&error))?;
        #[cfg(not(feature = "otel"))]
        if let Some(name) = trace::VARIABLES.iter().find(|name| super::settings::variable(name).is_some()) {
            tracing::warn!(
                "{name} is set, but this binary exports no spans: it was built without the feature `otel`"
            );
        }
        panics::log_places();
        Ok(Self {
            #[cfg(feature = "otel")]
            _spans,
            _lines: LogQueue(lines),
        })
    }
}

impl Drop for LogQueue {
    fn drop(&mut self) {
        let (written, wait) = sync_channel(1);
        if self.0.try_send(LogEntry::End { _written: written }).is_ok() {
            let _ended_either_way = wait.recv_timeout(LAST_LINES_TIMEOUT);
        }
    }
}

fn write_out(entries: &Receiver<LogEntry>, dropped: &AtomicU64) {
    for entry in entries {
        let LogEntry::Line(line) = entry else { continue };
        // If the output fails, there is nowhere else to report it.
        drop(io::stderr().write_all(&line));
        let dropped = dropped.swap(0, Relaxed);
        if dropped > 0 {
            let lines = counted(dropped, "log line was", "log lines were");
            drop(writeln!(io::stderr(), "({lines} dropped here: the output was blocked)"));
        }
    }
}

/// The writer that puts the lines of the log into the queue.
struct LogOutlet {
    lines: SyncSender<LogEntry>,
    dropped: Arc<AtomicU64>,
}

impl Write for &LogOutlet {
    /// Each call gets a whole line, because the formatter writes a line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(LogEntry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
