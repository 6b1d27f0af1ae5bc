//! Stopping: token requests in flight are waited for, what they bring is saved, then everything ends.
//!
//! [`Phase`], the whole life of the process:
//!
//! | state | event | next state and what follows |
//! | --- | --- | --- |
//! | `Running` | `pizauth shutdown`, SIGTERM, SIGINT | `Stopping`: waiters fail, what waits for its turn is dropped |
//! | `Stopping` | the same again | unchanged: one more to be told |
//! | `Stopping` | no token is expected any more and all is saved, or the time of both is up | `Stopped`: exit |
//! | `Stopping` | anything else | a request fails, a redirect is refused, SIGHUP is ignored |
//! | `Stopped` | anything | ignored |

use std::time::Duration;

use super::{
    Engine,
    clause::Clause,
    event::{ConnId, Effect, ExitReason, Hook, Level, Outcome, Page, Readiness},
    message::Message,
    persistence::{Load, Save},
    time::{Now, Time},
};
use crate::proto::{Reason, Response};

/// How long token requests in flight are waited for.
const FOR_CALLS: Duration = Duration::from_secs(5);

/// How long saving may take in all.
const FOR_SAVE: Duration = Duration::from_secs(10);

/// How far the process is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// Everything is done.
    Running,
    /// Nothing new is begun.
    Stopping(Stopping),
    /// The last effect was given out.
    Stopped,
}

/// A shutdown under way.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When the present step is given up.
    pub(super) until: Time,
    step: Step,
    /// Who is told how it ended.
    askers: Vec<ConnId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    WaitForCalls,
    Save,
}

impl Engine {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    /// `pizauth shutdown`, SIGTERM or SIGINT.
    pub(super) fn on_shutdown(&mut self, conn: Option<ConnId>, now: Now) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            return stopping.askers.extend(conn);
        }
        self.log(Level::Info, "shutting down".to_owned());
        self.effects.push_back(Effect::Notify(Readiness::Stopping));
        self.drop_queued_calls();
        self.drop_reloads();
        for index in 0..self.accounts.len() {
            self.fail_waiters(index, Reason::Unavailable, &Message::ShuttingDown, |_| true);
        }
        let until = now.time + FOR_CALLS;
        let askers = conn.into_iter().collect();
        self.phase = Phase::Stopping(Stopping { until, step: Step::WaitForCalls, askers });
    }

    /// A client that waits for the shutdown is gone; the shutdown goes on.
    pub(super) fn forget_shutdown_asker(&mut self, conn: ConnId) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.askers.retain(|asker| *asker != conn);
        }
    }

    /// Takes the next step of a shutdown as soon as the present one is done, or its time is up.
    pub(super) fn progress_shutdown(&mut self, now: Now) {
        let tokens_expected = self.calls.tokens_expected();
        let can_save = self.is_unsaved() && !self.load.keeps_waiting();
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        let up = stopping.until <= now.time;
        match stopping.step {
            Step::WaitForCalls if tokens_expected && !up => {}
            Step::WaitForCalls => {
                stopping.step = Step::Save;
                stopping.until = now.time + FOR_SAVE;
                self.plan_last_save(now);
                self.progress_shutdown(now);
            }
            Step::Save if can_save && !up => {}
            Step::Save => self.finish_shutdown(),
        }
    }

    /// A save that waits for its retry time is tried once more at once, and if it fails, soon again.
    fn plan_last_save(&mut self, now: Now) {
        self.save_failures = 0;
        if let Save::Dirty { .. } = self.save {
            self.enter_save(Save::Dirty { at: now.time });
            self.start_save(now);
        }
    }

    fn finish_shutdown(&mut self) {
        let unsaved = self.is_unsaved();
        let response = if unsaved {
            let reason = match &self.load {
                Load::Sealed { .. } | Load::Restoring { .. } => Clause::StoreUnread.to_string(),
                Load::Off | Load::Done => {
                    let too_long = || Clause::TookTooLong { hook: Hook::Persist }.to_string();
                    self.save_error.clone().unwrap_or_else(too_long)
                }
            };
            let changed = self.accounts.iter().filter(|account| account.change > self.saved_upto);
            let accounts: Vec<String> = changed.map(|account| account.name().to_owned()).collect();
            let message = Message::LeftUnsaved { accounts, reason };
            self.log(Level::Error, message.to_string());
            message.into_response(Reason::Error)
        } else {
            Response::Done { messages: Vec::new() }
        };
        let Phase::Stopping(stopping) = std::mem::replace(&mut self.phase, Phase::Stopped) else { return };
        self.kill_all();
        self.leave_calls();
        self.leave_pages();
        for conn in stopping.askers {
            self.respond(conn, response.clone());
        }
        self.effects.push_back(Effect::Exit(if unsaved { ExitReason::Unsaved } else { ExitReason::Asked }));
    }

    /// Ends the pages of exchanges whose outcome is not waited for any longer.
    fn leave_pages(&mut self) {
        for account in self.accounts.iter_mut() {
            let outcome = outcome_of_stopping(account.name());
            let pages = account.pages_mut().map(std::mem::take).unwrap_or_default();
            let page = Page::Outcome(outcome);
            self.effects.extend(pages.into_iter().map(|conn| Effect::Page { conn, page: page.clone() }));
        }
    }
}

/// What a browser is told whose code is not exchanged because the server stops.
pub(super) fn outcome_of_stopping(account: &str) -> Outcome {
    Outcome {
        success: false,
        title: format!("{account} is not authorised"),
        detail: "pizauth is shutting down. Start it again, and ask for a token once more.".to_owned(),
    }
}

#[cfg(test)]
impl Phase {
    /// Who waits for the end.
    pub(super) fn askers(&self) -> Vec<ConnId> {
        match self {
            Phase::Stopping(stopping) => stopping.askers.clone(),
            Phase::Running | Phase::Stopped => Vec::new(),
        }
    }
}
