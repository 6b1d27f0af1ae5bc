//! Signals as something to poll: a handler notes which one came and writes a byte to a pipe.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use libc::c_int;
use mio::unix::pipe::{self, Receiver};

use super::check;

const TERMINATE: u8 = 1;
const HANGUP: u8 = 2;
const CHILD: u8 = 4;

/// The signals taken, and what each counts as.
const TAKEN: [(c_int, u8); 4] =
    [(libc::SIGTERM, TERMINATE), (libc::SIGINT, TERMINATE), (libc::SIGHUP, HANGUP), (libc::SIGCHLD, CHILD)];

/// What came since it was last asked for, as bits.
static PENDING: AtomicU8 = AtomicU8::new(0);

/// The pipe's writing end, or -1. Never closed, since a handler may be about to write to it.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Which signals came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet {
    /// SIGTERM or SIGINT: shut down.
    pub terminate: bool,
    /// SIGHUP: reload.
    pub hangup: bool,
    /// SIGCHLD: a child may have ended.
    pub child: bool,
}

/// Takes SIGTERM, SIGINT, SIGHUP and SIGCHLD for as long as the process lives.
pub struct Signals {
    receiver: Receiver,
}

impl Signals {
    /// Installs the handlers. One value per process is enough; a later one takes over from an earlier one.
    ///
    /// Fork before this: the pipe would be shared.
    pub fn new() -> io::Result<Self> {
        let (sender, receiver) = pipe::new()?;
        WAKE.store(sender.into_raw_fd(), Ordering::SeqCst);
        for (signal, _) in TAKEN {
            set_action(signal, on_signal as extern "C" fn(c_int) as libc::sighandler_t)?;
        }
        unblock()?;
        Ok(Self { receiver })
    }

    /// What to register with the poll, for reading.
    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// What came since the last call; must be called when the poll reports the receiver.
    pub fn take(&mut self) -> SignalSet {
        // The pipe first: a signal that comes in between leaves its byte, and only wakes the loop once too often.
        let mut bytes = [0; 64];
        while matches!(self.receiver.read(&mut bytes), Ok(count) if count > 0) {}
        let pending = PENDING.swap(0, Ordering::SeqCst);
        SignalSet { terminate: pending & TERMINATE != 0, hangup: pending & HANGUP != 0, child: pending & CHILD != 0 }
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> c_int {
        self.receiver.as_raw_fd()
    }
}

/// Keeps a server in the background of a terminal from being stopped by what it writes there (`stty tostop`).
///
/// To be called before anything is written.
pub fn ignore_terminal_output() -> io::Result<()> {
    set_action(libc::SIGTTOU, libc::SIG_IGN).map(drop)
}

/// Puts back the default action of every signal that this program takes or may have found ignored. Safe after fork.
pub(super) fn restore_defaults() -> io::Result<()> {
    for signal in [libc::SIGQUIT, libc::SIGPIPE, libc::SIGTTOU].into_iter().chain(TAKEN.map(|(signal, _)| signal)) {
        set_action(signal, libc::SIG_DFL)?;
    }
    Ok(())
}

/// Sets what `signal` does from now on, and returns what it did.
pub(super) fn set_action(signal: c_int, action: libc::sighandler_t) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a valid sigaction; the pointers are valid for the calls; `action` is SIG_DFL, SIG_IGN or a
    // handler that only does what a handler may.
    unsafe {
        let mut new = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        new.sa_sigaction = action;
        new.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&mut new.sa_mask);
        check(libc::sigaction(signal, &new, before.as_mut_ptr()))?;
        Ok(before.assume_init())
    }
}

/// Sees to it that the signals arrive even where whoever started the program had them blocked.
fn unblock() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigemptyset makes the set valid before anything reads it; the old mask is not asked for.
    let error = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for (signal, _) in TAKEN {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Only atomics and write(2): nothing else is allowed here.
extern "C" fn on_signal(signal: c_int) {
    let bit = TAKEN.iter().find(|(taken, _)| *taken == signal).map_or(0, |(_, bit)| *bit);
    PENDING.fetch_or(bit, Ordering::SeqCst);
    // SAFETY: errno's address is valid in every thread. The write is of one byte from a live buffer; it fails when the
    // pipe is full, which wakes the loop as well.
    unsafe {
        let errno = errno();
        let saved = *errno;
        libc::write(WAKE.load(Ordering::SeqCst), [0_u8].as_ptr().cast(), 1);
        *errno = saved;
    }
}

/// Where this thread's errno lies.
pub(super) fn errno() -> *mut c_int {
    // SAFETY: these only return an address.
    unsafe {
        #[cfg(target_os = "linux")]
        return libc::__errno_location();
        #[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
        return libc::__error();
        #[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
        return libc::__errno();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use mio::{Events, Interest, Poll, Token};

    use super::super::testing::{again, play};
    use super::*;

    /// Waits for a signal of ours. A signal also interrupts the wait itself.
    fn wait(poll: &mut Poll, signals: &mut Signals) -> SignalSet {
        let mut events = Events::with_capacity(4);
        match poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
        }
        signals.take()
    }

    /// Not a test by itself: the process that gets signals, started by the next one.
    #[test]
    fn a_process_that_takes_signals() {
        if play().is_none() {
            return;
        }
        let mut signals = Signals::new().unwrap();
        let mut poll = Poll::new().unwrap();
        poll.registry().register(signals.receiver(), Token(0), Interest::READABLE).unwrap();
        let none = SignalSet::default();
        for (name, signal, want) in [
            ("SIGTERM", libc::SIGTERM, SignalSet { terminate: true, ..none }),
            ("SIGINT", libc::SIGINT, SignalSet { terminate: true, ..none }),
            ("SIGHUP", libc::SIGHUP, SignalSet { hangup: true, ..none }),
        ] {
            for _ in 0..100_000 {
                // SAFETY: the handler is installed; it runs before the call returns.
                unsafe { libc::raise(signal) };
            }
            assert_eq!(wait(&mut poll, &mut signals), want, "{name}");
            assert_eq!(signals.take(), none, "{name}");
        }

        let mut child = Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            assert!(wait(&mut poll, &mut signals).child);
        }
        eprintln!("<all came>");
        process::exit(0)
    }

    #[test]
    fn each_signal_wakes_the_poll_and_is_told_once() {
        let output = again("sys::signal::tests::a_process_that_takes_signals", "").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.contains("<all came>"), "{stderr}");
    }

    #[test]
    fn errno_survives_a_handler() {
        // SAFETY: the address is this thread's own; the handler may be called like any function.
        unsafe {
            *errno() = libc::EDOM;
            on_signal(0);
            assert_eq!(*errno(), libc::EDOM);
        }
    }
}
