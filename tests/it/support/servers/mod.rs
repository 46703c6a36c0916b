//! Servers of Debian's packages, each a private process of a test.

#[cfg(feature = "postgres")]
pub mod postgres;
