//! A backlog for each destination: the real receiver against the bare client library, with the same events and the same
//! server, in turn.
//!
//! Each round has three runs: bare, receiver, bare. The receiver's rate is divided by the mean of the two bare rates, and
//! the median of the rounds counts. `bare` has one file per library, which describes its run.

use std::time::Duration;

use bikhook::handler::KINDS;
use tokio::runtime::Runtime;

use super::{
    Args, Part,
    bare::{Destination, Load},
    drain::drain,
    support::{
        disk, events,
        fill::fill,
        report::{Bound, Report, median},
        run::Failed,
    },
};

/// Measures the selected destinations, as far as this bench was built with their features.
pub fn destinations(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let starts: [(Part, Start); _] = [
        #[cfg(feature = "postgres")]
        (Part::Postgres, || Ok(Box::new(super::bare::postgres::Postgres::start()))),
        #[cfg(feature = "nats")]
        (Part::Nats, || Ok(Box::new(super::bare::nats::Nats::start()))),
        #[cfg(feature = "redis")]
        (Part::Redis, || Ok(Box::new(super::bare::redis::Redis::start()))),
        #[cfg(feature = "rabbitmq")]
        (Part::Rabbitmq, || Ok(Box::new(super::bare::rabbitmq::RabbitMq::start()))),
        (Part::Sqlite, || Ok(Box::new(super::bare::sqlite::Sqlite::start()?))),
    ];
    let starts: Vec<Start> =
        starts.into_iter().filter(|(part, _)| args.wants(*part)).map(|(_, start)| start).collect();
    if starts.is_empty() {
        return Ok(());
    }
    let events = args.events.unwrap_or(if args.quick { 20_000 } else { 100_000 });
    println!(
        "\nbacklog of {events} events for each destination: bare client library, receiver, bare client library"
    );
    let folder = disk::folder(events * 16_384 + (1 << 30))?;
    fill(&folder.path().join("journal.db"), 0, events)?;
    // The same number of threads as the receiver has for its deliveries.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let deliveries = events::deliveries(events)?;
    for start in starts {
        let bench = Bench { args, folder: &folder, runtime: &runtime, deliveries: &deliveries };
        bench.measure(&*start()?, report)?;
    }
    Ok(())
}

type Start = fn() -> Result<Box<dyn Destination>, Failed>;

/// The setup that all measurements share.
struct Bench<'a> {
    args: &'a Args,
    folder: &'a tempfile::TempDir,
    runtime: &'a Runtime,
    deliveries: &'a [bikhook::handler::Delivery],
}

impl Bench<'_> {
    fn measure(&self, destination: &dyn Destination, report: &mut Report) -> Result<(), Failed> {
        let kind = destination.kind();
        let row = KINDS.iter().find(|row| row.name == kind).ok_or("unknown handler kind")?;
        let (batch, concurrency) = (row.batch, row.concurrency);
        let (mut bare, mut ratios, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.args.rounds {
            let runs = ["before", "receiver", "after"].map(|run| {
                let place = format!("{kind}_{round}_{run}");
                destination.make(&place);
                let took = if run == "receiver" {
                    let events = self.deliveries.len() as u64;
                    drain(self.runtime, self.folder.path(), &place, &destination.settings(&place), events)
                } else {
                    let load = Load { deliveries: self.deliveries, batch, concurrency };
                    destination.bare(self.runtime, &place, &load)
                };
                let rate = self.rate(destination, &place, took?)?;
                destination.remove(&place);
                Ok::<_, Failed>(rate)
            });
            let [before, receiver, after] = runs;
            let (before, receiver, after) = (before?, receiver?, after?);
            let ratio = receiver / f64::midpoint(before, after);
            println!(
                "  {kind}, round {round}: bare {before:.0}, receiver {receiver:.0}, bare {after:.0} events/s: {ratio:.2}"
            );
            bare.extend([before, after]);
            rates.push(receiver);
            ratios.push(ratio);
        }
        let ratio = median(ratios);
        report.figure(
            &format!(
                "{kind}, {batch} events per delivery, {concurrency} at once: {:.0} events/s against {:.0}, ratio to {}",
                median(rates),
                median(bare),
                destination.library()
            ),
            format!("{ratio:.2}"),
            Bound::AtLeast { value: ratio, least: 0.6, goal: 0.6 },
        );
        Ok(())
    }

    /// Events per second. An error if not all of them have arrived.
    fn rate(&self, destination: &dyn Destination, place: &str, took: Duration) -> Result<f64, Failed> {
        let (arrived, events) = (destination.count(place), self.deliveries.len());
        if arrived != events as u64 {
            return Err(format!("{place}: {arrived} of {events} events arrived").into());
        }
        Ok(events as f64 / took.as_secs_f64())
    }
}
