//! The systemd unit: the verdict of systemd's own checks, and a receiver started as the unit starts it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

use super::{Place, USER, seconds, told};
use crate::support::{disk::as_root, receiver::Receiver};

const UNIT: &str = "config/bikhook.service";
const BINARY: &str = "/usr/local/bin/bikhook";

fn unit() -> String {
    fs::read_to_string(UNIT).unwrap()
}

/// The values of a key, in order.
fn values(key: &str) -> Vec<String> {
    let unit = unit();
    let values: Vec<_> = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(str::to_owned)
        .collect();
    assert!(!values.is_empty(), "the unit has no {key}");
    values
}

/// The unit, unchanged except that the binary is that of the tests.
fn installed(place: &Place) -> String {
    let unit = unit().replace(BINARY, env!("CARGO_BIN_EXE_bikhook"));
    let path = place.path("bikhook.service");
    fs::write(&path, unit).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn systemd_finds_the_unit_valid_and_its_exposure_low() {
    let place = Place::new();
    let path = installed(&place);
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no", &path]).output().unwrap();
    let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && complaints.is_empty(), "{complaints}");
    // Of 100. systemd rates values below 20 as "OK", and a service that listens cannot get much lower.
    let security = ["security", "--no-pager", "--offline=true", "--threshold=20", &path];
    told(Command::new("systemd-analyze").args(security).output().unwrap());
}

#[test]
fn a_process_that_dies_leaves_no_memory_behind() {
    assert_eq!(values("LimitCORE"), ["0"]);
    let compose = fs::read_to_string("config/compose.yaml").unwrap();
    assert!(compose.lines().any(|line| line.trim() == "core: 0"), "{compose}");
}

/// A receiver as the unit starts it, with or without a tracer of system calls.
fn start(place: &Place, config: &str, tracer: &[&str]) -> Command {
    let binary = place.path("bikhook");
    let line = values("ExecStart").remove(0);
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some(BINARY));
    let variables = values("Environment").remove(0);
    let (name, installed_at) = variables.split_once('=').unwrap();
    assert_eq!((name, installed_at), ("BIKHOOK_CONFIG", "/etc/bikhook/bikhook.toml"));

    let mut command = as_root("env");
    command.arg("-i").args(["PATH=/usr/bin:/bin", "BIK_KEY=correct-horse"]);
    command.arg(format!("{name}={config}"));
    command.args(["BIKHOOK_HTTP_LISTEN=127.0.0.1:0", "BIKHOOK_ADMIN_LISTEN=127.0.0.1:0"]);
    // Fewer than by default, because not every machine allows the limit of open files that the unit sets.
    command.args(["BIKHOOK_HTTP_CONNECTIONS=100", "setpriv", "--no-new-privs"]);
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    command.args(tracer).arg(binary).args(words).current_dir(place.path(""));
    command
}

/// A folder with the binary and this configuration.
fn place(config: &str) -> (Place, String) {
    let place = Place::new();
    place.copy(Path::new(env!("CARGO_BIN_EXE_bikhook")), "bikhook");
    // The paths of the configuration are relative to the unit's StateDirectory, here data/….
    place.make_private("data");
    let path = place.path("bikhook.toml");
    fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (place, path)
}

#[test]
fn the_unit_allows_every_system_call_and_it_stops_in_time() {
    let (place, config) = place(&fs::read_to_string("config/minimal.toml").unwrap());
    let trace = place.path("data/trace");
    let tracer = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
    let receiver = Receiver::start(
        start(&place, &config, &tracer),
        &place.path("bikhook.log"),
        &place.path("data/journal.db.lock"),
    );
    let said = receiver.said();
    assert!(!said.contains("WARN"), "{said}");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "-H", "Authorization: Basic correct-horse", "--data-binary"]);
    curl.arg("@fixtures/bik/page/incoming-message.json").arg(format!("http://{}/webhook", receiver.http));
    assert!(told(curl.output().unwrap()).contains(r#""accepted":1"#));

    let (status, took) = receiver.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(seconds(&unit(), "TimeoutStopSec=")), "{took:?}");

    let made = calls_made(&told(as_root("cat").arg(&trace).output().unwrap()));
    for expected in ["execve", "accept4", "fdatasync", "pwrite64"] {
        assert!(made.contains(expected), "{expected} was not seen: {made:?}");
    }
    let allowed = calls_allowed();
    let refused: Vec<_> = made.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit forbids {refused:?}");
}

#[test]
fn every_connection_may_be_open_at_once() {
    let connections = u64::try_from(bikhook::http::Settings::default().connections).unwrap();
    let files: u64 = values("LimitNOFILE")[0].parse().unwrap();
    assert!(files >= connections + 256, "{files} files for {connections} connections");
}

#[test]
fn a_wrong_configuration_ends_it_with_the_code_that_is_not_started_again() {
    let (place, config) = place("[http]\nlissen = 1\n");
    let output = start(&place, &config, &[]).output().unwrap();
    let code = output.status.code().unwrap().to_string();
    assert_eq!(values("RestartPreventExitStatus"), [code]);
}

/// The names in a trace: `PID name(…` each.
fn calls_made(trace: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let (_pid, call) = line.split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| name.to_owned())
    };
    trace.lines().filter_map(name).collect()
}

/// The system calls that the unit's filters allow, from systemd's own sets.
fn calls_allowed() -> BTreeSet<String> {
    let listed =
        told(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter"]).output().unwrap());
    let mut sets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in listed.lines() {
        match (line.starts_with('@'), line.trim()) {
            (true, name) => current = name,
            (false, "") => {}
            (false, comment) if comment.starts_with('#') => {}
            (false, member) => sets.entry(current).or_default().push(member),
        }
    }
    let mut allowed = BTreeSet::new();
    for filter in values("SystemCallFilter") {
        let names = filter.trim_start_matches('~').split(' ');
        let named: BTreeSet<String> = names.flat_map(|name| expand(&sets, name)).collect();
        if filter.starts_with('~') {
            allowed.retain(|call| !named.contains(call));
        } else {
            allowed.extend(named);
        }
    }
    // systemd always allows these, regardless of the filters.
    allowed.extend(expand(&sets, "@default"));
    assert!(allowed.len() > 100, "{allowed:?}");
    allowed
}

fn expand(sets: &BTreeMap<&str, Vec<&str>>, name: &str) -> Vec<String> {
    match sets.get(name) {
        Some(members) => members.iter().flat_map(|member| expand(sets, member)).collect(),
        None => vec![name.to_owned()],
    }
}
