//! The table of `events`, its `--status`, the CSV export and the handler kind `log` agree on the statuses of an event.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_the_filter_csv_and_the_log_agree_on_statuses() {
    let repeated =
        status("1", "m-1", "sent").replace(r#""status":"sent""#, r#""status":"sent","status":"failed""#);
    let info = |message: &str, word: &str| json!({"messageId": message, "status": word});
    let several = json!({"eventName": "message-status-update", "eventInfo": [info("m-3", "SENT"), info("m-4", "failed")]});

    let mut home = Home::new();
    "[handlers.console]\nkind = \"log\"".clone_into(&mut home.more);
    let receiver = tokio::task::block_in_place(|| home.start());
    let mut connection = receiver.connect();
    for event in [repeated, status("2", "m-2", "READ"), several.to_string()] {
        assert_eq!(connection.post(&event).unwrap().status, 200);
    }
    let admin = format!("http://{}", receiver.admin());
    let ask = async |args: &[&str]| run_with(&[("BIKHOOK_ADMIN", &admin)], b"", args).await;

    let table = ask(&["events"]).await.ok();
    let shown: Vec<_> = table.lines().skip(1).map(|line| line.split_whitespace().nth(4).unwrap()).collect();
    assert_eq!(shown, ["failed", "read", "sent,failed"], "{table}");

    for (word, found) in
        [("sent", &[3][..]), ("failed", &[1, 3]), ("read", &[2]), ("READ", &[2]), ("delivered", &[])]
    {
        let events = ask(&["events", "--json", "--status", word]).await.objects();
        assert_eq!(seqs(&events), found, "{word}");
    }

    let csv = ask(&["export", "--format", "csv"]).await.ok();
    let cells: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = cells[0].iter().position(|name| *name == "status").unwrap();
    let rows: Vec<_> = cells[1..].iter().map(|row| (row[0], row[column])).collect();
    assert_eq!(rows, [("1", "failed"), ("2", "read"), ("3", "sent"), ("3", "failed")], "{csv}");

    tokio::task::block_in_place(|| home.wait_until_delivered_to("console"));
    let log = home.log();
    let field = |line: &str, name: &str| {
        let (_, value) = line.split_once(&format!(" {name}="))?;
        Some(value.split_whitespace().next()?.trim_matches('"').to_owned())
    };
    let lines = log.lines().filter(|line| line.contains("handler=\"console\"") && line.contains(": event "));
    let logged: Vec<_> =
        lines.map(|line| (field(line, "seq").unwrap(), field(line, "status").unwrap())).collect();
    let mut logged: Vec<_> = logged.iter().map(|(seq, status)| (&**seq, &**status)).collect();
    logged.sort_unstable();
    assert_eq!(logged, [("1", "failed"), ("2", "read"), ("3", "sent,failed")], "{log}");
}
