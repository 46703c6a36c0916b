//! Intake at full load with and without insight, in turn.

use std::time::Duration;

use super::{
    Args,
    support::{
        disk,
        in_turn::ratio_in_turn,
        report::{Bound, Report},
        run::Failed,
        server::Server,
    },
};

pub fn beside(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let seconds = if args.quick { 2 } else { 15 };
    println!("\nintake at full load (64 connections) with and without insight, in turn");
    let folder = disk::folder(8 << 30)?;
    let ratio = ratio_in_turn(args.rounds, |turn| {
        let place = turn.folder(folder.path())?;
        let server = if turn.with { Server::with_insight(&place)? } else { Server::receiver(&place, "")? };
        let load = turn.full_load(Duration::from_secs(seconds));
        let outcome = load.run(server.address, &place)?;
        let behind = if turn.with {
            format!("; insight lag at the end: {:.0} events", server.metric("bikhook_insight_lag_events")?)
        } else {
            String::new()
        };
        drop(server);
        println!(
            "  round {}: {} {:.0} requests/s, p99 {:.1} ms{behind}",
            turn.round,
            turn.name(),
            outcome.per_second,
            outcome.p99_ms,
        );
        std::fs::remove_dir_all(&place)?;
        Ok(outcome.per_second)
    })?;
    report.figure(
        "intake at full load with insight: ratio to intake without it",
        format!("{ratio:.3}"),
        Bound::AtLeast { value: ratio, least: 0.85, goal: 0.85 },
    );
    Ok(())
}
