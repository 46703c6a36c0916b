//! The addresses to which the configured credentials are sent.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    thread,
};

use super::{LONG_KEY, bikhook, said};

/// Documentation addresses (RFC 5737): nothing is there, and no request is sent.
const ELSEWHERE: &str = "http://192.0.2.1:8081";

fn write_config(folder: &Path) {
    let config = format!(
        "[admin]\ncredentials = {{ username = \"admin\", password = \"{LONG_KEY}\" }}\n\
         [sources.bik]\ncredentials.portal = {{ key = \"{LONG_KEY}\" }}\n\
         [handlers.log]\nkind = \"log\"\n"
    );
    fs::write(folder.join("bikhook.toml"), config).unwrap();
    fs::write(folder.join("event.json"), "[]").unwrap();
}

/// Answers one request with an empty list, and returns its head.
fn listener() -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let body = "{\"handlers\":[]}";
        let length = body.len();
        write!(peer, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    });
    (format!("http://{address}"), served)
}

#[test]
fn configured_credentials_do_not_go_to_another_address_in_the_clear() {
    let home = tempfile::tempdir().unwrap();
    write_config(home.path());
    let mut by_flag = bikhook(home.path(), &["handlers", "--config", "bikhook.toml", "--admin", ELSEWHERE]);
    let mut by_variable = bikhook(home.path(), &["handlers", "--config", "bikhook.toml"]);
    by_variable.env("BIKHOOK_ADMIN", ELSEWHERE);
    let mut by_url =
        bikhook(home.path(), &["send", "--config", "bikhook.toml", "--url", ELSEWHERE, "event.json"]);
    for (command, instead) in [
        (&mut by_flag, "give --admin-user, with its password in BIKHOOK_ADMIN_PASSWORD"),
        (&mut by_variable, "give --admin-user, with its password in BIKHOOK_ADMIN_PASSWORD"),
        (&mut by_url, "give --key-file, or --user with --password-file"),
    ] {
        let ended = command.output().unwrap();
        let said = said(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("over plain HTTP: write https://") && said.contains(instead), "{said}");
        assert!(!said.contains(LONG_KEY), "{said}");
    }
}

#[test]
fn configured_credentials_go_to_another_port_of_this_machine() {
    let home = tempfile::tempdir().unwrap();
    write_config(home.path());
    let (url, served) = listener();
    bikhook(home.path(), &["handlers", "--json", "--config", "bikhook.toml", "--admin", &url])
        .output()
        .unwrap();
    assert!(served.join().unwrap().contains("authorization: basic "), "it sent none");
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    write_config(home.path());
    let secret = "hunter2-hunter2";
    let with_user = format!("http://admin:{secret}@127.0.0.1:1");
    for (args, advice) in [
        (
            &["send", "--key", secret, "event.json"][..],
            "use --key-file FILE or the variable BIKHOOK_SEND_KEY",
        ),
        (&["send", "--user", "bik", "--password", secret, "event.json"], "use --password-file FILE"),
        (&["send", "--url", &with_user, "event.json"], "write it as http://127.0.0.1:8080/webhook"),
        (&["handlers", "--admin", &with_user], "write it as http://127.0.0.1:8081"),
        (&["health", "--admin", &with_user], "write it as http://127.0.0.1:8081"),
    ] {
        let ended = bikhook(home.path(), args).output().unwrap();
        let said = said(&ended);
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(advice) && !said.contains(secret), "{args:?}: {said}");
    }
}

#[test]
fn without_a_terminal_there_is_no_password_prompt() {
    let home = tempfile::tempdir().unwrap();
    write_config(home.path());
    // A session of its own has no terminal.
    let mut alone = std::process::Command::new("setsid");
    alone.args(["--wait", env!("CARGO_BIN_EXE_bikhook"), "send", "--user", "bik", "event.json"]);
    let ended = alone.current_dir(home.path()).output().unwrap();
    assert!(said(&ended).contains("use --password-file or BIKHOOK_SEND_PASSWORD"), "{}", said(&ended));
}
