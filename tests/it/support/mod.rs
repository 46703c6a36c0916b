//! The test world: events to post, journals to post them to, and the real receiver as a process, with senders for it and
//! a check that nothing acknowledged is lost.

pub mod client;
pub mod clock;
pub mod dice;
pub mod disk;
pub mod events;
pub mod folder;
pub mod home;
pub mod journals;
pub mod load;
pub mod operator;
pub mod patience;
pub mod preload;
pub mod proof;
pub mod receiver;
pub mod root;
pub mod servers;
pub mod stub;
