//! The system's log on Linux: datagrams to /dev/log, which wait a little for a slow daemon and not for one that hangs.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libc::c_int;

use super::local_time;
use crate::engine::WallTime;

/// The log of this system.
pub(super) static SYSTEM_LOG: DevLog<'_> = DevLog::at("/dev/log", PATIENCE);

/// How long a line waits for those before it to be read: its queue holds ten by default, and a daemon that works reads
/// them in less than a millisecond.
const PATIENCE: Duration = Duration::from_millis(50);

/// A socket that a daemon of the system reads lines from.
#[derive(Debug)]
pub(super) struct DevLog<'a> {
    path: &'a str,
    patience: Duration,
    /// A line has waited in vain, and none was taken since: no other waits.
    is_hung: AtomicBool,
}

impl<'a> DevLog<'a> {
    const fn at(path: &'a str, patience: Duration) -> Self {
        Self { path, patience, is_hung: AtomicBool::new(false) }
    }

    /// Sends a line as syslog(3) does, but does not wait for long where those before it are not read.
    ///
    /// metalog takes the first colon for the time's, so there must be one.
    pub(super) fn send(&self, priority: c_int, line: &str) -> io::Result<()> {
        let line = format!("<{priority}>{} pizauth[{}]: {line}", local_time::rfc3164(now()), process::id());
        // A new one for each line, since the daemon may have been started anew.
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // Of one that is not connected, poll(2) says that it has room, whatever the other side has.
        socket.connect(self.path)?;
        let until = Instant::now() + self.patience;
        loop {
            let sent = socket.send(line.as_bytes()).map(drop);
            let is_full = sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            let left = until.saturating_duration_since(Instant::now());
            if !is_full || left.is_zero() || self.is_hung.load(Ordering::Relaxed) {
                self.is_hung.store(is_full, Ordering::Relaxed);
                return sent;
            }
            wait_for_room(&socket, left);
        }
    }
}

/// Waits until `socket` can be written to, or for less.
fn wait_for_room(socket: &UnixDatagram, limit: Duration) {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let milliseconds = limit.as_millis().saturating_add(1).try_into().unwrap_or(c_int::MAX);
    // SAFETY: there is one pollfd, and it lives until the call returns. What it says is found out by writing.
    unsafe { libc::poll(&mut entry, 1, milliseconds) };
}

fn now() -> WallTime {
    WallTime::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{fs, iter, thread};

    use super::super::testing::Scratch;
    use super::*;

    /// A priority to send with, which is 27.
    const PRIORITY: c_int = libc::LOG_DAEMON | libc::LOG_ERR;

    /// Longer than a busy machine makes anybody wait.
    const LONG: Duration = Duration::from_secs(60);

    /// Sends lines to `path` until no more has room, and returns how many had.
    fn fill(path: &Path) -> usize {
        let hasty = DevLog::at(path.to_str().unwrap(), Duration::ZERO);
        iter::from_fn(|| hasty.send(PRIORITY, "a line").ok()).take(100_000).count()
    }

    #[test]
    fn a_line_is_what_syslog_sends() {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        let before = now().as_secs();
        DevLog::at(path.to_str().unwrap(), PATIENCE).send(PRIORITY, "work: a line").unwrap();
        let mut line = [0; 128];
        let length = log.recv(&mut line).unwrap();
        let line = String::from_utf8_lossy(&line[..length]);
        let want = |seconds| {
            let time = local_time::rfc3164(WallTime::from_secs(seconds));
            format!("<27>{time} pizauth[{}]: work: a line", process::id())
        };
        assert!((before..=now().as_secs()).any(|seconds| line == want(seconds)), "{line}");
    }

    #[test]
    fn a_system_log_that_reads_slowly_gets_every_line() {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        let filled = fill(&path);
        let lines = 2 * filled + 100;
        log.set_read_timeout(Some(LONG)).unwrap();
        let reader = thread::spawn(move || {
            for _ in 0..filled + lines {
                thread::sleep(Duration::from_micros(500));
                log.recv(&mut [0; 128]).unwrap();
            }
        });
        let dev_log = DevLog::at(path.to_str().unwrap(), LONG);
        for count in 0..lines {
            dev_log.send(PRIORITY, "a line").unwrap_or_else(|error| panic!("line {count}: {error}"));
        }
        reader.join().unwrap();
    }

    #[test]
    fn a_system_log_that_does_not_read_holds_nobody_up_more_than_once() {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        fill(&path);
        let dev_log = DevLog::at(path.to_str().unwrap(), Duration::from_secs(1));
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(dev_log.send(PRIORITY, "lost").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        let waited = began.elapsed();
        assert!(waited >= dev_log.patience && waited < 10 * dev_log.patience, "{waited:?}");

        // When it reads again, it is waited for again.
        log.recv(&mut [0; 128]).unwrap();
        dev_log.send(PRIORITY, "taken").unwrap();
        let began = Instant::now();
        assert_eq!(dev_log.send(PRIORITY, "lost").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(began.elapsed() >= dev_log.patience);
    }

    #[test]
    fn a_system_log_that_was_started_anew_gets_the_next_line() {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        let dev_log = DevLog::at(path.to_str().unwrap(), PATIENCE);
        let send = |line| dev_log.send(PRIORITY, line);
        assert_eq!(send("a line").unwrap_err().kind(), io::ErrorKind::NotFound);
        let log = UnixDatagram::bind(&path).unwrap();
        fill(&path);
        drop(log);
        assert_eq!(send("a line").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        fs::remove_file(&path).unwrap();
        let log = UnixDatagram::bind(&path).unwrap();
        send("of the next").unwrap();
        let mut line = [0; 128];
        let length = log.recv(&mut line).unwrap();
        assert!(line[..length].ends_with(b": of the next"));
    }
}
