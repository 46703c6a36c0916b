//! The journal alone: complete appends (directory, key rows, commit) compared with a plain append-only file that has one
//! write and one `fdatasync` per group. Then with many events stored: rate, disk space, start time, memory.
//!
//! ```text
//! cargo bench --bench journal                        all parts; about five minutes, 4 GB of disk
//! cargo bench --bench journal -- --quick             few events: a smoke test
//! cargo bench --bench journal -- groups              one part
//! ```

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use bikhook::journal::{AppendBatch, sqlite};
use clap::{Parser, ValueEnum};

mod support;

use support::{
    disk, events,
    fill::{Open, fill},
    report::{Bound, Report, median},
    run::{Failed, bench},
    server::Server,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // the same as the binary

/// The first id of the rounds, above those of a filled journal.
const ROUNDS_FROM: u64 = 1_000_000_000;
/// Number of groups appended before each measurement.
const WARM_UP: usize = 50;

#[derive(Parser)]
struct Args {
    /// Parts to measure; all by default
    parts: Vec<Part>,
    /// Use few events and rounds: the figures are not significant
    #[arg(long)]
    quick: bool,
    /// Rounds per pair
    #[arg(long)]
    rounds: Option<u32>,
    /// Events of the filled journal
    #[arg(long)]
    events: Option<u64>,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Groups of 16 and 64, compared with a plain file.
    Groups,
    /// A journal with many events.
    Full,
}

fn main() -> ExitCode {
    let args = Args::parse();
    bench(args.bench, |report| {
        if args.wants(Part::Groups) {
            for size in [16, 64] {
                beside_a_plain_file(&args, size, report)?;
            }
        }
        if args.wants(Part::Full) { full(&args, report) } else { Ok(()) }
    })
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 9 })
    }

    fn events(&self) -> u64 {
        self.events.unwrap_or(if self.quick { 250_000 } else { 5_000_000 })
    }

    /// Events per round: enough for a dozen checkpoints.
    const fn round(&self) -> u64 {
        if self.quick { 32_000 } else { 160_000 }
    }
}

fn beside_a_plain_file(args: &Args, size: u64, report: &mut Report) -> Result<(), Failed> {
    println!(
        "\ngroups of {size}: journal and plain file in turn, {} events per round, one group at a time",
        args.round()
    );
    let folder = disk::folder(4 << 30)?;
    let journal = Open::new(&folder.path().join("journal.db"))?;
    let mut plain = Plain::new(&folder.path().join("plain"))?;
    let mut next = ROUNDS_FROM;
    let mut ratios = Vec::new();
    for round in 1..=args.rounds() {
        let ours = append_round(&journal, &mut next, args.round(), size)?;
        let bare = plain.round(args.round(), size)?;
        let ratio = ours / bare;
        println!(
            "  round {round}: journal {ours:>7.0} events/s, plain file {bare:>7.0} events/s, ratio {ratio:.3}"
        );
        ratios.push(ratio);
    }
    let ratio = median(ratios);
    let bound = Bound::AtLeast { value: ratio, least: 0.5, goal: 0.5 };
    report.figure(&format!("groups of {size}: ratio to a plain file"), format!("{ratio:.3}"), bound);
    Ok(())
}

/// Appends events in groups of `size`, built in advance. Returns the events per second.
fn append_round(journal: &Open, next: &mut u64, events: u64, size: u64) -> Result<f64, Failed> {
    let groups = usize::try_from(events / size)?;
    let mut batches = Vec::with_capacity(groups + WARM_UP);
    for _ in 0..groups + WARM_UP {
        batches.push(events::batch(*next, size)?);
        *next += size;
    }
    let counted = batches.split_off(WARM_UP);
    append_all(journal, batches, size)?;
    let began = Instant::now();
    append_all(journal, counted, size)?;
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

fn append_all(journal: &Open, batches: Vec<AppendBatch>, size: u64) -> Result<(), Failed> {
    for batch in batches {
        let receipt = journal.append(batch)?;
        if u64::from(receipt.accepted) != size {
            return Err(format!("of {size} events, {} were accepted", receipt.accepted).into());
        }
    }
    Ok(())
}

/// A plain append-only file: the limit for a journal.
struct Plain(File);

impl Plain {
    fn new(path: &Path) -> Result<Self, Failed> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(path)?))
    }

    fn round(&mut self, events: u64, size: u64) -> Result<f64, Failed> {
        let groups = usize::try_from(events / size)?;
        let made: Vec<Vec<u8>> = (0..groups as u64).map(|group| events::body(group * size, size)).collect();
        let began = Instant::now();
        for group in &made {
            self.0.write_all(group)?;
            self.0.sync_data()?;
        }
        Ok(events as f64 / began.elapsed().as_secs_f64())
    }
}

fn full(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let total = args.events();
    let folder = disk::folder(total * 1_024 + (4 << 30))?;
    let path = folder.path().join("journal.db");
    let (few, many) = (total / 5, total / 5 * 4);

    fill(&path, 0, few)?;
    let with_few = resident(folder.path())?;
    fill(&path, few, many - few)?;
    let with_many = resident(folder.path())?;
    memory(report, (few, with_few), (many, with_many));
    let bodies = fill(&path, many, total - many)?;

    let journal = Open::new(&path)?;
    println!("\n{total} events are stored; pause of 30 s (2 s with --quick) for background work");
    thread::sleep(Duration::from_secs(if args.quick { 2 } else { 30 }));
    space(report, &path, total, bodies);
    decay(args, &journal, folder.path(), report)?;
    drop(journal);
    start(report, total, folder.path(), &path)
}

/// Returns the resident memory of the real binary after it started on a journal.
fn resident(folder: &Path) -> Result<u64, Failed> {
    let server = Server::receiver(folder, "")?;
    server.wait_until_idle()?;
    server.resident_bytes()
}

fn memory(report: &mut Report, (few, with_few): (u64, u64), (many, with_many): (u64, u64)) {
    let mb = with_few as f64 / f64::from(1 << 20);
    report.figure(
        &format!("resident memory with {few} keys"),
        format!("{mb:.1} MB"),
        Bound::AtMost { value: mb, most: 100.0, unit: " MB" },
    );
    let a_key = with_many.saturating_sub(with_few) as f64 / (many - few) as f64;
    report.figure(
        &format!("resident memory per key, from {few} to {many} keys"),
        format!("{a_key:.1} bytes"),
        Bound::AtMost { value: a_key, most: 40.0, unit: " bytes" },
    );
}

fn space(report: &mut Report, path: &Path, events: u64, bytes_per_event: f64) {
    let files: Vec<PathBuf> = sqlite::files(path).to_vec();
    let disk = disk::allocated(&files) as f64;
    let ratio = disk / (bytes_per_event * events as f64);
    println!("  {:.0} MB on disk, {bytes_per_event:.0} bytes of body per event", disk / f64::from(1 << 20));
    let bound = Bound::AtMost { value: ratio, most: 1.4, unit: "" };
    report.figure("ratio of bytes on disk to bytes of bodies", format!("{ratio:.3}"), bound);
}

fn decay(args: &Args, full: &Open, folder: &Path, report: &mut Report) -> Result<(), Failed> {
    let mut next = ROUNDS_FROM;
    println!("\ngroups of 64: the filled journal and an empty one in turn");
    let mut ratios = Vec::new();
    for round in 1..=args.rounds() {
        // The files stay until the end, because deleting them would slow down the next round.
        let fresh = Open::new(&folder.join(format!("fresh-{round}.db")))?;
        let mut rate = |journal| append_round(journal, &mut next, args.round(), 64);
        let (full_rate, empty_rate) = if round % 2 == 0 {
            let full_rate = rate(full)?;
            (full_rate, rate(&fresh)?)
        } else {
            let empty_rate = rate(&fresh)?;
            (rate(full)?, empty_rate)
        };
        drop(fresh);
        let ratio = full_rate / empty_rate;
        println!(
            "  round {round}: full {full_rate:>7.0} events/s, empty {empty_rate:>7.0} events/s, ratio {ratio:.3}"
        );
        ratios.push(ratio);
    }
    let ratio = median(ratios);
    let bound = Bound::AtLeast { value: ratio, least: 0.9, goal: 0.9 };
    report.figure(
        &format!("rate with {} events stored: ratio to the rate of an empty journal", args.events()),
        format!("{ratio:.3}"),
        bound,
    );
    Ok(())
}

fn start(report: &mut Report, events: u64, folder: &Path, path: &Path) -> Result<(), Failed> {
    disk::forget(path)?;
    for (which, bound) in [("no page in the cache", None), ("its pages in the cache", Some(3.0))] {
        let took = Server::receiver(folder, "")?.ready_after.as_secs_f64();
        let what = format!("time from start to ready with {events} events, {which}");
        match bound {
            Some(most) => {
                report.figure(&what, format!("{took:.2} s"), Bound::AtMost { value: took, most, unit: " s" })
            }
            None => report.note(&what, format!("{took:.2} s")),
        }
    }
    Ok(())
}
