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
        self.ask(handler, |_| Some(Control::SkipTo(seq))).await
    }

    /// Lets a handler try again now whatever waits to be tried again; how many lanes were asked.
    pub async fn retry(&self, handler: &str) -> usize {
        self.ask(handler, |_| Some(Control::Retry)).await
    }

    /// Believes what the lanes of a handler were refused with, of the events up to this seq: the classes of these refusals.
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
                // A lane that has ended has nothing left to be asked.
                asked += usize::from(post.control.send(control).await.is_ok());
            }
        }
        asked
    }
}
