//! Every decision the daemon takes, as pure state machines.

mod event;
mod time;

pub use event::{
    Bound, ChildEnd, ConnId, Effect, Event, ExitReason, Hook, Level, Outcome, Page, Readiness, Run, Staging, Ticket,
};
pub use time::{NotATime, Now, Time, WallTime};

use crate::config::Config;

/// The daemon's whole state and all its rules.
///
/// Feed it events with [`Engine::handle_event`], wake it at [`Engine::poll_timeout`] with [`Engine::handle_timeout`],
/// and drain [`Engine::poll_effect`] to `None` after each.
pub struct Engine {
    config: Config,
}

impl Engine {
    /// An engine without tokens. `random` fills a buffer with unpredictable bytes.
    pub fn new(config: Config, _bound: Bound, _random: Box<dyn FnMut(&mut [u8])>) -> Engine {
        Engine { config }
    }

    /// Takes in what happened.
    pub fn handle_event(&mut self, _event: Event, _now: Now) {
        let _ = &self.config;
    }

    /// Does what is due. Extra calls change nothing.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// The next deadline and what it is for.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        None
    }

    /// The next thing to do to the world; drain to `None` after every `handle_event` and `handle_timeout`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        None
    }
}
