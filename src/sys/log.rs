//! Messages of the daemon: to stderr in the foreground, to syslog(3) when detached. Each is one line.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use libc::c_int;

#[cfg(target_os = "linux")]
use super::dev_log::SYSTEM_LOG;
pub use crate::engine::Level;

/// Longest line written, in bytes: what syslog takes whole.
const MAX_LINE: usize = 2048;

/// Bytes that a pipe with room takes without waiting.
#[cfg(target_os = "linux")]
const PIECE: usize = 4096;
/// Bytes that a pipe with room takes without waiting.
#[cfg(not(target_os = "linux"))]
const PIECE: usize = 512;

/// Where messages go.
#[derive(Clone, Copy, Debug)]
enum Sink {
    Stderr,
    /// Stderr's terminal, by a description of its own that does not block and stays open.
    Terminal(&'static File),
    Syslog,
}

/// Writes messages up to a level.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    level: Level,
    sink: Sink,
}

impl Log {
    /// A log on stderr, as lines that begin with `pizauth: `. A line that would have to wait is lost.
    pub fn to_stderr(level: Level) -> Self {
        Self { level, sink: Sink::Stderr }
    }

    /// The log of a server that stays in the foreground: [`Log::to_stderr`], also where that is a terminal that nobody
    /// reads. A terminal with a little room is ready to poll(2), but a longer line waits.
    pub fn in_foreground(level: Level) -> Self {
        let terminal = open_terminal(io::stderr()).map(|terminal| &*Box::leak(Box::new(terminal)));
        Self { level, sink: terminal.map_or(Sink::Stderr, Sink::Terminal) }
    }

    /// A log in the system's, facility daemon.
    pub fn to_syslog(level: Level) -> Self {
        // SAFETY: the name is a literal, so it lives as long as syslog(3) may read it.
        unsafe { libc::openlog(c"pizauth".as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_DAEMON) };
        Self { level, sink: Sink::Syslog }
    }

    /// Whether messages of `level` are written: to be asked before a costly one is made.
    pub fn takes(&self, level: Level) -> bool {
        level <= self.level
    }

    /// Writes `message` as one line, if `level` is taken.
    pub fn write(&self, level: Level, message: &str) {
        if !self.takes(level) {
            return;
        }
        let message = one_line(message);
        match self.sink {
            Sink::Stderr => write_if_ready(&mut io::stderr(), &format!("pizauth: {message}\n"), PIECE),
            Sink::Terminal(mut terminal) => _ = terminal.write(format!("pizauth: {message}\n").as_bytes()),
            Sink::Syslog => log_to_system(priority(level) | libc::LOG_DAEMON, &message),
        }
    }
}

/// Opens the terminal that `stream` is once more, without blocking; none where it is no terminal or another user's.
fn open_terminal(stream: impl AsRawFd) -> Option<File> {
    let mut path = [0_u8; 256];
    // SAFETY: the pointer is valid for writing and the length is the buffer's.
    if unsafe { libc::ttyname_r(stream.as_raw_fd(), path.as_mut_ptr().cast(), path.len()) } != 0 {
        return None;
    }
    let path = OsStr::from_bytes(CStr::from_bytes_until_nul(&path).ok()?.to_bytes());
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()
}

/// Hands a line to the system's log. One that would have to wait for long is lost.
#[cfg(target_os = "linux")]
fn log_to_system(priority: c_int, line: &str) {
    let sent = SYSTEM_LOG.send(priority, line);
    if sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
        // There are logs that take a stream.
        call_syslog(priority, line);
    }
}

/// Hands a line to the system's log.
// OpenBSD's syslog(3) never waits; the others' may, where the log is not read.
#[cfg(not(target_os = "linux"))]
fn log_to_system(priority: c_int, line: &str) {
    call_syslog(priority, line);
}

fn call_syslog(priority: c_int, line: &str) {
    let line = CString::new(line).unwrap_or_default();
    // SAFETY: both strings end in a NUL, and the format takes one string.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

fn priority(level: Level) -> c_int {
    match level {
        Level::Error => libc::LOG_ERR,
        Level::Warn => libc::LOG_WARNING,
        Level::Info => libc::LOG_INFO,
        Level::Debug | Level::Trace => libc::LOG_DEBUG,
    }
}

/// Writes as much of `line` as needs no waiting, in pieces that either fit or wait whole; an error changes nothing.
fn write_if_ready(stream: &mut (impl Write + AsRawFd), line: &str, piece: usize) {
    for piece in line.as_bytes().chunks(piece) {
        let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: there is one pollfd, and it lives until the call returns.
        let ready = unsafe { libc::poll(&mut poll, 1, 0) };
        if ready != 1 || !takes_bytes(poll.revents) || stream.write(piece).is_err() {
            return;
        }
    }
}

/// Whether what poll(2) says means that a write will not wait. macOS has a poll that knows no devices, terminals among
/// them, and calls them invalid; a write to what is really invalid fails at once.
fn takes_bytes(revents: libc::c_short) -> bool {
    revents & (libc::POLLOUT | libc::POLLNVAL) != 0
}

/// `message` without control characters, white space of any length as one blank, and cut at [`MAX_LINE`] bytes.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len().min(MAX_LINE));
    for character in message.chars() {
        if line.len() + character.len_utf8() > MAX_LINE {
            break;
        }
        if matches!(character, '\n' | '\r' | '\t' | ' ') {
            if !line.ends_with(' ') {
                line.push(' ');
            }
        } else if !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}') {
            line.push(character);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::FromRawFd;
    use std::os::unix::net::UnixStream;

    use super::super::check;
    use super::*;

    #[test]
    fn verbosity_chooses_the_level() {
        for (count, lowest, left_out) in [
            (0, Level::Error, Some(Level::Warn)),
            (1, Level::Warn, Some(Level::Info)),
            (2, Level::Info, Some(Level::Debug)),
            (3, Level::Debug, Some(Level::Trace)),
            (4, Level::Trace, None),
            (9, Level::Trace, None),
        ] {
            let log = Log::to_stderr(Level::from_verbosity(count));
            assert!(log.takes(lowest), "{count}");
            assert!(left_out.is_none_or(|level| !log.takes(level)), "{count}");
        }
    }

    #[test]
    fn a_message_is_one_harmless_line() {
        for (name, message, want) in [
            ("as it is", "work: requested -> exchanging", "work: requested -> exchanging"),
            ("two lines", "one\r\n  two\n", "one two"),
            ("an escape sequence", "a\u{1b}[2Jb\0c\u{9b}d", "a[2Jbcd"),
            ("line separators", "a\u{2028}b", "ab"),
            ("other scripts", "Zürich 東京", "Zürich 東京"),
        ] {
            assert_eq!(one_line(message), want, "{name}");
        }
        assert_eq!(one_line(&"é".repeat(5_000)).len(), MAX_LINE);
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let line = format!("{}\n", "x".repeat(1_000));
        for _ in 0..2_000 {
            write_if_ready(&mut ours, &line, PIECE);
        }
        drop(ours);
        let mut read = String::new();
        theirs.read_to_string(&mut read).unwrap();
        assert!(read.starts_with(&line));
        assert!(read.len() < 2_000 * line.len());
    }

    #[test]
    fn a_slow_reader_of_a_pipe_holds_nobody_up_whatever_fits_into_it() {
        for (length, piece) in [(511, 512), (513, 512), (MAX_LINE, 512), (511, PIECE), (MAX_LINE, PIECE)] {
            let mut ends = [0; 2];
            // SAFETY: the array is valid for writing; the descriptors are new and nobody else's.
            let [mut reader, mut writer] = unsafe {
                check(libc::pipe(ends.as_mut_ptr())).unwrap();
                ends.map(|end| File::from_raw_fd(end))
            };
            let line = format!("{}\n", "x".repeat(length - 1));
            for _ in 0..1_000 {
                write_if_ready(&mut writer, &line, piece);
            }
            drop(writer);
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            assert!(read.starts_with(&line) && read.len() < 1_000 * length, "{length} in pieces of {piece}");
        }
    }

    #[test]
    fn what_poll_says_is_understood_on_every_system() {
        for (name, revents, want) in [
            ("room", libc::POLLOUT, true),
            ("no room", 0, false),
            ("nobody reads", libc::POLLERR, false),
            ("a terminal of macOS", libc::POLLNVAL, true),
        ] {
            assert_eq!(takes_bytes(revents), want, "{name}");
        }
    }

    #[test]
    fn a_closed_reader_does_no_harm() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        write_if_ready(&mut ours, "line\n", PIECE);
    }
}
