//! A web server whose answers a test sets: any status, late, partial, or none; with or without TLS.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A complete request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// The names are in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// The answer to a request.
pub enum Answer {
    /// A status, further header lines, a body.
    Status(u16, &'static str, String),
    /// Closes the connection without an answer.
    Close,
    /// Sends nothing until the server is killed.
    Hang,
    /// A head with a length, but without the body.
    HeadOnly(u16),
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Status(status, "", String::new())
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// The server. A kill does not delete the received requests. An OPTIONS request gets 204 and is not counted.
pub struct Web {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<Running>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

struct Shared {
    script: Box<Script>,
    came: Mutex<Vec<Request>>,
    connections: AtomicUsize,
}

struct Running {
    over: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    accepts: JoinHandle<()>,
}

impl Web {
    pub fn new(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(None, script)
    }

    /// With TLS, from a rustls configuration.
    pub fn with(
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = super::listen();
        let address = listener.local_addr().unwrap();
        let shared =
            Shared { script: Box::new(script), came: Mutex::default(), connections: AtomicUsize::new(0) };
        let mut web = Self { address, shared: Arc::new(shared), running: None, tls };
        web.run(listener);
        web
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests to a path, in order of arrival.
    pub fn came(&self, path: &str) -> Vec<Request> {
        self.shared.came.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Stops it: closes every connection and the listener.
    pub fn kill(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.over.store(true, Ordering::SeqCst);
        // It waits for a connection, and this one wakes it.
        let _ = TcpStream::connect(self.address);
        running.accepts.join().unwrap();
        for stream in running.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Starts it again at the same address.
    pub fn start(&mut self) {
        self.run(TcpListener::bind(self.address).unwrap());
    }

    fn run(&mut self, listener: TcpListener) {
        let over = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (is_over, opened, shared, tls) =
            (Arc::clone(&over), Arc::clone(&open), Arc::clone(&self.shared), self.tls.clone());
        let accepts = thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                opened.lock().unwrap().push(stream.try_clone().unwrap());
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (is_over, shared, tls) = (Arc::clone(&is_over), Arc::clone(&shared), tls.clone());
                let cut = stream.try_clone().unwrap();
                thread::spawn(move || {
                    match tls {
                        Some(tls) => {
                            let tls = rustls::ServerConnection::new(tls).unwrap();
                            serve(rustls::StreamOwned::new(tls, stream), &shared, &is_over);
                        }
                        None => serve(stream, &shared, &is_over),
                    }
                    // A clone of it is kept, so that dropping it closes nothing.
                    let _ = cut.shutdown(Shutdown::Both);
                });
            }
        });
        self.running = Some(Running { over, open, accepts });
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(stream: impl Read + Write, shared: &Shared, is_over: &AtomicBool) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        let answer = if request.method == "OPTIONS" {
            Answer::status(204)
        } else {
            let answer = (shared.script)(&request);
            if !matches!(answer, Answer::Status(status @ 400.., ..) if status != 410) {
                shared.came.lock().unwrap().push(request);
            }
            answer
        };
        let text = match answer {
            Answer::Status(204, ..) => "HTTP/1.1 204 Nothing\r\n\r\n".to_owned(),
            Answer::Status(status, headers, body) => {
                let length = body.len();
                format!("HTTP/1.1 {status} Told\r\n{headers}content-length: {length}\r\n\r\n{body}")
            }
            Answer::Close => return,
            Answer::Hang => {
                while !is_over.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                return;
            }
            Answer::HeadOnly(status) => format!("HTTP/1.1 {status} Told\r\ncontent-length: 9\r\n\r\n"),
        };
        if stream.get_mut().write_all(text.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8(body).unwrap() })
}
