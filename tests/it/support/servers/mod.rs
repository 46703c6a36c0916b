//! Real servers, private to a test: each on a free port of the loopback, with its data in a folder of its own.

pub mod web;

pub mod certificate;
