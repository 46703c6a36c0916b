//! The metrics: their names and labels are those of docs/metrics.md, whatever is posted, and alerts and the dashboard
//! name no others.

mod actions;
mod alerts;
mod page;
mod promql;

use std::collections::{BTreeMap, BTreeSet};

use self::page::Page;
use crate::{
    readme::page::document,
    support::{
        client::{Client, KEY},
        events::{incoming, incoming_now, status},
        home::{Home, Process, eventually},
    },
};

/// A receiver that has every metric.
fn start(home: &Home) -> Process {
    let process = home.start();
    eventually("insight has nothing to tell", || {
        scrape(&process).samples.iter().any(|sample| sample.name == "bikhook_recent_messages")
    });
    process
}

fn scrape(process: &Process) -> Page {
    let answer = process.operator().get("/metrics").unwrap();
    assert_eq!(answer.status, 200);
    Page::read(&answer.body)
}

/// The labels of each metric, from the table of the document.
fn promised() -> BTreeMap<String, BTreeSet<String>> {
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = document("docs/metrics.md").rows_below("## Every metric").into_iter();
    let table = rows.filter(|row| row[0].starts_with("`bikhook_") || row[0].starts_with("`process_"));
    table.map(|row| (names(&row[0])[0].clone(), names(&row[1]).into_iter().collect())).collect()
}

#[test]
fn every_metric_has_its_documented_labels_and_there_is_no_other() {
    let home = Home::new();
    let process = start(&home);
    let exported = scrape(&process).labels_by_metric();
    assert!(exported.len() > 40, "{exported:?}");
    assert_eq!(exported, promised());
}

#[test]
fn whatever_is_sent_the_series_stay_the_same() {
    let home = Home::new();
    let process = start(&home);
    let before = scrape(&process).series();

    let mut client = process.connect();
    let strange =
        |text: &str, n: usize| text.replace("CAMPAIGN", &format!("EVIL-{n}")).replace("whatsapp", "evil");
    for n in 0..50 {
        let id = n.to_string();
        let events = [
            strange(&status(&format!("a{id}"), &id, "sent"), n),
            strange(&status(&format!("b{id}"), &id, "failed"), n)
                .replace("null", &format!("\"evil reason {n}\"")),
            strange(&status(&format!("c{id}"), &id, "evil-status"), n),
            incoming(&format!("d{id}"), &id).replace("incoming-message", &format!("evil-name-{n}")),
            incoming(&format!("e{id}"), &format!("in{id}")),
        ];
        assert_eq!(client.post(&format!("[{}]", events.join(","))).unwrap().receipt().accepted, 5);
        assert_eq!(client.post("[{\"evil\": \u{1}}]").unwrap().status, 400);
    }
    for head in [
        format!("POST /evil?evil=evil HTTP/1.1\r\nAuthorization: Basic {KEY}"),
        "POST /webhook HTTP/1.1\r\nAuthorization: Basic evil".to_owned(),
        "POST /webhook HTTP/1.1\r\nX-Evil: evil".to_owned(),
        "EVIL /webhook HTTP/1.1".to_owned(),
        "evil".to_owned(),
    ] {
        let mut client = Client::connect(process.address()).unwrap();
        client.send(&format!("{head}\r\nHost: evil\r\nContent-Length: 0\r\n\r\n")).unwrap();
        assert!(client.answer().unwrap().status >= 400, "{head}");
    }
    home.wait_until_delivered();

    let mut page = scrape(&process);
    eventually("insight does not take it all in", || {
        page = scrape(&process);
        page.value("bikhook_recent_messages", &[("category", "other"), ("step", "failed")]) == 50.0
    });
    assert_eq!(page.series().difference(&before).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(before.difference(&page.series()).collect::<Vec<_>>(), [""; 0]);
    assert!(page.series().iter().all(|series| !series.to_lowercase().contains("evil")));
}

#[test]
fn each_action_changes_its_metrics() {
    let mut home = Home::new();
    home.more = "[handlers.deaf]\nkind = \"exec\"\ncommand = [\"sh\", \"-c\", \"exit 1\"]\n".to_owned();
    let mut process = start(&home);
    let mut client = process.connect();
    let events = [
        status("1", "m1", "sent"),
        status("2", "m1", "delivered"),
        status("3", "m2", "failed").replace("null", "\"Rate limit hit\""),
        incoming_now("4", "m3"),
        incoming("5", "m4").replace("910000000000", "910000000001"),
    ];
    client.post(&format!("[{}]", events.join(","))).unwrap().receipt();
    client
        .send("POST /webhook HTTP/1.1\r\nHost: a\r\nAuthorization: Basic wrong\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 401);

    let broadcast = |step| [("category", "broadcast"), ("step", step)];
    let mut page = scrape(&process);
    eventually("it is not measured", || {
        page = scrape(&process);
        page.value("bikhook_recent_messages", &broadcast("all")) == 2.0
            && page.value(
                "bikhook_delivery_failures_total",
                &[("handler", "deaf"), ("lane", "incoming"), ("outcome", "retry")],
            ) >= 1.0
            && page.value("bikhook_delivery_seconds_count", &[("handler", "audit")]) >= 1.0
    });
    assert_eq!(page.value("bikhook_recent_messages", &broadcast("delivered")), 1.0);
    assert_eq!(page.value("bikhook_recent_messages", &broadcast("failed")), 1.0);
    let class = [("category", "broadcast"), ("class", "rate_limit")];
    assert_eq!(page.value("bikhook_recent_message_failures", &class), 1.0);
    let half = [("category", "broadcast"), ("quantile", "0.5")];
    assert!(page.value("bikhook_recent_message_delivery_seconds", &half) < 60.0);
    let none = [("category", "crm"), ("quantile", "0.5")];
    assert!(page.value("bikhook_recent_message_delivery_seconds", &none).is_nan());
    assert_eq!(page.value("bikhook_insight_failed", &[]), 0.0);
    assert_eq!(page.value("bikhook_customers_waiting", &[]), 1.0);
    assert_eq!(page.value("bikhook_customers_missed", &[]), 1.0);
    assert!(page.value("bikhook_customer_waiting_seconds", &[]) < 60.0);
    let wrong = [("reason", "wrong"), ("source", "bik")];
    assert_eq!(page.value("bikhook_authentication_failures_total", &wrong), 1.0);
    assert!(page.value("bikhook_source_silence_seconds", &[("source", "bik")]) < 60.0);
    let running = page.value("process_start_time_seconds", &[]);
    assert!((1.7e9..1e11).contains(&running), "{running}");
    assert!(page.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(page.value("process_open_fds", &[]) < page.value("process_max_fds", &[]));
    assert!(page.value("process_cpu_seconds_total", &[]) > 0.0);
    process.stop();
}

#[test]
fn the_silence_of_a_source_continues_after_a_restart() {
    let home = Home::new();
    let mut process = start(&home);
    process.connect().post(&format!("[{}]", status("1", "m1", "sent"))).unwrap().receipt();
    let silence =
        |process: &Process| scrape(process).value("bikhook_source_silence_seconds", &[("source", "bik")]);
    eventually("time stands still", || silence(&process) >= 2.0);
    process.stop();
    let process = start(&home);
    eventually("what was heard before is not known", || silence(&process) >= 2.0);
}
