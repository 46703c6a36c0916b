//! An open loop of requests: each is due at a fixed time, and its latency counts from that time. A closed loop sends fewer
//! requests while the server stalls, and so hides the stall.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    events::{AUTHORIZATION, ID_DIGITS, STATUS},
    latency::{Latencies, micros},
    run::Failed,
};

/// The requests to send.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The address of the server.
    pub address: SocketAddr,
    /// Requests per second, with one event each.
    pub rate: u32,
    /// How long to send.
    pub duration: Duration,
    /// Number of connections. They take the requests in turn, and each waits for an answer before its next request.
    pub connections: u32,
    /// The same as [`super::wrk::Load::run`].
    pub run: u32,
}

/// The results.
pub struct Outcome {
    /// From the due time of a request to its answer.
    pub latencies: Latencies,
    /// From the due time of a request to its sending, if its connection was free. This delay of the generator is part of
    /// the latency.
    pub own: Latencies,
    /// Answers other than 200.
    pub refused: u64,
    /// From the first due time to the last answer.
    pub took: Duration,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<u32>,
    own: Vec<u32>,
    refused: u64,
}

impl Plan {
    /// Sends all requests, on this thread.
    pub fn run(self) -> Result<Outcome, Failed> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.send())
    }

    async fn send(self) -> Result<Outcome, Failed> {
        let mut streams = Vec::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now() + Duration::from_millis(100);
        let plan = Arc::new(self);
        let mut connections = JoinSet::new();
        for (index, stream) in (0..).zip(streams) {
            connections.spawn(connection(stream, Arc::clone(&plan), index, start));
        }
        let mut all = Tally::default();
        while let Some(ended) = connections.join_next().await {
            let one = ended??;
            all.latencies.extend(one.latencies);
            all.own.extend(one.own);
            all.refused += one.refused;
        }
        Ok(Outcome {
            latencies: Latencies::new(all.latencies),
            own: Latencies::new(all.own),
            refused: all.refused,
            took: start.elapsed(),
        })
    }

    fn due(&self, start: Instant, request: u64) -> Instant {
        start + Duration::from_nanos(request * 1_000_000_000 / u64::from(self.rate))
    }
}

/// Sends all requests of one connection.
async fn connection(
    mut stream: TcpStream,
    plan: Arc<Plan>,
    index: u32,
    start: Instant,
) -> std::io::Result<Tally> {
    let mut tally = Tally::default();
    let requests = u64::from(plan.rate) * plan.duration.as_secs();
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    let mut free_since = start;
    for number in (u64::from(index)..requests).step_by(plan.connections as usize) {
        write_request(&mut request, plan.run, number)?;
        let due = plan.due(start, number);
        sleep_until(due).await;
        if free_since <= due {
            tally.own.push(micros(due.elapsed()));
        }
        stream.write_all(&request).await?;
        let status = read_answer(&mut stream, &mut answer).await?;
        free_since = Instant::now();
        tally.latencies.push(micros(free_since - due));
        tally.refused += u64::from(status != b"200");
    }
    Ok(tally)
}

fn write_request(request: &mut Vec<u8>, run: u32, number: u64) -> std::io::Result<()> {
    let [head, middle, tail] = STATUS;
    let length = 2 + head.len() + middle.len() + tail.len() + 2 * ID_DIGITS;
    let id = format!("{run:04}{number:012}");
    request.clear();
    write!(
        request,
        "POST /webhook HTTP/1.1\r\nHost: bench\r\nAuthorization: {AUTHORIZATION}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n[{head}{id}{middle}{id}{tail}]"
    )
}

/// Reads one complete answer and returns the three digits of its status.
async fn read_answer<'a>(stream: &mut TcpStream, answer: &'a mut Vec<u8>) -> std::io::Result<&'a [u8]> {
    answer.clear();
    while !is_whole(answer)? {
        if stream.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(answer.get(9..12).unwrap_or_default())
}

fn is_whole(answer: &[u8]) -> std::io::Result<bool> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => Ok(answer.len() >= end + 4 + length),
        None => Err(std::io::Error::other("the answer has no Content-Length")),
    }
}
