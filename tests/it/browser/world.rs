//! A receiver with traffic, for the tests of its pages.

use std::{net::SocketAddr, process::Command};

use serde_json::Value;

use crate::support::{
    client::KEY,
    events::{incoming, status},
    home::{Home, Process, eventually},
};

/// The phone of the events that the test world makes.
pub const PHONE: &str = "+910000000000";

/// A handler whose destination is unreachable.
const AWAY: &str = "[handlers.away]\nkind = \"http\"\nurl = \"http://127.0.0.1:9/nobody-listens\"\n";

/// A handler that refuses some messages of customers. The shell text `unless` comes before the check, and may skip it.
pub fn refusing(unless: &str) -> String {
    let script = "text=$(cat); UNLESS case $text in *my\\ order*) echo no such order >&2; exit 65;; esac";
    let script = script.replace("UNLESS", unless);
    format!(
        "[handlers.refuses]\nkind = \"exec\"\nevents = [\"incoming-message\"]\ncommand = [\"sh\", \"-c\", '{script}']\n"
    )
}

/// A running receiver.
pub struct World {
    pub admin: SocketAddr,
    process: Process,
    _home: Home,
}

impl World {
    pub fn new() -> Self {
        Self::with(&format!("{AWAY}{}", refusing("")))
    }

    /// With handlers of the test's own, besides `audit`.
    pub fn with(handlers: &str) -> Self {
        let mut home = Home::new();
        home.more = handlers.to_owned();
        let process = home.start();
        Self { admin: process.admin(), process, _home: home }
    }

    /// Posts events in one body.
    #[track_caller]
    pub fn post<S: AsRef<str>>(&self, events: &[S]) {
        let events: Vec<&str> = events.iter().map(AsRef::as_ref).collect();
        let answer = self.process.connect().post(&format!("[{}]", events.join(","))).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Events of many customers, and some of a known customer; an unreadable body; events that a handler refuses.
    pub fn campaign(&self) {
        let sent = Command::new(env!("CARGO_BIN_EXE_bikhook"))
            .args(["send", "--generate", "90", "--batch", "15", "--seed", "7"])
            .args(["--disorder", "5%", "--garbage", "5%", "--duplicates", "2%"])
            .args(["--url", &self.webhook()])
            .env("BIKHOOK_SEND_KEY", KEY)
            .output()
            .unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        self.post(&[incoming("known-1", "wamid.known1"), status("known-2", "wamid.known2", "failed")]);
        self.learnt();
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The address to which events are posted.
    pub fn webhook(&self) -> String {
        format!("http://{}/webhook", self.process.address())
    }

    /// Waits until insight has read everything that is stored.
    pub fn learnt(&self) {
        eventually("insight does not catch up", || self.ask("/api/v1/insight")["lag"] == 0);
    }

    /// The answer of the API.
    pub fn ask(&self, path: &str) -> Value {
        let answer = self.process.operator().get(path).expect("an answer");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {answer:?}"))
    }
}
