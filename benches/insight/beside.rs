//! Intake at full load, with insight and without, in turn.

use std::time::Duration;

use super::{
    Args,
    support::{
        disk,
        report::{Bound, Report, median},
        run::Failed,
        server::Server,
        wrk,
    },
};

pub fn beside(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let seconds = if args.quick { 2 } else { 15 };
    println!("\nintake at full load (64 connections), with insight and without, in turn");
    let folder = disk::folder(8 << 30)?;
    let mut ratios = Vec::new();
    for round in 1..=args.rounds {
        let mut rates = [0.0; 2];
        for turn in [round % 2, (round + 1) % 2] {
            let place = folder.path().join(format!("{round}-{turn}"));
            std::fs::create_dir(&place)?;
            let server =
                if turn == 1 { Server::with_insight(&place)? } else { Server::receiver(&place, "")? };
            let load = wrk::Load {
                connections: 64,
                threads: 1,
                duration: Duration::from_secs(seconds),
                events: 1,
                run: round * 2 + turn,
            };
            let outcome = load.run(server.address, &place)?;
            let lag = if turn == 1 { server.metric("bikhook_insight_lag_events")? } else { 0.0 };
            drop(server);
            println!(
                "  round {round}: {} {:.0} requests/s, p99 {:.1} ms{}",
                if turn == 1 { "with it   " } else { "without it" },
                outcome.per_second,
                outcome.p99_ms,
                if turn == 1 { format!("; behind by {lag:.0} events at the end") } else { String::new() }
            );
            rates[turn as usize] = outcome.per_second;
            std::fs::remove_dir_all(&place)?;
        }
        ratios.push(rates[1] / rates[0]);
    }
    let ratio = median(ratios);
    report.figure(
        "intake at full load with insight on: ratio to without it",
        format!("{ratio:.3}"),
        Bound::AtLeast { value: ratio, least: 0.85, goal: 0.85 },
    );
    Ok(())
}
