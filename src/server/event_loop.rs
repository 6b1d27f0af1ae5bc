//! The loop: waits, lets each room make events of what is ready, feeds them to the engine, performs its effects.
//!
//! One turn: poll until the nearest deadline; read the clocks once; make sure that the place is still this server's;
//! rooms; events one by one, each followed by its effects; deadlines. An effect that fails at once leaves its event for
//! the next turn, so the engine is never called from inside the drain. Everything is edge-triggered, so each room reads
//! until nothing is left.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use mio::{Events, Interest, Poll, Waker, event, net::UnixListener};

use super::{
    control::Control,
    endpoint::Endpoint,
    fault::Fault,
    hooks::Hooks,
    paths,
    ports::Found,
    proxy::ProxySettings,
    redirect::Redirect,
    source::Source,
    staging::{self, LOOK_UP_LIMIT, Staged, Unbound},
};
use crate::{
    config::Config,
    engine::{Effect, Engine, Event, ExitReason, Now, Readiness, Staging, Ticket, Time},
    oauth::{Broken, Reply},
    proto::Request,
    sys::{
        clock::{self, Alarm, Clock},
        heap,
        log::{Level, Log},
        notify::Notify,
        process::Output,
        random,
        sandbox::Inherited,
        save_mark::SaveMark,
        signal::Signals,
        socket::{ControlSocket, Kept},
        user, wipe,
    },
};

/// Between two touches of the socket: the XDG base directory specification lets files in a runtime folder be removed
/// after more than six hours.
const TOUCH: Duration = Duration::from_secs(6 * 60 * 60);

/// Time at the end for clients to read their last answers, and for hooks to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Readiness taken from the poll at once.
const EVENTS: usize = 256;

/// What the loop is made of: all that start-up found or bound.
pub(super) struct Parts<'a> {
    /// Where the configuration is.
    pub config_path: PathBuf,
    /// The configuration, bound and loaded.
    pub staged: Staged,
    /// The control socket's lock and place.
    pub socket: &'a mut ControlSocket,
    /// The control socket's listener, not blocking.
    pub listener: std::os::unix::net::UnixListener,
    /// What hooks get back.
    pub inherited: Inherited,
    /// Where hooks print.
    pub output: Output,
    /// Where messages go.
    pub log: Log,
    /// The service manager.
    pub notify: Notify,
    /// Most clients of the control socket, and most browsers.
    pub caps: (usize, usize),
}

/// The engine and everything around it.
pub(super) struct EventLoop<'a> {
    poll: Poll,
    clock: Clock,
    alarm: Alarm,
    signals: Signals,
    waker: Arc<Waker>,
    engine: Engine,
    control: Control,
    redirect: Redirect,
    hooks: Hooks,
    endpoint: Endpoint,
    proxies: ProxySettings,
    /// The threads of calls and look-ups under way.
    helpers: HashMap<Ticket, JoinHandle<()>>,
    answers: Receiver<(Ticket, Answer)>,
    answered: Sender<(Ticket, Answer)>,
    /// What happened and was not told to the engine yet.
    events: VecDeque<Event>,
    /// What effects brought about at once: for the next turn.
    later: VecDeque<Event>,
    /// What waits for the addresses of host names before it can be staged.
    unbound: Option<Unbound>,
    staged: Option<(Ticket, Staged)>,
    config_path: PathBuf,
    socket: &'a mut ControlSocket,
    /// Whether there is a store by which another server can have come by the tokens.
    has_store: bool,
    /// The place was gone, and that is why this server stops.
    is_place_gone: bool,
    /// The place could not be made anew when it was last tried.
    is_place_missing: bool,
    touch_at: Time,
    /// When this turn began.
    now: Time,
    log: Log,
    notify: Notify,
    /// The engine begins nothing new.
    is_stopping: bool,
    exit: Option<ExitReason>,
}

/// What a helper thread brings.
enum Answer {
    Reply(Result<Reply, Broken>),
    Addresses(Found),
}

impl<'a> EventLoop<'a> {
    /// Registers everything with a new poll. To be called in the process that stays: a kqueue does not survive fork.
    pub(super) fn new(parts: Parts<'a>) -> io::Result<Self> {
        let Parts { config_path, mut staged, socket, listener, inherited, output, log, notify, caps } = parts;
        let poll = Poll::new()?;
        let registry = poll.registry();
        let (mut clock, mut alarm, mut signals) = (Clock::new(), Alarm::new()?, Signals::new()?);
        registry.register(&mut alarm, Source::Alarm.token(), Interest::READABLE)?;
        registry.register(signals.receiver(), Source::Signals.token(), Interest::READABLE)?;
        let waker = Arc::new(Waker::new(registry, Source::Waker.token())?);
        let control = Control::new(UnixListener::from_std(listener), user::uid(), caps.0, registry)?;
        staged.listeners.register(registry)?;
        let bound = staged.listeners.bound();
        let proxies = ProxySettings::from_env();
        let endpoint = Endpoint::new(proxies.clone(), staged.roots);
        let (answered, answers) = mpsc::channel();
        random::fill(&mut [0; 1])?;
        let random = |buffer: &mut [u8]| random::fill(buffer).expect("the system had random bytes at the start");
        let now = clock.now().time;
        let has_store = has_store(&staged.config);
        Ok(Self {
            poll,
            clock,
            alarm,
            signals,
            waker,
            engine: Engine::new(staged.config, bound, Box::new(random)),
            control,
            redirect: Redirect::new(staged.listeners, caps.1),
            hooks: Hooks::new(inherited, output, SaveMark::new(socket.place().save_mark()), Box::new(clock::awake)),
            endpoint,
            proxies,
            helpers: HashMap::new(),
            answers,
            answered,
            events: VecDeque::new(),
            later: VecDeque::new(),
            unbound: None,
            staged: None,
            config_path,
            socket,
            has_store,
            is_place_gone: false,
            is_place_missing: false,
            touch_at: now + TOUCH,
            now,
            log,
            notify,
            is_stopping: false,
            exit: None,
        })
    }

    /// Tells the engine that everything is bound. Afterwards commands are answered as soon as the loop turns.
    pub(super) fn start(&mut self) {
        let now = self.clock.now();
        self.now = now.time;
        self.events.push_back(Event::Started);
        self.feed(now);
    }

    /// Turns until the engine wants to exit or another server has the place, and takes leave of clients and hooks.
    pub(super) fn run(mut self) -> Result<ExitReason, Fault> {
        let mut ready = Events::with_capacity(EVENTS);
        loop {
            if let Some(reason) = self.exit {
                self.take_leave(&mut ready)?;
                let directory = self.socket.place().directory();
                return if self.is_place_gone { Err(Fault::PlaceGone { directory }) } else { Ok(reason) };
            }
            let now = self.wait(&mut ready, None)?;
            if let Err(fault) = self.keep_place(now) {
                self.notify.stopping();
                self.take_leave(&mut ready)?;
                return Err(fault);
            }
            self.take_in(&ready, now.time);
            self.feed(now);
            if self.engine.poll_timeout().is_some_and(|(at, _)| at <= now.time) {
                self.engine.handle_timeout(now);
                self.perform_effects(now);
            }
            wipe::stack();
        }
    }

    /// Waits for the nearest deadline or `until`.
    fn wait(&mut self, ready: &mut Events, until: Option<Time>) -> io::Result<Now> {
        let timeout = self.wait_for(until);
        if let Err(error) = self.poll.poll(ready, timeout) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            ready.clear();
        }
        let now = self.clock.now();
        self.now = now.time;
        Ok(now)
    }

    /// Fails where another server has the place: two that refresh the same tokens lose them. A logout, for one, takes
    /// the runtime folder away from a server that lives on, and the next login starts another.
    ///
    /// Where the place is gone, another may have had it. With a store it may have had the tokens too, so nothing new is
    /// begun with them; without one they are here alone, and the place is taken again.
    fn keep_place(&mut self, now: Now) -> Result<(), Fault> {
        let kept = match self.socket.keep() {
            Ok(Kept::Gone) if self.is_stopping => return Ok(()),
            Ok(Kept::Gone) if self.has_store => {
                self.is_place_gone = true;
                self.events.push_back(Event::Shutdown);
                self.feed(now);
                return Ok(());
            }
            Ok(Kept::Gone) => self.socket.take_again(),
            kept => kept,
        };
        let was_missing = std::mem::replace(&mut self.is_place_missing, kept.is_err());
        match kept {
            Ok(Kept::AsItWas | Kept::Gone) => {}
            Ok(Kept::WithNew(listener)) => {
                match self.control.listen_on(UnixListener::from_std(listener), self.poll.registry()) {
                    Ok(()) => self.log.write(Level::Warn, "the socket was removed: there is a new one"),
                    Err(error) => self.log.write(Level::Error, &format!("the new socket is not listened to: {error}")),
                }
            }
            Ok(Kept::Taken) => return Err(Fault::PlaceTaken { directory: self.socket.place().directory() }),
            Err(_) if was_missing => {}
            Err(error) => self.log.write(Level::Warn, &format!("the socket cannot be made anew: {error}")),
        }
        Ok(())
    }

    /// Lets every room take in what happened.
    fn take_in(&mut self, ready: &Events, now: Time) {
        self.events.append(&mut self.later);
        // Newcomers last: they can get the place of somebody of whom there is still something to be told.
        let (newcomers, others): (Vec<_>, Vec<_>) = ready.iter().partition(|event| is_newcomer(event));
        for event in others.into_iter().chain(newcomers) {
            self.dispatch(event, now);
        }
        self.expire(now);
    }

    /// How long the poll may wait.
    fn wait_for(&mut self, until: Option<Time>) -> Option<Duration> {
        if !self.later.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.now;
        let rooms = [self.control.deadline(), self.redirect.deadline(), self.hooks.deadline()];
        let look_up = self.unbound.as_ref().map(|unbound| (unbound.until, "a look-up"));
        let own = [Some((self.touch_at, "touching the socket")), until.map(|at| (at, "the end")), look_up];
        let engine = if until.is_some() { None } else { self.engine.poll_timeout() };
        let nearest = rooms.into_iter().chain(own).chain([engine]).flatten().min();
        if let Some((at, reason)) = nearest.filter(|_| self.log.takes(Level::Trace)) {
            self.log.write(Level::Trace, &format!("next: {reason} in {:?}", at.since(now)));
        }
        self.alarm.poll_timeout(now, nearest.map(|(at, _)| at))
    }

    /// Hands what the poll says to the room that it is about.
    fn dispatch(&mut self, ready: &event::Event, now: Time) {
        let Some(source) = Source::of(ready.token()) else { return };
        let (registry, events) = (self.poll.registry(), &mut self.events);
        match source {
            Source::Alarm => self.alarm.drain(),
            Source::Signals => self.take_signals(now),
            Source::Waker => self.take_answers(),
            Source::ControlListener => self.control.accept(registry, now, &self.log, events),
            Source::RedirectListener(number) => self.redirect.accept(number, registry, now, &self.log, events),
            Source::Control(slot) => self.control.ready(slot, ready, registry, now, events),
            Source::Redirect(slot) => self.redirect.ready(slot, ready, now, events),
            Source::ChildStdin(slot) => self.hooks.feed(slot),
            Source::ChildStdout(slot) => self.hooks.read(slot, now, &self.log, events),
        }
    }

    /// Takes what helpers brought, and lets each of them end, so that there are never more than calls under way.
    fn take_answers(&mut self) {
        while let Ok((ticket, answer)) = self.answers.try_recv() {
            // One that broke down has said so in its answer.
            let _ = self.helpers.remove(&ticket).map(JoinHandle::join);
            match answer {
                Answer::Reply(outcome) => self.events.push_back(Event::Answer { ticket, outcome }),
                Answer::Addresses(found) => {
                    // Where it was given up meanwhile, nobody wants them.
                    let Some(unbound) = self.unbound.take_if(|unbound| unbound.ticket == ticket) else { continue };
                    self.bind(unbound, &found);
                }
            }
        }
    }

    /// A way for a helper thread to bring its answer.
    fn answering(&self, ticket: Ticket) -> impl FnOnce(Answer) + Send + 'static + use<> {
        let (answered, waker) = (self.answered.clone(), self.waker.clone());
        move |answer| {
            // Both fail only when the loop is gone, and nobody wants to know any more.
            let _ = answered.send((ticket, answer));
            let _ = waker.wake();
        }
    }

    fn take_signals(&mut self, now: Time) {
        let came = self.signals.take();
        if came.child {
            self.hooks.reap(now, &self.log, &mut self.events);
        }
        if came.hangup {
            self.events.push_back(Event::Hangup);
        }
        if came.terminate {
            self.events.push_back(Event::Shutdown);
        }
    }

    /// Does what is due in the rooms.
    fn expire(&mut self, now: Time) {
        let (registry, events) = (self.poll.registry(), &mut self.events);
        self.control.expire(registry, now, &self.log, events);
        self.redirect.expire(registry, now, &self.log, events);
        self.hooks.expire(registry, now, &self.log, events);
        if let Some(unbound) = self.unbound.take_if(|unbound| unbound.until <= now) {
            let reason = format!("no address was found for this name within {} seconds", LOOK_UP_LIMIT.as_secs());
            let found = staging::not_found(&unbound.names, &reason);
            self.bind(unbound, &found);
        }
        if self.touch_at <= now {
            self.touch_at = now + TOUCH;
            if let Err(error) = self.socket.touch() {
                self.log.write(Level::Warn, &format!("the socket could not be marked as in use: {error}"));
            }
        }
    }

    /// Tells the engine everything that happened, one event after the other, and does what it wants.
    fn feed(&mut self, now: Now) {
        while let Some(event) = self.events.pop_front() {
            let is_large = is_large(&event);
            self.engine.handle_event(event, now);
            self.perform_effects(now);
            if is_large {
                heap::trim();
            }
        }
    }

    fn perform_effects(&mut self, now: Now) {
        while let Some(effect) = self.engine.poll_effect() {
            self.perform(effect, now.time);
        }
    }

    fn perform(&mut self, effect: Effect, now: Time) {
        let (registry, later) = (self.poll.registry(), &mut self.later);
        match effect {
            Effect::Notice { conn, notice } => self.control.notice(conn, &notice, registry, now, later),
            Effect::Respond { conn, response } => self.control.respond(conn, &response, registry, now, later),
            Effect::Page { conn, page } => self.redirect.show(conn, &page, now, later),
            Effect::Call { ticket, call } => {
                let answer = self.answering(ticket);
                let helper = self.endpoint.send(call, move |outcome| answer(Answer::Reply(outcome)));
                self.helpers.extend(helper.map(|helper| (ticket, helper)));
            }
            Effect::Run { ticket, run } => self.hooks.run(ticket, run, registry, now, &self.log, later),
            Effect::Kill { ticket } => self.hooks.kill(ticket, now, &self.log, later),
            Effect::Stage { ticket } => self.stage(ticket, now),
            Effect::Adopt { ticket } => self.adopt(ticket, now),
            Effect::Discard { ticket } => {
                self.staged.take_if(|(staged, _)| *staged == ticket);
            }
            Effect::Notify(readiness) => match readiness {
                Readiness::Ready => self.notify.ready(),
                Readiness::Reloading => self.notify.reloading(),
                Readiness::Stopping => {
                    self.is_stopping = true;
                    self.notify.stopping();
                }
            },
            Effect::Log { level, line } => self.log.write(level, &line),
            Effect::Exit(reason) => self.exit = Some(reason),
        }
    }

    /// Reads the configuration, and binds what it asks for as soon as the addresses of its host names are known.
    fn stage(&mut self, ticket: Ticket, now: Time) {
        // Left by a staging that was neither adopted nor discarded: its ports may be wanted again.
        (self.staged, self.unbound) = (None, None);
        let (config, warnings) = match paths::read_anew(&self.config_path) {
            Ok(read) => read,
            Err(errors) => return self.later.push_back(Event::Staged { ticket, result: Err(errors) }),
        };
        let names = self.redirect.listeners().unknown_names(&config);
        let unbound = Unbound { ticket, config, warnings, names, until: now + LOOK_UP_LIMIT };
        if unbound.names.is_empty() {
            return self.bind(unbound, &Found::new());
        }
        let answer = self.answering(ticket);
        match staging::look_up(unbound.names.clone(), move |found| answer(Answer::Addresses(found))) {
            Ok(helper) => {
                self.helpers.insert(ticket, helper);
                self.unbound = Some(unbound);
            }
            Err(error) => {
                let found = staging::not_found(&unbound.names, &format!("this name cannot be looked up: {error}"));
                self.bind(unbound, &found);
            }
        }
    }

    /// Binds and loads what a configuration asks for, beside what there is.
    fn bind(&mut self, unbound: Unbound, found: &Found) {
        let ticket = unbound.ticket;
        let result = match self.prepare(unbound, found) {
            Ok(staged) => {
                let staging = Staging { config: staged.config.clone(), bound: staged.listeners.bound() };
                self.staged = Some((ticket, staged));
                Ok(Box::new(staging))
            }
            Err(errors) => Err(errors),
        };
        self.later.push_back(Event::Staged { ticket, result });
    }

    fn prepare(&self, unbound: Unbound, found: &Found) -> Result<Staged, Vec<String>> {
        let Unbound { ticket: _, config, warnings, names: _, until: _ } = unbound;
        let mut staged = staging::prepare(config, &self.config_path, self.redirect.listeners(), found)?;
        staged
            .listeners
            .register(self.poll.registry())
            .map_err(|error| vec![Fault::NotWatched { reason: error.to_string() }.into()])?;
        for warning in &warnings {
            self.log.write(Level::Warn, warning);
        }
        Ok(staged)
    }

    fn adopt(&mut self, ticket: Ticket, now: Time) {
        let Some((_, staged)) = self.staged.take_if(|(staged, _)| *staged == ticket) else {
            return self.log.write(Level::Error, "a configuration was to be taken that is not there");
        };
        self.has_store = has_store(&staged.config);
        // Calls under way keep the roots they began with.
        self.endpoint = Endpoint::new(self.proxies.clone(), staged.roots);
        self.redirect.adopt(staged.listeners, self.poll.registry(), now, &self.log, &mut self.later);
    }

    /// Lets clients read their answers and hooks end, but not for long.
    fn take_leave(&mut self, ready: &mut Events) -> io::Result<()> {
        let until = self.now + FAREWELL;
        self.hooks.terminate_all(self.now);
        self.later.clear();
        while self.now < until && !(self.control.is_flushed() && self.redirect.is_flushed() && self.hooks.have_ended())
        {
            let now = self.wait(ready, Some(until))?;
            self.take_in(ready, now.time);
            // There is nobody left to tell.
            self.events.clear();
            self.later.clear();
        }
        self.hooks.kill_all();
        Ok(())
    }
}

/// Whether tokens outlast the server.
fn has_store(config: &Config) -> bool {
    config.persist_cmd.is_some() || config.restore_cmd.is_some()
}

/// Whether it is a listener that has something.
fn is_newcomer(ready: &event::Event) -> bool {
    matches!(Source::of(ready.token()), Some(Source::ControlListener | Source::RedirectListener(_)))
}

/// Whether an event may concern every account at once, so that much of what it took is free when it is over.
fn is_large(event: &Event) -> bool {
    match event {
        Event::Started | Event::Staged { .. } | Event::Exited { .. } => true,
        Event::Request { request, .. } => matches!(request, Request::Restore { .. } | Request::Dump),
        Event::Gone { .. } | Event::Redirect { .. } | Event::Answer { .. } | Event::Hangup | Event::Shutdown => false,
    }
}
