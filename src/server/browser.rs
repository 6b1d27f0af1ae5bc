//! One browser's connection to a redirect listener, plain or in TLS: a head in, a page out, and an end that no reset
//! spoils.
//!
//! | phase | what happens | next phase |
//! | --- | --- | --- |
//! | `Reading` | a whole head that asks by GET | `Asked`, for the engine to judge |
//! | `Reading` | anything else that is whole | `Ending`, with a page of its own |
//! | `Reading` | end of input, or the time is up | closed |
//! | `Asked` | the opening part | `Opened` |
//! | `Asked`, `Opened` | the outcome, or a whole page | `Ending` |
//! | `Ending` | everything is written | `Lingering`: our half is shut down, what comes is dropped |
//! | `Lingering` | end of input, or a second later | closed |
//! | any | a reset, or no reading of what waits for 10 s | closed |

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Source as _, net::TcpStream};
use zeroize::Zeroize;

use super::{
    linger::{LINGER, drop_input},
    outbox::Outbox,
    page::{self, Body},
    request_head::{Fault, HeadReader, MAX_HEAD, Progress},
    tls::{TlsAcceptor, TlsStream},
};
use crate::{
    engine::{Outcome, Page, Time},
    oauth::authorization::{RedirectHead, Scheme},
};

/// Time for a head from its first byte, TLS handshake included.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Time that a connection made ahead may wait for its first byte: browsers let go of theirs after a few minutes.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// Time in which a browser must take something of its page.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// One browser.
pub(super) struct Browser {
    stream: Stream,
    scheme: Scheme,
    phase: Phase,
    outbox: Outbox,
    /// End of the time for the present phase, or for taking something of the outbox.
    until: Option<Time>,
    /// TLS holds bytes that the socket did not take yet.
    unsent: bool,
    /// When it came.
    since: Time,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

enum Phase {
    Reading(HeadReader),
    Asked,
    Opened,
    Ending,
    Lingering,
}

/// What becomes of a browser.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing new.
    Stays,
    /// It asks for this.
    Asks(RedirectHead),
    /// Its connection is to be closed.
    Closes,
}

impl Browser {
    /// A connection just accepted; with TLS where `tls` is given.
    pub(super) fn new(stream: TcpStream, tls: Option<&TlsAcceptor>, now: Time) -> Browser {
        // The parts of a page are small and must arrive at once. Where that cannot be set, they only come later.
        let _ = stream.set_nodelay(true);
        let (scheme, stream) = match tls {
            None => (Scheme::Http, Stream::Plain(stream)),
            Some(acceptor) => (Scheme::Https, Stream::Tls(Box::new(acceptor.accept(stream)))),
        };
        let phase = Phase::Reading(HeadReader::default());
        let until = Some(now + IDLE_LIMIT);
        Browser { stream, scheme, phase, outbox: Outbox::default(), until, unsent: false, since: now }
    }

    /// Has the poll tell of it by `token`.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.socket().register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether the engine knows of it and wants to hear when it is gone.
    pub(super) fn is_asked_for(&self) -> bool {
        match self.phase {
            Phase::Asked | Phase::Opened => true,
            Phase::Reading(_) | Phase::Ending | Phase::Lingering => false,
        }
    }

    /// How readily it is closed to make room for another: nothing for one that waits for its page, or else more for
    /// one that matters less, and the time it came.
    pub(super) fn dispensable(&self) -> Option<(u8, Time)> {
        let rank = match &self.phase {
            Phase::Lingering => 0,
            Phase::Reading(head) if head.is_empty() && !self.stream.has_greeted() => 1,
            Phase::Reading(_) => 2,
            Phase::Asked | Phase::Opened | Phase::Ending => return None,
        };
        Some((rank, self.since))
    }

    /// End of the time for what it is doing.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.until
    }

    /// Whether its page is written as far as it goes.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() && !self.unsent
    }

    /// Starts the time for the head, unless it runs already: something came, be it only part of a handshake.
    pub(super) fn begin(&mut self, now: Time) {
        if let Phase::Reading(_) = self.phase {
            self.until = self.until.into_iter().chain([now + HEAD_LIMIT]).min();
        }
    }

    /// Goes as far as the socket allows: writes what waits, reads what came.
    pub(super) fn advance(&mut self, buffer: &mut [u8], now: Time) -> Fate {
        if self.write(now).is_err() {
            return Fate::Closes;
        }
        match self.phase {
            Phase::Reading(_) => self.read_head(buffer, now),
            // What a browser sends after its head stays in the kernel: nobody asked for it.
            Phase::Asked | Phase::Opened => Fate::Stays,
            Phase::Ending => self.end(now),
            Phase::Lingering => self.drop_input(buffer),
        }
    }

    /// Writes part of its page.
    pub(super) fn show(&mut self, page: &Page, now: Time) -> Fate {
        let (bytes, last) = match (&self.phase, page) {
            (Phase::Asked, Page::Opening) => (page::opening(), false),
            (Phase::Opened, Page::Outcome(outcome)) => (page::outcome(outcome), true),
            (Phase::Asked, Page::Outcome(outcome)) => (page::whole(200, outcome, Body::Sent), true),
            (Phase::Asked, Page::Refusal { status, outcome }) => (page::whole(*status, outcome, Body::Sent), true),
            (Phase::Opened, Page::Refusal { status: _, outcome }) => (page::outcome(outcome), true),
            (Phase::Opened, Page::Opening) => return Fate::Stays,
            (Phase::Reading(_) | Phase::Ending | Phase::Lingering, _) => return Fate::Stays,
        };
        self.phase = if last { Phase::Ending } else { Phase::Opened };
        self.outbox.push(&bytes);
        match self.write(now) {
            Err(_) => Fate::Closes,
            Ok(()) if last => self.end(now),
            Ok(()) => Fate::Stays,
        }
    }

    /// Does what is due at its deadline.
    pub(super) fn expire(&mut self, now: Time) -> Fate {
        if self.until.is_some_and(|until| until <= now) { Fate::Closes } else { Fate::Stays }
    }

    fn read_head(&mut self, buffer: &mut [u8], now: Time) -> Fate {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Fate::Closes,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Stays,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Fate::Closes,
            };
            let Phase::Reading(reader) = &mut self.phase else { return Fate::Stays };
            let progress = reader.take(self.scheme, buffer.get(..count).unwrap_or_default());
            buffer.get_mut(..count).unwrap_or_default().zeroize();
            match progress {
                Progress::Partial => {}
                Progress::Whole(_) | Progress::Refused(_) if self.stream.is_wrongly_plain() => {
                    return self.refuse(Fault::NoTls, now);
                }
                Progress::Whole(head) => {
                    self.phase = Phase::Asked;
                    self.until = None;
                    return Fate::Asks(head);
                }
                Progress::Refused(fault) => return self.refuse(fault, now),
            }
        }
    }

    fn refuse(&mut self, fault: Fault, now: Time) -> Fate {
        let outcome = Outcome { success: false, title: "This is not a redirect".to_owned(), detail: fault.to_string() };
        let body = if fault == Fault::Head { Body::Omitted } else { Body::Sent };
        self.outbox.push(&page::whole(fault.status(), &outcome, body));
        self.phase = Phase::Ending;
        self.until = None;
        match self.write(now) {
            Ok(()) => self.end(now),
            Err(_) => Fate::Closes,
        }
    }

    /// Writes what waits; the time for taking it runs from the last byte taken.
    fn write(&mut self, now: Time) -> io::Result<()> {
        let waited = !self.is_flushed();
        let written = self.outbox.flush(&mut self.stream)?;
        self.unsent = is_pending(self.stream.flush())?;
        if waited {
            let waits = !self.is_flushed();
            self.until = self.until.filter(|_| waits && written == 0).or(waits.then(|| now + WRITE_LIMIT));
        }
        Ok(())
    }

    /// Once everything is written, shuts our half down and waits for the other.
    fn end(&mut self, now: Time) -> Fate {
        if !self.outbox.is_empty() {
            return Fate::Stays;
        }
        match self.stream.finish() {
            Ok(Finish::Done) => {}
            Ok(Finish::Pending) => {
                self.unsent = true;
                self.until.get_or_insert(now + WRITE_LIMIT);
                return Fate::Stays;
            }
            Err(_) => return Fate::Closes,
        }
        self.unsent = false;
        self.phase = Phase::Lingering;
        self.until = Some(now + LINGER);
        // What came while nobody read is told by no further edge.
        self.drop_input(&mut [0; 4096])
    }

    fn drop_input(&mut self, buffer: &mut [u8]) -> Fate {
        if drop_input(self.stream.socket(), buffer) { Fate::Closes } else { Fate::Stays }
    }
}

/// Length of the buffer that [`Browser::advance`] is to be given, in bytes.
pub(super) const BUFFER: usize = MAX_HEAD;

impl Stream {
    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.socket(),
        }
    }

    /// Whether plain HTTP came where TLS belongs.
    fn is_wrongly_plain(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.is_plain(),
        }
    }

    /// Whether a TLS handshake has begun: whoever began one is about to ask, also right after its end.
    fn has_greeted(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.has_greeted(),
        }
    }

    /// Tells the other side that this was all. May be called again until it is done.
    fn finish(&mut self) -> io::Result<Finish> {
        if let Stream::Tls(stream) = self {
            stream.close_notify();
            if is_pending(stream.flush())? {
                return Ok(Finish::Pending);
            }
        }
        self.socket().shutdown(Shutdown::Write).map(|()| Finish::Done)
    }
}

/// Whether the other side was told that this was all.
enum Finish {
    Done,
    /// The socket has no room for it.
    Pending,
}

/// Whether something is still to be done when there is room.
fn is_pending(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
