//! The control socket: clients that ask in JSON lines, one request at a time each, and wait for their answers.
//!
//! | phase | what happens | next phase |
//! | --- | --- | --- |
//! | `Idle` | a whole line, and the last answer is written | `Asked`, with [`Event::Request`] |
//! | `Idle` | a line that is malformed, too long or too slow | `Ending`, with an error answer |
//! | `Idle` | end of input | closed, once everything is written |
//! | `Asked` | the answer | `Idle`; the next line may be there already |
//! | `Asked` | end of input alone | the same: who half-closes waits on |
//! | `Ending` | everything is written | `Lingering`: reads on, so that a reset does not eat the answer |
//! | `Lingering` | end of input, or a second later | closed |
//! | any | the client is gone, or does not read for 10 s | closed, with [`Event::Gone`] where it was `Asked` |
//!
//! What a client sends while it is `Asked` stays in the kernel, so a connection never holds more than one line.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::Shutdown,
    time::Duration,
};

use mio::{
    Interest, Registry, event,
    net::{UnixListener, UnixStream},
};
use zeroize::Zeroize;

use super::{
    accept::{AcceptFault, RETRY_ACCEPT},
    lines::{Lines, TooLong},
    linger::{LINGER, drop_input},
    outbox::Outbox,
    slab::{Room, Slab, slot_of},
    source::Source,
};
use crate::{
    engine::{ConnId, Event, Time},
    proto::{self, Notice, Reason, Request, Response},
    sys::{
        log::{Level, Log},
        socket,
    },
};

/// Time for a line from its first byte to its end.
const LINE_LIMIT: Duration = Duration::from_secs(10);

/// Time in which a client must read something of what waits for it.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes read at once: ample for every request but `restore`.
const READ_SIZE: usize = 16 * 1024;

/// Most bytes that wait for a client: a dump is about as long as a restore.
const MAX_WAITING: usize = 2 * proto::MAX_RESTORE;

/// The control socket and its clients.
pub(super) struct Control {
    listener: UnixListener,
    clients: Slab<Client>,
    /// The user whose server this is.
    uid: u32,
    /// Most clients at once.
    cap: usize,
    buffer: Box<[u8]>,
    accept_again: Option<Time>,
}

struct Client {
    stream: UnixStream,
    lines: Lines,
    outbox: Outbox,
    phase: Phase,
    /// There may be something to read.
    readable: bool,
    /// The other side has closed its writing half.
    half_closed: bool,
    /// End of the time for the line that has begun, or for lingering.
    read_until: Option<Time>,
    /// End of the time for reading something of the outbox.
    write_until: Option<Time>,
    /// When it last did or got something.
    quiet_since: Time,
    /// The poll tells of room for writing, too.
    watches_writes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Asked,
    Ending,
    Lingering,
}

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Closes,
}

impl Control {
    /// The room of `listener` for the clients of the user `uid`, at most `cap` at once.
    pub(super) fn new(mut listener: UnixListener, uid: u32, cap: usize, registry: &Registry) -> io::Result<Self> {
        registry.register(&mut listener, Source::ControlListener.token(), Interest::READABLE)?;
        let buffer = vec![0; READ_SIZE].into_boxed_slice();
        Ok(Self { listener, clients: Slab::new(Room::Control), uid, cap, buffer, accept_again: None })
    }

    /// Listens on `listener` from now on. The clients that there are stay.
    pub(super) fn listen_on(&mut self, mut listener: UnixListener, registry: &Registry) -> io::Result<()> {
        registry.register(&mut listener, Source::ControlListener.token(), Interest::READABLE)?;
        // Closed next, which is all that is needed where this fails.
        let _ = registry.deregister(&mut self.listener);
        self.listener = listener;
        Ok(())
    }

    /// Accepts every client that waits.
    pub(super) fn accept(&mut self, registry: &Registry, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        self.accept_again = None;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, registry, now, log, events),
                Err(error) => match AcceptFault::of(&error) {
                    AcceptFault::NothingWaits => return,
                    AcceptFault::OneIsGone => {}
                    AcceptFault::Exhausted if self.close_oldest_silent(now, events) => {}
                    AcceptFault::Exhausted | AcceptFault::Other => {
                        log.write(Level::Warn, &format!("control socket: no client accepted: {error}"));
                        self.accept_again = Some(now + RETRY_ACCEPT);
                        return;
                    }
                },
            }
        }
    }

    fn admit(
        &mut self,
        mut stream: UnixStream,
        registry: &Registry,
        now: Time,
        log: &Log,
        events: &mut VecDeque<Event>,
    ) {
        match socket::peer_uid(&stream) {
            Ok(uid) if socket::may_speak(uid, self.uid) => {}
            Ok(uid) => return log.write(Level::Warn, &format!("control socket: user {uid} refused")),
            Err(error) => return log.write(Level::Warn, &format!("control socket: unknown user refused: {error}")),
        }
        if self.clients.len() >= self.cap && !self.close_oldest_silent(now, events) {
            let full = failure(Reason::Temporary, "too many clients wait already: try again later");
            // A new connection has room for a line; if not, nothing is lost.
            let _ = stream.write(proto::write_response(&full).expose());
            return;
        }
        let token = Source::Control(self.clients.next_slot()).token();
        if let Err(error) = registry.register(&mut stream, token, Interest::READABLE) {
            return log.write(Level::Warn, &format!("control socket: a client was lost: {error}"));
        }
        self.clients.insert(Client {
            stream,
            lines: Lines::default(),
            outbox: Outbox::default(),
            phase: Phase::Idle,
            readable: false,
            half_closed: false,
            read_until: None,
            write_until: None,
            quiet_since: now,
            watches_writes: false,
        });
    }

    /// Makes room by closing the client that has been silent for the longest time. One whose request has come, but was
    /// not read yet, is not silent.
    fn close_oldest_silent(&mut self, now: Time, events: &mut VecDeque<Event>) -> bool {
        loop {
            let silent = self.clients.iter().filter(|(_, client)| client.is_silent());
            let Some((_, conn)) = silent.map(|(conn, client)| (client.quiet_since, conn)).min() else { return false };
            let Some(client) = self.clients.of(conn) else { return false };
            client.readable = true;
            let fate = client.advance(conn, &mut self.buffer, now, events);
            if fate == Fate::Closes || client.is_silent() {
                return self.clients.remove(conn).is_some();
            }
        }
    }

    /// Takes in what the poll says of the client in `slot`.
    pub(super) fn ready(
        &mut self,
        slot: usize,
        ready: &event::Event,
        registry: &Registry,
        now: Time,
        events: &mut VecDeque<Event>,
    ) {
        let Some((conn, client)) = self.clients.at(slot) else { return };
        client.readable |= ready.is_readable() || ready.is_read_closed();
        client.half_closed |= ready.is_read_closed();
        let gone = ready.is_write_closed() || ready.is_error();
        let fate = if ready.is_writable() { client.flush(now) } else { Fate::Stays };
        let fate = if fate == Fate::Stays { client.advance(conn, &mut self.buffer, now, events) } else { fate };
        // A kqueue tells whether both halves are closed only to who asks for room to write.
        if !gone && fate == Fate::Stays && (client.half_closed || !client.outbox.is_empty()) {
            client.watch_writes(slot, registry);
        }
        self.settle(conn, if gone { Fate::Closes } else { fate }, events);
    }

    /// Tells the client something while its request goes on.
    pub(super) fn notice(
        &mut self,
        conn: ConnId,
        notice: &Notice,
        registry: &Registry,
        now: Time,
        events: &mut VecDeque<Event>,
    ) {
        let Some(client) = self.clients.of(conn) else { return };
        let fate = client.send(proto::write_notice(notice).expose(), conn, registry, now);
        self.settle(conn, fate, events);
    }

    /// Answers the client's request. Its next one may be there already, and joins `events`.
    pub(super) fn respond(
        &mut self,
        conn: ConnId,
        response: &Response,
        registry: &Registry,
        now: Time,
        events: &mut VecDeque<Event>,
    ) {
        let Some(client) = self.clients.of(conn) else { return };
        if client.phase != Phase::Asked {
            return;
        }
        client.phase = Phase::Idle;
        client.quiet_since = now;
        let mut fate = client.send(proto::write_response(response).expose(), conn, registry, now);
        if fate == Fate::Stays && (client.readable || !client.lines.is_empty()) {
            fate = client.advance(conn, &mut self.buffer, now, events);
        }
        self.settle(conn, fate, events);
    }

    /// The next deadline and what it is for.
    pub(super) fn deadline(&self) -> Option<(Time, &'static str)> {
        let client = self.clients.iter().filter_map(|(_, client)| client.deadline()).min();
        let client = client.map(|at| (at, "a client of the control socket"));
        let accept = self.accept_again.map(|at| (at, "accepting clients again"));
        client.into_iter().chain(accept).min()
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, registry: &Registry, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept(registry, now, log, events);
        }
        let is_due = |client: &Client| client.deadline().is_some_and(|at| at <= now);
        let due: Vec<ConnId> = self.clients.iter().filter(|(_, client)| is_due(client)).map(|(conn, _)| conn).collect();
        for conn in due {
            let Some(client) = self.clients.of(conn) else { continue };
            let fate = client.expire(conn, registry, now);
            self.settle(conn, fate, events);
        }
    }

    /// Whether every answer is written.
    pub(super) fn is_flushed(&self) -> bool {
        self.clients.iter().all(|(_, client)| client.outbox.is_empty())
    }

    /// Closes the client, if that is its fate.
    fn settle(&mut self, conn: ConnId, fate: Fate, events: &mut VecDeque<Event>) {
        let Some(client) = self.clients.of(conn).filter(|_| fate == Fate::Closes) else { return };
        let asked = client.phase == Phase::Asked;
        self.clients.remove(conn);
        if asked {
            events.push_back(Event::Gone { conn });
        }
    }
}

impl Client {
    fn is_silent(&self) -> bool {
        self.phase != Phase::Asked && self.outbox.is_empty()
    }

    fn deadline(&self) -> Option<Time> {
        self.read_until.into_iter().chain(self.write_until).min()
    }

    /// Goes as far as what is there allows: reads, takes a line, ends.
    fn advance(&mut self, conn: ConnId, buffer: &mut [u8], now: Time, events: &mut VecDeque<Event>) -> Fate {
        loop {
            match self.phase {
                Phase::Asked => return Fate::Stays,
                Phase::Ending => return self.end(now),
                Phase::Lingering if drop_input(&mut self.stream, buffer) => return Fate::Closes,
                Phase::Lingering => return Fate::Stays,
                // Who does not read the last answer gets no other.
                Phase::Idle if !self.outbox.is_empty() => return Fate::Stays,
                Phase::Idle => {}
            }
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    let request = proto::read_request(line);
                    self.take(conn, request, now, events);
                    continue;
                }
                Ok(None) => {}
                Err(TooLong) => {
                    self.refuse("the request is too long", now);
                    continue;
                }
            }
            if !self.readable {
                let begun = (!self.lines.is_empty()).then(|| now + LINE_LIMIT);
                self.read_until = self.read_until.filter(|_| begun.is_some()).or(begun);
                return Fate::Stays;
            }
            match self.stream.read(buffer) {
                Ok(0) => {
                    let Some(line) = self.lines.last_line() else {
                        self.phase = Phase::Ending;
                        continue;
                    };
                    let request = proto::read_request(line);
                    self.take(conn, request, now, events);
                }
                Ok(count) => {
                    // Less than asked for is all there was; an end that is known of is still to be read.
                    self.readable = count == buffer.len() || self.half_closed;
                    self.lines.push(&buffer[..count]);
                    buffer[..count].zeroize();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Fate::Closes,
            }
        }
    }

    fn take(
        &mut self,
        conn: ConnId,
        request: Result<Request, proto::Malformed>,
        now: Time,
        events: &mut VecDeque<Event>,
    ) {
        self.read_until = None;
        self.quiet_since = now;
        match request {
            Ok(request) => {
                self.phase = Phase::Asked;
                self.lines.forget_taken();
                events.push_back(Event::Request { conn, request });
            }
            Err(malformed) => self.refuse(&malformed.to_string(), now),
        }
    }

    /// Puts an error answer in front of the end.
    fn refuse(&mut self, message: &str, now: Time) {
        let response = failure(Reason::Error, message);
        self.outbox.push(proto::write_response(&response).expose());
        self.write_until.get_or_insert(now + WRITE_LIMIT);
        self.read_until = None;
        self.phase = Phase::Ending;
    }

    /// Writes what is left, then lingers.
    fn end(&mut self, now: Time) -> Fate {
        if self.flush(now) == Fate::Closes {
            return Fate::Closes;
        }
        if !self.outbox.is_empty() {
            return Fate::Stays;
        }
        if self.half_closed || self.stream.shutdown(Shutdown::Write).is_err() {
            return Fate::Closes;
        }
        self.phase = Phase::Lingering;
        self.read_until = Some(now + LINGER);
        Fate::Stays
    }

    /// Writes `line` now as far as there is room, the rest later.
    fn send(&mut self, line: &[u8], conn: ConnId, registry: &Registry, now: Time) -> Fate {
        if self.outbox.len() + line.len() > MAX_WAITING {
            return Fate::Closes;
        }
        match self.outbox.write_or_keep(&mut self.stream, line) {
            Ok(_) if self.outbox.is_empty() => Fate::Stays,
            Ok(_) => {
                self.write_until.get_or_insert(now + WRITE_LIMIT);
                self.watch_writes(slot_of(conn), registry);
                Fate::Stays
            }
            Err(_) => Fate::Closes,
        }
    }

    fn flush(&mut self, now: Time) -> Fate {
        match self.outbox.flush(&mut self.stream) {
            Ok(written) => {
                let waits = !self.outbox.is_empty();
                self.write_until = self.write_until.filter(|_| waits);
                if waits && written > 0 {
                    self.write_until = Some(now + WRITE_LIMIT);
                }
                Fate::Stays
            }
            Err(_) => Fate::Closes,
        }
    }

    fn watch_writes(&mut self, slot: usize, registry: &Registry) {
        if !self.watches_writes {
            let both = Interest::READABLE | Interest::WRITABLE;
            // Where it fails, the deadline for writing closes the connection.
            self.watches_writes = registry.reregister(&mut self.stream, Source::Control(slot).token(), both).is_ok();
        }
    }

    fn expire(&mut self, conn: ConnId, registry: &Registry, now: Time) -> Fate {
        if self.write_until.is_some_and(|at| at <= now) {
            return Fate::Closes;
        }
        if self.read_until.is_none_or(|at| at > now) {
            return Fate::Stays;
        }
        if self.phase == Phase::Lingering {
            return Fate::Closes;
        }
        self.refuse("the request did not come whole within 10 seconds", now);
        self.watch_writes(slot_of(conn), registry);
        self.end(now)
    }
}

fn failure(reason: Reason, message: &str) -> Response {
    Response::Failed { reason, messages: vec![message.to_owned()] }
}
