//! `show`, and the clients that wait: who waits for what until when.
//!
//! A waiter is a parked connection in its account. It is answered when what it waits for is there, when waiting has
//! become pointless, or when its time is up; it vanishes when its connection is gone.

use std::time::Duration;

use super::{
    Engine,
    account::{Account, Attempt, Browser, Device, Invitation, Issued, Renewal},
    event::{ConnId, Effect},
    message::{Has, Message},
    persistence::Load,
    time::{Now, Time},
};
use crate::{
    config::Grant,
    proto::{self, Notice, Reason, Response},
};

/// How long `show` waits by itself for an endpoint that answers without the user, such as the device endpoint.
const BRIEFLY: Duration = Duration::from_secs(5);

/// How long `show -t` waits for the refresh that it started, unless told otherwise.
const FOR_REFRESH: Duration = Duration::from_secs(30);

/// A client that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) conn: ConnId,
    pub(super) wants: Wants,
    pub(super) asked_at: Time,
    pub(super) until: Time,
    pub(super) urls: bool,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// A usable token.
    Token {
        /// How long it should still live.
        min_life: Option<Duration>,
        patience: Patience,
    },
    /// The outcome of an authorization.
    Authorization,
    /// Only where the user can authorise.
    Invitation,
    /// The outcome of a refresh.
    Renewal,
}

/// What a `show` that waits puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It was told to wait: only a refusal for good ends it early.
    Long,
    /// It waits for what is under way, and no longer.
    Short,
}

/// How a `show` stands.
enum Verdict {
    /// The token may be printed.
    Usable,
    /// Only the user can give a token, and was not asked yet.
    Unasked,
    /// The user was asked.
    Asked,
    /// It may come by itself.
    Temporary {
        message: Message,
        /// Something is on its way right now.
        under_way: bool,
    },
    /// Waiting does not help.
    Refused(Message),
}

impl Engine {
    /// A client asks for a token.
    pub(super) fn on_show(&mut self, conn: ConnId, show: proto::Show, now: Now) {
        let Some(index) = self.account_named(&show.account) else {
            return self.fail(conn, Reason::Error, Message::UnknownAccount { account: show.account });
        };
        if let Some(host) = show.git_host.filter(|host| !self.accounts[index].settings.honours_git_host(host)) {
            return self.fail(conn, Reason::Error, Message::ForeignGitHost { account: show.account, host });
        }
        // After a suspend a request may be here before its own deadline was noticed.
        self.on_device_timeout(index, now);
        let min_life = show.min_life.map(Duration::from_secs);
        let mut waiter = Waiter {
            conn,
            wants: Wants::Token { min_life, patience: Patience::Short },
            asked_at: now.time,
            until: now.time,
            urls: show.urls,
        };
        if let Verdict::Usable = self.judge(index, min_life, now.time, now) {
            return self.answer_show(index, &waiter, now);
        }
        self.retry_restore(now);
        self.pursue(index, min_life, now);
        if let Some(wait) = show.wait {
            waiter.wants = Wants::Token { min_life, patience: Patience::Long };
            waiter.until = now.time + Duration::from_secs(wait);
        } else {
            waiter.until = now.time + self.short_wait(index, min_life);
        }
        self.park(index, waiter);
        self.settle_shows(index, now);
    }

    /// Puts a client on the list of an account, and tells it where the user can authorise.
    pub(super) fn park(&mut self, index: usize, waiter: Waiter) {
        let tell = match waiter.wants {
            Wants::Token { patience, .. } => patience == Patience::Long,
            Wants::Authorization | Wants::Invitation => true,
            Wants::Renewal => false,
        };
        if tell {
            for notice in invitations(&self.accounts[index]) {
                self.effects.push_back(Effect::Notice { conn: waiter.conn, notice });
            }
        }
        self.accounts[index].waiters.push(waiter);
    }

    /// Tells everybody who waits for an account where the user can authorise.
    pub(super) fn invite_waiters(&mut self, index: usize) {
        let account = &self.accounts[index];
        let notices = invitations(account);
        for waiter in &account.waiters {
            match waiter.wants {
                Wants::Token { patience: Patience::Long, .. } | Wants::Authorization | Wants::Invitation => {
                    let conn = waiter.conn;
                    let notices = notices.iter().cloned();
                    self.effects.extend(notices.map(|notice| Effect::Notice { conn, notice }));
                }
                Wants::Token { patience: Patience::Short, .. } | Wants::Renewal => {}
            }
        }
    }

    /// Answers every `show` of an account that need not wait any longer.
    pub(super) fn settle_shows(&mut self, index: usize, now: Now) {
        let waiters = std::mem::take(&mut self.accounts[index].waiters);
        for waiter in waiters {
            if self.must_wait(index, &waiter, now) {
                self.accounts[index].waiters.push(waiter);
            } else {
                self.answer_show(index, &waiter, now);
            }
        }
    }

    /// Goes on with every `show` after a change that concerns all accounts: what can bring a token may be another.
    pub(super) fn resume_shows(&mut self, now: Now) {
        for index in 0..self.accounts.len() {
            self.resume_shows_of(index, now);
        }
    }

    /// Goes on with every `show` of an account, for the one that wants the longest life.
    pub(super) fn resume_shows_of(&mut self, index: usize, now: Now) {
        let patient = self.accounts[index].waiters.iter().filter_map(|waiter| match waiter.wants {
            Wants::Token { min_life, patience: Patience::Long } => Some(min_life),
            Wants::Token { .. } | Wants::Authorization | Wants::Invitation | Wants::Renewal => None,
        });
        if let Some(longest) = patient.max() {
            self.pursue(index, longest, now);
        }
        self.settle_shows(index, now);
    }

    /// Answers the waiters of an account whose time is up.
    pub(super) fn on_waiters_timeout(&mut self, index: usize, now: Now) {
        if self.accounts[index].waiters.iter().all(|waiter| waiter.until > now.time) {
            return;
        }
        let waiters = std::mem::take(&mut self.accounts[index].waiters);
        let (due, waiting) = waiters.into_iter().partition(|waiter| waiter.until <= now.time);
        self.accounts[index].waiters = waiting;
        let due: Vec<Waiter> = due;
        for waiter in due {
            match waiter.wants {
                Wants::Token { .. } => self.answer_show(index, &waiter, now),
                Wants::Authorization => {
                    let asking = self.question_message(index, now);
                    let message = asking.unwrap_or_else(|| self.authorize_message(index, waiter.urls));
                    self.fail(waiter.conn, Reason::Authorize, message);
                }
                Wants::Invitation if !matches!(self.accounts[index].browser(), Browser::Closed) => {
                    self.respond(waiter.conn, Response::Done { messages: Vec::new() });
                }
                Wants::Invitation => {
                    let account = self.accounts[index].name().to_owned();
                    self.fail(waiter.conn, Reason::Temporary, Message::AskingForUserCode { account });
                }
                Wants::Renewal => {
                    let message = self.temporary_message(index, now);
                    self.fail(waiter.conn, Reason::Temporary, message);
                }
            }
        }
    }

    /// Ends the wait of every client of an account that `ends` picks.
    pub(super) fn fail_waiters(
        &mut self,
        index: usize,
        reason: Reason,
        message: &Message,
        ends: impl Fn(Wants) -> bool,
    ) {
        let waiters = std::mem::take(&mut self.accounts[index].waiters);
        for waiter in waiters {
            if ends(waiter.wants) {
                self.fail(waiter.conn, reason, message.clone());
            } else {
                self.accounts[index].waiters.push(waiter);
            }
        }
    }

    /// Tells every client of an account that waits for `wants` that it is there.
    pub(super) fn satisfy_waiters(&mut self, index: usize, wants: Wants, messages: &[String]) {
        let waiters = std::mem::take(&mut self.accounts[index].waiters);
        for waiter in waiters {
            if waiter.wants == wants {
                self.respond(waiter.conn, Response::Done { messages: messages.to_vec() });
            } else {
                self.accounts[index].waiters.push(waiter);
            }
        }
    }

    /// The message of a plain `show` to which only the user can help.
    pub(super) fn authorize_message(&self, index: usize, urls: bool) -> Message {
        let account = &self.accounts[index];
        let name = account.name().to_owned();
        if let Browser::Exchanging(_) = account.browser() {
            return Message::BeingExchanged { account: name };
        }
        match account.invitation().filter(|_| urls) {
            Some(Invitation::Browser(request)) => {
                Message::AuthorizeInBrowser { account: name, url: request.url.clone() }
            }
            Some(Invitation::Device(polling)) => Message::AuthorizeOnDevice {
                account: name,
                verification_uri: polling.verification_uri.clone(),
                user_code: polling.user_code.clone(),
            },
            None => Message::AuthorizeSomewhere { account: name },
        }
    }

    /// The message of a `show` that may work later.
    pub(super) fn temporary_message(&self, index: usize, now: Now) -> Message {
        let account = &self.accounts[index];
        if let Some(until) = self.paused_until(&account.settings.token_uri, now.time) {
            return Message::ProviderAsksToWait { account: account.name().to_owned(), until: now.wall_at(until) };
        }
        let has = match &account.token {
            None => Has::Nothing,
            Some(token) if token.is_usable(now.time) => Has::UsableToken,
            Some(_) => Has::ExpiredToken,
        };
        let again = match account.renewal() {
            Renewal::Due(at) | Renewal::Held(at) => Some(now.wall_at(at.max(now.time))),
            Renewal::Unable | Renewal::InFlight(_) => None,
        };
        let error = account.last_error.as_ref().map(|error| error.message.clone());
        let account = account.name().to_owned();
        Message::NotRefreshed { account, has, again, error }
    }

    /// The message where an account's saved tokens are not known yet.
    pub(super) fn unread_store_message(&self, index: usize) -> Option<Message> {
        let account = self.accounts[index].name().to_owned();
        match self.load {
            Load::Off | Load::Done => None,
            Load::Restoring { .. } => Some(Message::Restoring { account }),
            Load::Sealed { .. } => {
                let reason = self.load_error.clone().unwrap_or_default();
                Some(Message::Sealed { account, reason })
            }
        }
    }

    /// The message where all that the user could be told is how far asking for a user code is.
    pub(super) fn question_message(&self, index: usize, now: Now) -> Option<Message> {
        let account = &self.accounts[index];
        match (account.browser(), account.device()) {
            (Browser::Closed, Device::Asking(Attempt::InFlight(_))) => {
                Some(Message::AskingForUserCode { account: account.name().to_owned() })
            }
            (Browser::Closed, Device::Asking(Attempt::Due(_))) => Some(self.no_user_code_message(index, now)),
            (Browser::Closed | Browser::Requested(_) | Browser::Exchanging(_), _) => None,
        }
    }

    /// The message where the device endpoint could not be asked.
    pub(super) fn no_user_code_message(&self, index: usize, now: Now) -> Message {
        let account = &self.accounts[index];
        if let Some(until) = self.paused_until(&account.settings.token_uri, now.time) {
            return Message::ProviderAsksToWait { account: account.name().to_owned(), until: now.wall_at(until) };
        }
        let reason = account.last_error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        let again = match account.device() {
            Device::Asking(Attempt::Due(at)) => Some(now.wall_at(*at)),
            Device::Closed | Device::Asking(Attempt::InFlight(_)) | Device::Held(_) | Device::Polling(_) => None,
        };
        Message::NoUserCode { account: account.name().to_owned(), reason, again }
    }

    /// Whether a client of an account waits for whatever the user will give.
    pub(super) fn is_awaited(&self, index: usize) -> bool {
        self.accounts[index].waiters.iter().any(|waiter| match waiter.wants {
            Wants::Token { patience, .. } => patience == Patience::Long,
            Wants::Authorization => true,
            Wants::Invitation | Wants::Renewal => false,
        })
    }

    /// Sets going what can bring a token: a refresh that is not waiting for its retry time, or the user.
    fn pursue(&mut self, index: usize, min_life: Option<Duration>, now: Now) {
        match self.judge(index, min_life, now.time, now) {
            Verdict::Unasked => self.start_authorization(index, now),
            Verdict::Temporary { .. } => {
                let account = &self.accounts[index];
                let waits_for_store = account.token.is_none() && self.load.keeps_waiting();
                let (Renewal::Due(at), 0, false) = (account.renewal(), account.failures, waits_for_store) else {
                    return;
                };
                let own = account.paused_until().filter(|until| *until > now.time);
                match own.max(self.paused_until(&account.settings.token_uri, now.time)) {
                    None => self.renew(index),
                    Some(until) => self.enter_renewal(index, Renewal::Due(at.min(until))),
                }
            }
            Verdict::Usable | Verdict::Asked | Verdict::Refused(_) => {}
        }
    }

    fn must_wait(&self, index: usize, waiter: &Waiter, now: Now) -> bool {
        let Wants::Token { min_life, patience } = waiter.wants else { return true };
        let verdict = self.judge(index, min_life, waiter.asked_at, now);
        waiter.until > now.time
            && match (verdict, patience) {
                (Verdict::Usable | Verdict::Refused(_), _) => false,
                (_, Patience::Long) => true,
                (Verdict::Temporary { under_way, .. }, Patience::Short) => under_way,
                (Verdict::Unasked | Verdict::Asked, Patience::Short) => false,
            }
    }

    /// How long a `show` without `-w` waits.
    fn short_wait(&self, index: usize, min_life: Option<Duration>) -> Duration {
        let account = &self.accounts[index];
        if min_life.is_some() && account.token.is_some() && account.is_renewable() {
            return FOR_REFRESH;
        }
        match (account.settings.grant, account.device()) {
            (Grant::DeviceCode, Device::Asking(Attempt::InFlight(_))) => BRIEFLY,
            (Grant::ClientCredentials, _) if account.token.is_none() => BRIEFLY,
            (Grant::AuthorizationCode | Grant::DeviceCode | Grant::ClientCredentials, _) => Duration::ZERO,
        }
    }

    fn answer_show(&mut self, index: usize, waiter: &Waiter, now: Now) {
        let Wants::Token { min_life, .. } = waiter.wants else { return };
        match self.judge(index, min_life, waiter.asked_at, now) {
            Verdict::Usable => {
                let Some(token) = self.accounts[index].usable_token(now.time) else { return };
                let response = Response::Token(Box::new(describe(&self.accounts[index], token, now)));
                self.respond(waiter.conn, response);
            }
            Verdict::Unasked | Verdict::Asked => {
                let message = self.authorize_message(index, waiter.urls);
                self.fail(waiter.conn, Reason::Authorize, message);
            }
            Verdict::Temporary { message, .. } => self.fail(waiter.conn, Reason::Temporary, message),
            Verdict::Refused(message) => self.fail(waiter.conn, Reason::Error, message),
        }
    }

    fn judge(&self, index: usize, min_life: Option<Duration>, asked_at: Time, now: Now) -> Verdict {
        let account = &self.accounts[index];
        if let Some(token) = account.usable_token(now.time) {
            return self.judge_life(index, token, min_life, asked_at, now);
        }
        if let Some(message) = self.unread_store_message(index) {
            return Verdict::Temporary { message, under_way: false };
        }
        let name = || account.name().to_owned();
        match (account.renewal(), account.browser(), account.device()) {
            (Renewal::InFlight(_), _, _) => {
                Verdict::Temporary { message: self.temporary_message(index, now), under_way: true }
            }
            (Renewal::Due(_), _, _) => {
                Verdict::Temporary { message: self.temporary_message(index, now), under_way: false }
            }
            (Renewal::Held(_), _, _) => Verdict::Refused(self.held_message(index)),
            (Renewal::Unable, Browser::Exchanging(exchanging), _) => {
                let under_way = matches!(exchanging.attempt, Attempt::InFlight(_));
                Verdict::Temporary { message: Message::BeingExchanged { account: name() }, under_way }
            }
            (Renewal::Unable, Browser::Requested(_), _) | (Renewal::Unable, _, Device::Polling(_)) => Verdict::Asked,
            (Renewal::Unable, Browser::Closed, Device::Asking(Attempt::InFlight(_))) => {
                Verdict::Temporary { message: Message::AskingForUserCode { account: name() }, under_way: true }
            }
            // What the device endpoint says is nothing to whom a browser can ask.
            (Renewal::Unable, Browser::Closed, Device::Asking(_) | Device::Held(_))
                if account.settings.grant != Grant::DeviceCode =>
            {
                Verdict::Unasked
            }
            (Renewal::Unable, Browser::Closed, Device::Asking(Attempt::Due(_))) => {
                Verdict::Temporary { message: self.no_user_code_message(index, now), under_way: false }
            }
            (Renewal::Unable, Browser::Closed, Device::Held(_)) => {
                let reason = account.last_error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
                Verdict::Refused(Message::AuthorizationFailed { account: name(), reason })
            }
            (Renewal::Unable, Browser::Closed, Device::Closed) => Verdict::Unasked,
        }
    }

    /// Whether a usable token lives as long as was asked, or as long as can be had.
    fn judge_life(
        &self,
        index: usize,
        token: &Issued,
        min_life: Option<Duration>,
        asked_at: Time,
        now: Now,
    ) -> Verdict {
        let account = &self.accounts[index];
        let fresh_enough = token.obtained_at + account.pause() >= asked_at;
        let lives_long_enough = min_life.is_none_or(|life| token.expires_at.since(now.time) >= life);
        if lives_long_enough || fresh_enough || !account.is_renewable() {
            return Verdict::Usable;
        }
        match account.renewal() {
            Renewal::Unable => Verdict::Usable,
            Renewal::Held(_) => Verdict::Refused(self.held_message(index)),
            Renewal::Due(_) => Verdict::Temporary { message: self.temporary_message(index, now), under_way: false },
            Renewal::InFlight(_) => Verdict::Temporary { message: self.temporary_message(index, now), under_way: true },
        }
    }

    fn held_message(&self, index: usize) -> Message {
        let account = &self.accounts[index];
        let reason = account.last_error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        Message::Refused { account: account.name().to_owned(), reason }
    }
}

/// Where the user can authorise, as far as the account has asked.
fn invitations(account: &Account) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Browser::Requested(request) = account.browser() {
        notices.push(Notice::Authorize { url: request.url.clone() });
    }
    if let Device::Polling(polling) = account.device() {
        notices.push(Notice::Device {
            verification_uri: polling.verification_uri.clone(),
            verification_uri_complete: polling.verification_uri_complete.clone(),
            user_code: polling.user_code.clone(),
        });
    }
    notices
}

/// What a client gets of a token.
fn describe(account: &Account, token: &Issued, now: Now) -> proto::Token {
    let settings = &account.settings;
    let requested = (!settings.scopes.is_empty()).then(|| settings.scopes.join(" "));
    proto::Token {
        account: settings.name.clone(),
        access_token: token.access_token.clone(),
        token_type: "Bearer".to_owned(),
        expires_at: now.wall_at(token.expires_at),
        expires_in: token.expires_at.since(now.time).as_secs(),
        scope: token.scope.clone().or(requested),
        user: settings.user().map(str::to_owned),
    }
}
