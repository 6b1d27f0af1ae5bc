//! The control socket: one server per place by a lock, a stale socket replaced, and both ends sure of each other.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io, mem, ptr, thread};

use super::check;
use super::directory::{Asker, Directory, DirectoryError};
use super::place::{MAX_SOCKET_PATH, Place};

/// How often a lock that is held is tried again: a client that looks at it holds it for microseconds.
const LOCK_TRIES: u32 = 10;

/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why there is no control socket, or no connection to one.
#[derive(Debug)]
pub enum SocketError {
    /// Its folder is not safe or not there.
    Directory(DirectoryError),
    /// Another server has the place.
    Running,
    /// Something that is no socket has its name.
    InTheWay(PathBuf),
    /// The system takes no path that long.
    TooLong(PathBuf),
    /// The process that answers is not the user's, but this user's.
    Stranger(PathBuf, u32),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Running => f.write_str("pizauth authenticator already running"),
            Self::InTheWay(path) => write!(f, "{} is no socket; remove it", path.display()),
            Self::TooLong(path) => write!(
                f,
                "{} has {} bytes, but a socket's path has at most {MAX_SOCKET_PATH}; set PIZAUTH_SOCKET to a shorter one",
                path.display(),
                path.as_os_str().len()
            ),
            Self::Stranger(path, uid) => {
                write!(f, "the server at {} belongs to user {uid}; set PIZAUTH_SOCKET to your own", path.display())
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SocketError {}

impl From<DirectoryError> for SocketError {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

impl SocketError {
    /// Whether it is only that no server is there.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Directory(error) => error.is_missing(),
            Self::Io(_, error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused),
            Self::Running | Self::InTheWay(_) | Self::TooLong(_) | Self::Stranger(..) => false,
        }
    }
}

/// The server's side: the lock on a place and the listener there.
///
/// Both survive fork, and belong to whoever is left. Nothing is removed on drop, since a parent that detaches drops
/// them too: see [`ControlSocket::close`].
#[derive(Debug)]
pub struct ControlSocket {
    lock: File,
    directory: Directory,
    place: Place,
    /// The user whose server this is.
    uid: u32,
    /// The socket that this server made; none where it was passed.
    made: Option<Identity>,
}

impl ControlSocket {
    /// Takes the place for the user `uid`: locks it and listens there, or on `passed`.
    ///
    /// The listener does not block.
    pub fn open(
        place: Place,
        uid: u32,
        passed: Option<UnixListener>,
    ) -> Result<(ControlSocket, UnixListener), SocketError> {
        let path = place.socket();
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(SocketError::TooLong(path));
        }
        let directory = Directory::open(&place, Asker::Server(uid))?;
        let lock = lock(&place.lock())?;
        let (listener, made) = match passed {
            Some(listener) => {
                listener.set_nonblocking(true).map_err(|error| SocketError::Io(path, error))?;
                (listener, None)
            }
            None => bind(&path).map(|(listener, made)| (listener, Some(made)))?,
        };
        Ok((ControlSocket { lock, directory, place, uid, made }, listener))
    }

    /// Where the socket is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Marks socket, lock and folder as in use, so that nobody clears them away as old files (every 6 hours, by the
    /// XDG base directory specification).
    pub fn touch(&self) -> io::Result<()> {
        let lock = touch_open(&self.lock);
        let directory = touch_open(self.directory.file());
        touch_path(&self.place.socket()).and(lock).and(directory)
    }

    /// Makes sure that the place is still this server's: to be called before anything is done with the tokens.
    ///
    /// While the lock or the socket is where this server made it, no other server can have had the place, and what was
    /// removed is made anew.
    pub fn keep(&mut self) -> Result<Kept, SocketError> {
        let (lock_path, path) = (self.place.lock(), self.place.socket());
        let has_lock = self.lock.metadata().is_ok_and(|held| lies_at(&lock_path, (held.dev(), held.ino())));
        let kept = match self.made.map(|made| lies_at(&path, made)) {
            Some(true) | None if has_lock => return Ok(Kept::AsItWas),
            Some(true) => lock(&lock_path).map(|lock| {
                self.lock = lock;
                Kept::AsItWas
            }),
            Some(false) if has_lock => self.listen_again(),
            Some(false) | None if self.is_anothers() => Ok(Kept::Taken),
            Some(false) | None => Ok(Kept::Gone),
        };
        unless_taken(kept)
    }

    /// Takes a place that is [`Kept::Gone`] as at the start: makes its folder, locks it and listens there, if it did.
    pub fn take_again(&mut self) -> Result<Kept, SocketError> {
        unless_taken(self.open_again())
    }

    fn open_again(&mut self) -> Result<Kept, SocketError> {
        self.directory = Directory::open(&self.place, Asker::Server(self.uid))?;
        self.lock = lock(&self.place.lock())?;
        if self.made.is_some() { self.listen_again() } else { Ok(Kept::AsItWas) }
    }

    fn listen_again(&mut self) -> Result<Kept, SocketError> {
        let (listener, made) = bind(&self.place.socket())?;
        self.made = Some(made);
        Ok(Kept::WithNew(listener))
    }

    /// Whether another server of the user has the place, of which this one has nothing any more.
    fn is_anothers(&self) -> bool {
        // In a folder that is somebody else's now is no server that clients would believe.
        let directory = Directory::open(&self.place, Asker::Client(self.uid));
        let is_own = directory.is_ok_and(|directory| directory.owner == self.uid);
        is_own && (is_taken(&self.place) || self.made.is_some() && is_listened_to(&self.place.socket()))
    }

    /// Removes the socket and the lock, if they are those that this server made, and gives the place up.
    pub fn close(self) {
        let path = self.place.socket();
        if self.made.is_some() && identity(&path).ok() == self.made {
            let _ = fs::remove_file(path);
        }
        if same_file(&self.lock, &self.place.lock()) {
            let _ = fs::remove_file(self.place.lock());
        }
    }
}

/// What became of a server's place.
#[derive(Debug)]
pub enum Kept {
    /// The place and its listener are this server's.
    AsItWas,
    /// The socket was removed, and this is the new one's listener.
    WithNew(UnixListener),
    /// Lock and socket are gone and nobody has the place, but another server may have had it.
    Gone,
    /// Another server has the place.
    Taken,
}

/// A client's connection to the user's server.
#[derive(Debug)]
pub struct Connection {
    /// The connection, which blocks.
    pub stream: UnixStream,
    /// Where the server was found.
    pub place: Place,
}

/// Connects to the first of `places` that is safe and has a server, waiting at most `patience` for each.
///
/// Where there is none, the error is that of the first place that has a fault worth telling, or else `is_absent`. A
/// place is asked for only when those before it had no server.
pub fn connect(
    places: impl IntoIterator<Item = Place>,
    uid: u32,
    patience: Duration,
) -> Result<Connection, SocketError> {
    let (mut absence, mut fault) = (None, None);
    for place in places {
        match connect_to(&place, uid, patience) {
            Ok(stream) => return Ok(Connection { stream, place }),
            Err(error) if error.is_absent() => absence = absence.or(Some(error)),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    let nowhere = || SocketError::Io(PathBuf::new(), io::ErrorKind::NotFound.into());
    Err(fault.or(absence).unwrap_or_else(nowhere))
}

/// What came of keeping a place, where a server that is in the way has taken it.
fn unless_taken(kept: Result<Kept, SocketError>) -> Result<Kept, SocketError> {
    match kept {
        Err(SocketError::Running) => Ok(Kept::Taken),
        kept => kept,
    }
}

/// Whether a server has `place`: the lock tells, also while the server is on its way out.
pub fn is_taken(place: &Place) -> bool {
    let Ok(file) = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(place.lock()) else {
        return false;
    };
    flock(&file, libc::LOCK_SH).is_err()
}

/// Whether the user `peer` may speak to a server or client of the user `own`.
pub fn may_speak(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// The user at the other end of a Unix socket.
#[cfg(target_os = "linux")]
pub fn peer_uid(socket: impl AsFd) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the pointers are valid for writing, and `length` is the size of what it goes with.
    check(unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &mut length)
    })?;
    Ok(peer.uid)
}

/// The user at the other end of a Unix socket.
#[cfg(not(target_os = "linux"))]
pub fn peer_uid(socket: impl AsFd) -> io::Result<u32> {
    let (mut uid, mut gid) = (u32::MAX, u32::MAX);
    // SAFETY: both pointers are valid for writing.
    check(unsafe { libc::getpeereid(socket.as_fd().as_raw_fd(), &mut uid, &mut gid) })?;
    Ok(uid)
}

fn connect_to(place: &Place, uid: u32, patience: Duration) -> Result<UnixStream, SocketError> {
    let path = place.socket();
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(SocketError::TooLong(path));
    }
    let directory = Directory::open(place, Asker::Client(uid))?;
    let connected = connect_within(&path, patience).and_then(|stream| peer_uid(&stream).map(|peer| (stream, peer)));
    match connected {
        Ok((stream, peer)) if may_speak(uid, peer) && peer == directory.owner => Ok(stream),
        Ok((_, peer)) => Err(SocketError::Stranger(path, peer)),
        Err(error) => Err(SocketError::Io(path, error)),
    }
}

/// Connects, waiting at most `patience` where the server's queue is full. The limit stays on for writing.
fn connect_within(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    #[cfg(target_os = "linux")]
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let kind = libc::SOCK_STREAM;
    // SAFETY: the call takes numbers only; the descriptor is new and nobody else's.
    let stream = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_UNIX, kind, 0))?) };
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    let stream = UnixStream::from(stream);
    stream.set_write_timeout(Some(patience))?;

    // SAFETY: zeros are a valid sockaddr_un, and leave the path with the NUL that ends it.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()).take(MAX_SOCKET_PATH) {
        *to = *from as libc::c_char;
    }
    let length = mem::size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the address is a sockaddr_un of that length, and lives until the call returns.
    check(unsafe { libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(stream)
}

/// Opens the lock's file and locks it, or finds that somebody else has.
fn lock(path: &Path) -> Result<File, SocketError> {
    let refused = |error| SocketError::Io(path.into(), error);
    for _ in 0..LOCK_TRIES {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path).map_err(refused)?;
        match flock(&file, libc::LOCK_EX) {
            // A server on its way out removes the file: a lock on one that has no name any more is worth nothing.
            Ok(()) if same_file(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(refused(error)),
        }
    }
    Err(SocketError::Running)
}

/// Takes a lock on `file` that ends with its last descriptor, without waiting.
fn flock(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) }).map(drop)
}

/// Whether `file` lies at `path`.
pub(super) fn same_file(file: &File, path: &Path) -> bool {
    file.metadata().map(|own| (own.dev(), own.ino())).ok() == identity(path).ok()
}

/// A file's device and inode.
type Identity = (u64, u64);

/// The identity of what lies at `path`, links not followed.
fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Whether `file` lies at `path`, or may for all that the system tells.
fn lies_at(path: &Path, file: Identity) -> bool {
    match identity(path) {
        Ok(found) => found == file,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Removes a socket that nobody listens to. The lock is held, so no server of ours can be about to.
fn clear(path: &Path) -> Result<(), SocketError> {
    let refused = |error| SocketError::Io(path.into(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::InTheWay(path.into())),
        Ok(_) => {}
    }
    // pizauth 1 takes no lock.
    if is_listened_to(path) { Err(SocketError::Running) } else { fs::remove_file(path).map_err(refused) }
}

/// Whether somebody listens at `path`, be it with a full queue.
fn is_listened_to(path: &Path) -> bool {
    match connect_within(path, LOCK_PAUSE) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Listens at `path`, for the user alone and without blocking, in place of a stale socket; returns the file's identity
/// too.
fn bind(path: &Path) -> Result<(UnixListener, Identity), SocketError> {
    clear(path)?;
    let bound = UnixListener::bind(path).and_then(|listener| {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok((listener, identity(path)?))
    });
    bound.map_err(|error| SocketError::Io(path.into(), error))
}

fn touch_open(file: &File) -> io::Result<()> {
    // SAFETY: no times mean now.
    check(unsafe { libc::futimens(file.as_raw_fd(), ptr::null()) }).map(drop)
}

fn touch_path(path: &Path) -> io::Result<()> {
    let path = super::c_string(path.as_os_str().as_bytes())?;
    // SAFETY: the path ends in a NUL and lives until the call returns; no times mean now.
    check(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), ptr::null(), libc::AT_SYMLINK_NOFOLLOW) }).map(drop)
}

#[cfg(test)]
mod tests;
