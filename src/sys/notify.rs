//! Talking to the service manager: readiness out by NOTIFY_SOCKET, a listening socket in by LISTEN_FDS.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::{env, fmt, io, mem, process};

use super::{check, clock};

/// The first descriptor that is passed, by the protocol.
const FIRST_PASSED: RawFd = 3;

/// Tells the service manager how the daemon is, if there is one that wants to know. Nothing here waits or fails.
#[derive(Debug)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// Speaks to what NOTIFY_SOCKET names.
    pub fn from_env() -> Self {
        Self::to(env::var_os("NOTIFY_SOCKET").as_deref())
    }

    /// The daemon answers, or has done with a reload.
    pub fn ready(&self) {
        self.send("READY=1\n");
    }

    /// A reload begins.
    pub fn reloading(&self) {
        let now = clock::read(libc::CLOCK_MONOTONIC).as_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n"));
    }

    /// The daemon is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    fn to(name: Option<&OsStr>) -> Self {
        let open = |name| -> io::Result<_> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, address(name)?))
        };
        Self(name.and_then(|name| open(name).ok()))
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.0 {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// The address that NOTIFY_SOCKET names: an absolute path, or on Linux an abstract name after `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Why a passed socket is not used.
#[derive(Debug)]
pub enum PassedError {
    /// LISTEN_FDS says how many, and it is not one.
    Count(OsString),
    /// What was passed is no listening Unix stream socket.
    Kind,
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for PassedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => {
                write!(f, "LISTEN_FDS is {}, but pizauth takes one socket", count.to_string_lossy())
            }
            Self::Kind => f.write_str("the socket passed by LISTEN_FDS is no listening Unix stream socket"),
            Self::Io(error) => write!(f, "the socket passed by LISTEN_FDS: {error}"),
        }
    }
}

impl std::error::Error for PassedError {}

/// The control socket that the service manager passed, if it passed one to this process.
///
/// To be called once, before fork and before anything is opened. Children do not inherit it.
pub fn passed_listener() -> Result<Option<UnixListener>, PassedError> {
    if !is_passed(env::var_os("LISTEN_PID").as_deref(), env::var_os("LISTEN_FDS"), process::id())? {
        return Ok(None);
    }
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::fcntl(FIRST_PASSED, libc::F_SETFD, libc::FD_CLOEXEC) }).map_err(PassedError::Io)?;
    // SAFETY: the descriptor is open, and by the protocol this process is its owner.
    adopt(unsafe { OwnedFd::from_raw_fd(FIRST_PASSED) }).map(Some)
}

/// Whether one socket was passed to the process `own`.
fn is_passed(pid: Option<&OsStr>, count: Option<OsString>, own: u32) -> Result<bool, PassedError> {
    let for_us = pid.and_then(OsStr::to_str).and_then(|pid| pid.parse().ok()) == Some(own);
    match count {
        Some(count) if for_us && count == "1" => Ok(true),
        Some(count) if for_us && count != "0" => Err(PassedError::Count(count)),
        Some(_) | None => Ok(false),
    }
}

/// Makes a listener of `socket`, if it is one.
fn adopt(socket: OwnedFd) -> Result<UnixListener, PassedError> {
    let is_stream = option(&socket, libc::SO_TYPE).map_err(PassedError::Io)? == libc::SOCK_STREAM;
    let listens = match option(&socket, libc::SO_ACCEPTCONN) {
        Ok(listens) => listens != 0,
        // macOS does not tell.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => true,
        Err(error) => return Err(PassedError::Io(error)),
    };
    let listener = UnixListener::from(socket);
    // The address is an error where it is not a Unix socket's.
    if !is_stream || !listens || listener.local_addr().is_err() {
        return Err(PassedError::Kind);
    }
    listener.set_nonblocking(true).map_err(PassedError::Io)?;
    Ok(listener)
}

/// An option of the socket layer that is a number.
fn option(socket: &OwnedFd, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    let socket = socket.as_raw_fd();
    // SAFETY: the pointers are valid for writing, and `length` is the size of what it goes with.
    check(unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, name, (&raw mut value).cast(), &mut length) })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use super::super::testing::Scratch;
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 128];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_service_manager_hears_every_step() {
        let scratch = Scratch::new();
        let path = scratch.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.as_os_str()));
        notify.ready();
        notify.reloading();
        notify.stopping();
        assert_eq!(receive(&socket), "READY=1\n");
        let reloading = receive(&socket);
        let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(at.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(receive(&socket), "STOPPING=1\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_understood() {
        let name = format!("@pizauth-notify-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notify::to(Some(OsStr::new(&name))).ready();
        assert_eq!(receive(&socket), "READY=1\n");
    }

    #[test]
    fn nobody_there_is_no_trouble() {
        for name in [None, Some(""), Some("relative"), Some("/nowhere/at/all"), Some("vsock:2:1")] {
            Notify::to(name.map(OsStr::new)).ready();
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let scratch = Scratch::new();
        let path = scratch.path().join("notify");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.as_os_str()));
        for _ in 0..5_000 {
            notify.ready();
        }
    }

    #[test]
    fn a_socket_counts_only_where_it_is_meant_for_us() {
        for (name, pid, count, want) in [
            ("ours", Some("42"), Some("1"), Some(true)),
            ("none", None, None, Some(false)),
            ("no number", Some("42"), None, Some(false)),
            ("another process's", Some("41"), Some("1"), Some(false)),
            ("no process", Some("x"), Some("1"), Some(false)),
            ("zero", Some("42"), Some("0"), Some(false)),
            ("two", Some("42"), Some("2"), None),
            ("nonsense", Some("42"), Some("one"), None),
        ] {
            assert_eq!(is_passed(pid.map(OsStr::new), count.map(OsString::from), 42).ok(), want, "{name}");
        }
    }

    #[test]
    fn only_a_listening_unix_socket_is_taken() {
        let scratch = Scratch::new();
        let path = scratch.path().join("control");
        let listener = adopt(UnixListener::bind(&path).unwrap().into()).unwrap();
        UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for (name, socket) in [
            ("a connection", OwnedFd::from(UnixStream::pair().unwrap().0)),
            ("datagrams", UnixDatagram::unbound().unwrap().into()),
            ("another family", TcpListener::bind("127.0.0.1:0").unwrap().into()),
        ] {
            assert!(matches!(adopt(socket), Err(PassedError::Kind)), "{name}");
        }
        let (reader, _writer) = mio::unix::pipe::new().unwrap();
        assert!(matches!(adopt(reader.into()), Err(PassedError::Io(_))), "no socket");
    }
}
