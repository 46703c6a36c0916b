//! A backlog: the real binary starts on a filled journal, with a `jsonl` handler that starts at the beginning.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    Args,
    lines::Lines,
    support::{
        disk,
        events::body,
        fill::fill,
        report::{Bound, Report, median},
        run::Failed,
        sender::Sender,
        server::Server,
    },
};

const LOOK_EVERY: Duration = Duration::from_millis(50);
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

pub fn backlog(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let events = args.events.unwrap_or(if args.quick { 100_000 } else { 1_000_000 });
    println!("\nbacklog of {events} events for a jsonl handler, in two lanes (one event in ten is incoming)");
    let folder = disk::folder(events * 4_096 + (1 << 30))?;
    fill(&folder.path().join("journal.db"), 0, events)?;
    let mut rates = Vec::new();
    let mut growths = Vec::new();
    let mut replays = Vec::new();
    for round in 1..=args.rounds {
        let run = Run::measure(Server::this_build(), folder.path(), events, round, true)?;
        let rate = events as f64 / run.took.as_secs_f64();
        let growth = run.most_mb - run.first_mb;
        println!(
            "  round {round}: {rate:.0} events/s; resident memory {:.0} MB at the first line, {:.0} MB at most, \
             {:.0} MB at the end; a replay of the same events: {:.0} events/s",
            run.first_mb,
            run.most_mb,
            run.last_mb,
            events as f64 / run.replayed.as_secs_f64()
        );
        rates.push(rate);
        growths.push(growth);
        replays.push(run.took.as_secs_f64() / run.replayed.as_secs_f64());
    }
    let rate = median(rates);
    report.figure(
        &format!("{events} events to jsonl, from ready to the last line"),
        format!("{rate:.0} events/s"),
        Bound::AtLeast { value: rate, least: 100_000.0, goal: 100_000.0 },
    );
    let replay = median(replays);
    report.figure(
        "a replay of the same events while the live lanes are idle: ratio to the backlog's rate",
        format!("{replay:.2}"),
        Bound::AtLeast { value: replay, least: 0.8, goal: 0.8 },
    );
    report
        .note("memory growth: maximum minus memory at the first line", format!("{:.0} MB", median(growths)));
    Ok(())
}

/// The same backlog with this build and another one, in turn; which of them comes first changes with each round. The other
/// build stores the events, so that its format can be an older one; this build gets a copy.
pub fn against(other: &Path, args: &Args, report: &mut Report) -> Result<(), Failed> {
    let events = args.events.unwrap_or(if args.quick { 100_000 } else { 600_000 });
    println!("\na backlog of {events} events to the jsonl handler: this build and the other one in turn");
    let folder = disk::folder(events * 8_192 + (1 << 30))?;
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    fs::create_dir(&theirs)?;
    store(&Server::receiver_of(other, &theirs, "")?, events)?;
    fs::create_dir(&ours)?;
    for file in fs::read_dir(&theirs)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("journal.db") {
            fs::copy(file.path(), ours.join(file.file_name()))?;
        }
    }
    let mut ratios = Vec::new();
    for round in 1..=args.rounds {
        let mut rates = [0.0; 2];
        for is_ours in [round % 2 == 0, round % 2 == 1] {
            let (name, binary, folder) = if is_ours {
                ("this build ", Server::this_build(), &ours)
            } else {
                ("other build", other, &theirs)
            };
            let run = Run::measure(binary, folder, events, round, false)?;
            let rate = events as f64 / run.took.as_secs_f64();
            let cpu = run.cpu.as_secs_f64() / events as f64 * 1e6;
            println!("  round {round}: {name} {rate:.0} events/s, CPU {cpu:.2} us an event");
            rates[usize::from(is_ours)] = rate;
        }
        println!("  round {round}: ratio {:.3}", rates[1] / rates[0]);
        ratios.push(rates[1] / rates[0]);
    }
    let ratio = median(ratios);
    report.figure(
        &format!("{events} events to jsonl: ratio to the other build"),
        format!("{ratio:.3}"),
        Bound::AtLeast { value: ratio, least: 0.97, goal: 1.0 },
    );
    Ok(())
}

/// Posts events, some hundred a body.
fn store(server: &Server, events: u64) -> Result<(), Failed> {
    const BODY: u64 = 500;
    let mut sender = Sender::connect(server.address)?;
    for first in (0..events).step_by(BODY as usize) {
        sender.post(&body(first, BODY.min(events - first)))?;
    }
    Ok(())
}

/// One start with the backlog and a new handler.
struct Run {
    took: Duration,
    /// Processor time of the receiver from ready to the last line.
    cpu: Duration,
    /// How long a replay of the same events took after that; zero if none was requested.
    replayed: Duration,
    first_mb: f64,
    most_mb: f64,
    last_mb: f64,
}

impl Run {
    fn measure(binary: &Path, folder: &Path, events: u64, round: u32, replays: bool) -> Result<Self, Failed> {
        let path = folder.join(format!("round-{round}.jsonl"));
        let server = Server::receiver_of(
            binary,
            folder,
            &format!(
                "[handlers.round{round}]\nkind = \"jsonl\"\npath = {path:?}\nrotate_size = 0\nstart = \"beginning\"\n"
            ),
        )?;
        let cpu_before = server.cpu_seconds()?;
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
        let cpu = Duration::from_secs_f64(server.cpu_seconds()? - cpu_before);
        let replayed = if replays { replay(&server, round, &mut lines, 2 * events)? } else { Duration::ZERO };
        drop(server);
        fs::remove_file(path)?;
        Ok(Self { took, cpu, replayed, first_mb: first_mb.unwrap_or(last_mb), most_mb, last_mb })
    }
}

/// Replays all events to the handler of a round; returns the time until the file has this many lines.
fn replay(server: &Server, round: u32, lines: &mut Lines, until: u64) -> Result<Duration, Failed> {
    let began = Instant::now();
    let mut command = Command::new(Server::this_build())
        .args(["replay", "--until", "2100-01-01", "--handler", &format!("round{round}")])
        .args(["--admin", &format!("http://{}", server.admin)])
        .stdout(std::process::Stdio::null())
        .spawn()?;
    while {
        lines.read(|_| {})?;
        lines.seen < until
    } {
        if began.elapsed() > GIVE_UP_AFTER {
            return Err(format!("only {} of {until} lines arrived", lines.seen).into());
        }
        thread::sleep(LOOK_EVERY);
    }
    let took = began.elapsed();
    let ended = command.wait()?;
    if !ended.success() {
        return Err(format!("the replay failed: {ended}").into());
    }
    Ok(took)
}
