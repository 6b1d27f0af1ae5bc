//! One connection to the server: requests out, notices and an answer in, each bounded in time and size.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use super::failure::Failure;
use crate::{
    proto::{self, Line, Notice, Request, Response},
    sys::{
        place::{Environment, Place},
        socket::{self, Connection},
        user,
    },
};

/// How long the server may take for an answer that it has at hand.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Longest line that is read from the server, in bytes: a dump fits back into a `restore`.
const MAX_LINE: usize = proto::MAX_RESTORE;

/// How much is read at once, in bytes: most answers fit.
const CHUNK: usize = 8 * 1024;

/// Longest socket time-out, which some systems refuse to have longer than a few days.
const HOUR: Duration = Duration::from_secs(3600);

/// How often a server on its way out is looked at: from the end of its connections it takes milliseconds.
const GLANCE: Duration = Duration::from_millis(10);

/// When the server must have answered.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// A deadline `limit` from now. At most some hundred years.
    pub fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// What is left, or the failure that nothing is.
    pub fn remaining(self) -> Result<Duration, Failure> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.passed()) } else { Ok(left) }
    }

    fn passed(self) -> Failure {
        Failure::NoAnswer { seconds: self.limit.as_secs() }
    }
}

/// A connection to the server.
pub struct Client {
    stream: UnixStream,
    place: Place,
    /// What came and is not yet a line.
    received: Vec<u8>,
    /// How much of it is known to hold no line break.
    searched: usize,
}

impl Client {
    /// Connects to the user's own server.
    pub fn connect() -> Result<Client, Failure> {
        match socket::connect(Environment::read().client_places(), user::uid(), LIMIT) {
            Ok(connection) => Ok(Client::new(connection)),
            Err(error) if error.is_absent() => Err(Failure::NoServer { fault: None }),
            Err(error) => Err(Failure::NoServer { fault: Some(error) }),
        }
    }

    fn new(connection: Connection) -> Client {
        let Connection { stream, place } = connection;
        Client { stream, place, received: Vec::new(), searched: 0 }
    }

    /// Where the server is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Sends a request. What the server says to a connection that it closed meanwhile is left to be read.
    pub fn send(&mut self, request: &Request, deadline: Deadline) -> Result<(), Failure> {
        let line = proto::write_request(request);
        let mut rest = line.expose().as_slice();
        while !rest.is_empty() {
            let timeout = deadline.remaining()?.min(HOUR);
            self.stream.set_write_timeout(Some(timeout)).map_err(Failure::Connection)?;
            match self.stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if again(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Failure::Connection(error)),
            }
        }
        Ok(())
    }

    /// Sends a request and returns its answer, a failed one too. `on_notice` gets what is told meanwhile.
    pub fn exchange(
        &mut self,
        request: &Request,
        deadline: Deadline,
        mut on_notice: impl FnMut(Notice),
    ) -> Result<Response, Failure> {
        self.send(request, deadline)?;
        loop {
            match self.line(deadline)? {
                Line::Notice(notice) => on_notice(notice),
                Line::Response(response) => return Ok(response),
            }
        }
    }

    /// The next line from the server.
    fn line(&mut self, deadline: Deadline) -> Result<Line, Failure> {
        loop {
            if let Some(line) = self.received_line()? {
                return Ok(line);
            }
            let timeout = deadline.remaining()?.min(HOUR);
            self.stream.set_read_timeout(Some(timeout)).map_err(Failure::Connection)?;
            self.receive()?;
        }
    }

    /// Reads once. Blocks where nothing came and no time-out is set.
    pub fn receive(&mut self) -> Result<(), Failure> {
        if self.received.len() > MAX_LINE {
            return Err(Failure::Unexpected);
        }
        let mut chunk = vec![0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Failure::Closed),
            Ok(count) => {
                self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if again(&error) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Failure::Closed),
            Err(error) => Err(Failure::Connection(error)),
        }
    }

    /// The next line of what was received.
    pub fn received_line(&mut self) -> Result<Option<Line>, Failure> {
        let unsearched = self.received.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.received.len();
            return Ok(None);
        };
        let end = self.searched + at + 1;
        let line = proto::read_line(self.received.get(..end).unwrap_or_default()).map_err(Failure::Malformed)?;
        self.received.drain(..end);
        self.searched = 0;
        Ok(Some(line))
    }

    /// Waits until the server has closed the connection and given up its place.
    pub fn wait_for_end(mut self, deadline: Deadline) -> Result<(), Failure> {
        loop {
            match self.line(deadline) {
                Ok(_) => {}
                Err(Failure::Closed | Failure::Connection(_)) => break,
                Err(failure) => return Err(failure),
            }
        }
        while socket::is_taken(&self.place) {
            thread::sleep(deadline.remaining()?.min(GLANCE));
        }
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Sends one request and returns its answer, with a failed one as the failure that it is. `on_notice` gets what is
/// told meanwhile.
pub fn ask(request: &Request, limit: Duration, on_notice: impl FnMut(Notice)) -> Result<Response, Failure> {
    let deadline = Deadline::after(limit);
    judge(Client::connect()?.exchange(request, deadline, on_notice)?)
}

/// As [`ask`], where the server may be busy for `patience` before it has an answer.
///
/// One that is busy is told from one that hangs: it answers on another connection meanwhile.
pub fn ask_patiently(
    request: &Request,
    patience: Duration,
    mut on_notice: impl FnMut(Notice),
) -> Result<Response, Failure> {
    let end = Deadline::after(LIMIT + patience);
    let mut client = Client::connect()?;
    client.send(request, Deadline::after(LIMIT))?;
    loop {
        let sign_of_life = Deadline::after(LIMIT);
        match client.line(Deadline::after(LIMIT / 2)) {
            Ok(Line::Notice(notice)) => on_notice(notice),
            Ok(Line::Response(response)) => return judge(response),
            Err(Failure::NoAnswer { .. }) => {
                end.remaining()?;
                let other =
                    Client::connect().and_then(|mut other| other.exchange(&Request::Info, sign_of_life, |_| {}));
                // Whatever else this one ends with, the first connection tells it too.
                if let Err(failure @ Failure::NoAnswer { .. }) = other {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Turns a failed answer into the failure that it is.
pub fn judge(response: Response) -> Result<Response, Failure> {
    match response {
        Response::Failed { reason, messages } => Err(Failure::Answered { reason, messages }),
        Response::Done { .. }
        | Response::Token(_)
        | Response::Status(_)
        | Response::Info(_)
        | Response::Dump { .. } => Ok(response),
    }
}

fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Reason, write_notice, write_response};

    fn notice() -> Notice {
        Notice::Message { text: "wait".to_owned() }
    }

    fn done() -> Response {
        Response::Done { messages: Vec::new() }
    }

    fn pair() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let place = Place::Named { socket: "test.sock".into() };
        (Client::new(Connection { stream: ours, place }), theirs)
    }

    #[test]
    fn lines_are_read_however_they_come() {
        let bytes = [write_notice(&notice()).expose().clone(), write_response(&done()).expose().clone()].concat();
        for size in [1, 7, bytes.len()] {
            let (mut client, mut server) = pair();
            let bytes = bytes.clone();
            let writer = thread::spawn(move || bytes.chunks(size).for_each(|chunk| server.write_all(chunk).unwrap()));
            let deadline = Deadline::after(LIMIT);
            assert_eq!(client.line(deadline).unwrap(), Line::Notice(notice()), "{size}");
            assert_eq!(client.line(deadline).unwrap(), Line::Response(done()), "{size}");
            assert!(matches!(client.line(deadline), Err(Failure::Closed)), "{size}");
            writer.join().unwrap();
        }
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let (mut client, _server) = pair();
        let deadline = Deadline::after(Duration::from_millis(20));
        assert!(matches!(client.line(deadline), Err(Failure::NoAnswer { .. })));
    }

    #[test]
    fn a_server_that_reads_nothing_is_given_up() {
        let (mut client, _server) = pair();
        let dump = "x".repeat(8 * 1024 * 1024).into();
        let sent = client.send(&Request::Restore { dump }, Deadline::after(Duration::from_millis(50)));
        assert!(matches!(sent, Err(Failure::NoAnswer { .. })), "{sent:?}");
    }

    #[test]
    fn the_reason_for_a_closed_connection_is_read() {
        let (mut client, mut server) = pair();
        let refusal = Response::Failed { reason: Reason::Error, messages: vec!["too long".to_owned()] };
        server.write_all(write_response(&refusal).expose()).unwrap();
        drop(server);
        let deadline = Deadline::after(LIMIT);
        client.send(&Request::Info, deadline).unwrap();
        assert_eq!(client.line(deadline).unwrap(), Line::Response(refusal));
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        let (mut client, mut server) = pair();
        server.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
        assert!(matches!(client.line(Deadline::after(LIMIT)), Err(Failure::Malformed(_))));
    }
}
