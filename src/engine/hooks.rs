//! The hooks: which command runs for what, and what its end means.

use std::time::Duration;

use super::{
    Engine,
    account::{AccountId, ClientSecret},
    clause::{Clause, failure_of},
    event::{ChildEnd, Effect, Hook, Level, Run, Ticket},
    message::Message,
    time::Now,
};
use crate::{
    config,
    oauth::{Broken, Stage, token::Failure},
    secret::Secret,
};

/// How long `error_notify_cmd` and `token_event_cmd` may take.
const NOTIFY_LIMIT: Duration = Duration::from_secs(10);

/// How long `client_secret_cmd` may take.
const SECRET_LIMIT: Duration = Duration::from_secs(60);

/// Longest client secret that is read, in bytes.
const MAX_SECRET: usize = 16 * 1024;

/// Token events that wait for `token_event_cmd`; beyond, the oldest is dropped.
const MAX_EVENTS: usize = 4096;

/// A hook that runs.
pub(super) struct Running {
    pub(super) ticket: Ticket,
    owner: RunOwner,
}

/// Who is interested in a hook's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunOwner {
    AuthNotify,
    ErrorNotify,
    ClientSecret(AccountId),
    TokenEvent,
    TransientErrorIf(AccountId),
    Startup,
    Persist,
    Restore,
}

/// What `token_event_cmd` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenEvent {
    New,
    Refreshed,
    Invalidated,
    Revoked,
}

impl TokenEvent {
    fn name(self) -> &'static str {
        match self {
            TokenEvent::New => "token_new",
            TokenEvent::Refreshed => "token_refreshed",
            TokenEvent::Invalidated => "token_invalidated",
            TokenEvent::Revoked => "token_revoked",
        }
    }
}

impl Engine {
    /// Starts a hook.
    pub(super) fn run(&mut self, owner: RunOwner, run: Run) -> Ticket {
        let ticket = self.issue_ticket();
        self.running.push(Running { ticket, owner });
        self.effects.push_back(Effect::Run { ticket, run });
        ticket
    }

    /// Whether a hook of this owner runs.
    pub(super) fn runs(&self, owner: RunOwner) -> bool {
        self.running.iter().any(|running| running.owner == owner)
    }

    /// Ends a hook.
    pub(super) fn kill(&mut self, ticket: Ticket) {
        if self.running.iter().any(|running| running.ticket == ticket) {
            self.effects.push_back(Effect::Kill { ticket });
        }
    }

    /// Ends every hook but `startup_cmd`.
    pub(super) fn kill_all(&mut self) {
        let ended = self.running.iter().filter(|running| running.owner != RunOwner::Startup);
        self.effects.extend(ended.map(|running| Effect::Kill { ticket: running.ticket }));
    }

    /// Runs `startup_cmd`.
    pub(super) fn run_startup(&mut self) {
        let Some(command) = self.config.startup_cmd.clone() else { return };
        let run = Run { hook: Hook::Startup, command, env: Vec::new(), stdin: None, capture: 0, limit: None };
        self.run(RunOwner::Startup, run);
    }

    /// A child ended.
    pub(super) fn on_exited(&mut self, ticket: Ticket, end: ChildEnd, now: Now) {
        let Some(position) = self.running.iter().position(|running| running.ticket == ticket) else { return };
        let Running { owner, .. } = self.running.swap_remove(position);
        let hook = match owner {
            RunOwner::Persist => return self.on_persist_end(ticket, &end, now),
            RunOwner::Restore => return self.on_restore_end(ticket, &end, now),
            RunOwner::ClientSecret(id) => {
                return self.index_of(id).into_iter().for_each(|index| self.on_client_secret(index, ticket, &end, now));
            }
            RunOwner::TransientErrorIf(id) => {
                return self.index_of(id).into_iter().for_each(|index| self.on_verdict(index, ticket, &end, now));
            }
            RunOwner::AuthNotify => Hook::AuthNotify,
            RunOwner::TokenEvent => {
                self.event_running = false;
                Hook::TokenEvent
            }
            RunOwner::ErrorNotify => Hook::ErrorNotify,
            RunOwner::Startup => Hook::Startup,
        };
        if let Some(reason) = failure_of(hook, &end) {
            let level = if hook == Hook::AuthNotify { Level::Debug } else { Level::Warn };
            self.log(level, reason.to_string());
        }
    }

    /// Queues a token event.
    pub(super) fn raise_token_event(&mut self, account: String, event: TokenEvent) {
        self.log(Level::Info, format!("{account}: {}", event.name()));
        if self.config.token_event_cmd.is_none() {
            return;
        }
        if self.token_events.len() >= MAX_EVENTS {
            self.token_events.pop_front();
            self.log(Level::Warn, "token_event_cmd is too slow: an event was dropped".to_owned());
        }
        self.token_events.push_back((account, event));
    }

    /// Runs `token_event_cmd` for the next event, one at a time.
    pub(super) fn run_token_event(&mut self) {
        if self.event_running {
            return;
        }
        let Some((account, event)) = self.token_events.pop_front() else { return };
        let Some(command) = self.config.token_event_cmd.clone() else { return self.token_events.clear() };
        let env = vec![("PIZAUTH_ACCOUNT", Secret::from(account)), ("PIZAUTH_EVENT", Secret::from(event.name()))];
        let run = Run { hook: Hook::TokenEvent, command, env, stdin: None, capture: 0, limit: Some(NOTIFY_LIMIT) };
        self.run(RunOwner::TokenEvent, run);
        self.event_running = true;
    }

    /// Tells the user of a refusal: by `error_notify_cmd`, else in the log; and keeps it for `status`.
    pub(super) fn report(&mut self, index: usize, reason: String, message: &Message, now: Now) {
        let account = &mut self.accounts[index];
        account.record_error(reason, false, now);
        let name = account.name().to_owned();
        let Some(command) = self.config.error_notify_cmd.clone().filter(|_| self.is_running()) else {
            return self.log(Level::Error, message.to_string());
        };
        self.log(Level::Warn, message.to_string());
        let env = vec![("PIZAUTH_ACCOUNT", Secret::from(name)), ("PIZAUTH_MSG", Secret::from(message.to_string()))];
        let run = Run { hook: Hook::ErrorNotify, command, env, stdin: None, capture: 0, limit: Some(NOTIFY_LIMIT) };
        self.run(RunOwner::ErrorNotify, run);
    }

    /// Asks `client_secret_cmd`.
    pub(super) fn read_client_secret(&mut self, index: usize) {
        let account = &self.accounts[index];
        let (ClientSecret::Unread, config::ClientSecret::Command(command)) =
            (&account.client_secret, &account.settings.client_secret)
        else {
            return;
        };
        let run = Run {
            hook: Hook::ClientSecret,
            command: command.clone(),
            env: vec![("PIZAUTH_ACCOUNT", Secret::from(account.name()))],
            stdin: None,
            capture: MAX_SECRET,
            limit: Some(SECRET_LIMIT),
        };
        let id = account.id;
        let ticket = self.run(RunOwner::ClientSecret(id), run);
        self.accounts[index].client_secret = ClientSecret::Reading(ticket);
    }

    fn on_client_secret(&mut self, index: usize, ticket: Ticket, end: &ChildEnd, now: Now) {
        if !matches!(self.accounts[index].client_secret, ClientSecret::Reading(holder) if holder == ticket) {
            return;
        }
        let read = match (failure_of(Hook::ClientSecret, end), end) {
            (Some(reason), _) => Err(reason),
            (None, ChildEnd::Exited { stdout, .. }) => read_one_line(stdout.expose()),
            (None, ChildEnd::Killed | ChildEnd::NotStarted(_) | ChildEnd::TooMuch) => return,
        };
        match read {
            Ok(secret) => self.accounts[index].client_secret = ClientSecret::Known(secret),
            Err(fault) => {
                self.accounts[index].client_secret = ClientSecret::Unread;
                let broken = Broken { stage: Stage::NotStarted, detail: fault.to_string() };
                self.fail_queued_calls(index, &broken, now);
            }
        }
    }

    /// Forgets a client secret that the provider refused, where a command can print another.
    pub(super) fn forget_refused_secret(&mut self, index: usize, failure: &Failure) {
        if failure.error.as_deref() == Some("invalid_client") {
            let account = &mut self.accounts[index];
            if let (ClientSecret::Known(_), config::ClientSecret::Command(_)) =
                (&account.client_secret, &account.settings.client_secret)
            {
                account.client_secret = ClientSecret::Unread;
            }
        }
    }
}

/// The one line that a secret command prints.
fn read_one_line(stdout: &[u8]) -> Result<Secret, Clause> {
    let text = std::str::from_utf8(stdout).map_err(|_| Clause::SecretNotText)?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Clause::NoSecret);
    }
    if line.contains(['\n', '\r', '\0']) {
        return Err(Clause::SecretLines);
    }
    Ok(Secret::from(line))
}
