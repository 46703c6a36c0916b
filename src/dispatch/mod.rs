//! Delivers events from the journal to the handlers: one loop per handler and lane, `claim → deliver → settle`.
//!
//! Each lane has its own cursor and speed, so a failing handler affects neither intake nor other handlers.
//! [`Lane::turn`] is the body of a lane's loop; `policy` decides what happens next, without clock or I/O.

mod attempt;
mod desk;
mod exceptions;
mod lane;
mod pace;
mod policy;
mod progress;
mod replays;
mod settings;
mod status;
mod waits;
mod window;

pub use desk::Desk;
pub use lane::{Control, Ended, Lane, LaneParts, ReplayPart, Turn, WINDOW_BYTES};
pub use pace::Pace;
pub use progress::Progress;
pub use replays::{Matches, Owner, Replayer};
pub use settings::Settings;
pub use status::{LaneCondition, LaneStatus};
pub use waits::Waits;
