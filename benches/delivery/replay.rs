//! A replay to a second handler during live traffic.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Args,
    arrivals::Watch,
    support::{
        disk,
        fill::fill,
        open_loop,
        report::{Bound, Report},
        run::Failed,
        server::Server,
    },
};

/// Live events per second.
const LIVE: u32 = 2_000;

pub fn replay(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let stored = if args.quick { 100_000 } else { 1_000_000 };
    let seconds = if args.quick { 5 } else { 30 };
    println!("\nreplay of {stored} events to a second handler, beside {LIVE} live events/s");
    let folder = disk::folder(stored * 4_096 + (1 << 30))?;
    fill(&folder.path().join("journal.db"), 0, stored)?;
    let first = folder.path().join("first.jsonl");
    let second = folder.path().join("second.jsonl");
    let server = Server::receiver(
        folder.path(),
        &format!(
            "[handlers.first]\nkind = \"jsonl\"\npath = {first:?}\nrotate_size = 0\nstart = \"now\"\n\
             [handlers.second]\nkind = \"jsonl\"\npath = {second:?}\nrotate_size = 0\nstart = \"now\"\n"
        ),
    )?;
    let watches = [first, second].map(|path| Watch::new(path, stored, |_| true));
    let admin = format!("http://{}", server.admin);
    let replay = std::thread::spawn(move || {
        let began = Instant::now();
        let ended = Command::new(env!("CARGO_BIN_EXE_bikhook"))
            .args(["replay", "--handler", "second", "--until", "2100-01-01", "--admin", &admin])
            .output();
        ended.map(|ended| (ended, began.elapsed()))
    });
    let plan = open_loop::Plan {
        address: server.address,
        rate: LIVE,
        duration: Duration::from_secs(seconds),
        connections: 16,
        run: 7,
    };
    let sent = plan.run()?;
    let (ended, took) = replay.join().map_err(|_panic| "the thread of the replay panicked")??;
    if !ended.status.success() {
        return Err(format!("the replay failed: {}", String::from_utf8_lossy(&ended.stderr)).into());
    }
    println!(
        "  the replay took {:.1} s of the {seconds} s of traffic: {}",
        took.as_secs_f64(),
        String::from_utf8_lossy(&ended.stdout).trim()
    );
    std::thread::sleep(Duration::from_secs(1));
    let expected = u64::from(LIVE) * seconds;
    for (name, watch) in ["the first", "the second (replay)"].into_iter().zip(watches) {
        let delays = watch.finish()?;
        println!("  delay of live events to {name} handler: {delays}");
        if (delays.count() as u64) < expected {
            return Err(format!("only {} of {expected} live events arrived", delays.count()).into());
        }
        report.figure(
            &format!("delay of a live event to {name} handler, replay of {stored} events: p99"),
            format!("{:.0} ms", delays.at_ms(0.99)),
            Bound::AtMost { value: delays.at_ms(0.99), most: 1_000.0, unit: " ms" },
        );
    }
    println!("  answers during the replay: {}; other than 200: {}", sent.latencies, sent.refused);
    Ok(())
}
