//! A backlog: the real binary starts on a journal that is full, with a `jsonl` handler that starts at the beginning.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    Args,
    lines::Lines,
    support::{
        disk,
        fill::fill,
        report::{Bound, Report, median},
        run::Failed,
        server::Server,
    },
};

const LOOK_EVERY: Duration = Duration::from_millis(50);
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

pub fn backlog(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let events = args.events.unwrap_or(if args.quick { 100_000 } else { 1_000_000 });
    println!(
        "\na backlog of {events} events to the jsonl handler, in two lanes (one event in ten is incoming)"
    );
    let folder = disk::folder(events * 4_096 + (1 << 30))?;
    fill(&folder.path().join("journal.db"), 0, events)?;
    let mut rates = Vec::new();
    let mut growths = Vec::new();
    for round in 1..=args.rounds {
        let run = Run::measure(folder.path(), events, round)?;
        let rate = events as f64 / run.took.as_secs_f64();
        let growth = run.most_mb - run.first_mb;
        println!(
            "  round {round}: {rate:.0} events/s; resident memory at the first line {:.0} MB, at most {:.0} MB, \
             at the end {:.0} MB",
            run.first_mb, run.most_mb, run.last_mb
        );
        rates.push(rate);
        growths.push(growth);
    }
    let rate = median(rates);
    report.figure(
        &format!("{events} events to jsonl, from ready to the last line"),
        format!("{rate:.0} events/s"),
        Bound::AtLeast { value: rate, least: 100_000.0, goal: 100_000.0 },
    );
    report.note("its memory: most, less that at the first line", format!("{:.0} MB", median(growths)));
    Ok(())
}

/// One start on the backlog, by a handler that the journal has not seen before.
struct Run {
    took: Duration,
    first_mb: f64,
    most_mb: f64,
    last_mb: f64,
}

impl Run {
    fn measure(folder: &Path, events: u64, round: u32) -> Result<Self, Failed> {
        let path = folder.join(format!("round-{round}.jsonl"));
        let server = Server::receiver(
            folder,
            &format!(
                "[handlers.round{round}]\nkind = \"jsonl\"\npath = {path:?}\nrotate_size = 0\nstart = \"beginning\"\n"
            ),
        )?;
        let mut lines = Lines::of(path.clone());
        let mut first_mb = None;
        let (mut most_mb, mut last_mb) = (0.0_f64, 0.0);
        while {
            lines.read(|_| {})?;
            lines.seen < events
        } {
            if server.ready_at.elapsed() > GIVE_UP_AFTER {
                return Err(format!("only {} of {events} events arrived", lines.seen).into());
            }
            if lines.seen > 0 {
                last_mb = server.resident_bytes()? as f64 / f64::from(1 << 20);
                first_mb.get_or_insert(last_mb);
                most_mb = most_mb.max(last_mb);
            }
            thread::sleep(LOOK_EVERY);
        }
        let took = Instant::now() - server.ready_at;
        drop(server);
        std::fs::remove_file(path)?;
        Ok(Self { took, first_mb: first_mb.unwrap_or(last_mb), most_mb, last_mb })
    }
}
