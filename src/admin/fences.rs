//! The checks of admin requests. `Host` is checked, and credentials if any are configured. If the request changes
//! something, `Origin` and the content type are checked as well.
//!
//! Requests that read `/healthz` or `/readyz` pass without these checks, because supervisors and load balancers have no
//! credentials and choose the `Host` themselves. A foreign page that reads these paths learns nothing but the health.
//!
//! A foreign page that is open in an operator's browser can send requests to the admin side in two ways. The first is
//! DNS rebinding: the page makes its own host name resolve to loopback. The `Host` check rejects such a name. It
//! accepts loopback addresses, because DNS cannot rebind an IP address. The second is a cross-origin request. The
//! `Origin` check rejects it. The content type is checked as well. Except for forms, it must be JSON, which a browser
//! does not send to another origin without a CORS preflight.
//!
//! The forms of the admin page are not JSON. So the browser must say that a form comes from the same origin, and the
//! form must have a valid CSRF token (`page::form`).

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{
            AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE,
            X_CONTENT_TYPE_OPTIONS,
        },
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Settings;
use crate::http::{AuthFailures, LogLimiter, Peer, Problem, TooManyFailures};

/// Paths that pass with any `Host` and without credentials, for supervisors and load balancers.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// The content type of an HTML form.
const FORM: &str = "application/x-www-form-urlencoded";

/// The checks, as configured.
pub(super) struct Fences {
    listen: IpAddr,
    hosts: Vec<String>,
    /// SHA-256 of `user:password`. A digest has a fixed length, so a comparison does not reveal the password's length.
    credentials: Option<[u8; 32]>,
    failures: AuthFailures,
    log: LogLimiter,
}

/// Failed authentications per minute from one address; above this limit, the answer to a failure is 429 and delayed.
/// People who mistype stay below the limit; scripts that guess do not.
const FAILURES_PER_MINUTE: u32 = 60;

/// The check that rejected a request.
#[derive(Debug, thiserror::Error)]
enum FenceRefusal {
    #[error("the Host header is missing, repeated or invalid: send exactly one")]
    NoHost,
    #[error("this Host is not accepted: use the listen address or localhost, or add the name to admin.hosts")]
    Host,
    #[error("the credentials of [admin] are missing or wrong")]
    Credentials,
    #[error("too many requests without valid credentials")]
    TooManyFailures(TooManyFailures),
    #[error("a request that changes something must not come from a page of another origin")]
    Origin,
    #[error("a request that changes something must have Content-Type: application/json")]
    ContentType,
}

/// The middleware that applies the checks and sets the security headers.
pub(super) async fn pass(State(fences): State<Arc<Fences>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let mut response = match fences.judge(&request) {
        Ok(()) => {
            if let Some(peer) = peer.filter(|_| !is_open(&request)) {
                peer.authenticated();
            }
            next.run(request).await
        }
        Err(refusal) => {
            let peer = peer.map(|peer| peer.address().ip());
            fences.log_refusal(&refusal, peer);
            fences.delay(refusal, peer).await.answer()
        }
    };
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Fences {
    pub(super) fn new(settings: &Settings) -> Self {
        let digest =
            |pair: &super::Credentials| sha256(&format!("{}:{}", pair.username, pair.password.expose()));
        Self {
            listen: settings.listen.ip(),
            hosts: settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            credentials: settings.credentials.as_ref().map(digest),
            failures: AuthFailures::new(FAILURES_PER_MINUTE),
            log: LogLimiter::default(),
        }
    }

    fn log_refusal(&self, refusal: &FenceRefusal, peer: Option<IpAddr>) {
        if let Some(more_before) = self.log.allow() {
            tracing::info!(why = %refusal, peer = peer.map(display), more_before, "admin request refused");
        }
    }

    /// Counts the refusal if it is a failed authentication. Returns it, or [`FenceRefusal::TooManyFailures`] if the
    /// address now has too many failures. In that case, waits a second first, unless too many answers wait already.
    async fn delay(&self, refusal: FenceRefusal, peer: Option<IpAddr>) -> FenceRefusal {
        let (FenceRefusal::Credentials, Some(peer)) = (&refusal, peer) else { return refusal };
        match self.failures.count(peer).await {
            Ok(()) => refusal,
            Err(too_many) => FenceRefusal::TooManyFailures(too_many),
        }
    }

    fn judge(&self, request: &Request) -> Result<(), FenceRefusal> {
        if is_open(request) {
            return Ok(());
        }
        let headers = request.headers();
        let host = host(headers, request.uri())?;
        if !self.serves(&host) {
            return Err(FenceRefusal::Host);
        }
        if !self.knows(headers) {
            return Err(FenceRefusal::Credentials);
        }
        if request.method().is_safe() {
            return Ok(());
        }
        if !same_origin(headers, &host) {
            return Err(FenceRefusal::Origin);
        }
        let of_the_page = !request.uri().path().starts_with("/api/");
        match content_type(headers) {
            Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
            Some(kind) if of_the_page && kind.eq_ignore_ascii_case(FORM) => {
                says_same_origin(headers).then_some(()).ok_or(FenceRefusal::Origin)
            }
            _ => Err(FenceRefusal::ContentType),
        }
    }

    fn serves(&self, host: &Authority) -> bool {
        let name = host.host().to_ascii_lowercase();
        let configured =
            || self.hosts.iter().any(|one| *one == name || *one == host.as_str().to_ascii_lowercase());
        match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || self.listen.is_unspecified() || ip == self.listen || configured(),
            Err(_) => name == "localhost" || configured(),
        }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = &self.credentials else { return true };
        let given = basic(headers).map(|pair| sha256(&pair)).unwrap_or_default();
        expected.ct_eq(&given).into()
    }
}

impl FenceRefusal {
    fn answer(&self) -> Response {
        let status = match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Credentials => StatusCode::UNAUTHORIZED,
            Self::TooManyFailures(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        let problem = Problem::new(status, self.to_string());
        match self {
            Self::Credentials => {
                problem.header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"bikhook admin\""))
            }
            Self::TooManyFailures(too_many) => too_many.explain(problem),
            _ => problem,
        }
        .into_response(None)
    }
}

/// Returns whether a request reads the health and therefore passes without any check.
fn is_open(request: &Request) -> bool {
    request.method().is_safe() && OPEN.contains(&request.uri().path())
}

/// The requested host: the authority of an absolute URL overrides the `Host` header (RFC 9112, section 3.2.2).
fn host(headers: &HeaderMap, uri: &Uri) -> Result<Authority, FenceRefusal> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    let mut all = headers.get_all(HOST).iter();
    let (Some(host), None) = (all.next(), all.next()) else { return Err(FenceRefusal::NoHost) };
    Authority::try_from(host.as_bytes()).map_err(|_invalid| FenceRefusal::NoHost)
}

/// Returns whether `Origin` matches the host. A request without `Origin` passes, because clients other than browsers
/// send none.
fn same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")))
            .is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str())),
        _ => false,
    }
}

/// Returns whether the browser says that a form comes from the same origin. Supported browsers send `Sec-Fetch-Site`,
/// `Origin`, or both. The caller has already checked the value of `Origin`.
fn says_same_origin(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => headers.contains_key(ORIGIN),
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}

/// The decoded `user:password` of `Authorization: Basic …` (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    scheme.eq_ignore_ascii_case("basic").then(|| String::from_utf8(decoded).ok())?
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(listen: &str, hosts: &[&str], host: &str) -> bool {
        let settings = Settings {
            listen: listen.parse().unwrap(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            credentials: None,
        };
        Fences::new(&settings).serves(&host.parse().unwrap())
    }

    #[test]
    fn a_host_that_cannot_be_rebound_is_served() {
        for host in ["127.0.0.1:8081", "127.0.0.1", "localhost:9", "LocalHost", "[::1]:8081"] {
            assert!(serves("127.0.0.1:8081", &[], host), "{host}");
        }
        for host in ["evil.example:8081", "127.0.0.1.evil.example", "10.0.0.1:8081", "localhost.evil.example"]
        {
            assert!(!serves("127.0.0.1:8081", &[], host), "{host}");
        }
        assert!(serves("10.0.0.1:8081", &[], "10.0.0.1:8081"));
        assert!(serves("0.0.0.0:8081", &[], "172.17.0.2:8081"), "any address of this machine");
        assert!(!serves("0.0.0.0:8081", &[], "bikhook:8081"));
        assert!(serves("0.0.0.0:8081", &["Bikhook"], "bikhook:8081"));
        assert!(serves("0.0.0.0:8081", &["bikhook:8081"], "bikhook:8081"));
    }

    #[test]
    fn an_origin_is_the_same_only_with_the_same_host_and_port() {
        let host = Authority::from_static("localhost:8081");
        for (origin, same) in [
            ("http://localhost:8081", true),
            ("https://LOCALHOST:8081", true),
            ("http://localhost:8082", false),
            ("http://localhost", false),
            ("null", false),
            ("http://evil.example", false),
        ] {
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))]);
            assert_eq!(same_origin(&headers, &host), same, "{origin}");
        }
    }
}
