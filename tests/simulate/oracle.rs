//! What is held against the provider's view: nothing that it honours is forgotten, nobody waits for ever, and no user
//! is asked while the grant is good.

use std::time::Duration;

use pizauth::{
    engine::{ConnId, ExitReason, Hook, Time},
    oauth::dump,
    proto::Request,
};

use super::{
    setting::{NAMES, USERLESS, secs, show},
    world::{Happening, Network, World},
};

/// How long an outage may be felt after it is over: the longest backoff with its jitter, and two requests.
const RECOVERY: Duration = Duration::from_secs(40 * 60);

/// How long an account may be held after a refusal that nobody but the administrator mends.
const HELD: Duration = Duration::from_secs(3600 + 60);

impl World {
    /// Lets everything become well, and holds it against what the provider knows.
    pub fn settle(&mut self) {
        self.calm = true;
        self.network = Network::Up;
        self.queue.retain(|_, happening| !matches!(happening, Happening::Life(_)));
        if self.stopping.is_some() {
            self.run_until(self.now.time + secs(21));
        }
        let pause = if std::mem::take(&mut self.held) { HELD } else { secs(120) };
        self.run_until(self.now.time + pause);
        let good: Vec<&str> = NAMES.into_iter().filter(|name| self.needs_nobody(name)).collect();
        self.shown.clear();
        for name in &good {
            self.ask(Request::Show(show(name, Some(RECOVERY.as_secs()))), RECOVERY + secs(1), None);
        }
        self.run_until(self.now.time + RECOVERY + secs(2));
        let got = self.shown.iter().filter(|(_, token)| *token).count();
        let still_good = good.iter().filter(|name| self.needs_nobody(name)).count();
        if self.is_clean() && got < still_good {
            self.wrong(format!("only {got} of {good:?} came back after the outage"));
        }
        self.ask(Request::Dump, secs(1), None);
        let dump = self.dump.take().unwrap_or_default();
        self.check_held("the daemon", &dump);
        if self.store_read && self.hooks.values().all(|run| run.hook != Hook::Persist) {
            self.check_held("the store", &self.stored.clone());
        }
    }

    /// Revokes everything while all is well: no grant is good after that, and nothing of it is kept.
    pub fn revoke_all(&mut self) {
        let good: Vec<(&str, usize)> =
            NAMES.into_iter().filter_map(|name| Some((name, self.good_grant(name)?))).collect();
        for (name, _) in &good {
            self.let_go(name);
            self.ask(Request::Revoke { account: (*name).to_owned(), local: false }, secs(200), None);
        }
        self.run_until(self.now.time + secs(200));
        self.ask(Request::Dump, secs(1), None);
        let dump = self.dump.take().unwrap_or_default();
        for (name, place) in good {
            let grant = &self.provider.grants[place];
            let (current, ended) = (grant.current.clone(), grant.ended);
            if self.is_clean() && !ended {
                self.wrong(format!("{current} of {name} is good, although it was revoked"));
            }
            if self.is_clean() && [&dump, &self.stored].iter().any(|kept| holds(kept, &current)) {
                self.wrong(format!("{current} of {name} is kept, although it was revoked"));
            }
        }
    }

    /// The refresh tokens in a dump must be those that the provider honours.
    fn check_held(&mut self, place: &str, dump: &str) {
        for name in NAMES {
            let in_flight = self.calls.values().any(|call| call.account == name);
            let Some(grant) = self.good_grant(name).filter(|_| !in_flight) else { continue };
            let current = self.provider.grants[grant].current.clone();
            if !holds(dump, &current) {
                self.wrong(format!("{place} has forgotten {current} of {name}"));
            }
        }
    }

    /// The grant that the daemon has to keep.
    pub fn good_grant(&self, name: &str) -> Option<usize> {
        let place = self.views.get(name)?.active?;
        let grant = &self.provider.grants[place];
        (!grant.ended && !grant.excused).then_some(place)
    }

    /// Whether the daemon can get a token by itself.
    fn needs_nobody(&self, name: &str) -> bool {
        name == USERLESS || self.good_grant(name).is_some()
    }

    /// Everybody must have an answer by now who was promised one.
    pub fn check_patience(&mut self) {
        let late = |(_, until): &(&ConnId, Time)| *until < self.now.time;
        let client = self.clients.iter().map(|(conn, (until, _))| (conn, *until)).find(late).map(|(conn, _)| *conn);
        let page = self.pages.iter().map(|(conn, until)| (conn, *until)).find(late).map(|(conn, _)| *conn);
        if client.is_some() || page.is_some() {
            self.wrong(format!("still waiting: client {client:?}, page {page:?}"));
        }
        if self.stopping.is_some_and(|until| until < self.now.time) {
            self.wrong("the shutdown does not end".to_owned());
        }
    }

    /// The process has ended: what it leaves must be what the provider honours, where nothing was in between.
    pub fn check_exit(&mut self, reason: ExitReason) {
        let saving = self.hooks.values().any(|run| run.hook == Hook::Persist);
        let unsaved = saving || self.save_failing || !self.store_read;
        let in_flight: Vec<String> = self.calls.values().map(|call| call.account.clone()).collect();
        for name in NAMES {
            let Some(place) = self.good_grant(name) else { continue };
            let current = self.provider.grants[place].current.clone();
            if in_flight.iter().any(|account| account == name) {
                self.provider.grants[place].excused = true;
            } else if !holds(&self.stored, &current) {
                self.provider.grants[place].excused = true;
                if !unsaved || reason == ExitReason::Asked {
                    self.wrong(format!("{current} of {name} was not saved at the end ({reason:?})"));
                }
            }
        }
        self.excuse_let_go();
        // Grants that were given while their answers were under way were never seen.
        let never_seen: Vec<usize> = self
            .queue
            .values()
            .filter_map(|happening| match happening {
                Happening::Answer { grant, .. } => grant.map(|(place, _)| place),
                _ => None,
            })
            .collect();
        for place in never_seen {
            self.provider.grants[place].excused = true;
        }
    }

    /// What was let go may be in the store still, as it was before, and come back from there.
    pub fn excuse_let_go(&mut self) {
        for place in 0..self.provider.grants.len() {
            let kept = self.views.values().any(|view| view.active == Some(place));
            self.provider.grants[place].excused |= !kept;
        }
    }

    pub fn must_not_be_asked(&mut self, account: &str) {
        if self.needs_nobody(account) {
            self.wrong(format!("the user of {account} is asked although nobody is needed"));
        }
    }
}

/// Whether a dump holds a refresh token.
fn holds(dump: &str, refresh_token: &str) -> bool {
    let saved = dump::read(dump.as_bytes()).unwrap_or_default();
    let mut refresh_tokens = saved.iter().filter_map(|saved| saved.refresh_token.as_ref());
    refresh_tokens.any(|saved| saved.expose() == refresh_token)
}
