//! Makes the HTTP client, and classifies its errors.

use std::{collections::BTreeMap, error::Error, io, iter, path::Path, sync::Arc, time::Duration};

use reqwest::{
    Certificate, Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use rustls::pki_types::CertificateDer;

use super::address::{FORBIDDEN, Resolver};
use crate::{
    handler::{About, Failure, FailureText, ca::Ca, tls},
    secret::Secret,
    settings::Wrong,
};

/// Headers that the handler or the HTTP connection sets.
const RESERVED: [&str; 7] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    "expect",
];
const RESERVED_PREFIXES: [&str; 3] = ["webhook-", "bikhook-", "ce-"];

/// Makes the handler's HTTP clients. The current client is replaced from time to time.
pub(super) struct Maker {
    /// Certificates that are trusted in addition to those of the system.
    certificates: Option<Vec<Certificate>>,
    /// True if the URL begins with `http://`. TLS is then never used.
    plain: bool,
}

impl Maker {
    /// Prepares clients for a URL. `ca` is a file with certificates to trust in addition to those of the system.
    ///
    /// # Errors
    /// Returns what is wrong with the file.
    pub(super) async fn of(url: &Url, ca: Option<&Path>) -> Result<Self, String> {
        let certificates = match ca {
            Some(file) => Some(certificates(file).await?),
            None => None,
        };
        Ok(Self { certificates, plain: url.scheme() == "http" })
    }

    /// Makes a client.
    ///
    /// # Errors
    /// Returns why the client cannot be made, such as missing system certificates.
    pub(super) fn make(&self) -> Result<Client, String> {
        let builder = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .tcp_keepalive(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_secs(60))
            .user_agent(concat!("bikhook/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Resolver));
        let builder = match &self.certificates {
            Some(certificates) => builder.tls_certs_merge(certificates.iter().cloned()),
            // Without TLS no certificates are needed, and those of the system may be missing.
            None if self.plain => builder.tls_certs_only([]),
            None => builder,
        };
        builder.build().map_err(|error| {
            let story = FailureText::with_causes(&error).whole();
            format!("{story}: check that the system's certificates are installed (ca-certificates)")
        })
    }
}

async fn certificates(file: &Path) -> Result<Vec<Certificate>, String> {
    let ca = Ca::read(file).await?;
    let certificate = |der: &CertificateDer<'_>| {
        Certificate::from_der(der).map_err(|error| FailureText::with_causes(&error).whole())
    };
    ca.certificates().iter().map(certificate).collect()
}

/// Parses the headers of the settings.
///
/// # Errors
/// Returns an error if a header is invalid, or if the handler or the HTTP connection sets it.
pub(super) fn headers(settings: &BTreeMap<String, Secret>) -> Result<HeaderMap, Wrong> {
    let mut headers = HeaderMap::new();
    for (name, value) in settings {
        let wrong = |what| Wrong::new(&["headers", name], what);
        let header: HeaderName = name.parse().map_err(|_invalid| wrong("not a valid header name"))?;
        let text = header.as_str();
        if RESERVED.contains(&text) || RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(wrong("the handler sets this header itself: remove it"));
        }
        let mut value: HeaderValue = value.expose().parse().map_err(|_invalid| {
            wrong("the value contains characters that a header cannot have, such as a line break")
        })?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// Classifies the error of a request that got no response.
pub(super) fn failure(error: reqwest::Error) -> Failure {
    let (timeout, connect) = (error.is_timeout(), error.is_connect());
    let advice = tls::advice(&error);
    let text = FailureText::with_causes(&error.without_url());
    let story = text.whole();
    if let Some(advice) = advice {
        return Failure::misconfigured("tls", text.saying(advice));
    }
    if story.contains(FORBIDDEN) {
        return Failure::misconfigured("forbidden address", text);
    }
    let class = match (timeout, connect) {
        (true, _) => "timeout",
        (_, true) if story.contains("dns error") => "dns",
        (_, true) => "connect",
        _ => "connection",
    };
    // If connecting failed, nothing was sent.
    let about = if connect { About::Destination } else { About::Unanswered };
    Failure::retry_about(about, class, text)
}

/// Returns whether the connection was closed during a request. Part of the request may have been sent, and no response
/// came.
pub(super) fn is_closed_under_request(error: &reqwest::Error) -> bool {
    if error.is_timeout() || error.is_connect() || !error.is_request() {
        return false;
    }
    iter::successors(error.source(), |cause| (*cause).source()).any(|cause| {
        cause.downcast_ref().is_some_and(is_closed) || cause.downcast_ref().is_some_and(is_cut_off)
    })
}

fn is_closed(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || error.is_closed()
}

fn is_cut_off(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}
