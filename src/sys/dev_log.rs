//! The system's log on Linux: datagrams to /dev/log, which wait for nobody.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use libc::c_int;

use super::local_time;
use crate::engine::WallTime;

/// The log of this system.
pub(super) static SYSTEM_LOG: DevLog<'_> = DevLog::at("/dev/log");

/// A socket that a daemon of the system reads lines from.
#[derive(Debug)]
pub(super) struct DevLog<'a> {
    path: &'a str,
}

impl<'a> DevLog<'a> {
    const fn at(path: &'a str) -> Self {
        Self { path }
    }

    /// Sends a line as syslog(3) does, but does not wait where those before it are not read.
    ///
    /// metalog takes the first colon for the time's, so there must be one.
    pub(super) fn send(&self, priority: c_int, line: &str) -> io::Result<()> {
        // A new one for each line, since the daemon may have been started anew.
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let time = local_time::rfc3164(now());
        socket.send_to(format!("<{priority}>{time} pizauth[{}]: {line}", process::id()).as_bytes(), self.path).map(drop)
    }
}

fn now() -> WallTime {
    WallTime::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::Scratch;
    use super::*;

    /// A priority to send with, which is 27.
    const PRIORITY: c_int = libc::LOG_DAEMON | libc::LOG_ERR;

    #[test]
    fn a_line_is_what_syslog_sends() {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        let before = now().as_secs();
        DevLog::at(path.to_str().unwrap()).send(PRIORITY, "work: a line").unwrap();
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
    fn a_system_log_that_does_not_read_holds_nobody_up() {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        let dev_log = DevLog::at(path.to_str().unwrap());
        let send = |line| dev_log.send(PRIORITY, line);
        assert_eq!(send("a line").unwrap_err().kind(), io::ErrorKind::NotFound);
        let log = UnixDatagram::bind(&path).unwrap();
        let refused = (0..100_000).find_map(|_| send("a line").err());
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::WouldBlock);
        let mut line = [0; 128];
        log.recv(&mut line).unwrap();

        drop(log);
        assert_eq!(send("a line").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        fs::remove_file(&path).unwrap();
        let log = UnixDatagram::bind(&path).unwrap();
        send("of the next").unwrap();
        let length = log.recv(&mut line).unwrap();
        assert!(line[..length].ends_with(b": of the next"));
    }
}
