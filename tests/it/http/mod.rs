//! The public side over real sockets, with a journal that does as the test tells it.

mod answers;
mod auth;
mod binary;
mod bounds;
mod connections;
mod crowd;
mod early;
mod faults;
mod shares;
mod world;
