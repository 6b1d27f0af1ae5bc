//! What happens in the world by itself: people, clients, crashes, clocks.

use std::time::Duration;

use pizauth::{
    engine::{ConnId, Event, ExitReason, Staging, Ticket},
    oauth::authorization::{RedirectHead, Scheme},
    proto::{Request, Show},
    secret::Secret,
};

use super::{
    provider::Entered,
    setting::{DEVICE, NAMES, bound, config, secs, show},
    world::{Happening, Life, World},
};

impl World {
    pub fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Answer { ticket, outcome, grant } => self.deliver(ticket, outcome, grant),
            Happening::HookEnd { ticket, end } => self.end_hook(ticket, end),
            Happening::Staged { ticket } => self.stage(ticket),
            Happening::Approve { account } => self.approve(&account),
            Happening::Gone { conn } => {
                if self.clients.remove(&conn).is_some() {
                    self.event(Event::Gone { conn });
                }
            }
            Happening::Life(life) => self.live_on(life),
        }
    }

    fn live_on(&mut self, life: Life) {
        match life {
            Life::Client => self.come(),
            Life::Reload => self.ask(Request::Reload, secs(60), None),
            Life::Restore => {
                self.excuse_let_go();
                self.restoring = Some(ConnId(self.sequence + 1));
                let dump = Secret::new(self.stored.clone());
                self.ask(Request::Restore { dump }, secs(1), None);
            }
            Life::Crash => {
                self.check_exit(ExitReason::Unsaved);
                self.start();
            }
            Life::Shutdown => {
                self.stopping = Some(self.now.time + secs(20));
                self.event(Event::Shutdown);
            }
            Life::Suspend => {
                let time = secs(self.chance.below(20_000));
                self.pass(time);
                // What others owe the daemon comes later by as much, and so do its own answers.
                self.clients.values_mut().for_each(|(until, _)| *until = *until + time);
                self.pages.values_mut().for_each(|until| *until = *until + time);
                self.stopping.iter_mut().for_each(|until| *until = *until + time);
            }
            Life::ClockStep => {
                let step = secs(self.chance.below(5_000_000));
                let forward = self.chance.percent(50);
                self.now.wall = if forward { self.now.wall + step } else { self.now.wall - step };
                // A token that is restored from now on may live a little longer than it should.
                self.provider.access.clear();
            }
            Life::TakeBack => {
                let name = self.any_name();
                self.provider.take_back(name);
            }
            Life::Network(network) => self.network = network,
        }
    }

    fn any_name(&mut self) -> &'static str {
        NAMES[self.chance.below(NAMES.len() as u64) as usize]
    }

    /// A client comes, and perhaps does not stay.
    fn come(&mut self) {
        let name = self.any_name();
        let account = name.to_owned();
        let wait = [None, Some(10), Some(600)][self.chance.below(3) as usize];
        let patience = secs(wait.unwrap_or(0) + 40);
        match self.chance.below(20) {
            0..13 => {
                let min_life = self.chance.percent(30).then_some(self.provider.life.as_secs() / 2);
                let show = Show { min_life, ..show(name, wait) };
                self.ask(Request::Show(show), patience, Some(account));
            }
            13..16 => self.ask(Request::Refresh { account, wait, urls: true }, patience, Some(name.to_owned())),
            16 => {
                self.views.get_mut(name).expect("an account").explicit = true;
                self.ask(Request::Auth { account, wait, urls: true }, patience, None);
            }
            17 if self.chance.percent(30) => {
                self.let_go(name);
                self.ask(Request::Revoke { account, local: false }, secs(200), None);
            }
            _ => self.ask(Request::Status { accounts: Vec::new(), urls: true }, secs(1), None),
        }
    }

    /// What the daemon has of an account is not to be kept any longer.
    pub fn let_go(&mut self, name: &str) {
        let view = self.views.get_mut(name).expect("an account");
        (view.active, view.explicit) = (None, false);
        for call in self.calls.values_mut().filter(|call| call.account == name) {
            call.abandoned = true;
        }
    }

    /// `good` names the account where the user must not be asked while its grant is good.
    pub fn ask(&mut self, request: Request, patience: Duration, good: Option<String>) {
        self.sequence += 1;
        let conn = ConnId(self.sequence);
        self.clients.insert(conn, (self.now.time + patience, good));
        if self.chance.percent(10) && !self.calm {
            let after = secs(self.chance.below(60));
            self.later(after, Happening::Gone { conn });
        }
        self.event(Event::Request { conn, request });
    }

    /// The user says yes, or no; a browser comes back with it.
    fn approve(&mut self, account: &str) {
        let denied = self.chance.percent(10);
        let Some(view) = self.views.get_mut(account) else { return };
        view.approving = false;
        let Some(invitation) = view.invitation.take() else { return };
        if account == DEVICE {
            return self.provider.enter(&invitation, if denied { Entered::Denied } else { Entered::Allowed });
        }
        let Some(state) = invitation.split(['?', '&']).find_map(|field| field.strip_prefix("state=")) else { return };
        let target = if denied {
            format!("/?error=access_denied&state={state}")
        } else {
            format!("/?code={}&state={state}", self.provider.allow(account))
        };
        self.sequence += 1;
        let hosts = vec![format!("localhost:{}", self.port)];
        let head = RedirectHead { scheme: Scheme::Http, method: "GET".to_owned(), target, hosts, prefetch: false };
        self.event(Event::Redirect { conn: ConnId(self.sequence), head });
    }

    fn stage(&mut self, ticket: Ticket) {
        if self.chance.percent(20) {
            return self.event(Event::Staged { ticket, result: Err(vec!["wrong".to_owned()]) });
        }
        if self.chance.percent(30) {
            self.port += 1;
        }
        if self.chance.percent(10) {
            let name = self.any_name();
            self.let_go(name);
            self.views.get_mut(name).expect("an account").form += 1;
        }
        let staging = Staging { config: config(&self.views), bound: bound(self.port) };
        self.event(Event::Staged { ticket, result: Ok(Box::new(staging)) });
    }
}
