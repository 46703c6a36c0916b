//! Readme.
