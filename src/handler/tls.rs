//! Whether it is TLS that keeps two sides apart.

use std::{error::Error, io, sync::Arc};

use rustls::AlertDescription;

/// What to do about it, where it is TLS that keeps two sides apart: a person must look then, where a server that is away
/// comes back by itself.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        // The client of Redis shares what it tells the source of, which hides it.
        let error = match error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            Some(shared) => shared.as_ref(),
            None => error,
        };
        match error.downcast_ref() {
            Some(rustls::Error::InvalidMessage(_)) => return Some("the server does not speak TLS there"),
            // The server is unwell, which passes.
            Some(rustls::Error::AlertReceived(AlertDescription::InternalError)) => return None,
            Some(rustls::Error::AlertReceived(_)) => return Some("the server turns this side away"),
            Some(_) => {
                return Some(
                    "set `ca` to the certificate of who signed the server's, and reach it by the name that it has",
                );
            }
            // What an I/O error holds is not its source.
            None => match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => next = Some(inner),
                None => next = error.source(),
            },
        }
    }
    None
}
