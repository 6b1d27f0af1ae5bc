//! Commands that read or write the store while the `persist_cmd` of a killed server still writes it: they wait.

use std::time::Duration;

use crate::{
    engine::{ChildEnd, Event, Hook, Run, Ticket, Time},
    sys::save_mark::SaveMark,
};

/// Between two looks at whether it has ended: nothing tells the end of another server's child.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The runs that wait.
#[derive(Default)]
pub(super) struct Postponed {
    waiting: Vec<(Ticket, Run)>,
    look_at: Time,
}

impl Postponed {
    /// Whether `run` must wait.
    pub(super) fn must_wait(run: &Run, mark: &SaveMark) -> bool {
        match run.hook {
            Hook::Persist | Hook::Restore => mark.is_held(),
            Hook::AuthNotify
            | Hook::ErrorNotify
            | Hook::ClientSecret
            | Hook::TokenEvent
            | Hook::TransientErrorIf
            | Hook::Startup => false,
        }
    }

    /// Lets `run` wait.
    pub(super) fn push(&mut self, ticket: Ticket, run: Run, now: Time) {
        self.waiting.push((ticket, run));
        self.look_at = now + LOOK_AGAIN;
    }

    /// Drops a run that is not needed any more; its end.
    pub(super) fn kill(&mut self, ticket: Ticket) -> Option<Event> {
        let place = self.waiting.iter().position(|(waiting, _)| *waiting == ticket)?;
        self.waiting.remove(place);
        Some(Event::Exited { ticket, end: ChildEnd::Killed })
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<(Time, &'static str)> {
        (!self.waiting.is_empty()).then_some((self.look_at, "the save of an earlier server"))
    }

    /// The runs that need not wait any longer.
    pub(super) fn take_due(&mut self, mark: &SaveMark, now: Time) -> Vec<(Ticket, Run)> {
        if self.waiting.is_empty() || now < self.look_at {
            return Vec::new();
        }
        if mark.is_held() {
            self.look_at = now + LOOK_AGAIN;
            return Vec::new();
        }
        std::mem::take(&mut self.waiting)
    }
}
