//! The way to an endpoint: look-up, TCP, a proxy's tunnel and TLS, blocking, under one deadline.
//!
//! Each step fails with a [`Broken`] that names how far it came; a proxy's credentials and what the other side said
//! stand in none of them.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{CertificateError, ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::proxy::{Peer, Proxy};
use crate::{
    oauth::{Broken, CertificateFault, Stage},
    secret::Secret,
};

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 16;

/// Longest wait for one address while others are left: the first two retransmissions of a SYN fit in.
const ADDRESS_LIMIT: Duration = Duration::from_secs(5);

/// Longest head of a proxy's answer, in bytes.
const MAX_PROXY_HEAD: usize = 8 * 1024;

/// Most header fields of a proxy's answer.
const MAX_PROXY_FIELDS: usize = 64;

/// When everything must be over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// A deadline `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }

    /// What an I/O error is, as a clause; a time-out with the time.
    pub fn clause(&self, error: &io::Error) -> String {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => format!("timed out after {} s", self.limit.as_secs()),
            _ => clause(error),
        }
    }
}

/// What an I/O error is, as one lower-case clause.
pub fn clause(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset".to_owned(),
        ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        ErrorKind::TimedOut => "timed out".to_owned(),
        _ => {
            // "No such file or directory (os error 2)" and "failed to lookup address information: Name or ..."
            let text = error.to_string();
            let text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text);
            let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
            let mut chars = text.chars();
            chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
        }
    }
}

/// A connection to an endpoint, ready for HTTP.
#[derive(Debug)]
pub enum Wire {
    /// Bytes as they are.
    Plain(Socket),
    /// Bytes within TLS.
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Wire {
    /// Connects to `target`: through `proxy` where there is one, within TLS where `tls` is given.
    ///
    /// A proxy is asked for a tunnel where there is TLS; without, it gets the request itself.
    pub fn open(
        target: &Peer,
        proxy: Option<&Proxy>,
        tls: Option<Arc<ClientConfig>>,
        deadline: Deadline,
    ) -> Result<Wire, Broken> {
        let mut socket = match proxy {
            Some(proxy) => connect(&proxy.peer, "the proxy ", deadline)?,
            None => connect(target, "", deadline)?,
        };
        let Some(tls) = tls else { return Ok(Wire::Plain(socket)) };
        if let Some(proxy) = proxy {
            open_tunnel(&mut socket, target, proxy)?;
        }
        shake_hands(socket, target, proxy, tls)
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        match self {
            Wire::Plain(_) => false,
            Wire::Tls(_) => true,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(buf),
            Wire::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(buf),
            Wire::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// A TCP connection whose every read and write ends by the deadline.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    deadline: Deadline,
}

impl Socket {
    /// Performs one read or write within the time left, again where a signal interrupted it.
    fn within(
        &mut self,
        set_timeout: impl Fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut operation: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.deadline.left()?;
            match set_timeout(&self.stream, Some(left)) {
                // macOS says so when the peer has closed; what it sent can still be read.
                Err(error) if error.kind() != ErrorKind::InvalidInput => return Err(error),
                Ok(()) | Err(_) => {}
            }
            match operation(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                result => return result,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.within(TcpStream::set_read_timeout, |stream| stream.read(buf))
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.within(TcpStream::set_write_timeout, |stream| stream.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Looks `peer` up and connects to the first of its addresses that accepts. `role` stands before its name in errors.
fn connect(peer: &Peer, role: &str, deadline: Deadline) -> Result<Socket, Broken> {
    let resolve_fault =
        |why: String| Broken { stage: Stage::Resolve, detail: format!("could not resolve {role}{}: {why}", peer.host) };
    // This has no time limit of its own: the caller gives up waiting, and the look-up ends when it ends.
    let found = (peer.host.as_str(), peer.port).to_socket_addrs().map_err(|error| resolve_fault(clause(&error)))?;
    let addresses = interleave(found);
    let mut fault = None;
    for (at, address) in addresses.iter().enumerate() {
        let others = addresses.len() - at - 1;
        match connect_address(address, others, &deadline) {
            Ok(stream) => return Ok(Socket { stream, deadline }),
            // A family without a route says less than an address that was reached.
            Err(error) if fault.is_some() && is_unreachable(&error) => {}
            Err(error) => fault = Some(error),
        }
    }
    let Some(fault) = fault else { return Err(resolve_fault("it has no address".to_owned())) };
    let detail = match fault.kind() {
        ErrorKind::ConnectionRefused => format!("connection to {role}{peer} refused"),
        ErrorKind::TimedOut if deadline.left().is_err() => {
            format!("{} while connecting to {role}{peer}", deadline.clause(&fault))
        }
        ErrorKind::TimedOut => format!("timed out while connecting to {role}{peer}"),
        _ => format!("no connection to {role}{peer}: {}", clause(&fault)),
    };
    Err(Broken { stage: Stage::Connect, detail })
}

/// Connects to one address, in a share of the time left that leaves some for the others and for the request.
fn connect_address(address: &SocketAddr, others: usize, deadline: &Deadline) -> io::Result<TcpStream> {
    let left = deadline.left()?;
    let share = match others {
        0 => left,
        _ => ADDRESS_LIMIT.min(left / (others as u32 + 1)),
    };
    let stream = TcpStream::connect_timeout(address, share)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable)
}

/// Puts addresses of the two families in turn, beginning with the first one's, so that a dead family costs little.
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let all: Vec<SocketAddr> = addresses.take(MAX_ADDRESSES).collect();
    let Some(first) = all.first() else { return all };
    let (preferred, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        all.iter().partition(|address| address.is_ipv6() == first.is_ipv6());
    let mut order = Vec::with_capacity(all.len());
    for at in 0..all.len() {
        order.extend([preferred.get(at), other.get(at)].into_iter().flatten());
    }
    order
}

/// Has the proxy connect us to `target` (RFC 9110 s9.3.6).
fn open_tunnel(socket: &mut Socket, target: &Peer, proxy: &Proxy) -> Result<(), Broken> {
    let deadline = socket.deadline;
    let refused = |why: String| Broken {
        stage: Stage::Proxy,
        detail: format!("the proxy {} made no connection to {target}: {why}", proxy.peer),
    };
    let status = ask_tunnel(socket, target, proxy).map_err(|error| refused(deadline.clause(&error)))?;
    match (status, &proxy.authorization) {
        (200..=299, _) => Ok(()),
        (407, None) => Err(refused("it asks for user and password (status 407)".to_owned())),
        (407, Some(_)) => Err(refused("it refused user and password (status 407)".to_owned())),
        (status, _) => Err(refused(format!("it answered with status {status}"))),
    }
}

fn ask_tunnel(socket: &mut Socket, target: &Peer, proxy: &Proxy) -> io::Result<u16> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.extend(["Proxy-Authorization: ", authorization.expose(), "\r\n"]);
    }
    request.push_str("\r\n");
    socket.write_all(Secret::new(request).expose().as_bytes())?;

    let mut head = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let read = socket.read(&mut piece)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.extend(piece.iter().take(read));
        let mut fields = [httparse::EMPTY_HEADER; MAX_PROXY_FIELDS];
        let mut answer = httparse::Response::new(&mut fields);
        match answer.parse(&head) {
            Ok(httparse::Status::Partial) if head.len() < MAX_PROXY_HEAD => {}
            Ok(httparse::Status::Partial) => return Err(io::Error::other("its answer is too long")),
            // In TLS the client speaks first: after a tunnel's head nothing can have come yet.
            Ok(httparse::Status::Complete(end)) => match answer.code {
                Some(200..=299) if end < head.len() => return Err(io::Error::other("its answer is no tunnel")),
                Some(code) => return Ok(code),
                None => return Err(io::Error::other("its answer is not HTTP")),
            },
            Err(_) => return Err(io::Error::other("its answer is not HTTP")),
        }
    }
}

fn shake_hands(
    socket: Socket,
    target: &Peer,
    proxy: Option<&Proxy>,
    config: Arc<ClientConfig>,
) -> Result<Wire, Broken> {
    let through = proxy.map(|proxy| format!(" through the proxy {}", proxy.peer)).unwrap_or_default();
    let cut = |why: String| Broken {
        stage: Stage::Tls,
        detail: format!("TLS handshake with {target}{through} failed: {why}"),
    };
    let deadline = socket.deadline;
    let Ok(name) = ServerName::try_from(target.host.clone()) else {
        return Err(cut("no certificate can be for such a name".to_owned()));
    };
    let connection = ClientConnection::new(config, name).map_err(|error| cut(tls_clause(&error)))?;
    let mut stream = Box::new(StreamOwned::new(connection, socket));
    while stream.conn.is_handshaking() {
        let Err(error) = stream.conn.complete_io(&mut stream.sock) else { continue };
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Err(cut(deadline.clause(&error)));
        };
        let rustls::Error::InvalidCertificate(why) = tls else { return Err(cut(tls_clause(tls))) };
        let (fault, why) = certificate_fault(why);
        let detail = format!("certificate of {target}{through} refused: {why}");
        return Err(Broken { stage: Stage::Certificate(fault), detail });
    }
    Ok(Wire::Tls(stream))
}

/// What broke a handshake, in words of our own.
fn tls_clause(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => "it does not speak TLS".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("it sent the alert {alert:?}"),
        rustls::Error::PeerIncompatible(why) => format!("no common ground: {why:?}"),
        rustls::Error::NoCertificatesPresented => "it sent no certificate".to_owned(),
        _ => "it broke the protocol".to_owned(),
    }
}

fn certificate_fault(error: &CertificateError) -> (CertificateFault, &'static str) {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => (CertificateFault::UnknownIssuer, "no known root signed it"),
        E::Expired | E::ExpiredContext { .. } => (CertificateFault::Expired, "it is expired"),
        E::NotValidYet | E::NotValidYetContext { .. } => (CertificateFault::Expired, "it is not valid yet"),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            (CertificateFault::WrongName, "it is for another name")
        }
        E::BadEncoding => (CertificateFault::Other, "it is malformed"),
        E::BadSignature => (CertificateFault::Other, "its signature is wrong"),
        E::Revoked => (CertificateFault::Other, "it is revoked"),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => (CertificateFault::Other, "it is not for servers"),
        E::UnsupportedSignatureAlgorithmContext { .. } | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            (CertificateFault::Other, "its kind of signature is not supported")
        }
        E::Other(_) => (CertificateFault::Other, "it cannot be a server's, for example an authority's own"),
        _ => (CertificateFault::Other, "it breaks the rules for certificates"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let parse = |list: &str| -> Vec<SocketAddr> { list.split_whitespace().map(|a| a.parse().unwrap()).collect() };
        for (list, want) in [
            ("", ""),
            ("1.1.1.1:1", "1.1.1.1:1"),
            ("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1", "[::1]:1 1.1.1.1:1 [::2]:1 [::3]:1"),
            ("1.1.1.1:1 [::1]:1 1.1.1.2:1", "1.1.1.1:1 [::1]:1 1.1.1.2:1"),
        ] {
            assert_eq!(interleave(parse(list).into_iter()), parse(want), "{list}");
        }
        assert_eq!(interleave(parse(&"1.1.1.1:1 ".repeat(100)).into_iter()).len(), MAX_ADDRESSES);
    }

    #[test]
    fn errors_are_one_lower_case_clause() {
        for (error, want) in [
            (io::Error::from_raw_os_error(libc::ENOENT), "no such file or directory"),
            (ErrorKind::ConnectionRefused.into(), "connection refused"),
            (ErrorKind::UnexpectedEof.into(), "connection closed"),
            (io::Error::other("failed to lookup address information: Name unknown"), "name unknown"),
            (io::Error::other(""), ""),
        ] {
            assert_eq!(clause(&error), want);
        }
    }
}
