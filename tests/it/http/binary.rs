//! The real binary with its shipped limits: memory, idle sockets, few file descriptors, guesses at the admin side.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    connections::connect_from,
    world::{Client, event, eventually},
};
use crate::support::receiver::Receiver;

const MIB: u64 = 1024 * 1024;

/// A receiver in a folder of its own, with one source and a handler `file`.
struct Binary {
    folder: TempDir,
    receiver: Receiver,
}

const CONFIG: &str = r#"
[sources.bik]
credentials.portal = { key = "s3cret-key" }
[handlers.file]
kind = "jsonl"
path = "data/events.jsonl"
"#;

impl Binary {
    /// Starts it after some shell commands, with keys of `[http]` as environment variables.
    fn start(shell: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bikhook.toml");
        fs::write(&config, CONFIG).unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{shell} exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_bikhook"));
        command.arg("--config").arg(&config).current_dir(folder.path());
        command.env("BIKHOOK_HTTP_LISTEN", "127.0.0.1:0").env("BIKHOOK_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("BIKHOOK_JOURNAL_DISK_RESERVE", "0").envs(variables.iter().copied());
        let lock = folder.path().join("data/journal.db.lock");
        let receiver = Receiver::start(command, &folder.path().join("log"), &lock);
        Self { folder, receiver }
    }

    fn post(&self, id: &str) -> u16 {
        Client::to(self.receiver.http).ask(super::world::post(event(id))).status
    }

    fn health(&self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
        command.args(["health", "--admin", &format!("http://{}", self.receiver.admin)]);
        command.current_dir(self.folder.path()).output().unwrap()
    }

    /// The peak memory use so far.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.receiver.pid().trim())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        line.unwrap().trim().parse::<u64>().unwrap() * 1024
    }
}

fn idle(count: usize, address: SocketAddr) -> Vec<Client> {
    (0..count).map(|_| Client::to(address)).collect()
}

/// A short version of `tests/attacks/heads.py`.
#[test]
fn unfinished_large_heads_of_2_000_peers_stay_within_their_bound() {
    const COUNT: usize = 2_000;
    let head = format!("POST /webhook HTTP/1.1\r\nX: {}", "x".repeat(31_000));
    for (trusted, most) in [(r#"["127.0.0.1"]"#, 40 * MIB), (r#"["127.0.0.0/8"]"#, 40 * MIB)] {
        let variables = [("BIKHOOK_HTTP_TRUSTED_PROXIES", trusted), ("BIKHOOK_HTTP_HEADER_BYTES", "8MiB")];
        let binary = Binary::start("", &variables);
        assert_eq!(binary.post("before"), 200);
        let before = binary.peak();
        let mut peers = Vec::new();
        for n in 0..COUNT {
            let mut peer = connect_from(Ipv4Addr::new(127, 0, 0, 2), binary.receiver.http);
            peer.send(&head);
            peers.push(peer);
            if n % 500 == 0 {
                assert_eq!(binary.post(&format!("n{n}")), 200);
            }
        }
        assert_eq!(binary.post("after"), 200);
        let grown = binary.peak() - before;
        assert!(grown < most, "{} KiB more, with trusted proxies {trusted}", grown / 1024);
        peers[0].answer().assert_problem(408);
        assert!(peers[COUNT - 1].is_open());
    }
}

#[test]
fn idle_sockets_at_the_operators_side_do_not_keep_health_from_answering() {
    let binary = Binary::start("", &[]);
    let _idle = idle(200, binary.receiver.admin);
    for _ in 0..3 {
        let asked = binary.health();
        assert!(asked.status.success(), "{asked:?}");
    }
}

#[test]
fn with_few_file_descriptors_intake_leaves_the_others_theirs() {
    let binary = Binary::start("ulimit -n 256;", &[]);
    let said = binary.receiver.said();
    assert!(said.contains("fewer connections than http.connections"), "{said}");
    let _idle = idle(400, binary.receiver.http);
    let _admin = idle(100, binary.receiver.admin);
    for n in 0..20 {
        assert_eq!(binary.post(&format!("e{n}")), 200);
    }
    assert!(binary.health().status.success());
    let file = binary.folder.path().join("data/events.jsonl");
    eventually("the handler delivers", || lines(&file) == 20);
    let open = fs::read_dir(format!("/proc/{}/fd", binary.receiver.pid().trim())).unwrap().count();
    assert!(open < 256, "{open} of 256 are open");
    let said = binary.receiver.said();
    assert!(!said.contains("cannot accept"), "{said}");
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[test]
fn guesses_at_the_operators_side_are_slowed_down_and_logged_once_a_minute() {
    let password =
        [("BIKHOOK_ADMIN_CREDENTIALS_USERNAME", "ops"), ("BIKHOOK_ADMIN_CREDENTIALS_PASSWORD", "right")];
    let binary = Binary::start("", &password);
    let ask = |client: &mut Client, pair: &str| {
        use base64::prelude::{BASE64_STANDARD, Engine};
        let authorization = format!("Authorization: Basic {}", BASE64_STANDARD.encode(pair));
        client.ask(format!("GET /api/v1/handlers HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n\r\n"))
    };
    let mut client = Client::to(binary.receiver.admin);
    for _ in 0..60 {
        ask(&mut client, "ops:wrong").assert_problem_without_id(401);
    }
    let begun = Instant::now();
    let answer = ask(&mut client, "ops:wrong");
    answer.assert_problem_without_id(429);
    assert!(answer.retry_after() >= 1);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(ask(&mut client, "ops:right").status, 200);
    let said = binary.receiver.said();
    let refusals: Vec<_> = said.lines().filter(|line| line.contains("admin request refused")).collect();
    assert_eq!(refusals.len(), 1, "{said}");
    assert!(refusals[0].contains("peer=127.0.0.1"), "{}", refusals[0]);
}

#[test]
fn bounds_that_do_not_fit_into_memory_are_told_by_check_and_at_the_start() {
    let too_much = ("BIKHOOK_HTTP_IN_FLIGHT_BYTES", "100TiB");
    let binary = Binary::start("", &[too_much]);
    let said = binary.receiver.said();
    assert!(
        said.contains("WARN") && said.contains("the limits of this configuration add up to 300"),
        "{said}"
    );
    let check = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bikhook"));
        command.arg("check").current_dir(binary.folder.path()).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(check(&[too_much]).contains("the limits of this configuration add up to 300"));
    assert!(!check(&[]).contains("come to"));
}
