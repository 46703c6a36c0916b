//! A server as a process of its own: the real binary, or the floor that it is compared with.

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
/// Ticks of the times in /proc, a second; the same on every Linux of this kind.
const TICKS: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_millis(250);
const QUIET_AT_LATEST: Duration = Duration::from_secs(60);

/// A running server; killed when it is dropped.
pub struct Server {
    child: Child,
    /// Where it takes events.
    pub address: SocketAddr,
    /// The operator's side of a receiver.
    pub admin: SocketAddr,
    /// From its start to the line that says that it takes events.
    pub ready_after: Duration,
    /// When it said so.
    pub ready_at: Instant,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// The real binary, with its default limits, on the journal in this folder and with these handlers. Insight is off:
    /// what it costs is measured by itself.
    pub fn receiver(folder: &Path, handlers: &str) -> Result<Self, Failed> {
        Self::receiver_of(Self::this_build(), folder, handlers)
    }

    /// The binary that this bench was built with.
    pub fn this_build() -> &'static Path {
        BINARY.as_ref()
    }

    /// The same, with another build of the binary.
    pub fn receiver_of(binary: &Path, folder: &Path, handlers: &str) -> Result<Self, Failed> {
        Self::configured(binary, folder, &format!("[insight]\nenabled = false\n\n{handlers}"))
    }

    /// The real binary as it is without a configuration of handlers and of insight.
    pub fn with_insight(folder: &Path) -> Result<Self, Failed> {
        Self::configured(Self::this_build(), folder, "")
    }

    fn configured(binary: &Path, folder: &Path, sections: &str) -> Result<Self, Failed> {
        // Free a moment ago: nothing else on this machine is started meanwhile.
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

    /// A metric without labels, as it stands now.
    pub fn metric(&self, name: &str) -> Result<f64, Failed> {
        let mut stream = std::net::TcpStream::connect(self.admin)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.ok_or_else(|| format!("there is no metric {name}"))?.trim().parse()?)
    }

    /// How many events a handler of this receiver has not been through, in the lane that has most of them.
    pub fn lag(&self, handler: &str) -> Result<u64, Failed> {
        let listed = Command::new(BINARY)
            .args(["handlers", "--json", "--admin", &format!("http://{}", self.admin)])
            .output()?;
        for line in String::from_utf8(listed.stdout)?.lines() {
            let row: serde_json::Value = serde_json::from_str(line)?;
            if row["handler"] == handler {
                let lanes = row["lanes"].as_array().ok_or("a handler without lanes")?;
                return Ok(lanes.iter().filter_map(|lane| lane["lag"].as_u64()).max().unwrap_or_default());
            }
        }
        Err(format!("there is no handler {handler}").into())
    }

    /// Starts a server that says `… is ready: http://ADDRESS/webhook`, and waits until it does.
    pub fn start(command: &mut Command) -> Result<Self, Failed> {
        let began = Instant::now();
        let mut child = command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no output to read")?);
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
        Err(format!("a server ended before it was ready: {}", child.wait()?).into())
    }

    /// Processor time that it has used, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64, Failed> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field, the name, may hold anything: the others come after its bracket.
        let (_, fields) = stat.rsplit_once(") ").ok_or("/proc has another format")?;
        let mut times = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
        match (times.next(), times.next()) {
            (Some(user), Some(system)) => Ok((user? + system?) / TICKS),
            _ => Err("/proc has another format".into()),
        }
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).ok_or("/proc has another format")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Waits until it has nothing left to do, so that what it does late is not charged to whoever comes next; a minute
    /// at most.
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
        // It may have ended by itself; then there is nothing to kill, and that was reported elsewhere.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
