//! Response times of the pages and API routes, with millions of events stored.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Args, campaign,
    support::{
        disk,
        fill::fill_with,
        latency::{Latencies, micros},
        report::{Bound, Report},
        run::Failed,
        server::Server,
    },
};

const LAG: &str = "bikhook_insight_lag_events";
const LOOK_EVERY: Duration = Duration::from_millis(500);
const GIVE_UP_AFTER: Duration = Duration::from_secs(1_800);
/// The requested routes, with placeholders: `{phone}`, `{message}`, `{customer}`, `{contact}`, `{seq}`, `{time}`, `{later}`.
const ROUTES: [&str; 45] = [
    "/api/v1/events",
    "/api/v1/events?event=optedOut",
    "/api/v1/events/{seq}",
    "/api/v1/messages",
    "/api/v1/messages?phone=%2B{phone}",
    "/api/v1/messages?message={message}",
    "/api/v1/messages?customer={customer}",
    "/api/v1/messages?state=failed",
    "/api/v1/messages?reason=undeliverable",
    "/api/v1/messages?reason=nobody+knows",
    "/api/v1/messages?since={time}&until={later}",
    "/api/v1/messages?state=failed&since={time}&until={later}",
    "/api/v1/messages/{message}",
    "/api/v1/contacts",
    "/api/v1/contacts?address={phone}",
    "/api/v1/contacts?name=rao+{customer}",
    "/api/v1/contacts/waiting",
    "/api/v1/contacts/{contact}",
    "/api/v1/funnel",
    "/api/v1/funnel?by=category,day",
    "/api/v1/funnel?by=ownerId",
    "/api/v1/failures",
    "/api/v1/failures?by=category",
    "/api/v1/arrivals?by=hour",
    "/api/v1/sources",
    "/api/v1/handlers",
    "/api/v1/dead",
    "/",
    "/search?q={phone}",
    "/search?q={message}",
    "/messages/{message}",
    "/conversations",
    "/conversations/{contact}",
    "/conversations?waiting=1",
    "/conversations?missed=1",
    "/events",
    "/events?event=optedOut",
    "/events?phone=%2B{phone}",
    "/events/{seq}",
    "/tail",
    "/handlers",
    "/replays",
    "/dead",
    "/quarantine",
    "/credentials",
];

pub fn questions(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let events = args.events.unwrap_or(if args.quick { 50_000 } else { 5_000_000 });
    let times = if args.quick { 20 } else { 300 };
    println!("\npages and API routes, with {events} events stored");
    let folder = disk::folder(events * 2_048 + (1 << 30))?;
    fill_with(&folder.path().join("journal.db"), 0, events, campaign::batch)?;
    let server = Server::with_insight(folder.path())?;
    let began = Instant::now();
    while server.metric(LAG)? > 0.0 || server.metric("bikhook_journal_tip")? < events as f64 {
        if began.elapsed() > GIVE_UP_AFTER {
            return Err("insight does not catch up".into());
        }
        thread::sleep(LOOK_EVERY);
    }
    report.note(
        &format!("insight reads {events} events from the journal"),
        format!("{:.0} events/s", events as f64 / began.elapsed().as_secs_f64()),
    );
    let size = std::fs::metadata(folder.path().join("insight.db"))?.len();
    report
        .note("size of insight's file per stored event", format!("{:.0} bytes", size as f64 / events as f64));
    let asker = Asker::new(&server, events)?;
    let mut slowest = 0.0_f64;
    for route in ROUTES {
        let latencies = asker.ask(route, times)?;
        let p99 = latencies.at_ms(0.99);
        println!("  {route:<60} p50 {:>7.1} ms  p99 {p99:>7.1} ms", latencies.at_ms(0.5));
        slowest = slowest.max(p99);
    }
    report.figure(
        &format!("slowest of {} routes with {events} events stored: p99", ROUTES.len()),
        format!("{slowest:.0} ms"),
        Bound::AtMost { value: slowest, most: 200.0, unit: " ms" },
    );
    Ok(())
}

struct Asker {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    base: String,
    events: u64,
    newest: bikhook::clock::Timestamp,
    /// Ids of customers.
    contacts: Vec<String>,
}

impl Asker {
    fn new(server: &Server, events: u64) -> Result<Self, Failed> {
        let mut asker = Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            client: reqwest::Client::builder().no_proxy().build()?,
            base: format!("http://{}", server.admin),
            events,
            newest: bikhook::clock::now(),
            contacts: Vec::new(),
        };
        asker.contacts = asker.some_contacts()?;
        Ok(asker)
    }

    /// Returns the ids of the thousand customers with the latest events.
    fn some_contacts(&self) -> Result<Vec<String>, Failed> {
        let page: serde_json::Value = self.runtime.block_on(async {
            let url = format!("{}/api/v1/contacts?limit=1000", self.base);
            self.client.get(url).send().await?.error_for_status()?.json().await
        })?;
        let rows = page["contacts"].as_array().map_or(&[][..], Vec::as_slice);
        let ids: Vec<String> = rows.iter().filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect();
        if ids.is_empty() { Err("insight has no customers".into()) } else { Ok(ids) }
    }

    /// Requests a route this many times, each time with other values.
    fn ask(&self, route: &str, times: u64) -> Result<Latencies, Failed> {
        let mut samples = Vec::new();
        for time in 0..times {
            let message = time.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (self.events / 4);
            let customer = campaign::customer(message);
            let minutes = i64::try_from(time % 60)?;
            let url = route
                .replace("{phone}", &campaign::phone(customer))
                .replace("{message}", &campaign::message_id(message))
                .replace("{customer}", &customer.to_string())
                .replace("{contact}", &self.contacts[usize::try_from(message)? % self.contacts.len()])
                .replace("{seq}", &(1 + message * 4).to_string())
                .replace("{time}", &self.newest.plus_ms(-60_000 * (minutes + 1)).to_string())
                .replace("{later}", &self.newest.plus_ms(-60_000 * minutes).to_string());
            let began = Instant::now();
            let answered = self.runtime.block_on(async {
                let answer = self.client.get(format!("{}{url}", self.base)).send().await?;
                let status = answer.status();
                answer.bytes().await?;
                Ok::<_, Failed>(status)
            })?;
            samples.push(micros(began.elapsed()));
            if !answered.is_success() {
                return Err(format!("{url}: {answered}").into());
            }
        }
        Ok(Latencies::new(samples))
    }
}
