//! Asking the user: the authorization code grant in a browser, the device grant on any device, and reminders.

use std::time::Duration;

use super::{
    Engine,
    account::{Attempt, Browser, Device, Exchanging, Invitation, Polling, Reminder, Renewal, Requested},
    calls::{Ending, Purpose},
    clause::Clause,
    event::{ConnId, Effect, Hook, Level, Outcome, Page, Run},
    hooks::{RunOwner, TokenEvent},
    message::Message,
    renewals::{HELD, first_pause, retry_after_of},
    time::{Now, Time, backoff},
    waiters::{Patience, Waiter, Wants},
};
use crate::{
    config::{Config, Grant},
    oauth::{
        Broken, authorization,
        device::{self, PollFailure},
        token::{self, Asked, Failure, FailureKind, Tokens},
    },
    proto::Reason,
    secret::Secret,
};

/// How long an exchange is tried again while nothing of it was written, and how often.
const EXCHANGE_RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));

/// How long `auth -n` waits for a user code.
const FOR_USER_CODE: Duration = Duration::from_secs(5);

/// Shortest pause between two device polls, whatever the provider says.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Longest pause after polls that got no answer (RFC 8628 s3.5 wants them to become rarer), unless the interval is longer.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// What `slow_down` adds to the interval of a device poll (RFC 8628 s3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

impl Engine {
    /// `pizauth auth`
    pub(super) fn on_auth(&mut self, conn: ConnId, account: String, wait: Option<u64>, urls: bool, now: Now) {
        let Some(index) = self.account_named(&account) else {
            return self.fail(conn, Reason::Error, Message::UnknownAccount { account });
        };
        if self.accounts[index].settings.grant == Grant::ClientCredentials {
            return self.on_refresh(conn, account, wait, urls, now);
        }
        self.open_browser(index, now);
        self.ask_device(index, now);
        let (wants, wait) = match wait {
            Some(wait) => (Wants::Authorization, Duration::from_secs(wait)),
            None => (Wants::Invitation, FOR_USER_CODE),
        };
        self.park(index, Waiter { conn, wants, asked_at: now.time, until: now.time + wait, urls });
        match (self.accounts[index].browser(), self.accounts[index].device()) {
            (_, Device::Asking(Attempt::InFlight(_))) => {}
            (Browser::Closed, Device::Asking(_)) => {
                let message = self.no_user_code_message(index, now);
                self.fail_waiters(index, Reason::Temporary, &message, |wants| wants == Wants::Invitation);
            }
            (_, Device::Closed | Device::Asking(_) | Device::Held(_) | Device::Polling(_)) => {
                self.satisfy_waiters(index, Wants::Invitation, &[]);
            }
        }
    }

    /// Asks the user for an authorization, the way the account's grant says.
    pub(super) fn start_authorization(&mut self, index: usize, now: Now) {
        match self.accounts[index].settings.grant {
            Grant::AuthorizationCode => self.open_browser(index, now),
            Grant::DeviceCode => self.ask_device(index, now),
            Grant::ClientCredentials => self.renew(index),
        }
    }

    /// Asks for a new authorization wherever the open one names a redirect URI that is no longer listened on, and tells
    /// of which accounts.
    pub(super) fn follow_listeners(&mut self, now: Now) -> Vec<usize> {
        let mut moved = Vec::new();
        for index in 0..self.accounts.len() {
            let account = &self.accounts[index];
            let Browser::Requested(request) = account.browser() else { continue };
            let redirect_uri = authorization::redirect_uri(&account.settings, self.bound.ports);
            if redirect_uri.as_ref() == Some(&request.redirect_uri) {
                continue;
            }
            moved.push(index);
            let before = self.told(index);
            self.enter_browser(index, Browser::Closed);
            self.open_browser(index, now);
            if matches!(self.accounts[index].browser(), Browser::Closed) {
                // No listener is left: allowed where the user can be given a code instead.
                self.retell(index, before, now);
                if self.is_awaited(index) {
                    self.ask_device(index, now);
                }
            }
        }
        moved
    }

    /// The redirect came: sends the code to the token endpoint, once.
    pub(super) fn exchange(&mut self, index: usize, code: Secret, page: Option<ConnId>, now: Now) {
        let id = self.accounts[index].id;
        let Browser::Requested(request) = self.enter_browser(index, Browser::Closed) else { return };
        let ticket = self.enqueue(Purpose::Exchange(id));
        let exchanging = Exchanging {
            request,
            code,
            pages: page.into_iter().collect(),
            attempt: Attempt::InFlight(ticket),
            until: now.time + EXCHANGE_RETRY.0,
        };
        self.enter_browser(index, Browser::Exchanging(exchanging));
        self.stop_reminding(index);
    }

    pub(super) fn on_exchange_answer(&mut self, index: usize, ending: Ending, now: Now) {
        let Browser::Exchanging(exchanging) = self.accounts[index].browser() else { return };
        let (redirect_uri, until) = (exchanging.request.redirect_uri.clone(), exchanging.until);
        let unwritten = ending.outcome.as_ref().is_err_and(Broken::nothing_was_written);
        let again = unwritten && now.time < until && self.is_running();
        match self.read_tokens(index, Some(&redirect_uri), &ending, now) {
            Ok(tokens) => self.install_authorized(index, tokens, ending.sent.at, now),
            Err(failure) if again => {
                let Browser::Exchanging(mut exchanging) = self.enter_browser(index, Browser::Closed) else { return };
                exchanging.attempt = Attempt::Due(now.time + EXCHANGE_RETRY.1);
                self.enter_browser(index, Browser::Exchanging(exchanging));
                self.log(Level::Warn, format!("{}: {}", self.accounts[index].name(), failure.message));
                self.accounts[index].record_error(failure.message, true, now);
            }
            Err(failure) => {
                self.note_pause(index, retry_after_of(failure.kind), now);
                self.fail_authorization(index, failure, now);
            }
        }
    }

    /// An exchange of which nothing was written is due again.
    pub(super) fn on_exchange_timeout(&mut self, index: usize, now: Now) {
        let Browser::Exchanging(Exchanging { attempt: Attempt::Due(at), .. }) = self.accounts[index].browser() else {
            return;
        };
        if *at > now.time {
            return;
        }
        let ticket = self.enqueue(Purpose::Exchange(self.accounts[index].id));
        let Browser::Exchanging(mut exchanging) = self.enter_browser(index, Browser::Closed) else { return };
        exchanging.attempt = Attempt::InFlight(ticket);
        self.enter_browser(index, Browser::Exchanging(exchanging));
    }

    /// Takes the tokens that the user gave; everything that asked for them is answered.
    pub(super) fn install_authorized(&mut self, index: usize, tokens: Tokens, sent: Time, now: Now) {
        self.install(index, tokens, TokenEvent::New, sent, now);
        let account = self.accounts[index].name().to_owned();
        let mut messages = Vec::new();
        if !self.accounts[index].is_renewable()
            && !std::mem::replace(&mut self.accounts[index].told_no_refresh_token, true)
        {
            let message = Message::NoRefreshToken { account: account.clone() }.to_string();
            self.log(Level::Warn, message.clone());
            messages.push(message);
        }
        let outcome = Outcome {
            success: true,
            title: format!("{account} is authorised"),
            detail: "pizauth has an access token for this account now. You can close this page.".to_owned(),
        };
        self.close_authorization(index, &outcome, now);
        for wants in [Wants::Authorization, Wants::Invitation, Wants::Renewal] {
            self.satisfy_waiters(index, wants, &messages);
        }
        // A token whose life was over before it came is none: who waits still has to ask.
        self.resume_shows_of(index, now);
    }

    /// Ends an authorization that cannot succeed any more, and says why to everybody concerned.
    pub(super) fn fail_authorization(&mut self, index: usize, mut failure: Failure, now: Now) {
        let renewing = self.accounts[index].renewal() != Renewal::Unable;
        self.keep_offered(index, &mut failure, now);
        self.forget_refused_secret(index, &failure);
        let account = self.accounts[index].name().to_owned();
        let message = Message::AuthorizationFailed { account, reason: failure.message.clone() };
        let outcome = Outcome {
            success: false,
            title: format!("{} is not authorised", self.accounts[index].name()),
            detail: format!("{}. To try again, ask for a token once more and open the new URL.", failure.message),
        };
        self.close_authorization(index, &outcome, now);
        self.report(index, failure.message, &message, now);
        self.fail_waiters(index, Reason::Error, &message, |wants| match wants {
            Wants::Token { .. } => !renewing,
            Wants::Authorization | Wants::Invitation => true,
            Wants::Renewal => false,
        });
    }

    /// Ends whatever the user was asked for an account, and finishes its pages.
    pub(super) fn close_authorization(&mut self, index: usize, outcome: &Outcome, now: Now) {
        self.stop_reminding(index);
        self.accounts[index].reminder = None;
        self.enter_device(index, Device::Closed);
        match self.enter_browser(index, Browser::Closed) {
            Browser::Closed => {}
            Browser::Requested(request) => self.remember_redirect(&request.state, outcome, now),
            Browser::Exchanging(exchanging) => {
                self.remember_redirect(&exchanging.request.state, outcome, now);
                for conn in exchanging.pages {
                    self.effects.push_back(Effect::Page { conn, page: Page::Outcome(outcome.clone()) });
                }
            }
        }
    }

    /// Opens an authorization request, or goes on with the open one.
    fn open_browser(&mut self, index: usize, now: Now) {
        let account = &self.accounts[index];
        if !matches!(account.browser(), Browser::Closed) || account.settings.auth_uri.is_none() {
            return;
        }
        let Some(request) = authorization::request(&account.settings, self.bound.ports, &mut *self.random) else {
            let line = format!("{}: no listener for its redirect_uri", account.name());
            return self.log(Level::Error, line);
        };
        let requested = Requested {
            url: request.url,
            state: request.state,
            code_verifier: request.code_verifier,
            redirect_uri: request.redirect_uri,
        };
        let before = self.told(index);
        self.enter_browser(index, Browser::Requested(requested));
        self.retell(index, before, now);
        self.invite_waiters(index);
    }

    /// Asks for a user code, unless there is one, as soon as the provider allows it.
    fn ask_device(&mut self, index: usize, now: Now) {
        let account = &self.accounts[index];
        let asks = match account.device() {
            Device::Closed | Device::Held(_) | Device::Asking(Attempt::Due(_)) => true,
            Device::Asking(Attempt::InFlight(_)) | Device::Polling(_) => false,
        };
        if !asks || account.settings.device_auth_uri.is_none() {
            return;
        }
        let id = account.id;
        let attempt = match self.paused_until(&account.settings.token_uri, now.time) {
            Some(until) => Attempt::Due(until),
            None => Attempt::InFlight(self.enqueue(Purpose::DeviceAuthorization(id))),
        };
        self.enter_device(index, Device::Asking(attempt));
    }

    /// A question whose turn came may not be sent yet.
    pub(super) fn postpone_question(&mut self, index: usize, until: Time, now: Now) {
        self.enter_device(index, Device::Asking(Attempt::Due(until)));
        if let Browser::Closed = self.accounts[index].browser() {
            return self.tell_no_user_code(index, now);
        }
        self.satisfy_waiters(index, Wants::Invitation, &[]);
        self.settle_shows(index, now);
    }

    pub(super) fn on_device_answer(&mut self, index: usize, ending: Ending, now: Now) {
        let mask = self.mask(index, ending.sent.client_secret.as_ref());
        let asked = Asked { account: &self.accounts[index].settings, redirect_uri: None, mask: &mask };
        let result = match &ending.outcome {
            Ok(reply) => device::read_answer(&asked, reply, now.wall),
            Err(broken) => Err(token::read_broken(&asked, broken)),
        };
        match result {
            Ok(answer) => {
                let polling = Polling {
                    device_code: answer.device_code,
                    user_code: answer.user_code,
                    verification_uri: answer.verification_uri,
                    verification_uri_complete: answer.verification_uri_complete,
                    expires_at: now.time + answer.expires_in,
                    interval: answer.interval.max(MIN_INTERVAL),
                    attempt: Attempt::Due(now.time + answer.interval.max(MIN_INTERVAL)),
                    unanswered: 0,
                };
                self.accounts[index].failed_questions = 0;
                let before = self.told(index);
                self.enter_device(index, Device::Polling(polling));
                self.retell(index, before, now);
                self.invite_waiters(index);
                self.satisfy_waiters(index, Wants::Invitation, &[]);
                self.settle_shows(index, now);
            }
            Err(failure) => self.fail_device_request(index, failure, now),
        }
    }

    /// No user code: it is asked for again after a pause, where somebody waits then, or else when somebody asks.
    fn fail_device_request(&mut self, index: usize, failure: Failure, now: Now) {
        self.enter_device(index, Device::Closed);
        let retry_after = retry_after_of(failure.kind);
        self.note_pause(index, retry_after, now);
        let browser_open = !matches!(self.accounts[index].browser(), Browser::Closed);
        let transient = match failure.kind {
            FailureKind::Transient { .. } | FailureKind::Looping { .. } | FailureKind::Unexpected { .. } => true,
            FailureKind::GrantEnded | FailureKind::Refused => false,
        };
        let account = self.accounts[index].name().to_owned();
        if browser_open {
            self.forget_refused_secret(index, &failure);
            let line = format!("{account}: no user code: {}", failure.message);
            self.log(Level::Warn, line);
            self.accounts[index].record_error(failure.message, transient, now);
            return self.satisfy_waiters(index, Wants::Invitation, &[]);
        }
        if !transient {
            self.fail_authorization(index, failure, now);
            self.enter_device(index, Device::Held(now.time + HELD));
            return;
        }
        let first = first_pause(failure.kind, self.accounts[index].retry());
        let at = now.time + self.retry_pause(first, self.accounts[index].failed_questions, retry_after);
        self.enter_device(index, Device::Asking(Attempt::Due(at)));
        let account = &mut self.accounts[index];
        account.failed_questions = account.failed_questions.saturating_add(1);
        account.record_error(failure.message, true, now);
        let message = self.no_user_code_message(index, now);
        self.log(Level::Warn, message.to_string());
        self.tell_no_user_code(index, now);
    }

    /// Ends the wait of those who only waited for the answer to a question.
    fn tell_no_user_code(&mut self, index: usize, now: Now) {
        let message = self.no_user_code_message(index, now);
        let is_renewing = self.accounts[index].renewal() != Renewal::Unable;
        self.fail_waiters(index, Reason::Temporary, &message, |wants| match wants {
            Wants::Token { patience, .. } => patience == Patience::Short && !is_renewing,
            Wants::Invitation => true,
            Wants::Authorization | Wants::Renewal => false,
        });
    }

    /// A question or a poll is due, or the user code has ended. The answer to the last poll is waited for.
    pub(super) fn on_device_timeout(&mut self, index: usize, now: Now) {
        let polling = match self.accounts[index].device() {
            Device::Polling(polling) => polling,
            Device::Asking(Attempt::Due(at)) if *at <= now.time && self.is_awaited(index) => {
                return self.ask_device(index, now);
            }
            Device::Asking(Attempt::Due(at)) | Device::Held(at) if *at <= now.time => {
                self.enter_device(index, Device::Closed);
                return;
            }
            Device::Closed | Device::Asking(_) | Device::Held(_) => return,
        };
        let Attempt::Due(at) = polling.attempt else { return };
        if polling.expires_at <= now.time {
            let failure = Failure {
                kind: FailureKind::Refused,
                status: None,
                error: Some("expired_token".to_owned()),
                message: Clause::UserCodeExpired.to_string(),
                refresh_token: None,
            };
            return self.end_device(index, failure, now);
        }
        if at <= now.time {
            let ticket = self.enqueue(Purpose::DevicePoll(self.accounts[index].id));
            self.set_poll(index, |polling| polling.attempt = Attempt::InFlight(ticket));
        }
    }

    pub(super) fn on_poll_answer(&mut self, index: usize, ending: Ending, now: Now) {
        let Device::Polling(polling) = self.accounts[index].device() else { return };
        let interval = polling.interval;
        let unanswered = if ending.outcome.is_err() { polling.unanswered.saturating_add(1) } else { 0 };
        let mask = self.mask(index, ending.sent.client_secret.as_ref());
        let asked = Asked { account: &self.accounts[index].settings, redirect_uri: None, mask: &mask };
        let result = match &ending.outcome {
            Ok(reply) => device::read_poll(&asked, reply, now.wall),
            Err(broken) => Err(PollFailure::Failed(token::read_broken(&asked, broken))),
        };
        let failure = match result {
            Ok(tokens) => return self.install_authorized(index, tokens, ending.sent.at, now),
            Err(PollFailure::Pending) => {
                let next = Attempt::Due(now.time + interval);
                return self.set_poll(index, |polling| (polling.attempt, polling.unanswered) = (next, 0));
            }
            Err(PollFailure::SlowDown { retry_after }) => {
                self.note_pause(index, retry_after, now);
                let next = Attempt::Due(now.time + interval + SLOW_DOWN + retry_after.unwrap_or_default());
                return self.set_poll(index, |polling| {
                    (polling.attempt, polling.unanswered) = (next, 0);
                    polling.interval += SLOW_DOWN;
                });
            }
            Err(PollFailure::Failed(failure)) => failure,
        };
        self.note_pause(index, retry_after_of(failure.kind), now);
        match failure.kind {
            FailureKind::Transient { retry_after }
            | FailureKind::Looping { retry_after }
            | FailureKind::Unexpected { retry_after } => {
                let pause = backoff(first_pause(failure.kind, interval), LONGEST_SILENCE, unanswered);
                let next = Attempt::Due(now.time + pause + retry_after.unwrap_or_default());
                self.set_poll(index, |polling| (polling.attempt, polling.unanswered) = (next, unanswered));
                let line = format!("{}: {}", self.accounts[index].name(), failure.message);
                self.log(Level::Warn, line);
                self.accounts[index].record_error(failure.message, true, now);
            }
            FailureKind::GrantEnded | FailureKind::Refused => self.end_device(index, failure, now),
        }
    }

    /// The device grant cannot succeed any more; a browser that was asked as well goes on.
    fn end_device(&mut self, index: usize, mut failure: Failure, now: Now) {
        if matches!(self.accounts[index].browser(), Browser::Closed) {
            return self.fail_authorization(index, failure, now);
        }
        self.keep_offered(index, &mut failure, now);
        self.forget_refused_secret(index, &failure);
        let before = self.told(index);
        self.enter_device(index, Device::Closed);
        self.retell(index, before, now);
        let line = format!("{}: {}", self.accounts[index].name(), failure.message);
        self.log(Level::Warn, line);
        self.accounts[index].record_error(failure.message, false, now);
    }

    /// Tokens were restored while the user was asked: nobody need answer any more.
    pub(super) fn leave_to_restored(&mut self, index: usize, now: Now) {
        let outcome = Outcome {
            success: true,
            title: format!("{} is authorised", self.accounts[index].name()),
            detail: "Saved tokens were restored meanwhile. You can close this page.".to_owned(),
        };
        self.close_authorization(index, &outcome, now);
        for wants in [Wants::Authorization, Wants::Invitation] {
            self.satisfy_waiters(index, wants, &[]);
        }
    }

    /// Keeps a refresh token that a refused answer brought, and renews with it.
    pub(super) fn keep_offered(&mut self, index: usize, failure: &mut Failure, now: Now) {
        let offered = failure.refresh_token.take().filter(|_| self.accounts[index].keeps_refresh_tokens());
        if let Some(refresh_token) = offered {
            self.keep_refresh_token(index, refresh_token, now);
            self.enter_renewal(index, Renewal::Due(now.time));
        }
    }

    fn set_poll(&mut self, index: usize, change: impl FnOnce(&mut Polling)) {
        if let Device::Polling(mut polling) = self.enter_device(index, Device::Closed) {
            change(&mut polling);
            self.enter_device(index, Device::Polling(polling));
        }
    }

    /// What the user is told to open or to enter.
    fn told(&self, index: usize) -> Option<String> {
        self.accounts[index].invitation().map(|invitation| match invitation {
            Invitation::Browser(request) => request.url.clone(),
            Invitation::Device(polling) => polling.user_code.clone(),
        })
    }

    /// Reminds anew where something else is to be told than `before`.
    fn retell(&mut self, index: usize, before: Option<String>, now: Now) {
        if self.told(index) != before {
            self.start_reminding(index, now);
        }
    }

    /// Tells the user what to open, now and at every interval from now on.
    pub(super) fn start_reminding(&mut self, index: usize, now: Now) {
        self.stop_reminding(index);
        if self.accounts[index].invitation().is_none() {
            return;
        }
        let last = self.accounts[index].reminder.take().and_then(|reminder| reminder.last);
        let next = (self.config.auth_notify_cmd.is_some() && self.is_running()).then_some(now.time);
        self.accounts[index].reminder = Some(Reminder { last, next, showing: None });
        self.on_reminder_timeout(index, now);
    }

    /// Shows every open authorization by the command and at the interval that are configured now, but those of `shown`,
    /// which are.
    pub(super) fn follow_reminder_options(&mut self, old: &Config, shown: &[usize], now: Now) {
        let is_other_command = self.config.auth_notify_cmd != old.auth_notify_cmd;
        let interval = self.reminder_interval();
        for index in 0..self.accounts.len() {
            let account = &mut self.accounts[index];
            if is_other_command && account.is_authorizing() && !shown.contains(&index) {
                self.start_reminding(index, now);
            } else if let Some(Reminder { last: Some(last), next: Some(next), .. }) = &mut account.reminder {
                *next = (*last + interval).max(now.time);
            }
        }
    }

    fn reminder_interval(&self) -> Duration {
        self.config.auth_notify_interval.max(Duration::from_secs(1))
    }

    /// Takes a notification off the screen and plans no other.
    fn stop_reminding(&mut self, index: usize) {
        let Some(reminder) = &mut self.accounts[index].reminder else { return };
        reminder.next = None;
        if let Some(ticket) = reminder.showing.take() {
            self.kill(ticket);
        }
    }

    /// A reminder is due.
    pub(super) fn on_reminder_timeout(&mut self, index: usize, now: Now) {
        let account = &self.accounts[index];
        let due = account.reminder.as_ref().and_then(|reminder| reminder.next).is_some_and(|at| at <= now.time);
        let Some(command) = self.config.auth_notify_cmd.clone().filter(|_| due) else { return };
        let mut env = vec![("PIZAUTH_ACCOUNT", Secret::from(account.name()))];
        match account.invitation() {
            Some(Invitation::Browser(request)) => env.push(("PIZAUTH_URL", Secret::from(request.url.as_str()))),
            Some(Invitation::Device(polling)) => {
                env.push(("PIZAUTH_URL", Secret::from(polling.verification_uri.as_str())));
                let complete = polling.verification_uri_complete.as_deref();
                env.extend(complete.map(|uri| ("PIZAUTH_URL_COMPLETE", Secret::from(uri))));
                env.push(("PIZAUTH_USER_CODE", Secret::from(polling.user_code.as_str())));
            }
            None => return self.stop_reminding(index),
        }
        let run = Run { hook: Hook::AuthNotify, command, env, stdin: None, capture: 0, limit: None };
        let ticket = self.run(RunOwner::AuthNotify, run);
        let next = now.time + self.reminder_interval();
        let reminder = Reminder { last: Some(now.time), next: Some(next), showing: Some(ticket) };
        if let Some(Reminder { showing: Some(old), .. }) = self.accounts[index].reminder.replace(reminder) {
            self.kill(old);
        }
    }
}
