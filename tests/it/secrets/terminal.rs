//! The output on a terminal. `script` gives a command a terminal.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::home::Home;

/// Text that would clear the screen, end a sequence in one byte, and turn a line round.
const ACTS: &str = "a\u{9b}2J\u{7f}b\u{202e}c";

/// Runs a shell line on a terminal, and returns the output. Each answer is typed when its question appears.
fn at_terminal(folder: &Path, line: &str, answers: &[(&str, &str)]) -> String {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", line, "/dev/null"]).current_dir(folder);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut script = script.spawn().expect("script, of Debian's package bsdutils");
    let (mut keyboard, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut shown = Vec::new();
    for (question, answer) in answers {
        while !String::from_utf8_lossy(&shown).contains(question) {
            let mut byte = [0];
            screen.read_exact(&mut byte).expect("the question");
            shown.push(byte[0]);
        }
        keyboard.write_all(answer.as_bytes()).unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    drop(keyboard);
    script.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

/// A stopped journal with one event that has terminal control characters in its values.
fn journal() -> Home {
    let home = Home::new();
    let mut process = home.start();
    let event = format!("[{{\"eventName\":\"x{ACTS}\",\"id\":\"i-1{ACTS}\",\"storeId\":\"{ACTS}\"}}]");
    assert_eq!(process.connect().post(&event).unwrap().status, 200);
    process.stop();
    home
}

fn acts(text: &str) -> bool {
    text.contains(['\u{9b}', '\u{7f}', '\u{202e}'])
}

#[test]
fn posted_data_does_not_control_a_terminal() {
    let home = journal();
    let (bikhook, journal) = (env!("CARGO_BIN_EXE_bikhook"), home.journal_file());
    let journal = journal.display();
    for command in ["export", "export --format csv", "events", "events --json", "events --raw"] {
        let line = format!("{bikhook} {command} --journal {journal}");
        let shown = at_terminal(Path::new("/tmp"), &line, &[]);
        assert!(shown.contains("202e") && !acts(&shown), "{command}: {shown:?}");
        let piped = Command::new("sh").args(["-c", &line]).output().unwrap();
        let piped = String::from_utf8(piped.stdout).unwrap();
        assert_eq!(acts(&piped), command != "events", "{command}: {piped:?}");
    }
    let parquet = format!("{bikhook} export --format parquet --journal {journal}");
    let refused = at_terminal(Path::new("/tmp"), &parquet, &[]);
    assert!(refused.contains("cannot be written to a terminal"), "{refused:?}");
}

#[test]
fn a_password_is_prompted_at_the_terminal_and_not_shown() {
    let home = Home::new();
    let process = home.start();
    fs::write(home.config_file().with_file_name("event.json"), "[{\"eventName\":\"x\",\"id\":\"1\"}]")
        .unwrap();
    let url = format!("http://{}/webhook", process.address());
    let line = format!("{} send --url {url} --user bik event.json", env!("CARGO_BIN_EXE_bikhook"));
    let typed = format!("{}\n", crate::support::client::KEY);
    let folder = home.config_file().parent().unwrap().to_owned();
    let shown = at_terminal(&folder, &line, &[("password of bik: ", &typed)]);
    assert!(shown.contains("200: 1") && !shown.contains(typed.trim()), "{shown:?}");
}
