//! Reading the configuration anew: everything that can fail happens before anything changes.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    Engine,
    account::{Account, ClientSecret, Device, Renewal},
    event::{ConnId, Effect, Level, Outcome, Readiness, Staging, Ticket},
    hooks::TokenEvent,
    message::Message,
    time::Now,
};
use crate::{
    config,
    proto::{Reason, Response},
};

/// A configuration that is being read, and who asked for it.
#[derive(Default)]
pub(super) struct Reloads {
    /// The staging under way.
    staging: Option<Ticket>,
    /// Who is answered when it ends.
    askers: Vec<ConnId>,
    /// Who asked since it began, and waits for the next one.
    next: Vec<ConnId>,
    /// Whether a next one was asked for.
    again: bool,
}

impl Engine {
    /// `pizauth reload`, or SIGHUP where nobody waits for an answer.
    pub(super) fn on_reload(&mut self, conn: Option<ConnId>) {
        if self.reloads.staging.is_some() {
            self.reloads.again = true;
            self.reloads.next.extend(conn);
            return;
        }
        let ticket = self.issue_ticket();
        self.reloads.staging = Some(ticket);
        self.reloads.askers.extend(conn);
        self.effects.push_back(Effect::Notify(Readiness::Reloading));
        self.effects.push_back(Effect::Stage { ticket });
    }

    pub(super) fn on_staged(&mut self, ticket: Ticket, result: Result<Box<Staging>, Vec<String>>, now: Now) {
        if self.reloads.staging != Some(ticket) {
            self.effects.push_back(Effect::Discard { ticket });
            return;
        }
        self.reloads.staging = None;
        let askers = std::mem::take(&mut self.reloads.askers);
        let response = match result {
            Ok(staging) => {
                self.effects.push_back(Effect::Adopt { ticket });
                self.log(Level::Info, "configuration read anew".to_owned());
                let messages = staging.bound.warnings.clone();
                self.adopt(*staging, now);
                Response::Done { messages }
            }
            Err(messages) => {
                messages.iter().for_each(|message| self.log(Level::Error, format!("not reloaded: {message}")));
                Response::Failed { reason: Reason::Error, messages }
            }
        };
        for conn in askers {
            self.respond(conn, response.clone());
        }
        self.effects.push_back(Effect::Notify(Readiness::Ready));
        if std::mem::take(&mut self.reloads.again) {
            let next = std::mem::take(&mut self.reloads.next);
            self.on_reload(None);
            self.reloads.askers = next;
        }
    }

    /// Gives up what is being read, because the server stops.
    pub(super) fn drop_reloads(&mut self) {
        let Reloads { staging: _, askers, next, again: _ } = std::mem::take(&mut self.reloads);
        for conn in askers.into_iter().chain(next) {
            self.fail(conn, Reason::Unavailable, Message::ShuttingDown);
        }
    }

    /// A client that waits for a reload is gone.
    pub(super) fn forget_reload_asker(&mut self, conn: ConnId) {
        self.reloads.askers.retain(|asker| *asker != conn);
        self.reloads.next.retain(|asker| *asker != conn);
    }

    /// Swaps to a new configuration: accounts that are still the same keep their tokens, others lose them.
    fn adopt(&mut self, staging: Staging, now: Now) {
        let Staging { config: mut new, bound } = staging;
        let settings = std::mem::take(&mut new.accounts);
        let old_config = std::mem::replace(&mut self.config, new);
        self.bound = bound;

        let old = std::mem::take(&mut *self.accounts).into_iter();
        let mut old: BTreeMap<String, Account> = old.map(|account| (account.name().to_owned(), account)).collect();
        let mut removed = Vec::new();
        for settings in settings {
            let settings = Rc::new(settings);
            let account = match old.remove(&settings.name) {
                Some(account) if account.settings.same_token_binding(&settings) => keep(account, settings, now),
                Some(account) => {
                    removed.push(account);
                    Account::new(self.issue_account_id(), settings)
                }
                None => Account::new(self.issue_account_id(), settings),
            };
            self.accounts.push(account);
        }
        for account in removed.into_iter().chain(old.into_values()) {
            self.remove(account, now);
        }

        let moved = self.follow_listeners(now);
        self.follow_reminder_options(&old_config, &moved, now);
        self.adopt_persistence(old_config.persist_cmd.as_deref(), now);
        if !self.load.keeps_waiting() {
            self.renew_userless(now);
        }
        self.resume_shows(now);
    }

    /// Lets go of an account that is not configured any more, or not as it was.
    fn remove(&mut self, account: Account, now: Now) {
        let name = account.name().to_owned();
        let had_token = account.token.is_some();
        let successor = self.account_named(&name);

        // The machines close as they do for a revoked account, so it stands in the list for that long.
        let index = self.accounts.len();
        self.accounts.push(account);
        let outcome = Outcome {
            success: false,
            title: format!("{name} is not authorised"),
            detail: "The account's configuration was changed meanwhile. Ask for a token once more.".to_owned(),
        };
        self.close_authorization(index, &outcome, now);
        self.forget_running_of(index);
        self.fail_waiters(index, Reason::Error, &Message::AccountChanged { account: name.clone() }, |_| true);
        self.abandon_calls(index);
        self.accounts.truncate(index);

        self.load.bury(&name);
        if had_token || self.load.keeps_waiting() {
            match successor {
                Some(index) => self.mark_changed(index, now),
                None => {
                    self.changes += 1;
                    self.plan_save(now);
                }
            }
        }
        if had_token {
            self.log(Level::Warn, format!("{name}: its configuration was changed, so its token was forgotten"));
            if successor.is_some() {
                self.raise_token_event(name, TokenEvent::Invalidated);
            }
        }
    }
}

/// An account whose tokens still belong to it, with its other settings as they are now.
fn keep(mut account: Account, settings: Rc<config::Account>, now: Now) -> Account {
    account.settings = settings;
    if let (ClientSecret::Known(_), config::ClientSecret::Command(_)) =
        (&account.client_secret, &account.settings.client_secret)
    {
        account.client_secret = ClientSecret::Unread;
    }
    if let Device::Held(_) = account.device() {
        account.enter_device(Device::Closed);
    }
    match account.renewal() {
        Renewal::Held(_) => {
            account.enter_renewal(Renewal::Due(now.time));
        }
        Renewal::Due(_) if account.failures == 0 && account.token.is_some() => {
            let at = super::renewals::refresh_at(&account).max(now.time);
            account.enter_renewal(Renewal::Due(at));
        }
        Renewal::Due(_) | Renewal::InFlight(_) | Renewal::Unable => {}
    }
    account
}

#[cfg(test)]
impl Reloads {
    /// Who waits for a reload.
    pub(super) fn askers(&self) -> Vec<ConnId> {
        self.askers.iter().chain(&self.next).copied().collect()
    }
}
