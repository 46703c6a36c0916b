//! Spans of requests and deliveries, as an OpenTelemetry collector receives them.

use std::process::Command;

use crate::support::{
    client::KEY,
    events::{incoming, status},
    home::{Home, Process, eventually},
    servers::{
        collector::Collector,
        web::{Answer, Web},
    },
};

fn home(collector: &Collector, more: &str) -> Home {
    let mut home = Home::new();
    home.more = format!("[log]\notlp = \"http://{}/\"\n{more}", collector.address);
    home
}

fn dropped(process: &Process) -> u64 {
    let page = process.operator().get("/metrics").unwrap().body;
    let line = page.lines().find_map(|line| line.strip_prefix("bikhook_trace_spans_dropped_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_request_and_its_deliveries_are_traced_without_personal_data() {
    let collector = Collector::new();
    // The second attempt succeeds.
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let web = Web::new(move |_| {
        let first = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        Answer::status(if first { 503 } else { 200 })
    });
    let more = format!(
        "[handlers.crm]\nkind = \"http\"\nurl = \"http://{}/hook\"\nprobe_first = \"100ms\"\n",
        web.address()
    );
    let home = home(&collector, &more);
    let mut process = home.start();
    let events = [incoming("1", "wamid.PERSONAL"), status("2", "wamid.PERSONAL", "sent")];
    process.connect().post(&format!("[{}]", events.join(","))).unwrap().receipt();
    let mut client = process.connect();
    client.send("PERSONAL /PERSONAL HTTP/1.1\r\nHost: PERSONAL\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(client.answer().unwrap().status, 404);
    home.wait_until_delivered_to("crm");
    process.stop();

    let requests = collector.spans("request");
    let post = requests.iter().find(|span| span.attributes["http.request.method"] == "POST").unwrap();
    for (name, value) in [("source", "bik"), ("http.response.status_code", "200"), ("seq", "2")] {
        assert_eq!(post.attributes[name], value, "{post:?}");
    }
    let lost = requests.iter().find(|span| span.attributes["http.request.method"] == "_OTHER").unwrap();
    assert_eq!(lost.attributes["http.response.status_code"], "404");
    for (name, attribute, value) in [("append", "seq", "2"), ("append", "events", "2")] {
        let [span] = &*collector.spans(name) else { panic!("not one {name}") };
        assert_eq!((&span.trace, &span.parent), (&post.trace, &post.id), "{span:?}");
        assert_eq!(span.attributes[attribute], value);
    }
    assert_eq!(collector.spans("decode")[0].parent, post.id);

    let delivered: Vec<_> =
        collector.spans("deliver").into_iter().filter(|span| span.attributes["handler"] == "crm").collect();
    let failed = delivered.iter().find(|span| span.failed).unwrap();
    assert_eq!((&*failed.attributes["outcome"], &*failed.attributes["error.type"]), ("retry", "status 503"));
    let again = delivered.iter().find(|span| {
        let is = |name: &str, value: &str| span.attributes[name] == value;
        is("seq", &failed.attributes["seq"]) && is("attempt", "2") && is("outcome", "delivered")
    });
    let again = again.unwrap_or_else(|| panic!("{delivered:?}"));
    let parents: Vec<_> =
        web.came("/hook").iter().map(|request| request.headers["traceparent"].clone()).collect();
    assert!(parents.contains(&format!("00-{}-{}-01", again.trace, again.id)), "{parents:?} {again:?}");

    let all = format!("{:?}{}", collector.all(), home.log());
    for personal in ["PERSONAL", "910000000000", "Hii sir", "Hello", KEY] {
        assert!(!all.contains(personal), "{personal} in {all}");
    }
    assert!(!home.log().contains("request{"), "spans are not in the log: {}", home.log());
}

#[test]
fn a_collector_that_hangs_delays_nothing_and_lost_spans_are_counted() {
    let collector = Collector::hanging();
    let home = home(&collector, "");
    let mut process = home.start();
    let mut client = process.connect();
    let mut sent = 0;
    while dropped(&process) == 0 {
        assert!(sent < 20_000, "the spans have no bound");
        for _ in 0..500 {
            sent += 1;
            let event = status(&format!("e{sent}"), "m", "sent");
            assert_eq!(client.post(&format!("[{event}]")).unwrap().receipt().accepted, 1);
        }
    }
    home.wait_until_delivered();
    let begun = std::time::Instant::now();
    process.stop();
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn an_unreachable_collector_is_logged_once() {
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut home = Home::new();
    home.more = format!("[log]\notlp = \"http://{away}\"\n");
    let mut process = home.start();
    process.connect().post(&format!("[{}]", status("e", "m", "sent"))).unwrap().receipt();
    eventually("it is not counted", || dropped(&process) > 0);
    process.stop();
    let log = home.log();
    assert_eq!(log.matches("export of spans failed").count(), 1, "{log}");
}

#[test]
fn the_standard_variables_are_enough_and_can_switch_it_off() {
    for (more, exports) in [(None, true), (Some("OTEL_SDK_DISABLED=true"), false)] {
        let collector = Collector::new();
        let home = Home::new();
        let mut command = Command::new("env");
        command.arg(format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}", collector.address)).args(more);
        command.arg(env!("CARGO_BIN_EXE_bikhook")).arg("--config").arg(home.config_file());
        let mut process = home.spawn(command);
        process.wait_until_ready();
        process.connect().post(&format!("[{}]", status("e", "m", "sent"))).unwrap().receipt();
        process.stop();
        assert_eq!(!collector.spans("append").is_empty(), exports);
    }
}

#[test]
fn an_invalid_base_url_is_an_error_that_does_not_quote_it() {
    for wrong in ["127.0.0.1:4318", "grpc://a.example", "http://a.example?t=s3cret", "s3cret"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bikhook.toml");
        std::fs::write(&file, "[sources.bik]\nauth = \"none\"\n[log]\n").unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_bikhook"));
        check.arg("check").arg("--config").arg(&file).env("BIKHOOK_LOG_OTLP", wrong);
        let ended = check.output().unwrap();
        let told =
            String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(2), "{wrong}: {told}");
        assert!(told.contains("log.otlp") && !told.contains("s3cret"), "{wrong}: {told}");
    }
}
