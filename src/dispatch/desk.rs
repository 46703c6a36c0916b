//! The operator's access to the lanes: their status, and requests to them.

use tokio::sync::{mpsc, watch};

use super::{Control, Lane, LaneStatus};
use crate::clock::Clock;

/// The lanes of every handler, as the admin side sees them.
#[derive(Default)]
pub struct Desk(Vec<Post>);

struct Post {
    status: watch::Receiver<LaneStatus>,
    control: mpsc::Sender<Control>,
    clock: Clock,
}

impl Desk {
    /// Registers a lane. The receiver that it returns belongs to the lane's [`Lane::run`].
    pub fn take_up(&mut self, lane: &Lane) -> mpsc::Receiver<Control> {
        let (control, asked) = mpsc::channel(8);
        self.0.push(Post { status: lane.status(), control, clock: lane.clock() });
        asked
    }

    /// The status of every lane, in the order of the configuration.
    pub fn status(&self) -> Vec<LaneStatus> {
        self.0.iter().map(|post| post.status.borrow().clone().aged(post.clock.now())).collect()
    }

    /// Makes both lanes of a handler skip every event below `seq`. Returns how many lanes were asked.
    pub async fn skip(&self, handler: &str, seq: u64) -> usize {
        self.ask(handler, |_| Some(Control::SkipTo(seq))).await
    }

    /// Makes a handler retry now every event that waits for a retry. Returns how many lanes were asked.
    pub async fn retry(&self, handler: &str) -> usize {
        self.ask(handler, |_| Some(Control::Retry)).await
    }

    /// Makes the lanes of a handler believe their current refusals, for events up to this seq. Returns the classes of
    /// these refusals.
    pub async fn believe(&self, handler: &str, upto: u64) -> Vec<String> {
        let refused = |lane: &LaneStatus| lane.refused.clone();
        let of_handler = self.0.iter().map(|post| post.status.borrow());
        let mut classes: Vec<String> =
            of_handler.filter(|lane| *lane.handler == *handler).filter_map(|lane| refused(&lane)).collect();
        classes.sort_unstable();
        classes.dedup();
        self.ask(handler, |lane| refused(lane).map(|class| Control::Believe { upto, class })).await;
        classes
    }

    async fn ask(&self, handler: &str, control: impl Fn(&LaneStatus) -> Option<Control>) -> usize {
        let mut asked = 0;
        for post in &self.0 {
            let control = {
                let status = post.status.borrow();
                if *status.handler == *handler { control(&status) } else { None }
            };
            if let Some(control) = control {
                // A lane that has ended is not counted.
                asked += usize::from(post.control.send(control).await.is_ok());
            }
        }
        asked
    }
}
