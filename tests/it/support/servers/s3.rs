//! An S3 server (moto, which tests/run installs into target/moto), and a proxy before it. The server keeps objects only
//! in memory, so it is not killed: the proxy closes all connections and refuses new ones.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use tempfile::TempDir;

use super::{certificate::Certificate, free_ports, process::ServerProcess};

/// A store with the bucket `bik`. Killed when it is dropped.
pub struct S3 {
    _moto: ServerProcess,
    /// The file of its log.
    _own: TempDir,
    tls: Option<Arc<ClientConfig>>,
    inner: SocketAddr,
    proxy: Proxy,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl S3 {
    /// Starts a server that accepts any credentials.
    pub fn start_new() -> Self {
        Self::start_with(None, None)
    }

    /// Starts a server that accepts any credentials for this many requests, and then only those of its users.
    pub fn start_strict_after(requests: u32) -> Self {
        Self::start_with(Some(requests), None)
    }

    /// Starts a server that accepts only TLS.
    pub fn with_tls(certificate: &Certificate) -> Self {
        Self::start_with(None, Some(certificate))
    }

    fn start_with(strict_after: Option<u32>, certificate: Option<&Certificate>) -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/moto/bin/moto_server");
        assert!(
            program.exists(),
            "{} is missing, which this test needs: tests/run makes it",
            program.display()
        );
        let [inner, outer] = free_ports();
        let mut command = Command::new(program);
        if let Some(requests) = strict_after {
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", requests.to_string());
        }
        if let Some(certificate) = certificate {
            command.arg("-c").arg(certificate.cert()).arg("-k").arg(certificate.key());
        }
        let tls = certificate.map(Certificate::client_config);
        command.args(["-p", &inner.to_string()]);
        let own = TempDir::new().unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let answers = || TcpStream::connect(local(inner)).is_ok();
        let moto = ServerProcess::start(&mut command, own.path(), answers);
        let proxy = Proxy::new(local(outer), local(inner));
        let store = Self { _moto: moto, _own: own, tls, inner: local(inner), proxy };
        assert_eq!(store.ask("PUT", "/bik", "s3", "").status, 200);
        store
    }

    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.proxy.outer)
    }

    pub fn kill(&mut self) {
        self.proxy.cut();
    }

    pub fn start(&mut self) {
        self.proxy.open();
    }

    /// The names of the objects with this prefix, sorted.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let answer = self.ask("GET", &format!("/bik?list-type=2&prefix={prefix}"), "s3", "");
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("<IsTruncated>false<"), "{text}");
        text.split("<Key>").skip(1).map(|rest| rest.split_once("</Key>").unwrap().0.to_owned()).collect()
    }

    pub fn object(&self, name: &str) -> Vec<u8> {
        let answer = self.ask("GET", &format!("/bik/{name}"), "s3", "");
        assert_eq!(answer.status, 200, "{name}");
        answer.body
    }

    /// A user without any permission: id and secret of a key.
    pub fn make_user(&self) -> (String, String) {
        assert_eq!(
            self.ask("POST", "/", "iam", "Action=CreateUser&UserName=u&Version=2010-05-08").status,
            200
        );
        let made = self.ask("POST", "/", "iam", "Action=CreateAccessKey&UserName=u&Version=2010-05-08");
        let text = String::from_utf8(made.body).unwrap();
        let part = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{text}"));
            rest.split_once('<').unwrap().0.to_owned()
        };
        (part("AccessKeyId"), part("SecretAccessKey"))
    }

    /// Sends a request directly, without the proxy. The server finds the service by the signature.
    pub fn ask(&self, method: &str, path: &str, service: &str, body: &str) -> Answer {
        let stream = TcpStream::connect(self.inner).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        match &self.tls {
            Some(tls) => {
                let name = ServerName::from(self.inner.ip());
                let tls = ClientConnection::new(Arc::clone(tls), name).unwrap();
                self.ask_on(StreamOwned::new(tls, stream), method, path, service, body)
            }
            None => self.ask_on(stream, method, path, service, body),
        }
    }

    fn ask_on(
        &self,
        mut stream: impl Read + Write,
        method: &str,
        path: &str,
        service: &str,
        body: &str,
    ) -> Answer {
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {length}\r\n\r\n{body}",
            self.inner
        )
        .unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Python closes TLS without a close_notify.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => panic!("{error}"),
            _ => {}
        }
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        Answer { status, body: answer.split_off(head + 4) }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.proxy.cut();
    }
}

/// Forwards data while it is open.
struct Proxy {
    outer: SocketAddr,
    inner: SocketAddr,
    open: Arc<Mutex<Open>>,
    accepts: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Open {
    ends: bool,
    streams: Vec<TcpStream>,
}

impl Proxy {
    fn new(outer: SocketAddr, inner: SocketAddr) -> Self {
        let mut proxy = Self { outer, inner, open: Arc::default(), accepts: None };
        proxy.open();
        proxy
    }

    fn open(&mut self) {
        let listener = TcpListener::bind(self.outer).unwrap();
        let (open, inner) = (Arc::new(Mutex::new(Open::default())), self.inner);
        self.open = Arc::clone(&open);
        self.accepts = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                let mut open = open.lock().unwrap();
                if open.ends {
                    return;
                }
                open.streams.extend(pass_on(&stream.unwrap(), inner).into_iter().flatten());
            }
        }));
    }

    fn cut(&mut self) {
        let Some(accepts) = self.accepts.take() else { return };
        self.open.lock().unwrap().ends = true;
        // It waits for another connection.
        drop(TcpStream::connect(self.outer));
        accepts.join().unwrap();
        for stream in self.open.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Copies both directions, each on a thread that ends with its connection.
fn pass_on(outer: &TcpStream, inner: SocketAddr) -> io::Result<[TcpStream; 2]> {
    let inner = TcpStream::connect(inner)?;
    for (from, to) in [(outer, &inner), (&inner, outer)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok([outer.try_clone()?, inner])
}
