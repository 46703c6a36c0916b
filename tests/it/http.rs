//! The public side over real sockets, with a journal that does as the test tells it.

mod answers;
mod auth;
mod bounds;
mod crowd;
mod early;
mod faults;
mod world;
