//! Between the journal and the handlers: one loop a handler and lane, `claim → deliver → settle`.
//!
//! Each lane goes at its own pace, from its own cursor: one handler in trouble disturbs neither intake nor another
//! handler. [`Lane::turn`] is a lane's loop body; `policy` decides, without clock or I/O, what happens next.

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
