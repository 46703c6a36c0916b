//! Intake, end to end: the real binary compared with the floor, a bare axum server that reads the body, checks the header,
//! answers 200 and stores nothing. Both run in turn, with the same connections and bodies. The result is the ratio.
//!
//! ```text
//! cargo bench --bench intake                         all parts; about eight minutes
//! cargo bench --bench intake -- --quick              short runs: a smoke test
//! cargo bench --bench intake -- single rate          some parts
//! cargo bench --bench intake -- --against BINARY     another build of bikhook instead of the floor
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};

mod support;

use support::{
    disk, floor, open_loop,
    probe::Probe,
    report::{Bound, Report, median},
    run::{Failed, bench},
    server::Server,
    wrk,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // the same as the binary, so that the floor is comparable

/// Free disk for a run: about a kilobyte per event on a fast disk.
const ROOM_BYTES: u64 = 12 << 30;
const JSONL: &str = "[handlers.audit]\nkind = \"jsonl\"\nrotate_size = 0\n";

#[derive(Parser)]
struct Args {
    /// Parts to measure; all by default
    parts: Vec<Part>,
    /// Run briefly: the figures are not significant
    #[arg(long)]
    quick: bool,
    /// Rounds per pair
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds per run
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads of wrk
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Requests per second of the part `rate`
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Compare with another build of bikhook instead of the floor, such as one of an earlier commit
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    floor: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One event per body, without a handler.
    Single,
    /// One event per body, with a jsonl handler.
    Jsonl,
    /// A hundred events per body.
    Batches,
    /// Latencies at a fixed rate.
    Rate,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.floor {
        return floor::serve();
    }
    bench(args.bench, |report| {
        for pair in PAIRS.iter().filter(|pair| args.wants(pair.part)) {
            pair.measure(&args, report)?;
        }
        if args.wants(Part::Rate) { fixed_rate(&args, report) } else { Ok(()) }
    })
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn run_for(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 2 } else { 10 }))
    }
}

/// A comparison and its bounds.
struct Pair {
    part: Part,
    name: &'static str,
    handlers: &'static str,
    connections: u32,
    events: u32,
    least: f64,
    goal: f64,
}

const PAIRS: &[Pair] = &[
    Pair {
        part: Part::Single,
        name: "1 event per body, 256 connections",
        handlers: "",
        connections: 256,
        events: 1,
        least: 0.55,
        goal: 0.60,
    },
    Pair {
        part: Part::Single,
        name: "1 event per body, 64 connections",
        handlers: "",
        connections: 64,
        events: 1,
        least: 0.45,
        goal: 0.50,
    },
    Pair {
        part: Part::Jsonl,
        name: "1 event per body with jsonl, 256 connections",
        handlers: JSONL,
        connections: 256,
        events: 1,
        least: 0.45,
        goal: 0.45,
    },
    Pair {
        part: Part::Jsonl,
        name: "1 event per body with jsonl, 64 connections",
        handlers: JSONL,
        connections: 64,
        events: 1,
        least: 0.38,
        goal: 0.38,
    },
    Pair {
        part: Part::Batches,
        name: "100 events per body, 64 connections",
        handlers: "",
        connections: 64,
        events: 100,
        least: 0.06,
        goal: 0.12,
    },
];

impl Pair {
    fn measure(&self, args: &Args, report: &mut Report) -> Result<(), Failed> {
        let other = if args.against.is_some() { "the other build" } else { "the floor" };
        println!("\n{}: bikhook and {other} in turn, {} s each", self.name, args.run_for().as_secs());
        let folder = disk::folder(ROOM_BYTES)?;
        let others = folder.path().join("other");
        let beside = match &args.against {
            None => Server::start(Command::new(std::env::current_exe()?).arg("--floor"))?,
            Some(binary) => {
                fs::create_dir(&others)?;
                Server::receiver_of(binary, &others, &handlers_in(self.handlers, &others))?
            }
        };
        let receiver = Server::receiver(folder.path(), &handlers_in(self.handlers, folder.path()))?;
        let mut run = 0;
        let mut load = |server: &Server, duration| {
            run += 1;
            let Self { connections, events, .. } = *self;
            let load = wrk::Load { connections, threads: args.threads, duration, events, run };
            load.run(server.address, folder.path())
        };
        for server in [&beside, &receiver] {
            load(server, Duration::from_secs(1))?; // warm-up
            server.wait_until_idle()?;
        }
        let mut ratios = Vec::new();
        for round in 1..=args.rounds {
            let mut of = |name, server: &Server| -> Result<wrk::Outcome, Failed> {
                let cpu_before = server.cpu_seconds()?;
                let outcome = load(server, args.run_for())?;
                let cpu = (server.cpu_seconds()? - cpu_before) / outcome.requests * 1e6;
                self.print(round, name, &outcome, cpu);
                server.wait_until_idle()?;
                Ok(outcome)
            };
            let (ours, bare) = if round % 2 == 0 {
                let ours = of("bikhook", &receiver)?;
                (ours, of("other  ", &beside)?)
            } else {
                let bare = of("other  ", &beside)?;
                (of("bikhook", &receiver)?, bare)
            };
            let ratio = ours.per_second / bare.per_second;
            println!("  round {round}: ratio {ratio:.3}");
            ratios.push(ratio);
        }
        let ratio = median(ratios);
        let (least, goal) = if args.against.is_some() { (0.97, 1.0) } else { (self.least, self.goal) };
        report.figure(
            &format!("{}: ratio to {other}", self.name),
            format!("{ratio:.3}"),
            Bound::AtLeast { value: ratio, least, goal },
        );
        Ok(())
    }

    fn print(&self, round: u32, name: &str, outcome: &wrk::Outcome, cpu_micros: f64) {
        let wrk::Outcome { per_second, p50_ms, p99_ms, max_ms, failed, .. } = outcome;
        print!("  round {round}: {name} {per_second:>7.0} requests/s");
        if self.events > 1 {
            print!(" ({:.0} events/s)", per_second * f64::from(self.events));
        }
        print!(
            ", p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.0} ms, CPU of the server {cpu_micros:.1} us per request"
        );
        println!("{}", if *failed > 0.0 { format!(", {failed} FAILED") } else { String::new() });
    }
}

/// Adds a path in this folder to the handler's settings.
fn handlers_in(handlers: &str, folder: &Path) -> String {
    if handlers.is_empty() {
        String::new()
    } else {
        format!("{handlers}path = {:?}\n", folder.join("events.jsonl"))
    }
}

/// Measures the latencies at a fixed rate, including checkpoints, and the `fdatasync` times of the disk.
fn fixed_rate(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let seconds = args.seconds.unwrap_or(if args.quick { 5 } else { 60 });
    println!(
        "\n{} requests/s for {seconds} s, latencies from the time when each request is due, 256 connections",
        args.rate
    );
    let folder = disk::folder(ROOM_BYTES)?;
    let receiver = Server::receiver(folder.path(), "")?;
    let mut probe = Probe::new(folder.path())?;
    let until = Instant::now() + Duration::from_secs(if args.quick { 1 } else { 5 });
    let before = probe.measure(Duration::from_millis(5), || Instant::now() >= until)?;
    println!("  fdatasync of this disk without load: {before}");

    let plan = |run, duration| open_loop::Plan {
        address: receiver.address,
        rate: args.rate,
        duration,
        connections: 256,
        run,
    };
    plan(1, Duration::from_secs(2)).run()?; // warm-up
    let done = AtomicBool::new(false);
    let (outcome, during) = thread::scope(|scope| {
        let beside = scope.spawn(|| probe.measure(Duration::from_millis(50), || done.load(Relaxed)));
        let outcome = plan(2, Duration::from_secs(seconds)).run();
        done.store(true, Relaxed);
        let during = beside.join().map_err(|_panic| "the thread that probes the disk panicked")?;
        Ok::<_, Failed>((outcome?, during?))
    })?;
    println!("  fdatasync of this disk under load, from another process: {during}");
    println!("  answers: {}; other than 200: {}", outcome.latencies, outcome.refused);
    println!("  delay of the generator itself, included in the latencies: {}", outcome.own);
    println!("  the schedule of {seconds} s took {:.2} s", outcome.took.as_secs_f64());

    let what = format!("{} requests/s, from the due time", args.rate);
    let (p99, max) = (outcome.latencies.at_ms(0.99), outcome.latencies.at_ms(1.0));
    let at_most = |value, most| Bound::AtMost { value, most, unit: " ms" };
    report.note(&format!("{what}: p50"), format!("{:.2} ms", outcome.latencies.at_ms(0.5)));
    report.figure(&format!("{what}: p99"), format!("{p99:.2} ms"), at_most(p99, 20.0));
    report.note(&format!("{what}: p99.9"), format!("{:.2} ms", outcome.latencies.at_ms(0.999)));
    report.figure(&format!("{what}: max"), format!("{max:.1} ms"), at_most(max, 250.0));
    report.note("fdatasync of this disk without load: p99", format!("{:.2} ms", before.at_ms(0.99)));
    report.note("fdatasync of this disk under load: p99", format!("{:.2} ms", during.at_ms(0.99)));
    Ok(())
}
