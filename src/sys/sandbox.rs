//! What the daemon gives up, so that its memory stays its own: core files, tracing, and on OpenBSD most system calls.
//! And what it came with and does not hand on to its children.
//!
//! Standard streams that were closed at start need no care here: Rust opens them on /dev/null before `main`.

use std::io;
use std::mem::MaybeUninit;

use super::check;

/// Open files wanted: every client and browser connection is one.
const OPEN_FILES: libc::rlim_t = 4096;

/// Descriptors that are looked for among those that the process came with: more than any shell or manager leaves open.
const INHERITED_FILES: libc::rlim_t = 65_536;

/// The umask that the process came with, and those of its limits that were changed. Children get them back.
///
/// A limit that was not changed is not set again either: macOS refuses to be given an unlimited number of open files
/// that it has told itself.
#[derive(Clone, Copy)]
pub struct Inherited {
    pub(super) open_files: Option<libc::rlimit>,
    pub(super) core: Option<libc::rlimit>,
    pub(super) umask: libc::mode_t,
}

impl Inherited {
    /// Gives this process what it was started with. Allocates nothing: safe between fork and exec.
    pub(super) fn restore(&self) -> io::Result<()> {
        for (resource, limit) in [(libc::RLIMIT_NOFILE, &self.open_files), (libc::RLIMIT_CORE, &self.core)] {
            if let Some(limit) = limit {
                // SAFETY: the limit is a valid rlimit.
                check(unsafe { libc::setrlimit(resource, limit) })?;
            }
        }
        // SAFETY: the call cannot fail.
        unsafe { libc::umask(self.umask) };
        Ok(())
    }
}

/// Sets umask 077, forbids core files and tracing by other processes of the user, raises the limit of open files, and
/// keeps descriptors that whoever started this process left open away from children.
///
/// What the system does not allow is left as it is. To be called once, before anything is created.
pub fn harden() -> Inherited {
    let open_files = limit(libc::RLIMIT_NOFILE);
    let inherited = Inherited {
        open_files: change(libc::RLIMIT_NOFILE, raised),
        core: change(libc::RLIMIT_CORE, |core| libc::rlimit { rlim_cur: 0, ..core }),
        // SAFETY: the call cannot fail.
        umask: unsafe { libc::umask(0o077) },
    };
    forbid_tracing();
    keep_files(open_files.rlim_cur.min(INHERITED_FILES));
    inherited
}

/// Forbids tracing once more in the process that detached: on macOS a child does not inherit that.
pub fn harden_again() {
    forbid_tracing();
}

/// Sets a limit to what `wanted` makes of it, and returns what it was; none where it stays as it is.
fn change(resource: Resource, wanted: impl FnOnce(libc::rlimit) -> libc::rlimit) -> Option<libc::rlimit> {
    let before = limit(resource);
    let wanted = wanted(before);
    // SAFETY: the limit is a valid rlimit.
    let is_set = wanted.rlim_cur != before.rlim_cur && unsafe { libc::setrlimit(resource, &wanted) } == 0;
    is_set.then_some(before)
}

/// Marks the descriptors below `end`, the standard ones excepted, as not for children.
fn keep_files(end: libc::rlim_t) {
    for file in 3..libc::c_int::try_from(end).unwrap_or(libc::c_int::MAX) {
        // SAFETY: the calls take numbers only; where no file is open, they change nothing.
        unsafe {
            let flags = libc::fcntl(file, libc::F_GETFD);
            if flags != -1 {
                libc::fcntl(file, libc::F_SETFD, flags | libc::FD_CLOEXEC);
            }
        }
    }
}

/// How many files this process may have open.
pub fn open_files() -> usize {
    usize::try_from(limit(libc::RLIMIT_NOFILE).rlim_cur).unwrap_or(usize::MAX)
}

/// Keeps to what a running daemon needs, on OpenBSD; elsewhere does nothing.
///
/// Hooks are started, so `exec` stays: it is the user's shell, with all that the user may do. To be called when the
/// lock is held, the sockets are bound and the process is detached; a reload still binds and reads.
#[cfg(target_os = "openbsd")]
pub fn pledge() -> io::Result<()> {
    let promises = c"stdio rpath wpath cpath fattr flock inet unix dns proc exec";
    // SAFETY: the string ends in a NUL; no promises are made for what is executed.
    check(unsafe { libc::pledge(promises.as_ptr(), std::ptr::null()) }).map(drop)
}

/// Keeps to what a running daemon needs, on OpenBSD; elsewhere does nothing.
#[cfg(not(target_os = "openbsd"))]
pub fn pledge() -> io::Result<()> {
    Ok(())
}

/// The limit to ask for: enough where the hard limit allows it, and never less than there was.
fn raised(limit: libc::rlimit) -> libc::rlimit {
    libc::rlimit { rlim_cur: limit.rlim_cur.max(OPEN_FILES.min(limit.rlim_max)), ..limit }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

/// The present limit; none at all where it cannot be read.
fn limit(resource: Resource) -> libc::rlimit {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: `limit` is valid for writing, and is read only when the call has filled it in.
    unsafe {
        if libc::getrlimit(resource, limit.as_mut_ptr()) == 0 {
            return limit.assume_init();
        }
    }
    libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY }
}

/// Makes /proc/PID root's and keeps debuggers and core files away, whatever core_pattern says.
#[cfg(target_os = "linux")]
fn forbid_tracing() {
    // SAFETY: the call takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Keeps debuggers, ktrace and core files away, in children too, until something else is executed.
#[cfg(target_os = "freebsd")]
fn forbid_tracing() {
    let mut disable: libc::c_int = libc::PROC_TRACE_CTL_DISABLE;
    // SAFETY: this command reads one int from the pointer; process 0 is the caller.
    unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_TRACE_CTL, (&raw mut disable).cast()) };
}

/// Keeps debuggers away, until a child is forked or something else is executed.
#[cfg(target_vendor = "apple")]
fn forbid_tracing() {
    // SAFETY: this request uses no argument.
    unsafe { libc::ptrace(libc::PT_DENY_ATTACH, 0, std::ptr::null_mut(), 0) };
}

/// NetBSD and OpenBSD have nothing of the kind for the user's own processes.
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
fn forbid_tracing() {}

#[cfg(test)]
mod tests {
    use std::process;

    use super::super::testing::{again, play};
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
        const NONE: libc::rlim_t = libc::RLIM_INFINITY;
        for (name, soft, hard, want) in [
            ("enough allowed", 1_024, 1_048_576, 4_096),
            ("no hard limit", 256, NONE, 4_096),
            ("less allowed", 64, 128, 128),
            ("nothing to raise", 64, 64, 64),
            ("more already", 65_536, 65_536, 65_536),
            ("unlimited already", NONE, NONE, NONE),
        ] {
            let limit = raised(libc::rlimit { rlim_cur: soft, rlim_max: hard });
            assert_eq!((limit.rlim_cur, limit.rlim_max), (want, hard), "{name}");
        }
    }

    #[test]
    fn a_limit_that_stays_is_not_set_again() {
        let same = limit(libc::RLIMIT_CORE);
        assert!(change(libc::RLIMIT_CORE, |core| core).is_none());
        assert_eq!(limit(libc::RLIMIT_CORE).rlim_cur, same.rlim_cur);
        // More than is allowed: refused, so there is nothing to give back.
        let beyond = |files: libc::rlimit| libc::rlimit { rlim_cur: files.rlim_max.saturating_add(1), ..files };
        let before = limit(libc::RLIMIT_NOFILE);
        assert!(before.rlim_max == libc::RLIM_INFINITY || change(libc::RLIMIT_NOFILE, beyond).is_none());
        assert_eq!(limit(libc::RLIMIT_NOFILE).rlim_cur, before.rlim_cur);
    }

    /// Not a test by itself: the process that is hardened, started by the next one.
    #[test]
    fn a_process_that_is_hardened() {
        if play().is_none() {
            return;
        }
        harden();
        // SAFETY: the call takes a number only.
        let umask = unsafe { libc::umask(0) };
        #[cfg(target_os = "linux")]
        // SAFETY: the call takes numbers only.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }, 0);
        let (core, open_files) = (limit(libc::RLIMIT_CORE), limit(libc::RLIMIT_NOFILE));
        let enough = open_files.rlim_cur >= OPEN_FILES.min(open_files.rlim_max);
        eprintln!("<{umask:o} {} {enough}>", core.rlim_cur);
        process::exit(0)
    }

    #[test]
    fn no_core_files_no_tracing_and_enough_descriptors() {
        let output = again("sys::sandbox::tests::a_process_that_is_hardened", "").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("<77 0 true>"), "{stderr}");
    }
}
