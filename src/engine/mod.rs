//! Every decision the daemon takes, as pure state machines.
//!
//! Events come from the loop, effects go to it; time and randomness are arguments. Deadlines are fields of the
//! states, found by a scan, so nothing has to be cancelled and nothing can disagree.
#![deny(clippy::wildcard_enum_match_arm)]

mod account;
mod accounts;
mod authorizations;
mod calls;
mod clause;
mod event;
mod hooks;
mod message;
mod persistence;
mod redirects;
mod reloads;
mod renewals;
mod revocations;
mod shutdown;
mod status;
#[cfg(test)]
mod tests;
mod time;
mod waiters;

use std::{collections::VecDeque, rc::Rc};

pub use event::{
    Bound, ChildEnd, ConnId, Effect, Event, ExitReason, Hook, Level, Outcome, Page, Readiness, Run, Staging, Ticket,
};
pub use time::{NotATime, Now, Time, WallTime};

use self::{
    account::{Account, AccountId, Browser, Device, Renewal},
    accounts::Accounts,
    calls::Calls,
    hooks::{Running, TokenEvent},
    message::Message,
    persistence::{Load, Save},
    redirects::Handled,
    reloads::Reloads,
    renewals::Pause,
    revocations::Client,
    shutdown::Phase,
};
use crate::{
    config::Config,
    proto::{Reason, Request, Response},
};

/// Effects that room is kept for when all are done: more come only from events that concern every account.
const EFFECTS: usize = 64;

/// Fills a buffer with unpredictable bytes.
pub type Random = Box<dyn FnMut(&mut [u8])>;

/// The daemon's whole state and all its rules.
///
/// Feed it events with [`Engine::handle_event`], wake it at [`Engine::poll_timeout`] with [`Engine::handle_timeout`],
/// and drain [`Engine::poll_effect`] to `None` after each.
pub struct Engine {
    /// Everything but the accounts, which are in their own states.
    config: Config,
    bound: Bound,
    random: Random,
    accounts: Accounts,
    calls: Calls,
    pauses: Vec<Pause>,
    handled: VecDeque<Handled>,
    running: Vec<Running>,
    token_events: VecDeque<(String, TokenEvent)>,
    event_running: bool,
    load: Load,
    load_error: Option<String>,
    save: Save,
    save_error: Option<String>,
    /// Failed saves in a row.
    save_failures: u32,
    /// Counts changes of tokens.
    changes: u64,
    /// The last change that was saved.
    saved_upto: u64,
    reloads: Reloads,
    phase: Phase,
    last_id: u64,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// An engine without tokens.
    pub fn new(mut config: Config, bound: Bound, random: Random) -> Engine {
        let accounts = std::mem::take(&mut config.accounts);
        let save = if config.persist_cmd.is_some() { Save::Clean } else { Save::Off };
        let mut engine = Engine {
            config,
            bound,
            random,
            accounts: Accounts::default(),
            calls: Calls::default(),
            pauses: Vec::new(),
            handled: VecDeque::new(),
            running: Vec::new(),
            token_events: VecDeque::new(),
            event_running: false,
            load: Load::Off,
            load_error: None,
            save,
            save_error: None,
            save_failures: 0,
            changes: 0,
            saved_upto: 0,
            reloads: Reloads::default(),
            phase: Phase::Running,
            last_id: 0,
            effects: VecDeque::new(),
        };
        for settings in accounts {
            let account = Account::new(engine.issue_account_id(), Rc::new(settings));
            engine.accounts.push(account);
        }
        engine
    }

    /// Takes in what happened.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        if self.is_stopped() {
            return;
        }
        match event {
            Event::Started => self.on_started(now),
            Event::Request { conn, request } => self.on_request(conn, request, now),
            Event::Gone { conn } => self.on_gone(conn),
            Event::Redirect { conn, head } => self.on_redirect(conn, &head, now),
            Event::Answer { ticket, outcome } => self.on_answer(ticket, outcome, now),
            Event::Exited { ticket, end } => self.on_exited(ticket, end, now),
            Event::Staged { ticket, result } => self.on_staged(ticket, result, now),
            Event::Hangup if self.is_running() => self.on_reload(None),
            Event::Hangup => {}
            Event::Shutdown => self.on_shutdown(None, now),
        }
        self.handle_timeout(now);
    }

    /// Does what is due. Extra calls change nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.is_stopped() {
            return;
        }
        self.on_calls_timeout(now);
        if self.is_running() {
            if self.accounts.deadline().is_some_and(|(at, _)| at <= now.time) {
                for index in 0..self.accounts.len() {
                    self.on_reminder_timeout(index, now);
                    self.on_exchange_timeout(index, now);
                    self.on_device_timeout(index, now);
                    self.on_renewal_timeout(index, now);
                    self.on_waiters_timeout(index, now);
                }
            }
            if self.restore_deadline().is_some_and(|(at, _)| at <= now.time) {
                self.retry_restore(now);
            }
            self.start_calls(now);
            self.run_token_event();
        }
        self.start_save(now);
        self.progress_shutdown(now);
    }

    /// The next deadline and what it is for.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let calls = self.calls.deadline();
        let save = self.save_deadline();
        match &self.phase {
            Phase::Stopped => None,
            Phase::Stopping(stopping) => {
                [calls, save, Some((stopping.until, "end of the shutdown"))].into_iter().flatten().min()
            }
            Phase::Running => {
                [calls, save, self.accounts.deadline(), self.restore_deadline()].into_iter().flatten().min()
            }
        }
    }

    /// The next thing to do to the world; drain to `None` after every `handle_event` and `handle_timeout`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front();
        if effect.is_none() {
            self.effects.shrink_to(EFFECTS);
        }
        effect
    }

    fn on_started(&mut self, now: Now) {
        self.effects.push_back(Effect::Notify(Readiness::Ready));
        for warning in self.bound.warnings.clone() {
            self.log(Level::Warn, warning);
        }
        self.start_restore();
        if !self.load.keeps_waiting() {
            self.renew_userless(now);
        }
        self.run_startup();
    }

    fn on_request(&mut self, conn: ConnId, request: Request, now: Now) {
        match request {
            Request::Shutdown => self.on_shutdown(Some(conn), now),
            _ if !self.is_running() => self.fail(conn, Reason::Unavailable, Message::ShuttingDown),
            Request::Show(show) => self.on_show(conn, show, now),
            Request::Refresh { account, wait, urls } => self.on_refresh(conn, account, wait, urls, now),
            Request::Auth { account, wait, urls } => self.on_auth(conn, account, wait, urls, now),
            Request::Paste { account, text } => self.on_paste(conn, account, &text, now),
            Request::Revoke { account, local } => self.on_revoke(conn, account, local, now),
            Request::Status { accounts, urls } => self.on_status(conn, &accounts, urls, now),
            Request::Info => self.on_info(conn),
            Request::Reload => self.on_reload(Some(conn)),
            Request::Dump => {
                let dump = self.write_dump(now);
                self.respond(conn, Response::Dump { dump });
            }
            Request::Restore { dump } => self.on_restore(conn, &dump, now),
        }
    }

    /// A connection is gone: whatever waited for it is forgotten, but nothing that was begun is undone.
    fn on_gone(&mut self, conn: ConnId) {
        for account in self.accounts.iter_mut() {
            account.waiters.retain(|waiter| waiter.conn != conn);
            account.pages_mut().into_iter().for_each(|pages| pages.retain(|page| *page != conn));
        }
        self.calls.forget(conn);
        self.forget_reload_asker(conn);
        self.forget_shutdown_asker(conn);
    }

    /// `pizauth revoke`
    fn on_revoke(&mut self, conn: ConnId, account: String, local: bool, now: Now) {
        let Some(index) = self.account_named(&account) else {
            return self.fail(conn, Reason::Error, Message::UnknownAccount { account });
        };
        let outcome = Outcome {
            success: false,
            title: format!("{account} is not authorised"),
            detail: "The account's token was revoked meanwhile.".to_owned(),
        };
        self.close_authorization(index, &outcome, now);
        let state = &self.accounts[index];
        let client = Client::of(state);
        let tokens = state.token.as_ref().map(|token| (token.refresh_token.clone(), token.access_token.clone()));
        let (refresh_token, access_token) = tokens.unzip();
        self.abandon_calls(index);
        self.forget_token(index, TokenEvent::Revoked, now);
        self.accounts[index].last_error = None;
        self.fail_waiters(index, Reason::Error, &Message::Revoked { account }, |_| true);
        let refresh_token = refresh_token.flatten();
        let asked = !local && self.revoke_at_provider(client, refresh_token, access_token, Some(conn));
        if !asked {
            self.respond(conn, Response::Done { messages: Vec::new() });
        }
    }

    /// Ends what runs for an account that goes away.
    fn forget_running_of(&mut self, index: usize) {
        let account = &mut self.accounts[index];
        let reading = match account.client_secret {
            account::ClientSecret::Reading(ticket) => Some(ticket),
            account::ClientSecret::Unneeded | account::ClientSecret::Known(_) | account::ClientSecret::Unread => None,
        };
        for ticket in reading.into_iter().chain(account.verdict.take()) {
            self.kill(ticket);
        }
    }

    fn respond(&mut self, conn: ConnId, response: Response) {
        self.effects.push_back(Effect::Respond { conn, response });
    }

    fn fail(&mut self, conn: ConnId, reason: Reason, message: Message) {
        self.respond(conn, message.into_response(reason));
    }

    fn log(&mut self, level: Level, line: String) {
        self.effects.push_back(Effect::Log { level, line });
    }

    fn enter_browser(&mut self, index: usize, next: Browser) -> Browser {
        let (old, line) = self.accounts[index].enter_browser(next);
        self.log(Level::Debug, line);
        old
    }

    fn enter_device(&mut self, index: usize, next: Device) -> Device {
        let (old, line) = self.accounts[index].enter_device(next);
        self.log(Level::Debug, line);
        old
    }

    fn enter_renewal(&mut self, index: usize, next: Renewal) {
        let line = self.accounts[index].enter_renewal(next);
        self.log(Level::Debug, line);
    }

    fn issue_ticket(&mut self) -> Ticket {
        self.last_id += 1;
        Ticket(self.last_id)
    }

    /// The id of an account that is about to join the others.
    fn issue_account_id(&mut self) -> AccountId {
        self.last_id += 1;
        AccountId { number: self.last_id, place: self.accounts.len() }
    }

    fn account_named(&self, name: &str) -> Option<usize> {
        self.accounts.named(name)
    }

    fn index_of(&self, id: AccountId) -> Option<usize> {
        self.accounts.index_of(id)
    }
}
