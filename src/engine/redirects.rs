//! Redirects: what a browser brings, or a user pastes; whose it is, whether it is right, and whether it came before.

use std::time::Duration;

use super::{
    Engine,
    account::Browser,
    clause::Clause,
    event::{ConnId, Effect, Level, Outcome, Page},
    message::Message,
    shutdown::outcome_of_stopping,
    time::{Now, Time},
};
use crate::{
    oauth::{
        authorization::{self, Redirect, RedirectFault, RedirectHead},
        digest,
        token::Asked,
    },
    proto::{Reason, Response},
    secret::Secret,
};

/// How long the outcome of a redirect is kept for a repeat of it.
const KEPT: Duration = Duration::from_secs(600);

/// How many outcomes are kept.
const MAX_KEPT: usize = 64;

/// HTTP status for a redirect that comes too late (RFC 9110 s15.6.4).
const SERVICE_UNAVAILABLE: u16 = 503;

/// A redirect that was handled.
pub(super) struct Handled {
    /// SHA-256 of its state.
    state: [u8; 32],
    outcome: Outcome,
    until: Time,
}

/// Where a redirect leads.
enum Way {
    /// To the account's open authorization.
    Open(usize),
    /// To an exchange that is under way.
    Exchanging(usize),
    /// To an outcome that is known.
    Handled(Outcome),
    /// Nowhere.
    Unknown,
}

impl Engine {
    /// A browser asks a redirect listener for something.
    pub(super) fn on_redirect(&mut self, conn: ConnId, head: &RedirectHead, now: Now) {
        let redirect = match authorization::check_head(head).and_then(|()| authorization::read_redirect(&head.target)) {
            Ok(redirect) => redirect,
            Err(fault) => return self.refuse(conn, fault),
        };
        let Some(state) = &redirect.state else { return self.refuse(conn, RedirectFault::NoState) };
        match self.way_of(state, now) {
            Way::Open(index) if !self.is_running() => {
                let outcome = outcome_of_stopping(self.accounts[index].name());
                let page = Page::Refusal { status: SERVICE_UNAVAILABLE, outcome };
                self.effects.push_back(Effect::Page { conn, page });
            }
            Way::Open(index) => match self.check(index, head, &redirect) {
                Ok(()) => self.follow(index, redirect, Some(conn), now),
                Err(fault) => self.refuse(conn, fault),
            },
            Way::Exchanging(index) => {
                self.effects.push_back(Effect::Page { conn, page: Page::Opening });
                self.accounts[index].pages_mut().into_iter().for_each(|pages| pages.push(conn));
            }
            Way::Handled(outcome) => {
                self.effects.push_back(Effect::Page { conn, page: Page::Opening });
                self.effects.push_back(Effect::Page { conn, page: Page::Outcome(outcome) });
            }
            Way::Unknown => self.refuse(conn, RedirectFault::UnknownState),
        }
    }

    /// A client brings what its user pasted.
    pub(super) fn on_paste(&mut self, conn: ConnId, account: String, text: &Secret, now: Now) {
        let Some(index) = self.account_named(&account) else {
            return self.fail(conn, Reason::Error, Message::UnknownAccount { account });
        };
        match self.paste(index, text, now) {
            Ok(()) => self.respond(conn, Response::Done { messages: Vec::new() }),
            Err(fault) => {
                let message = Message::WrongPaste { account, reason: fault.to_string() };
                self.fail(conn, Reason::Error, message);
            }
        }
    }

    fn paste(&mut self, index: usize, text: &Secret, now: Now) -> Result<(), Clause> {
        let paste = authorization::read_paste(text.expose()).map_err(Clause::Paste)?;
        let redirect_uri = match self.accounts[index].browser() {
            Browser::Requested(request) => request.redirect_uri.clone(),
            Browser::Exchanging(_) => return Err(Clause::BeingExchanged),
            Browser::Closed => return Err(Clause::NothingOpen),
        };
        let head = paste.into_head(&redirect_uri);
        let redirect = authorization::read_redirect(&head.target).map_err(Clause::Redirect)?;
        let state = redirect.state.as_ref().ok_or(Clause::Redirect(RedirectFault::NoState))?;
        match self.way_of(state, now) {
            Way::Open(owner) if owner == index => {}
            Way::Open(owner) | Way::Exchanging(owner) => {
                return Err(Clause::OfAccount { account: self.accounts[owner].name().to_owned() });
            }
            Way::Handled(_) => return Err(Clause::UsedAlready),
            Way::Unknown => return Err(Clause::Redirect(RedirectFault::UnknownState)),
        }
        self.check(index, &head, &redirect).map_err(Clause::Redirect)?;
        self.follow(index, redirect, None, now);
        Ok(())
    }

    /// Remembers how a redirect ended, for a repeat of it.
    pub(super) fn remember_redirect(&mut self, state: &Secret, outcome: &Outcome, now: Now) {
        self.handled.retain(|handled| handled.until > now.time);
        if self.handled.len() >= MAX_KEPT {
            self.handled.pop_front();
        }
        self.handled.push_back(Handled {
            state: digest(state.expose().as_bytes()),
            outcome: outcome.clone(),
            until: now.time + KEPT,
        });
    }

    fn check(&self, index: usize, head: &RedirectHead, redirect: &Redirect) -> Result<(), RedirectFault> {
        let account = &self.accounts[index];
        let Browser::Requested(request) = account.browser() else { return Err(RedirectFault::UnknownState) };
        authorization::check_redirect(&account.settings, &request.redirect_uri, head, redirect, self.bound.ports)
    }

    /// Takes the code, or the error, of a redirect that is in order.
    fn follow(&mut self, index: usize, redirect: Redirect, page: Option<ConnId>, now: Now) {
        if let Some(conn) = page {
            self.effects.push_back(Effect::Page { conn, page: Page::Opening });
        }
        if let Some(code) = redirect.code {
            return self.exchange(index, code, page, now);
        }
        let mask = self.mask(index, None);
        let asked = Asked { account: &self.accounts[index].settings, redirect_uri: None, mask: &mask };
        let Some(failure) = authorization::read_error(&asked, &redirect) else { return };
        self.fail_authorization(index, failure, now);
        if let (Some(conn), Some(handled)) = (page, self.handled.back()) {
            let page = Page::Outcome(handled.outcome.clone());
            self.effects.push_back(Effect::Page { conn, page });
        }
    }

    /// Finds out whose redirect it is. Every open state is compared, in constant time.
    fn way_of(&self, state: &Secret, now: Now) -> Way {
        let mut way = Way::Unknown;
        for (index, account) in self.accounts.iter().enumerate() {
            match account.browser() {
                Browser::Requested(request) if request.state == *state => way = Way::Open(index),
                Browser::Exchanging(exchanging) if exchanging.request.state == *state => way = Way::Exchanging(index),
                Browser::Closed | Browser::Requested(_) | Browser::Exchanging(_) => {}
            }
        }
        if let Way::Unknown = way {
            let state = digest(state.expose().as_bytes());
            let handled = self.handled.iter().find(|handled| handled.state == state && handled.until > now.time);
            return handled.map_or(Way::Unknown, |handled| Way::Handled(handled.outcome.clone()));
        }
        way
    }

    fn refuse(&mut self, conn: ConnId, fault: RedirectFault) {
        self.log(Level::Info, format!("redirect listener: refused a request: {fault}"));
        let outcome = Outcome {
            success: false,
            title: "This is not a redirect that pizauth waits for".to_owned(),
            detail: format!("The request was refused: {fault}. No authorization was changed."),
        };
        let page = Page::Refusal { status: fault.status(), outcome };
        self.effects.push_back(Effect::Page { conn, page });
    }
}
