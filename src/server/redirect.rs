//! The redirect listeners' room: browsers come, ask, get their pages and go.
//!
//! What one browser does is in [`super::browser`]; here is who comes in, who must go, and who is who.

use std::collections::VecDeque;

use mio::{Registry, event, net::TcpStream};

use super::{
    accept::{AcceptFault, RETRY_ACCEPT},
    browser::{BUFFER, Browser, Fate},
    listeners::Listeners,
    slab::{Room, Slab},
    source::Source,
    tls::TlsAcceptor,
};
use crate::{
    engine::{ConnId, Event, Page, Time},
    sys::log::{Level, Log},
};

/// The redirect listeners and the browsers that came to them.
pub(super) struct Redirect {
    listeners: Listeners,
    browsers: Slab<Browser>,
    /// Most browsers at once.
    cap: usize,
    buffer: Box<[u8]>,
    accept_again: Option<Time>,
}

impl Redirect {
    /// The room of `listeners`, with at most `cap` browsers.
    pub(super) fn new(listeners: Listeners, cap: usize) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { listeners, browsers: Slab::new(Room::Redirect), cap, buffer, accept_again: None }
    }

    /// The listeners as they are.
    pub(super) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Changes to other listeners; browsers that came already stay.
    pub(super) fn adopt(
        &mut self,
        listeners: Listeners,
        registry: &Registry,
        now: Time,
        log: &Log,
        events: &mut VecDeque<Event>,
    ) {
        self.listeners = listeners;
        // Whoever came while they were set aside was told of before anybody listened.
        self.accept_all(registry, now, log, events);
    }

    /// Accepts every browser that waits at the listener of that number.
    pub(super) fn accept(
        &mut self,
        number: usize,
        registry: &Registry,
        now: Time,
        log: &Log,
        events: &mut VecDeque<Event>,
    ) {
        while let Some((listener, tls)) = self.listeners.of(number) {
            match listener.accept() {
                Ok((stream, _)) => {
                    let tls = tls.cloned();
                    self.admit(stream, tls.as_ref(), registry, now, log, events);
                }
                Err(error) => match AcceptFault::of(&error) {
                    AcceptFault::NothingWaits => return,
                    AcceptFault::OneIsGone => {}
                    AcceptFault::Exhausted if self.close_one_idle(now, events) => {}
                    AcceptFault::Exhausted | AcceptFault::Other => {
                        log.write(Level::Warn, &format!("redirect listener: no browser accepted: {error}"));
                        self.accept_again = Some(now + RETRY_ACCEPT);
                        return;
                    }
                },
            }
        }
    }

    fn accept_all(&mut self, registry: &Registry, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        self.accept_again = None;
        for number in self.listeners.numbers() {
            self.accept(number, registry, now, log, events);
        }
    }

    fn admit(
        &mut self,
        stream: TcpStream,
        tls: Option<&TlsAcceptor>,
        registry: &Registry,
        now: Time,
        log: &Log,
        events: &mut VecDeque<Event>,
    ) {
        // Where everybody waits for an outcome, the newcomer must try again.
        if self.browsers.len() >= self.cap && !self.close_one_idle(now, events) {
            return log.write(Level::Warn, "redirect listener: too many browsers wait already");
        }
        let mut browser = Browser::new(stream, tls, now);
        let token = Source::Redirect(self.browsers.next_slot()).token();
        if let Err(error) = browser.register(registry, token) {
            return log.write(Level::Warn, &format!("redirect listener: a browser was lost: {error}"));
        }
        self.browsers.insert(browser);
    }

    /// Makes room by closing the connection that matters least. One whose request has come, but was not read yet,
    /// matters.
    fn close_one_idle(&mut self, now: Time, events: &mut VecDeque<Event>) -> bool {
        loop {
            let idle = self.browsers.iter().filter_map(|(conn, browser)| Some((browser.dispensable()?, conn)));
            let Some((before, conn)) = idle.min() else { return false };
            let Some(browser) = self.browsers.of(conn) else { return false };
            let fate = browser.advance(&mut self.buffer, now);
            let after = browser.dispensable();
            if fate == Fate::Closes || after.is_some_and(|after| after <= before) {
                return self.browsers.remove(conn).is_some();
            }
            // The edge that would start its time is used up.
            browser.begin(now);
            self.settle(conn, fate, events);
        }
    }

    /// Takes in what the poll says of the browser in `slot`.
    pub(super) fn ready(&mut self, slot: usize, ready: &event::Event, now: Time, events: &mut VecDeque<Event>) {
        let Some((conn, browser)) = self.browsers.at(slot) else { return };
        if ready.is_readable() {
            browser.begin(now);
        }
        let fate = browser.advance(&mut self.buffer, now);
        self.settle(conn, fate, events);
        // What it sent before counts all the same.
        if ready.is_error() || (ready.is_write_closed() && ready.is_read_closed()) {
            self.settle(conn, Fate::Closes, events);
        }
    }

    /// Writes part of a browser's page.
    pub(super) fn show(&mut self, conn: ConnId, page: &Page, now: Time, events: &mut VecDeque<Event>) {
        let Some(browser) = self.browsers.of(conn) else { return };
        let fate = browser.show(page, now);
        self.settle(conn, fate, events);
    }

    /// The next deadline and what it is for.
    pub(super) fn deadline(&self) -> Option<(Time, &'static str)> {
        let browser = self.browsers.iter().filter_map(|(_, browser)| browser.deadline()).min();
        let browser = browser.map(|at| (at, "a browser"));
        let accept = self.accept_again.map(|at| (at, "accepting browsers again"));
        browser.into_iter().chain(accept).min()
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, registry: &Registry, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_all(registry, now, log, events);
        }
        let is_due = |browser: &Browser| browser.deadline().is_some_and(|at| at <= now);
        let due: Vec<ConnId> =
            self.browsers.iter().filter(|(_, browser)| is_due(browser)).map(|(conn, _)| conn).collect();
        for conn in due {
            let Some(browser) = self.browsers.of(conn) else { continue };
            let fate = browser.expire(now);
            self.settle(conn, fate, events);
        }
    }

    /// Whether every page is written as far as it goes.
    pub(super) fn is_flushed(&self) -> bool {
        self.browsers.iter().all(|(_, browser)| browser.is_flushed())
    }

    /// Closes the browser's connection, or hands its question on.
    fn settle(&mut self, conn: ConnId, fate: Fate, events: &mut VecDeque<Event>) {
        let Some(browser) = self.browsers.of(conn) else { return };
        match fate {
            Fate::Stays => {}
            Fate::Asks(head) => events.push_back(Event::Redirect { conn, head }),
            Fate::Closes => {
                if browser.is_asked_for() {
                    events.push_back(Event::Gone { conn });
                }
                self.browsers.remove(conn);
            }
        }
    }
}
