//! Recognizes connection errors that are problems of TLS.

use std::{error::Error, io, sync::Arc};

use rustls::AlertDescription;

/// Returns advice if the error is a TLS problem that a retry does not solve; `None` for any other error.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        // The Redis client returns a shared error as source; the `Arc` hides the type of the error in it.
        let error = match error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            Some(shared) => shared.as_ref(),
            None => error,
        };
        match error.downcast_ref() {
            Some(rustls::Error::InvalidMessage(_)) => {
                return Some("the server does not speak TLS on this port");
            }
            // The server has an internal problem, which is temporary.
            Some(rustls::Error::AlertReceived(AlertDescription::InternalError)) => return None,
            Some(rustls::Error::AlertReceived(_)) => return Some("the server rejected the TLS handshake"),
            Some(_) => {
                return Some(
                    "set `ca` to the certificate of the server's CA, and connect by a host name in the server's certificate",
                );
            }
            // `source` of an I/O error skips the error that it wraps.
            None => match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => next = Some(inner),
                None => next = error.source(),
            },
        }
    }
    None
}
