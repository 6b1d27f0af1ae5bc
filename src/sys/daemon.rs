//! Detaching from the terminal, with the parent waiting until the daemon answers or says why it cannot.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::check;

/// The first byte on the pipe to the parent: the daemon answers, or the reason why it does not follows.
const READY: u8 = b'R';
const FAILED: u8 = b'F';

/// Longest reason read from the child, in bytes.
const MAX_REASON: u64 = 64 * 1024;

/// Which of the two processes this is now.
pub enum Detached {
    /// The one that was started: it exits with what came of the other.
    Parent(Outcome),
    /// The daemon: in a session of its own, standard streams still those of the parent.
    Child(Readiness),
}

/// What came of the daemon.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answers.
    Ready,
    /// It could not start, for this reason.
    Failed(String),
    /// It ended without a word, with this status.
    Died(ExitStatus),
}

/// The daemon's duty to tell its parent how the start went. Dropped unused, the parent waits for the daemon's end.
#[derive(Debug)]
pub struct Readiness(UnixStream);

impl Readiness {
    /// Lets go of the standard streams and lets the parent exit with success.
    pub fn ready(mut self) -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            // SAFETY: both descriptors are open, and nothing owns the standard streams.
            check(unsafe { libc::dup2(null.as_raw_fd(), stream) })?;
        }
        // The parent may have been killed meanwhile: no reason for the daemon to go too.
        let _ = self.0.write_all(&[READY]);
        Ok(())
    }

    /// Lets the parent exit with `reason`; the caller exits next.
    pub fn failed(mut self, reason: &str) {
        let _ = self.0.write_all(&[FAILED]).and_then(|()| self.0.write_all(reason.as_bytes()));
    }
}

/// Forks; the child becomes the daemon, the parent waits for its word.
///
/// The working directory stays. To be called before the first thread and before the poll is made: neither survives
/// in the child.
pub fn detach() -> io::Result<Detached> {
    let (mut from_child, to_parent) = UnixStream::pair()?;
    // SAFETY: there is one thread, so the child may go on as the parent would.
    let child = check(unsafe { libc::fork() })?;
    if child != 0 {
        drop(to_parent);
        return wait(&mut from_child, child).map(Detached::Parent);
    }
    drop(from_child);
    // SAFETY: the call takes no argument.
    if let Err(error) = check(unsafe { libc::setsid() }) {
        Readiness(to_parent).failed(&format!("no session of its own: {error}"));
        return Err(error);
    }
    Ok(Detached::Child(Readiness(to_parent)))
}

/// Reads what the child has to say; if that is nothing, waits for its end.
fn wait(from_child: &mut impl Read, child: libc::pid_t) -> io::Result<Outcome> {
    let mut said = Vec::new();
    // An error here is as good as silence.
    let _ = from_child.take(MAX_REASON).read_to_end(&mut said);
    match said.split_first() {
        Some((&READY, _)) => Ok(Outcome::Ready),
        Some((_, reason)) => Ok(Outcome::Failed(String::from_utf8_lossy(reason).into_owned())),
        None => reap(child).map(Outcome::Died),
    }
}

/// Waits for the end of `child`.
fn reap(child: libc::pid_t) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for writing.
        match check(unsafe { libc::waitpid(child, &mut status, 0) }) {
            Ok(_) => return Ok(ExitStatus::from_raw(status)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Stdio};

    use super::super::testing::{again, play};
    use super::*;

    #[test]
    fn the_parent_tells_what_the_child_said() {
        for (name, said, want) in [
            ("ready", &b"R"[..], Outcome::Ready),
            ("a reason", b"Fport 80: taken", Outcome::Failed("port 80: taken".into())),
            ("bytes that are no text", b"F\xff", Outcome::Failed("\u{fffd}".into())),
        ] {
            assert_eq!(wait(&mut &said[..], -1).unwrap(), want, "{name}");
        }
    }

    /// Not a test by itself: the process that detaches, started by the next one.
    #[test]
    fn a_daemon_that_is_told_how() {
        let Some(play) = play() else { return };
        let outcome = match detach().unwrap() {
            Detached::Parent(outcome) => outcome,
            Detached::Child(readiness) => {
                // SAFETY: these calls take no pointer.
                let own_session = unsafe { libc::getsid(0) == libc::getpid() };
                match play.as_str() {
                    "ready" if own_session => {
                        readiness.ready().unwrap();
                        eprintln!("nobody hears this");
                    }
                    "failed" => readiness.failed("the reason"),
                    _ => {}
                }
                process::exit(7)
            }
        };
        eprintln!("<{outcome:?}>");
        process::exit(0)
    }

    #[test]
    fn the_parent_waits_for_the_daemon() {
        for (play, want) in [("ready", "<Ready>"), ("failed", "<Failed(\"the reason\")>"), ("died", "<Died(")] {
            let mut parent = again("sys::daemon::tests::a_daemon_that_is_told_how", play);
            let output = parent.stdin(Stdio::null()).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains(want), "{play}: {stderr}");
            assert!(!stderr.contains("nobody hears"), "{play}: {stderr}");
        }
    }
}
