//! Insight at 5,000 events per second, on the same cores as intake, and the time to catch up after a burst.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Args,
    support::{
        disk, open_loop,
        report::{Bound, Report},
        run::Failed,
        server::Server,
        wrk,
    },
};

const RATE: u32 = 5_000;
const LAG: &str = "bikhook_insight_lag_events";
const LOOK_EVERY: Duration = Duration::from_millis(250);
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

pub fn keeping_up(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let seconds = if args.quick { 5 } else { 60 };
    println!("\ninsight at {RATE} events/s, and after a burst");
    let folder = disk::folder(8 << 30)?;
    let server = Arc::new(Server::with_insight(folder.path())?);
    let done = Arc::new(AtomicBool::new(false));
    let watch = {
        let (server, done) = (Arc::clone(&server), Arc::clone(&done));
        thread::spawn(move || {
            let mut most = 0.0_f64;
            while !done.load(Relaxed) {
                most = most.max(server.metric(LAG)?);
                thread::sleep(LOOK_EVERY);
            }
            Ok::<_, Failed>(most)
        })
    };
    let plan = open_loop::Plan {
        address: server.address,
        rate: RATE,
        duration: Duration::from_secs(seconds),
        connections: 16,
        run: 1,
    };
    let sent = plan.run()?;
    done.store(true, Relaxed);
    let most = watch.join().map_err(|_panic| "the thread that reads the lag panicked")??;
    println!("  answers: {}; other than 200: {}", sent.latencies, sent.refused);
    report.figure(
        &format!("insight at {RATE} events/s for {seconds} s: maximum lag in events"),
        format!("{most:.0}"),
        Bound::AtMost { value: most, most: f64::from(RATE), unit: " (one second of traffic)" },
    );
    let load = wrk::Load {
        connections: 16,
        threads: 1,
        duration: Duration::from_secs(if args.quick { 1 } else { 10 }),
        events: 100,
        run: 2,
    };
    let burst = load.run(server.address, folder.path())?;
    let events = burst.requests * 100.0;
    let began = Instant::now();
    let behind = server.metric(LAG)?;
    while server.metric(LAG)? > 0.0 {
        if began.elapsed() > GIVE_UP_AFTER {
            return Err("insight does not catch up".into());
        }
        thread::sleep(LOOK_EVERY);
    }
    let took = began.elapsed().as_secs_f64();
    report.note(
        &format!("burst of {events:.0} events in {:.0} s: time to catch up", load.duration.as_secs_f64()),
        format!("{took:.1} s, {:.0} events/s", behind / took),
    );
    Ok(())
}
