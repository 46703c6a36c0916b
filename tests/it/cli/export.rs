//! `bikhook export`, read back by programs that are not ours.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;
use crate::support::home::eventually;

/// Runs an export to a file, and returns its content.
async fn export(operator: &Operator, folder: &TempDir, args: &[&str]) -> (PathBuf, Vec<u8>) {
    let file = folder.path().join("export");
    let args = [&["export", "--output", file.to_str().unwrap()], args].concat();
    let ran = ask(operator, &args).await;
    assert!(ran.code == 0 && ran.out.is_empty() && ran.err.contains("events written to"), "{ran:?}");
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["export"], "nothing else is left");
    let bytes = fs::read(&file).unwrap();
    (file, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_json_lines_equal_those_of_events_online_and_offline() {
    let operator = Operator::new().await;
    for block in 0..5 {
        let events = (0..500).map(|n| match n % 3 {
            0 => incoming(&format!("{block}-{n}"), &format!("m-{block}-{n}")),
            _ => status(&format!("{block}-{n}"), &format!("m-{block}-{n}"), ["sent", "failed"][n % 2]),
        });
        operator.store(events).await;
    }
    let folder = TempDir::new().unwrap();
    let (file, all) = export(&operator, &folder, &[]).await;
    let all = String::from_utf8(all).unwrap();
    assert_eq!(all.lines().count(), 2_500);
    assert_eq!(all, ask(&operator, &["events", "--json", "--limit", "100000"]).await.ok());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "it has personal data");
    assert_eq!(ask(&operator, &["export"]).await.ok(), all);

    let some = ["--status", "failed", "--event", "message-*", "--source", "bik"];
    let (_, failed) = export(&operator, &folder, &some).await;
    let failed = String::from_utf8(failed).unwrap();
    assert!(failed.lines().count() > 700 && failed.lines().all(|line| line.contains("\"failed\"")));
    assert_eq!(
        failed,
        ask(&operator, &[&["events", "--json", "--limit", "100000"][..], &some].concat()).await.ok()
    );
    let late = ask(&operator, &["export", "--after", "2498"]).await.objects();
    assert_eq!(seqs(&late), [2_499, 2_500]);
    let received = late[0]["receivedAt"].as_str().unwrap();
    let since = ask(&operator, &["export", "--since", received]).await.objects();
    assert!(since.len() >= 2 && since.iter().all(|event| event["receivedAt"].as_str().unwrap() >= received));
    assert_eq!(ask(&operator, &["export", "--until", "2001-01-01"]).await.ok(), "");

    let path = operator.place.path();
    let _place = operator.stop().await;
    assert_eq!(read(&path, &["export"]).await.ok(), all);
    assert_eq!(read(&path, &[&["export"][..], &some].concat()).await.ok(), failed);
    let stopped = read(&path, &["export", "--since", received]).await.objects();
    assert_eq!(seqs(&stopped), seqs(&since));
}

/// Values that are difficult for a spreadsheet, and an event with two infos.
fn odd_events() -> [String; 4] {
    let formula = status("=1+1", "m\\\"1", "failed").replace("null", "\"@SUM(A1), \\\"x\\\"\\r\\nnext\"");
    let info = |message: &str, word: &str| json!({"messageId": message, "status": word, "owner": "AGENT"});
    let two = json!({"eventName": "message-status-update", "storeId": "s", "eventInfo": [info("a", "sent"), info("b", "read")]});
    let bare = "{\"eventName\":\"odd\",}".to_owned();
    [formula, incoming("i-1", "नमस्ते"), two.to_string(), bare]
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_read_back_by_another_reader_and_holds_no_formula() {
    let operator = Operator::new().await;
    operator.store(odd_events()).await;
    let folder = TempDir::new().unwrap();
    let (file, bytes) = export(&operator, &folder, &["--format", "csv"]).await;
    assert!(bytes.ends_with(b"\r\n"), "RFC 4180");
    const PROGRAM: &str = "import csv, json, sys\n\
        print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True))))";
    let python = Command::new("python3").args(["-c", PROGRAM]).arg(&file).output().expect("python3");
    let rows: Vec<Value> = serde_json::from_slice(&python.stdout).unwrap();
    let column = |name: &str| rows.iter().map(|row| row[name].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(column("seq"), ["1", "2", "3", "3", "4"], "a row an info");
    assert_eq!(column("id"), ["'=1+1", "i-1", "", "", ""]);
    assert_eq!(column("message_id"), ["m\"1", "नमस्ते", "a", "b", ""]);
    assert_eq!(column("status"), ["failed", "", "sent", "read", ""]);
    assert_eq!(column("phone"), ["'+910000000000", "'+910000000000", "", "", ""]);
    assert_eq!(column("failure_reason")[0], "'@SUM(A1), \"x\"\r\nnext");
    assert_eq!(column("store"), ["", "", "s", "s", ""]);
    assert_eq!((column("name")[0], column("text")[1], column("owner")[0]), ("A B", "Hii sir", "CAMPAIGN"));
    assert_eq!(column("created_at")[0], "2024-08-01T07:24:23.425Z");
    assert_eq!(column("event_name")[4], "odd");
    let all: Vec<_> = rows.iter().flat_map(|row| row.as_object().unwrap().values()).collect();
    assert!(!all.iter().any(|cell| cell.as_str().unwrap().starts_with(['=', '+', '-', '@', '\t', '\r'])));
}

#[cfg(feature = "parquet")]
#[tokio::test(flavor = "multi_thread")]
async fn parquet_has_typed_rows_in_groups_and_the_whole_event() {
    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::Field,
    };
    let operator = Operator::new().await;
    operator.store(odd_events()).await;
    // More rows than a group holds.
    let long = "x".repeat(3 << 20);
    for n in 0..13 {
        operator.store([status(&n.to_string(), "m", "sent").replace("Hello", &long)]).await;
    }
    let folder = TempDir::new().unwrap();
    let (file, _) = export(&operator, &folder, &["--format", "parquet"]).await;
    let reader = SerializedFileReader::new(fs::File::open(&file).unwrap()).unwrap();
    let groups = reader.metadata().row_groups();
    assert!(groups.len() > 1 && groups.iter().all(|group| group.num_rows() > 0), "{}", groups.len());
    let rows: Vec<BTreeMap<String, Field>> = reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| {
            row.unwrap().get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect()
        })
        .collect();
    assert_eq!(rows.len(), 5 + 13);
    let text = |text: &str| Field::Str(text.to_owned());
    assert_eq!(
        (&rows[0]["seq"], &rows[0]["id"], &rows[0]["phone"]),
        (&Field::Long(1), &text("=1+1"), &text("+910000000000"))
    );
    assert_eq!(rows[0]["created_at"], Field::TimestampMillis(1_722_497_063_425));
    assert!(matches!(rows[4]["received_at"], Field::TimestampMillis(1_600_000_000_000..)));
    assert_eq!((&rows[2]["message_id"], &rows[3]["message_id"]), (&text("a"), &text("b")));
    assert_eq!((&rows[4]["message_id"], &rows[4]["created_at"]), (&Field::Null, &Field::Null));
    let lines = ask(&operator, &["export"]).await.ok();
    let Field::Str(event) = &rows[4]["event"] else { panic!("{:?}", rows[4]["event"]) };
    assert!(lines.lines().nth(3).unwrap().ends_with(&format!("\"event\":{event}}}")), "{event}");
    assert_eq!(rows[17]["text"], Field::Str(long));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_its_place_only_when_it_is_complete() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("events.csv");
    fs::write(&file, "of yesterday").unwrap();
    // It accepts connections, and never answers.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_bikhook"))
        .env_clear()
        .env("BIKHOOK_ADMIN", format!("http://{}", hangs.local_addr().unwrap()))
        .args(["export", "--format", "csv", "--output", "events.csv"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (_asks, _) = hangs.accept().unwrap();
    eventually("it has no part of a file", || fs::read_dir(folder.path()).unwrap().count() == 2);
    assert!(
        Command::new("sh")
            .args(["-c", "kill -INT \"$0\"", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        ended.status.code() == Some(1) && said.contains("interrupted: events.csv is unchanged"),
        "{said}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no part of it is left");
    assert_eq!(fs::read_to_string(&file).unwrap(), "of yesterday");

    let operator = Operator::new().await;
    let to_a_folder = ask(&operator, &["export", "--output", folder.path().to_str().unwrap()]).await;
    to_a_folder.failed("is not a file");
    let nowhere = folder.path().join("missing/events");
    ask(&operator, &["export", "--output", nowhere.to_str().unwrap()])
        .await
        .failed("cannot create a temporary file next to");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_reader_has_seen_enough_is_no_failure() {
    let operator = Operator::new().await;
    operator.store((0..900).map(|n| status(&n.to_string(), "m", "sent"))).await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_bikhook"))
        .env_clear()
        .env("BIKHOOK_ADMIN", operator.url(""))
        .arg("export")
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
}
