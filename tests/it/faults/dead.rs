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
