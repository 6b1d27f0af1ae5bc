//! Keeping tokens fresh: when a token is refreshed, and what the answer means for it.

use std::time::Duration;

use super::{
    Engine,
    account::{Account, Browser, Device, Issued, Renewal},
    calls::{Ending, Purpose},
    clause::{Clause, failure_of},
    event::{ChildEnd, ConnId, Hook, Level, Run, Ticket},
    hooks::{RunOwner, TokenEvent},
    message::Message,
    time::{Now, Time, backoff},
    waiters::{Patience, Waiter, Wants},
};
use crate::{
    config::Grant,
    oauth::token::{Failure, FailureKind, LOOPING_PAUSE, Tokens},
    proto::{Reason, Response},
    secret::Secret,
};

/// Longest pause between two tries after transient failures.
const MAX_BACKOFF: Duration = Duration::from_secs(30 * 60);

/// Pause after a refusal that neither waiting nor the user mends.
pub(super) const HELD: Duration = Duration::from_secs(3600);

/// Failures in a row after which `transient_error_if_cmd` is asked, again and again.
const FAILURES_PER_VERDICT: u32 = 6;

/// How long `transient_error_if_cmd` may take.
const VERDICT_LIMIT: Duration = Duration::from_secs(180);

/// A `Retry-After` that holds for every account with the same token endpoint.
pub(super) struct Pause {
    token_uri: String,
    until: Time,
}

/// When a token just obtained is refreshed: where the provider says, else shortly before its end, but early enough
/// by the user's wish, and at half of a life that is too short for all that.
pub(super) fn refresh_at(account: &Account) -> Time {
    let Some(token) = &account.token else { return Time::default() };
    let settings = &account.settings;
    let life = token.life;
    let due = match token.refresh_in {
        Some(refresh_in) => refresh_in.min(life),
        None if life < settings.refresh_before_expiry.saturating_mul(2) => life / 2,
        None => (life - settings.refresh_before_expiry).min(settings.refresh_at_least),
    };
    let due = due.max(account.pause());
    token.expires_at - life.saturating_sub(due) + due.saturating_sub(life)
}

impl Engine {
    /// `pizauth refresh`
    pub(super) fn on_refresh(&mut self, conn: ConnId, account: String, wait: Option<u64>, urls: bool, now: Now) {
        let Some(index) = self.account_named(&account) else {
            return self.fail(conn, Reason::Error, Message::UnknownAccount { account });
        };
        self.on_device_timeout(index, now);
        let needs_store = self.accounts[index].token.is_none() && !self.accounts[index].is_renewable();
        if let Some(message) = self.unread_store_message(index).filter(|_| needs_store) {
            self.retry_restore(now);
            return self.fail(conn, Reason::Temporary, message);
        }
        if !self.accounts[index].is_renewable() {
            return self.refresh_by_user(conn, index, wait, urls, now);
        }
        if let Some(until) = self.paused_until(&self.accounts[index].settings.token_uri, now.time) {
            let until = now.wall_at(until);
            return self.fail(conn, Reason::Temporary, Message::ProviderAsksToWait { account, until });
        }
        self.renew(index);
        match wait {
            None => self.respond(conn, Response::Done { messages: Vec::new() }),
            Some(wait) => self.park(
                index,
                Waiter {
                    conn,
                    wants: Wants::Renewal,
                    asked_at: now.time,
                    until: now.time + Duration::from_secs(wait),
                    urls,
                },
            ),
        }
    }

    /// Only the user can give a new token.
    fn refresh_by_user(&mut self, conn: ConnId, index: usize, wait: Option<u64>, urls: bool, now: Now) {
        if !self.accounts[index].is_authorizing() {
            self.start_authorization(index, now);
        }
        let exchanging = matches!(self.accounts[index].browser(), Browser::Exchanging(_));
        match wait {
            Some(wait) => {
                let until = now.time + Duration::from_secs(wait);
                self.park(index, Waiter { conn, wants: Wants::Authorization, asked_at: now.time, until, urls });
            }
            None if exchanging => {
                let account = self.accounts[index].name().to_owned();
                self.fail(conn, Reason::Temporary, Message::BeingExchanged { account });
            }
            None => {
                let (reason, message) = match self.question_message(index, now) {
                    Some(message) => (Reason::Temporary, message),
                    None => (Reason::Authorize, self.authorize_message(index, urls)),
                };
                self.fail(conn, reason, message);
            }
        }
    }

    /// Sends a token request that needs no user, unless one is on its way.
    pub(super) fn renew(&mut self, index: usize) {
        let account = &self.accounts[index];
        match account.renewal() {
            Renewal::InFlight(_) => {}
            Renewal::Due(_) | Renewal::Held(_) | Renewal::Unable => {
                let ticket = self.enqueue(Purpose::Renewal(account.id, account.generation));
                self.enter_renewal(index, Renewal::InFlight(ticket));
            }
        }
    }

    /// Gets a first token for every account that needs no user.
    pub(super) fn renew_userless(&mut self, now: Now) {
        for index in 0..self.accounts.len() {
            let account = &self.accounts[index];
            let userless = account.settings.grant == Grant::ClientCredentials;
            if userless && account.token.is_none() && account.renewal() == Renewal::Unable {
                self.enter_renewal(index, Renewal::Due(now.time));
            }
        }
    }

    /// A renewal is due.
    pub(super) fn on_renewal_timeout(&mut self, index: usize, now: Now) {
        match self.accounts[index].renewal() {
            Renewal::Due(at) | Renewal::Held(at) if at <= now.time => self.renew(index),
            Renewal::Due(_) | Renewal::Held(_) | Renewal::InFlight(_) | Renewal::Unable => {}
        }
    }

    /// A renewal whose turn came may not be sent yet.
    pub(super) fn postpone_renewal(&mut self, index: usize, until: Time, now: Now) {
        self.enter_renewal(index, Renewal::Due(until));
        let message = self.temporary_message(index, now);
        self.fail_waiters(index, Reason::Temporary, &message, |wants| wants == Wants::Renewal);
        self.settle_shows(index, now);
    }

    pub(super) fn on_renewal_answer(&mut self, index: usize, ending: Ending, now: Now) {
        self.accounts[index].renewed_at = Some(now.time);
        match self.read_tokens(index, None, &ending, now) {
            Ok(tokens) => self.install_renewed(index, tokens, ending.sent.at, now),
            Err(failure) => self.on_renewal_failure(index, failure, now),
        }
    }

    fn on_renewal_failure(&mut self, index: usize, mut failure: Failure, now: Now) {
        if let Some(refresh_token) = failure.refresh_token.take() {
            self.keep_refresh_token(index, refresh_token, now);
        }
        self.forget_refused_secret(index, &failure);
        self.note_pause(index, retry_after_of(failure.kind), now);
        let userless = self.accounts[index].settings.grant == Grant::ClientCredentials;
        match failure.kind {
            FailureKind::Transient { retry_after }
            | FailureKind::Looping { retry_after }
            | FailureKind::Unexpected { retry_after } => {
                let first = first_pause(failure.kind, self.accounts[index].retry());
                self.retry_renewal(index, failure.message, first, retry_after, now);
            }
            FailureKind::GrantEnded if !userless => self.end_grant(index, failure.message, now),
            FailureKind::GrantEnded | FailureKind::Refused => self.hold_renewal(index, failure.message, now),
        }
    }

    /// Plans the next try after a failure that may pass.
    fn retry_renewal(
        &mut self,
        index: usize,
        reason: String,
        first: Duration,
        retry_after: Option<Duration>,
        now: Now,
    ) {
        let pause = self.retry_pause(first, self.accounts[index].failures, retry_after);
        let account = &mut self.accounts[index];
        account.failures = account.failures.saturating_add(1);
        account.record_error(reason, true, now);
        self.enter_renewal(index, Renewal::Due(now.time + pause));
        let message = self.temporary_message(index, now);
        self.log(Level::Warn, message.to_string());
        self.fail_waiters(index, Reason::Temporary, &message, |wants| wants == Wants::Renewal);
        self.settle_shows(index, now);
        self.ask_verdict(index);
    }

    /// Keeps the tokens, but asks no more before something changes or an hour is over.
    fn hold_renewal(&mut self, index: usize, reason: String, now: Now) {
        self.enter_renewal(index, Renewal::Held(now.time + HELD));
        let account = self.accounts[index].name().to_owned();
        let message = Message::Refused { account, reason: reason.clone() };
        self.report(index, reason, &message, now);
        self.fail_waiters(index, Reason::Error, &message, |wants| wants == Wants::Renewal);
        self.settle_shows(index, now);
    }

    /// The provider honours the refresh token no longer: only the user can help.
    pub(super) fn end_grant(&mut self, index: usize, reason: String, now: Now) {
        let account = self.accounts[index].name().to_owned();
        let message = Message::GrantEnded { account, reason: reason.clone() };
        self.forget_token(index, TokenEvent::Invalidated, now);
        if let Device::Held(_) = self.accounts[index].device() {
            // That was about another authorization.
            self.enter_device(index, Device::Closed);
        }
        self.report(index, reason, &message, now);
        self.fail_waiters(index, Reason::Authorize, &message, |wants| wants == Wants::Renewal);
        let patient = |waiter: &Waiter| matches!(waiter.wants, Wants::Token { patience: Patience::Long, .. });
        if self.accounts[index].waiters.iter().any(patient) && !self.accounts[index].is_authorizing() {
            self.start_authorization(index, now);
        }
        self.settle_shows(index, now);
    }

    /// Drops an account's tokens, here and in the store.
    pub(super) fn forget_token(&mut self, index: usize, event: TokenEvent, now: Now) {
        let account = &mut self.accounts[index];
        let had_token = account.token.take().is_some();
        account.generation += 1;
        account.failures = 0;
        let name = account.name().to_owned();
        self.load.bury(&name);
        self.enter_renewal(index, Renewal::Unable);
        self.end_verdict(index);
        // A store that was not read yet may hold a token that must not come back.
        if had_token || self.load.keeps_waiting() {
            self.mark_changed(index, now);
        }
        if had_token {
            self.raise_token_event(name, event);
        }
    }

    /// Takes tokens that a renewal brought.
    pub(super) fn install_renewed(&mut self, index: usize, tokens: Tokens, sent: Time, now: Now) {
        let event = if self.accounts[index].token.is_some() { TokenEvent::Refreshed } else { TokenEvent::New };
        self.install(index, tokens, event, sent, now);
        self.satisfy_waiters(index, Wants::Renewal, &[]);
        self.settle_shows(index, now);
    }

    /// Puts tokens in place of the old ones. A refresh token that did not come stays what it was. Their life began when
    /// they were asked for: a suspended machine may read an answer that is hours old.
    pub(super) fn install(&mut self, index: usize, tokens: Tokens, event: TokenEvent, sent: Time, now: Now) {
        let account = &mut self.accounts[index];
        let life = tokens.expires_in.unwrap_or(account.settings.assume_expires_in);
        let old = account.token.take();
        let (old_refresh_token, old_end) =
            old.map_or((None, None), |old| (old.refresh_token, old.refresh_token_expires_at));
        let refresh_token = tokens.refresh_token.filter(|_| account.keeps_refresh_tokens());
        let refresh_token_end = tokens.refresh_token_expires_in.map(|life| now.wall + life);
        let refresh_token_end = refresh_token_end.filter(|_| account.keeps_refresh_tokens());
        let kept_end = if refresh_token.is_some() { None } else { old_end };
        let narrower = narrower_scope(&account.settings.scopes, tokens.scope.as_deref());
        account.generation += 1;
        account.failures = 0;
        account.failed_questions = 0;
        account.last_error = None;
        account.token = Some(Issued {
            access_token: tokens.access_token,
            obtained_at: now.time,
            expires_at: sent + life,
            life,
            refresh_in: tokens.refresh_in,
            refresh_token: refresh_token.or(old_refresh_token),
            refresh_token_expires_at: refresh_token_end.or(kept_end),
            scope: tokens.scope,
        });
        let name = account.name().to_owned();
        let at = refresh_at(account).max(now.time + account.pause());
        let next = if account.is_renewable() { Renewal::Due(at) } else { Renewal::Unable };
        self.enter_renewal(index, next);
        self.end_verdict(index);
        self.mark_changed(index, now);
        self.raise_token_event(name.clone(), event);
        if let Some(scope) = narrower {
            self.log(Level::Info, format!("{name}: the provider gave a narrower scope than asked: {scope}"));
        }
    }

    /// Keeps a refresh token that came with an access token that is of no use.
    pub(super) fn keep_refresh_token(&mut self, index: usize, refresh_token: Secret, now: Now) {
        let account = &mut self.accounts[index];
        if !account.keeps_refresh_tokens() {
            return;
        }
        account.generation += 1;
        match &mut account.token {
            Some(token) => {
                token.refresh_token = Some(refresh_token);
                token.refresh_token_expires_at = None;
            }
            None => {
                account.token = Some(Issued {
                    access_token: Secret::default(),
                    obtained_at: now.time,
                    expires_at: now.time,
                    life: Duration::ZERO,
                    refresh_in: None,
                    refresh_token: Some(refresh_token),
                    refresh_token_expires_at: None,
                    scope: None,
                });
            }
        }
        self.mark_changed(index, now);
    }

    /// The account has moved on, but may still hold the refresh token of this request: a new one in the answer takes
    /// its place, since the old one is often worth nothing any more.
    pub(super) fn keep_rotated(&mut self, index: usize, ending: &Ending, now: Now) {
        let held = self.accounts[index].refresh_token();
        if held.is_none() || held != ending.sent.refresh_token.as_ref() {
            return;
        }
        let came = match self.read_tokens(index, None, ending, now) {
            Ok(tokens) => tokens.refresh_token,
            Err(failure) => failure.refresh_token,
        };
        if let Some(refresh_token) = came {
            self.keep_refresh_token(index, refresh_token, now);
        }
    }

    /// The end of a pause that the provider asked for.
    pub(super) fn paused_until(&self, token_uri: &str, now: Time) -> Option<Time> {
        self.pauses.iter().find(|pause| pause.token_uri == token_uri && pause.until > now).map(|pause| pause.until)
    }

    /// Remembers a pause that the provider asked for.
    pub(super) fn note_pause(&mut self, index: usize, retry_after: Option<Duration>, now: Now) {
        self.pauses.retain(|pause| pause.until > now.time);
        let Some(retry_after) = retry_after.filter(|pause| !pause.is_zero()) else { return };
        let token_uri = self.accounts[index].settings.token_uri.clone();
        let until = now.time + retry_after;
        match self.pauses.iter_mut().find(|pause| pause.token_uri == token_uri) {
            Some(pause) => pause.until = pause.until.max(until),
            None => self.pauses.push(Pause { token_uri, until }),
        }
    }

    /// Asks the user's command, after enough failures in a row, whether they are still transient.
    fn ask_verdict(&mut self, index: usize) {
        let account = &self.accounts[index];
        let enough = account.failures % FAILURES_PER_VERDICT == 0;
        // Without a user there is no authorization that could have ended.
        let can_end = account.settings.grant != Grant::ClientCredentials;
        let Some(command) = self.config.transient_error_if_cmd.clone() else { return };
        if !enough || !can_end || account.verdict.is_some() || !self.is_running() {
            return;
        }
        let run = Run {
            hook: Hook::TransientErrorIf,
            command,
            env: vec![("PIZAUTH_ACCOUNT", account.name().into())],
            stdin: None,
            capture: 0,
            limit: Some(VERDICT_LIMIT),
        };
        let ticket = self.run(RunOwner::TransientErrorIf(account.id), run);
        self.accounts[index].verdict = Some(ticket);
    }

    pub(super) fn on_verdict(&mut self, index: usize, ticket: Ticket, end: &ChildEnd, now: Now) {
        if self.accounts[index].verdict != Some(ticket) {
            return;
        }
        self.accounts[index].verdict = None;
        match failure_of(Hook::TransientErrorIf, end) {
            None => {}
            Some(fault @ Clause::NotStarted { .. }) => self.log(Level::Error, fault.to_string()),
            Some(fault) => self.end_grant(index, fault.to_string(), now),
        }
    }

    fn end_verdict(&mut self, index: usize) {
        if let Some(ticket) = self.accounts[index].verdict.take() {
            self.kill(ticket);
        }
    }

    /// The pause after a failure that may pass and `failures` others right before it: `first`, doubling, and a random
    /// share of that up to a tenth; never less than the provider asks for.
    pub(super) fn retry_pause(&mut self, first: Duration, failures: u32, retry_after: Option<Duration>) -> Duration {
        let mut byte = [0];
        (self.random)(&mut byte);
        let pause = backoff(first, MAX_BACKOFF, failures);
        (pause + pause.mul_f64(f64::from(byte[0]) / 2550.0)).max(retry_after.unwrap_or_default())
    }
}

/// How long a provider asks to wait.
pub(super) fn retry_after_of(kind: FailureKind) -> Option<Duration> {
    match kind {
        FailureKind::Transient { retry_after }
        | FailureKind::Looping { retry_after }
        | FailureKind::Unexpected { retry_after } => retry_after,
        FailureKind::GrantEnded | FailureKind::Refused => None,
    }
}

/// The pause before the first further try, which is `usual` unless the provider found that the client loops.
pub(super) fn first_pause(kind: FailureKind, usual: Duration) -> Duration {
    match kind {
        FailureKind::Looping { .. } => LOOPING_PAUSE,
        FailureKind::Transient { .. }
        | FailureKind::Unexpected { .. }
        | FailureKind::GrantEnded
        | FailureKind::Refused => usual,
    }
}

/// The scope that came, where it lacks something that was asked for. `offline_access` asks for a refresh token, and
/// need not be named in return.
fn narrower_scope(asked: &[String], came: Option<&str>) -> Option<String> {
    let came = came?;
    let has = |scope: &str| came.split([' ', ',']).any(|part| part == scope);
    let mut asked =
        asked.iter().flat_map(|scopes| scopes.split_whitespace()).filter(|scope| *scope != "offline_access");
    asked.any(|scope| !has(scope)).then(|| came.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_narrower_where_something_asked_for_is_missing() {
        for (name, asked, came, want) in [
            ("not told", &["a"][..], None, false),
            ("the same", &["a", "b"], Some("b a"), false),
            ("more", &["a"], Some("a b"), false),
            ("with commas", &["a", "b"], Some("a,b"), false),
            ("less", &["a", "b"], Some("a"), true),
            ("another", &["a"], Some("ab"), true),
            ("in another case", &["a"], Some("A"), true),
            ("several in one text", &["a b"], Some("a b"), false),
            ("offline_access", &["a", "offline_access"], Some("a"), false),
            ("nothing asked for", &[], Some("a"), false),
        ] {
            let asked: Vec<_> = asked.iter().map(|&scope| scope.to_owned()).collect();
            assert_eq!(narrower_scope(&asked, came).is_some(), want, "{name}");
        }
    }
}
