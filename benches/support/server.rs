//! A server in its own process: the real binary, or the floor that it is compared with.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::run::Failed;

const BINARY: &str = env!("CARGO_BIN_EXE_bikhook");
/// Ticks per second of the times in /proc; 100 on every common Linux.
const TICKS: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_millis(250);
const QUIET_AT_LATEST: Duration = Duration::from_secs(60);

/// A running server. It is killed when it is dropped.
pub struct Server {
    child: Child,
    /// The address that receives events.
    pub address: SocketAddr,
    /// The admin address; only of a receiver.
    pub admin: SocketAddr,
    /// The time from its start to its ready line.
    pub ready_after: Duration,
    /// The time of its ready line.
    pub ready_at: Instant,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the real binary with its default limits, on the journal in this folder and with these handlers. Insight is
    /// off, because its cost is measured separately.
    pub fn receiver(folder: &Path, handlers: &str) -> Result<Self, Failed> {
        Self::receiver_of(Self::this_build(), folder, handlers)
    }

    /// The binary that this bench was built with.
    pub fn this_build() -> &'static Path {
        BINARY.as_ref()
    }

    /// Like [`Server::receiver`], with another build of the binary.
    pub fn receiver_of(binary: &Path, folder: &Path, handlers: &str) -> Result<Self, Failed> {
        Self::configured(binary, folder, &format!("[insight]\nenabled = false\n\n{handlers}"))
    }

    /// Starts the real binary with insight and without handlers.
    pub fn with_insight(folder: &Path) -> Result<Self, Failed> {
        Self::configured(Self::this_build(), folder, "")
    }

    fn configured(binary: &Path, folder: &Path, sections: &str) -> Result<Self, Failed> {
        // The port was free just now, and nothing else is started on this machine meanwhile.
        let admin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.join("bikhook.toml");
        let journal = folder.join("journal.db");
        fs::write(
            &config,
            format!(
                "[http]\nlisten = \"127.0.0.1:0\"\n\n[admin]\nlisten = \"{admin}\"\n\n\
                 [sources.bik.credentials.bench]\nusername = \"bik\"\npassword = \"bench\"\n\n\
                 [journal]\npath = {journal:?}\n\n[log]\nlevel = \"warn\"\n\n{sections}"
            ),
        )?;
        let mut started = Self::start(Command::new(binary).arg("--config").arg(config))?;
        started.admin = admin;
        Ok(started)
    }

    /// The current value of a metric without labels.
    pub fn metric(&self, name: &str) -> Result<f64, Failed> {
        let mut stream = std::net::TcpStream::connect(self.admin)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.ok_or_else(|| format!("/metrics has no metric {name}"))?.trim().parse()?)
    }

    /// The lag of a handler in events, in the lane with the largest lag.
    pub fn lag(&self, handler: &str) -> Result<u64, Failed> {
        let listed = Command::new(BINARY)
            .args(["handlers", "--json", "--admin", &format!("http://{}", self.admin)])
            .output()?;
        for line in String::from_utf8(listed.stdout)?.lines() {
            let row: serde_json::Value = serde_json::from_str(line)?;
            if row["handler"] == handler {
                let lanes = row["lanes"].as_array().ok_or("the handler has no lanes")?;
                return Ok(lanes.iter().filter_map(|lane| lane["lag"].as_u64()).max().unwrap_or_default());
            }
        }
        Err(format!("there is no handler {handler}").into())
    }

    /// Starts a server and waits for its ready line, `… is ready: http://ADDRESS/webhook`.
    pub fn start(command: &mut Command) -> Result<Self, Failed> {
        let began = Instant::now();
        let mut child = command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("the server has no standard output")?);
        let mut line = String::new();
        while stdout.read_line(&mut line)? > 0 {
            if let Some((_, url)) = line.split_once("is ready: http://") {
                let address = url.trim_end().trim_end_matches("/webhook").parse()?;
                let ready_after = began.elapsed();
                return Ok(Self {
                    child,
                    address,
                    admin: address,
                    ready_after,
                    ready_at: Instant::now(),
                    _stdout: stdout,
                });
            }
            line.clear();
        }
        Err(format!("the server ended before it was ready: {}", child.wait()?).into())
    }

    /// The CPU time that it has used, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64, Failed> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field, the name in brackets, may contain any character. The other fields follow it.
        let (_, fields) = stat.rsplit_once(") ").ok_or("unexpected format of /proc")?;
        let mut times = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
        match (times.next(), times.next()) {
            (Some(user), Some(system)) => Ok((user? + system?) / TICKS),
            _ => Err("unexpected format of /proc".into()),
        }
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib =
            line.and_then(|rest| rest.trim().strip_suffix(" kB")).ok_or("unexpected format of /proc")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Waits until it uses no CPU, for at most a minute, so that its remaining work does not affect the next measurement.
    pub fn wait_until_idle(&self) -> Result<(), Failed> {
        let began = Instant::now();
        let mut before = self.cpu_seconds()?;
        let mut quiet = 0;
        while quiet < 2 && began.elapsed() < QUIET_AT_LATEST {
            thread::sleep(LOOK_EVERY);
            let now = self.cpu_seconds()?;
            quiet = if now - before > 0.02 { 0 } else { quiet + 1 };
            before = now;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors are ignored: the process may have ended already, which is reported elsewhere.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
