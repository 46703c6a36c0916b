//! Customer messages while a backlog of statuses waits in the same handler.

use std::time::Duration;

use super::{
    Args,
    arrivals::Watch,
    support::{
        disk, events,
        fill::fill_with,
        report::{Bound, Report},
        run::Failed,
        sender::Sender,
        server::Server,
    },
};

/// The handler's rate in events per second. The backlog lasts longer than the run.
const RATE: u64 = 10_000;
const MESSAGES: u64 = 200;

pub fn overtaking(args: &Args, report: &mut Report) -> Result<(), Failed> {
    let backlog = if args.quick { 50_000 } else { 500_000 };
    println!("\n{MESSAGES} customer messages while {backlog} statuses wait in the same handler");
    let folder = disk::folder(backlog * 4_096 + (1 << 30))?;
    fill_with(&folder.path().join("journal.db"), 0, backlog, events::statuses)?;
    let path = folder.path().join("out.jsonl");
    let server = Server::receiver(
        folder.path(),
        &format!(
            "[handlers.out]\nkind = \"jsonl\"\npath = {path:?}\nrotate_size = 0\nstart = \"beginning\"\nrate = {RATE}\n"
        ),
    )?;
    let watch = Watch::new(path, backlog, |line| memchr::memmem::find(line, b"incoming-message").is_some());
    let mut sender = Sender::connect(server.address)?;
    for number in 0..MESSAGES {
        // In the template, every tenth number is a customer message.
        sender.post(&events::body((backlog + number) * 10, 1))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    let waiting = server.lag("out")?;
    std::thread::sleep(Duration::from_secs(1));
    let delays = watch.finish()?;
    println!("  {delays}; statuses still waiting at the end: {waiting}");
    if delays.count() as u64 != MESSAGES {
        return Err(format!("only {} of {MESSAGES} messages arrived", delays.count()).into());
    }
    report.figure(
        &format!("delay of a customer message, {waiting} statuses still waiting: p99"),
        format!("{:.0} ms", delays.at_ms(0.99)),
        Bound::AtMost { value: delays.at_ms(0.99), most: 1_000.0, unit: " ms" },
    );
    Ok(())
}
