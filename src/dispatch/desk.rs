//! What an operator sees of the lanes, and asks of them.

use tokio::sync::{mpsc, watch};

use super::{Control, Lane, LaneStatus};
use crate::clock::Clock;

/// The lanes of every handler, seen from outside.
#[derive(Default)]
pub struct Desk(Vec<Post>);

struct Post {
    status: watch::Receiver<LaneStatus>,
    control: mpsc::Sender<Control>,
    clock: Clock,
}

impl Desk {
    /// Takes a lane up; what comes back belongs to its [`Lane::run`].
    pub fn take_up(&mut self, lane: &Lane) -> mpsc::Receiver<Control> {
        let (control, asked) = mpsc::channel(8);
        self.0.push(Post { status: lane.status(), control, clock: lane.clock() });
        asked
    }

    /// The status of every lane, in the order of the configuration.
    pub fn status(&self) -> Vec<LaneStatus> {
        self.0.iter().map(|post| post.status.borrow().clone().aged(post.clock.now())).collect()
    }

    /// Lets both lanes of a handler let go of everything below `seq`; how many lanes were asked.
    pub async fn skip(&self, handler: &str, seq: u64) -> usize {
        let mut asked = 0;
        for post in self.0.iter().filter(|post| *post.status.borrow().handler == *handler) {
            // A lane that has ended has nothing left to let go of.
            asked += usize::from(post.control.send(Control::SkipTo(seq)).await.is_ok());
        }
        asked
    }
}
