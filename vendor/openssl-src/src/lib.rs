//! OpenSSL 4.0 in the place of 3.6: the same functions, from the next version of the crate.

pub use newer::*;
