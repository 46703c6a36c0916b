//! Delivers events from the journal to the handlers: one loop per handler and lane, `claim → deliver → settle`.
//!
//! Each lane has its own cursor and speed, so a failing handler affects neither intake nor other handlers.
//! [`Lane::turn`] is the body of a lane's loop; `policy` decides what happens next, without clock or I/O.

mod attempt;
mod context;
mod control;
mod exceptions;
mod lane;
mod policy;
mod rate_limit;
mod replays;
mod settings;
mod status;
mod wait_reason;
mod window;

pub use context::{HandlerContext, HandlerSpec};
pub use control::{DispatchControl, LaneSkips};
pub(crate) use lane::WINDOW_BYTES;
pub use lane::{Command, Ended, Lane, LaneSkip, ReplayPart, Turn};
pub use replays::{Matches, ReplayHandler, ReplayProgress, Replayer};
pub use settings::Settings;
pub use status::{LaneCondition, LaneStatus};
pub use wait_reason::WaitReason;

use rate_limit::RateLimit;
