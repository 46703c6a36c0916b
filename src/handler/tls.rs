//! Whether it is TLS that keeps two sides apart.

use std::{error::Error, io, sync::Arc};

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
