//! Dead letters, and the handlers that get notices of them.

use serde_json::{Value, json};

use crate::support::{
    events::{incoming, status},
    home::{Home, Process, eventually},
};

/// `crm` refuses every event of a message "poison". `audit` and `deaf` get notices of dead letters; `deaf` refuses
/// everything.
const HANDLERS: &str = r#"
[handlers.crm]
kind = "exec"
command = ["sh", "-c", 'case $(cat) in *poison*) exit 65;; esac']

[handlers.deaf]
kind = "exec"
command = ["sh", "-c", "exit 65"]
dead_letters = true
"#;

fn home() -> Home {
    let mut home = Home::new();
    home.audit_keys = "dead_letters = true";
    home.more = HANDLERS.to_owned();
    home
}

fn dead(process: &Process) -> Vec<(Value, Value)> {
    let answer = process.operator().get("/api/v1/dead").unwrap();
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    let mut letters: Vec<_> = page["dead"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| (letter["handler"].clone(), letter["eventName"].clone()))
        .collect();
    letters.sort_by_key(|(handler, _)| handler.to_string());
    letters
}

fn told(home: &Home) -> Vec<Value> {
    let mut told = Vec::new();
    home.each_line(|line| told.push(serde_json::from_str::<Value>(line).unwrap()["event"].clone()));
    told
}

#[test]
fn a_dead_letter_has_one_notice_across_a_crash_and_dead_notices_none() {
    let home = home();
    let mut process = home.start();
    let mut client = process.connect();
    client.post(&format!("[{},{}]", incoming("1", "poison"), status("2", "well", "sent"))).unwrap();
    eventually("both are dead letters", || {
        dead(&process)
            == [(json!("crm"), json!("incoming-message")), (json!("deaf"), json!("bikhook-dead-letter"))]
    });
    eventually("it is told of one", || told(&home).len() == 1);
    process.kill();
    let mut process = home.start();
    process.connect().post(&status("3", "poison", "sent")).unwrap();
    eventually("the other is told of", || told(&home).len() >= 2);
    eventually("it is refused, too", || dead(&process).len() == 4);
    process.stop();

    let told = told(&home);
    assert_eq!(told.len(), 2, "{told:?}");
    let first = &told[0];
    assert_eq!(
        (&first["handler"], &first["lane"], &first["cause"], &first["attempts"]),
        (&json!("crm"), &json!("incoming"), &json!("refused"), &json!(2))
    );
    assert_eq!(
        (&first["event"]["seq"], &first["event"]["eventName"]),
        (&json!(1), &json!("incoming-message"))
    );
    assert!(first["text"].as_str().unwrap().contains("bikhook dead show 1"), "{first}");
    // Three events were posted, and two notices are stored. The dead letters of `deaf` have no notices.
    let mut names = Vec::new();
    home.each_stored(|row| names.push(row.raw.contains("bikhook-dead-letter")));
    assert_eq!(names.iter().filter(|own| **own).count(), 2);
    assert_eq!(names.len(), 5);
}

#[test]
fn only_handlers_that_ask_for_notices_get_them_and_cause_them() {
    let mut home = home();
    home.more += "\n[handlers.everything]\nkind = \"jsonl\"\npath = \"everything.jsonl\"\n";
    let everything = home.config_file().with_file_name("everything.jsonl");
    home.more = home.more.replace("\"everything.jsonl\"", &format!("{everything:?}"));
    let mut process = home.start();
    process.connect().post(&status("1", "poison", "sent")).unwrap();
    eventually("it is told of", || told(&home).len() == 1);
    eventually("it is a dead letter of one, and its notice of the other", || dead(&process).len() == 2);
    home.wait_until_delivered_to("everything");
    process.stop();
    let lines = std::fs::read_to_string(&everything).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");

    home.audit_keys = "";
    home.more = HANDLERS.replace("dead_letters = true", "");
    let mut process = home.start();
    process.connect().post(&status("2", "poison", "sent")).unwrap();
    eventually("it is a dead letter of both", || dead(&process).len() == 4);
    process.stop();
    let mut stored = 0;
    home.each_stored(|_| stored += 1);
    assert_eq!(stored, 3, "two that were posted, and one that was told");
}

#[test]
fn notices_are_left_out_of_lists_unless_they_are_asked_for() {
    let home = home();
    let mut process = home.start();
    process
        .connect()
        .post(&format!("[{},{}]", incoming("1", "poison"), status("2", "well", "sent")))
        .unwrap();
    eventually("it is told of", || told(&home).len() == 1);
    let ask = |path: &str| process.operator().get(path).unwrap().body;
    let seqs = |query: &str| {
        let page: Value = serde_json::from_str(&ask(&format!("/api/v1/events{query}"))).unwrap();
        let mut seqs: Vec<_> =
            page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        seqs.sort_unstable();
        seqs
    };
    for query in ["", "?after=0", "?source=bik", "?status=sent&status=read"] {
        assert!(!seqs(query).contains(&3), "{query}");
    }
    for query in ["?source=bikhook", "?event=bikhook-*", "?name=bikhook-dead-letter", "?after=0&event=*"] {
        assert!(seqs(query).contains(&3), "{query}");
    }
    for page in ["/events", "/tail"] {
        assert!(!ask(page).contains("bikhook-dead-letter"), "{page}");
        assert!(ask(&format!("{page}?source=bikhook")).contains("bikhook-dead-letter"), "{page}");
    }
    process.stop();

    let run = |args: &[&str]| {
        let ran = home.command().args(args).arg("--journal").arg(home.journal_file()).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(!run(&["events"]).contains("bikhook-dead-letter"));
    assert!(run(&["events", "--source", "bikhook"]).contains("bikhook-dead-letter"));
    assert!(run(&["check", "--against-journal", "9"]).contains("Of the last 2 events"));
}

#[test]
fn an_event_that_a_handler_does_not_want_says_so() {
    let mut home = Home::new();
    home.audit_keys = "events = [\"incoming-message\"]";
    let process = home.start();
    process.connect().post(&format!("[{},{}]", incoming("1", "a"), status("2", "b", "sent"))).unwrap();
    home.wait_until_delivered();
    let state = |seq: u64| {
        let event = process.operator().get(&format!("/api/v1/events/{seq}")).unwrap();
        let event: Value = serde_json::from_str(&event.body).unwrap();
        event["lanes"][0]["state"].clone()
    };
    assert_eq!((state(1), state(2)), (json!("delivered"), json!("not wanted")));
}
