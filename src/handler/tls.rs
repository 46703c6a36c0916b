//! What kinds that speak TLS share: the certificates of the key `ca`, and whether it is TLS that keeps two sides apart.

#[cfg(any(feature = "nats", feature = "redis"))]
use std::{error::Error, sync::Arc};
use std::{io, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject};

/// The file of the key `ca`.
///
/// # Errors
/// What is wrong with it, with the name of the key.
pub(super) async fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
    let shown = path.display();
    let pem = read
        .unwrap_or_else(|interrupted| Err(io::Error::other(interrupted)))
        .map_err(|error| format!("ca: {shown} cannot be read: {error}"))?;
    match CertificateDer::pem_slice_iter(&pem).next() {
        Some(Ok(_certificate)) => Ok(pem),
        _ => Err(format!("ca: {shown} holds no certificate in PEM form: it begins with BEGIN CERTIFICATE")),
    }
}

/// What to do about it, where it is TLS that keeps two sides apart: a person must look then, where a server that is away
/// comes back by itself.
#[cfg(any(feature = "nats", feature = "redis"))]
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        // The client of Redis shares what it tells the source of, which hides it.
        let error = match error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            Some(shared) => shared.as_ref(),
            None => error,
        };
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match error.downcast_ref().or(inner) {
            Some(rustls::Error::InvalidMessage(_)) => return Some("the server does not speak TLS there"),
            Some(rustls::Error::AlertReceived(_)) => return Some("the server turns this side away"),
            Some(_) => {
                return Some(
                    "set `ca` to the certificate of who signed the server's, and in `url` use the name that it has",
                );
            }
            None => next = error.source(),
        }
    }
    None
}
