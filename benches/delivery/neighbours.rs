//! A handler whose destination never answers, beside intake and another handler.

use std::{net::TcpListener, time::Duration};

use super::{
    Args,
    arrivals::Watch,
    support::{
        disk,
        in_turn::ratio_in_turn,
        report::{Bound, Report, median},
        run::Failed,
        server::Server,
    },
};

pub fn neighbours(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let seconds = if args.quick { 2 } else { 10 };
    println!(
        "\nintake's rate and the delay of another handler, with and without a handler that always times out, in turn"
    );
    let folder = disk::folder(8 << 30)?;
    // Accepts connections, but never answers.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?;
    let hanging = format!(
        "[handlers.hangs]\nkind = \"http\"\nurl = \"http://{address}/\"\ntimeout = \"1s\"\nprobe_first = \"100ms\"\nprobe_max = \"1s\"\n"
    );
    let (mut delays_with, mut delays_without) = (Vec::new(), Vec::new());
    let ratio = ratio_in_turn(args.rounds, |turn| {
        let place = turn.folder(folder.path())?;
        let path = place.join("well.jsonl");
        let well = format!("[handlers.well]\nkind = \"jsonl\"\npath = {path:?}\nrotate_size = 0\n");
        let server = Server::receiver(&place, &if turn.with { format!("{well}{hanging}") } else { well })?;
        let watch = Watch::new(path, 0, |_| true);
        let load = turn.full_load(Duration::from_secs(seconds));
        let outcome = load.run(server.address, &place)?;
        server.wait_until_idle()?;
        let delays = watch.finish()?;
        println!(
            "  round {}: {} {:.0} requests/s; delay to the other handler {delays}",
            turn.round,
            turn.name(),
            outcome.per_second
        );
        if turn.with { &mut delays_with } else { &mut delays_without }.push(delays.at_ms(0.99));
        Ok(outcome.per_second)
    })?;
    report.figure(
        "intake with a handler that always times out: ratio to intake without it",
        format!("{ratio:.3}"),
        Bound::AtLeast { value: ratio, least: 0.9, goal: 0.9 },
    );
    report.note(
        "delay of another handler's events, p99: without it, with it",
        format!("{:.0} ms, {:.0} ms", median(delays_without), median(delays_with)),
    );
    Ok(())
}
