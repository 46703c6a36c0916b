//! Whether it is TLS that keeps two sides apart: a person must look then, where a server that is away comes back.

use std::{error::Error, io};

/// Whether the other side's certificate, or what it speaks, is the trouble.
pub(super) fn concerns_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = error.source();
    }
    false
}
