//! The client of a running receiver's admin side.

use std::{
    ffi::OsString,
    io::Write,
    iter::successors,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::{RequestBuilder, Response, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use super::{
    Cli, Error,
    auth::reachable,
    output::{lines, parse, plain, stdout},
    settings::variable,
};
use crate::{admin::wire::Status, secret::Secret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The read timeout. The answer to a long change, such as retrying all dead letters of a handler, comes only when the
/// change is done.
const READ_TIMEOUT: Duration = Duration::from_secs(600);
/// The read timeout of a supervisor's health check.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of an answer, and of a line in a stream. With the default `http.body_limit`, no page of the API
/// and no event comes near this size.
pub(super) const ANSWER_BYTES: usize = 64 << 20;

/// The address of the admin side, and the credentials for it.
#[derive(clap::Args)]
pub(super) struct AdminArgs {
    /// URL of a running receiver's admin side; if absent, BIKHOOK_ADMIN, else the address in the configuration, by
    /// default http://127.0.0.1:8081
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Username for the admin side, with the password in BIKHOOK_ADMIN_PASSWORD; if absent, BIKHOOK_ADMIN_USER, else
    /// the credentials in the configuration
    #[arg(long, value_name = "NAME")]
    admin_user: Option<String>,
}

impl AdminArgs {
    /// A client configured by these arguments, else the environment, else the configuration.
    pub(super) fn client(&self, cli: &Cli) -> Result<Client, Error> {
        self.client_with_timeout(cli, READ_TIMEOUT)
    }

    /// The same as [`Self::client`], with this read timeout.
    pub(super) fn client_with_timeout(&self, cli: &Cli, read_timeout: Duration) -> Result<Client, Error> {
        let password = text_variable("BIKHOOK_ADMIN_PASSWORD")?;
        let user = argument_or_variable(&self.admin_user, "BIKHOOK_ADMIN_USER")?;
        let credentials = match (user, password) {
            (Some(user), Some(password)) => Some((user, Secret::new(password))),
            (Some(_), None) => {
                let what = "--admin-user or BIKHOOK_ADMIN_USER needs its password in BIKHOOK_ADMIN_PASSWORD";
                return Err(Error::Failed(what.to_owned()));
            }
            (None, _) => None,
        };
        let url = argument_or_variable(&self.admin, "BIKHOOK_ADMIN")?;
        let url = url.map(|url| parse_url(&url, ADMIN_EXAMPLE)).transpose()?;
        if let (Some(url), Some(_)) = (&url, &credentials) {
            return Client::new(url.clone(), credentials, read_timeout);
        }
        let admin = cli.load_admin()?;
        let configured = admin.credentials.map(|one| (one.username, one.password));
        if let (Some(url), None, Some(_)) = (&url, &credentials, &configured) {
            let instead = "give --admin-user, with its password in BIKHOOK_ADMIN_PASSWORD";
            check_not_exposed(url, admin.listen, instead)?;
        }
        let url = url.map_or_else(|| url_of(admin.listen), Ok)?;
        Client::new(url, credentials.or(configured), read_timeout)
    }

    /// The health of the receiver, if it is alive. This request needs no credentials and is answered quickly.
    pub(super) fn health(&self, cli: &Cli) -> Result<Box<RawValue>, Error> {
        let url = match argument_or_variable(&self.admin, "BIKHOOK_ADMIN")? {
            Some(url) => parse_url(&url, ADMIN_EXAMPLE)?,
            None => url_of(cli.load_admin()?.listen)?,
        };
        let client = Client::new(url, None, PROBE_TIMEOUT)?;
        client.parse(&client.send(client.http.get(client.at(&["healthz"])))?)
    }
}

/// The options of a command that reads or changes something in a running receiver and prints one result.
#[derive(clap::Args)]
pub(super) struct RequestArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) admin: AdminArgs,
}

impl RequestArgs {
    /// Sends a JSON `POST` and prints its answer.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        cli: &Cli,
        path: &[&str],
        body: &impl Serialize,
        words: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        self.print(self.admin.client(cli)?.post(path, body)?, words)
    }

    /// Prints an answer as JSON, or as the text that `words` returns.
    pub(super) fn print<T: DeserializeOwned>(
        &self,
        answer: Box<RawValue>,
        words: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        let out = &mut stdout();
        if self.json {
            return lines(out, &[answer]);
        }
        writeln!(out, "{}", words(parse(&answer)?))?;
        Ok(out.flush()?)
    }
}

fn url_of(listen: SocketAddr) -> Result<Url, Error> {
    parse_url(&format!("http://{}", reachable(listen)), ADMIN_EXAMPLE)
}

/// Checks that others cannot read the credentials on the way to `url`. The credentials are configured for the receiver
/// at `listen`. Returns an error for plain HTTP to an address that is neither loopback nor `listen`. `instead` is the
/// part of the error that says how to give credentials for that URL.
pub(super) fn check_not_exposed(url: &Url, listen: SocketAddr, instead: &str) -> Result<(), Error> {
    let host = url.host_str().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let port = url.port_or_known_default();
    let is_own = |ip| port.is_some_and(|port| SocketAddr::new(ip, port) == reachable(listen));
    if url.scheme() == "https" || host == "localhost" || ip.is_some_and(|ip| ip.is_loopback() || is_own(ip)) {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "the configured credentials are not sent to {url} over plain HTTP: write https://, or {instead}"
    )))
}

/// The value of an argument, else of an environment variable.
fn argument_or_variable(argument: &Option<String>, name: &str) -> Result<Option<String>, Error> {
    argument.clone().map_or_else(|| text_variable(name), |text| Ok(Some(text)))
}

pub(super) fn text_variable(name: &str) -> Result<Option<String>, Error> {
    let text = variable(name).map(OsString::into_string).transpose();
    text.map_err(|_not_utf8| Error::Failed(format!("the environment variable {name} is not valid UTF-8")))
}

/// A parameter of a `GET`: its name and its value.
pub(super) type Parameter = (&'static str, String);

/// A blocking client of the admin side.
pub(super) struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    base: Url,
    credentials: Option<(String, Secret)>,
    /// True if the command that uses this client has `--journal`. An error about an unreachable receiver then suggests
    /// `--journal`.
    or_journal: bool,
}

impl Client {
    fn new(base: Url, credentials: Option<(String, Secret)>, read_timeout: Duration) -> Result<Self, Error> {
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(read_timeout);
        let http = build_client(builder, &base)?;
        let runtime = runtime(&mut tokio::runtime::Builder::new_current_thread())?;
        Ok(Self { runtime, http, base, credentials, or_journal: false })
    }

    /// The same client, for a command that can read the journal of a stopped receiver with `--journal`.
    pub(super) fn or_journal(self) -> Self {
        Self { or_journal: true, ..self }
    }

    /// Sends a `GET` to a path of the API, and parses the JSON answer.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[Parameter]) -> Result<T, Error> {
        self.parse(&self.get_bytes(path, query)?)
    }

    /// The highest durable seq, or 0 if no event was ever stored.
    pub(super) fn tip(&self) -> Result<u64, Error> {
        Ok(self.get::<Status>(&["status"], &[])?.tip)
    }

    /// Sends a `GET` and returns the body.
    pub(super) fn get_bytes(&self, path: &[&str], query: &[Parameter]) -> Result<Vec<u8>, Error> {
        self.send(self.get_request(path, query))
    }

    /// Sends a `GET` and returns the response as a stream.
    pub(super) async fn open(&self, path: &[&str], query: &[Parameter]) -> Result<Response, StreamError> {
        let response = self.authenticated(self.get_request(path, query)).send().await;
        let response = response.map_err(|error| StreamError::Unavailable(self.unreachable(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let kind = if status.is_server_error() { StreamError::Unavailable } else { StreamError::Rejected };
        Err(kind(self.refused(status, &self.read(response).await.unwrap_or_default())))
    }

    /// Runs a future on the client's runtime, for commands that use [`Self::open`].
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn get_request(&self, path: &[&str], query: &[Parameter]) -> RequestBuilder {
        let mut url = self.api(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.get(url)
    }

    /// Sends a JSON `POST` to a path of the API, and parses the JSON answer.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Error> {
        self.parse(&self.send(self.http.post(self.api(path)).json(body))?)
    }

    fn api(&self, path: &[&str]) -> Url {
        self.at(&[&["api", "v1"][..], path].concat())
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Every http URL has path segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn authenticated(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Some((user, password)) => request.basic_auth(user, Some(password.expose())),
            None => request,
        }
    }

    fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let request = self.authenticated(request);
        self.runtime.block_on(async {
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            let status = response.status();
            let body = self.read(response).await?;
            if status.is_success() { Ok(body) } else { Err(self.refused(status, &body)) }
        })
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(self.too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| {
            Error::Failed(format!(
                "cannot read the answer of {}: {error}: is it a bikhook of this version?",
                self.base
            ))
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let base = &self.base;
        if error.is_connect() {
            let why = cause(error);
            let journal =
                if self.or_journal { " If it is stopped, read its journal with --journal FILE." } else { "" };
            return Error::Failed(format!(
                "cannot reach the admin side at {base} ({why}): is bikhook running?{journal} If it has another \
                 address, give --config FILE or --admin URL"
            ));
        }
        Error::Failed(format!("no complete answer from the admin side at {base}: {}", cause(error)))
    }

    fn too_large(&self) -> Error {
        Error::Failed(format!(
            "the answer of {} is larger than {} MiB, the limit of this command: narrow the selection, for example \
             with a smaller --limit or a shorter period, or fetch it with another client such as curl",
            self.base,
            ANSWER_BYTES >> 20
        ))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let detail = detail(body).unwrap_or_else(|| excerpt(body));
        let help = if status == StatusCode::UNAUTHORIZED {
            ": give --admin-user and BIKHOOK_ADMIN_PASSWORD, or the --config of the receiver"
        } else {
            ""
        };
        Error::Failed(format!("{detail}{help} ({} answered {})", self.base, status.as_u16()))
    }
}

/// Why a stream could not be opened.
pub(super) enum StreamError {
    /// The receiver is unreachable, or its answer is a server error (5xx). A retry may succeed.
    Unavailable(Error),
    /// The receiver rejects the request. A retry does not help.
    Rejected(Error),
}

/// An example URL of an admin side.
const ADMIN_EXAMPLE: &str = "http://127.0.0.1:8081";

/// Parses an HTTP URL; an error shows `example`. A URL with a user or password is rejected, because all users of this
/// machine can see the arguments of a process. The error does not quote such a URL.
pub(super) fn parse_url(text: &str, example: &str) -> Result<Url, Error> {
    let failed = |what: String| Err(Error::Failed(what));
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            failed(format!("a URL with a user or a password is not accepted: write it as {example}"))
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ if text.contains('@') => failed(format!("this is not an HTTP URL: write it as {example}")),
        _ => failed(format!("{text:?} is not an HTTP URL: write it as {example}")),
    }
}

/// Builds a client for a URL. It follows no redirects and uses no proxy.
pub(super) fn build_client(builder: reqwest::ClientBuilder, url: &Url) -> Result<reqwest::Client, Error> {
    let builder = builder.redirect(redirect::Policy::none()).no_proxy();
    // Plain HTTP needs no certificates. Without `tls_certs_only`, `build` fails in a small container that has none.
    let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
    builder.build().map_err(|error| Error::Failed(format!("cannot create an HTTP client: {}", cause(&error))))
}

/// Builds the runtime for a client.
pub(super) fn runtime(builder: &mut tokio::runtime::Builder) -> Result<Runtime, Error> {
    let built = builder.enable_all().build();
    built.map_err(|error| Error::Failed(format!("cannot start the async runtime: {error}")))
}

/// The text of the innermost cause of an error, such as `Connection refused`. The errors around the innermost cause add
/// no detail.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let innermost = successors(Some(error), |error| error.source()).last();
    innermost.unwrap_or(error).to_string()
}

/// The `detail` of a problem document (RFC 9457).
pub(super) fn detail(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ProblemDetail {
        detail: String,
    }
    serde_json::from_slice::<ProblemDetail>(body).ok().map(|problem| problem.detail)
}

/// The beginning of an answer that is not a problem document.
fn excerpt(body: &[u8]) -> String {
    plain(&String::from_utf8_lossy(&body[..body.len().min(200)]))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// The result of a `GET` that is answered with a body of this size.
    fn get(bytes: usize) -> Result<usize, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The request ends with an empty line.
            BufReader::new(&stream).lines().find(|line| line.as_ref().unwrap().is_empty());
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").unwrap();
            // This fails if the body is too large, because the client then closes the connection.
            let _ = stream.write_all(&vec![b'0'; bytes]);
        });
        let client = Client::new(parse_url(&url, ADMIN_EXAMPLE).unwrap(), None, READ_TIMEOUT).unwrap();
        let answer = client.get_bytes(&[], &[]);
        drop(client);
        server.join().unwrap();
        answer.map(|body| body.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_beyond_the_limit_is_an_error_and_not_cut() {
        assert_eq!(get(ANSWER_BYTES), Ok(ANSWER_BYTES));
        let error = get(ANSWER_BYTES + 1).unwrap_err();
        assert!(error.contains("larger than 64 MiB") && error.contains("narrow the selection"), "{error}");
    }

    #[test]
    fn configured_credentials_go_only_over_tls_to_loopback_or_home() {
        let listen = "10.1.2.3:8081".parse().unwrap();
        for (url, goes) in [
            ("http://127.0.0.1:9", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:9/x", true),
            ("http://localhost:9", true),
            ("https://bikhook.example", true),
            ("http://10.1.2.3:8081", true),
            ("http://10.1.2.3:8082", false),
            ("http://10.1.2.4:8081", false),
            ("http://localhost.example:8081", false),
            ("http://127.0.0.1.example", false),
            ("http://[::2]:8081", false),
        ] {
            let kept = check_not_exposed(&parse_url(url, ADMIN_EXAMPLE).unwrap(), listen, "ask");
            assert_eq!(kept.is_ok(), goes, "{url}");
            if let Err(error) = kept {
                assert!(error.to_string().contains("write https://, or ask"), "{error}");
            }
        }
        let everywhere = "0.0.0.0:8081".parse().unwrap();
        assert!(check_not_exposed(&parse_url("http://10.1.2.3:8081", "").unwrap(), everywhere, "").is_err());
    }

    #[test]
    fn a_url_with_a_password_in_it_is_refused_and_not_quoted() {
        for url in ["http://u:hunter2@127.0.0.1", "https://hunter2@h", "htp://u:hunter2@h", "u:hunter2@h"] {
            let error = parse_url(url, ADMIN_EXAMPLE).unwrap_err().to_string();
            assert!(error.contains(ADMIN_EXAMPLE) && !error.contains("hunter2"), "{error}");
        }
    }
}
