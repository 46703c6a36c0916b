//! The public side over real sockets, with a journal that the test controls.

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
