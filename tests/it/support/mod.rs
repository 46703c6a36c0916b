//! The test world: events to post, journals to post them to.

pub mod events;
pub mod journals;
pub mod operator;
