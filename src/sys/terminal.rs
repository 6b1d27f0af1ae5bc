//! Reading long lines from a terminal: its own line limit is shorter than many redirect URLs, so line editing is
//! switched off while a paste is awaited, and put back on exit, on signals and while the job is stopped.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use libc::{c_int, termios};

use super::check;
use super::signal::{errno, set_action};

/// Signals that end the program, and so must put the terminal back first.
const ENDING: [c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The terminal whose mode was changed, or -1.
static TERMINAL: AtomicI32 = AtomicI32::new(-1);

/// The mode that it had, and the one that it has now. Set once and never freed, since handlers read them.
static BEFORE: AtomicPtr<termios> = AtomicPtr::new(ptr::null_mut());
static CHANGED: AtomicPtr<termios> = AtomicPtr::new(ptr::null_mut());

/// A terminal that hands over what is typed at once, until this is dropped. One at a time.
///
/// The keys for signals stay; to show what is typed and to erase is up to the reader.
pub struct Unbuffered {
    /// What the signals did that are handled meanwhile.
    actions: Vec<(c_int, libc::sigaction)>,
}

impl Unbuffered {
    /// Changes the mode of `terminal`; none where this program is not in its foreground, or it is no terminal.
    pub fn enter(terminal: impl AsFd) -> io::Result<Option<Self>> {
        let terminal = terminal.as_fd().as_raw_fd();
        if !is_foreground(terminal) {
            return Ok(None);
        }
        let before = mode(terminal)?;
        BEFORE.store(Box::into_raw(Box::new(before)), Ordering::SeqCst);
        CHANGED.store(Box::into_raw(Box::new(unbuffered(before))), Ordering::SeqCst);
        TERMINAL.store(terminal, Ordering::SeqCst);
        let mut unbuffered = Self { actions: Vec::new() };
        for signal in ENDING {
            unbuffered.handle(signal, on_end)?;
        }
        unbuffered.handle(libc::SIGTSTP, on_stop)?;
        unbuffered.handle(libc::SIGCONT, on_continue)?;
        apply(&CHANGED);
        Ok(Some(unbuffered))
    }

    /// Changes the mode again where somebody has put it back, as a shell does when it fetches this program from the
    /// background.
    pub fn enter_again(&self) {
        if mode(TERMINAL.load(Ordering::SeqCst)).is_ok_and(|mode| mode.c_lflag & libc::ICANON != 0) {
            apply(&CHANGED);
        }
    }

    /// Installs `handler`, unless `signal` is ignored, as after nohup(1).
    fn handle(&mut self, signal: c_int, handler: extern "C" fn(c_int)) -> io::Result<()> {
        let before = set_action(signal, handler as libc::sighandler_t)?;
        self.actions.push((signal, before));
        if before.sa_sigaction == libc::SIG_IGN {
            set_action(signal, libc::SIG_IGN)?;
        }
        Ok(())
    }
}

impl Drop for Unbuffered {
    fn drop(&mut self) {
        apply(&BEFORE);
        TERMINAL.store(-1, Ordering::SeqCst);
        for (signal, before) in &self.actions {
            // SAFETY: the action is one that the system has told; the present one is not asked for.
            unsafe { libc::sigaction(*signal, before, ptr::null_mut()) };
        }
    }
}

/// Whether this program may read `terminal` without being stopped for it. False where it is no terminal.
pub fn may_read(terminal: impl AsFd) -> bool {
    is_foreground(terminal.as_fd().as_raw_fd())
}

fn is_foreground(terminal: RawFd) -> bool {
    // SAFETY: the calls take numbers only.
    unsafe { libc::tcgetpgrp(terminal) == libc::getpgrp() }
}

fn mode(terminal: RawFd) -> io::Result<termios> {
    let mut mode = MaybeUninit::<termios>::uninit();
    // SAFETY: `mode` is valid for writing, and is read only when the call has filled it in.
    unsafe {
        check(libc::tcgetattr(terminal, mode.as_mut_ptr()))?;
        Ok(mode.assume_init())
    }
}

/// `mode` without line editing and echo, which would show keys for editing as two characters each: reading returns as
/// soon as there is a byte.
fn unbuffered(mut mode: termios) -> termios {
    mode.c_lflag &= !(libc::ICANON | libc::ECHO);
    mode.c_cc[libc::VMIN] = 1;
    mode.c_cc[libc::VTIME] = 0;
    mode
}

/// Gives the terminal one of the two modes, if this program is in its foreground: else it would be stopped, and the
/// terminal is somebody else's to set. Safe in a handler.
fn apply(mode: &AtomicPtr<termios>) {
    let (terminal, mode) = (TERMINAL.load(Ordering::SeqCst), mode.load(Ordering::SeqCst));
    if mode.is_null() || !is_foreground(terminal) {
        return;
    }
    // SAFETY: the pointer is to a termios that is never freed.
    unsafe { libc::tcsetattr(terminal, libc::TCSANOW, mode) };
}

/// Puts the terminal back and lets the signal do what it does by default.
extern "C" fn on_end(signal: c_int) {
    apply(&BEFORE);
    let _ = set_action(signal, libc::SIG_DFL);
    // SAFETY: raise is allowed in a handler; the signal arrives when the handler returns.
    unsafe { libc::raise(signal) };
}

/// Puts the terminal back and stops; `on_continue` goes on.
extern "C" fn on_stop(_: c_int) {
    keeping_errno(|| {
        apply(&BEFORE);
        // SAFETY: raise is allowed in a handler.
        unsafe { libc::raise(libc::SIGSTOP) };
    });
}

extern "C" fn on_continue(_: c_int) {
    keeping_errno(|| apply(&CHANGED));
}

fn keeping_errno(action: impl FnOnce()) {
    // SAFETY: the address is valid in this thread, before and after.
    let saved = unsafe { *errno() };
    action();
    // SAFETY: as above.
    unsafe { *errno() = saved };
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::FromRawFd;
    use std::os::unix::process::CommandExt;
    use std::process::{self, Child, Stdio};

    use super::super::signal::restore_defaults;
    use super::super::testing::{again, play};
    use super::*;

    /// Longer than the line that a terminal edits, which is 4,096 bytes on Linux.
    const PASTE: usize = 6_000;

    /// A pseudo-terminal: the side of the keyboard, and the other.
    fn pair() -> (File, File) {
        let (mut keyboard, mut terminal) = (-1, -1);
        let none = ptr::null_mut();
        // SAFETY: both descriptors are valid for writing, and new where the call succeeds; nothing else is asked for.
        unsafe {
            check(libc::openpty(&mut keyboard, &mut terminal, none, ptr::null_mut(), ptr::null_mut())).unwrap();
            (File::from_raw_fd(keyboard), File::from_raw_fd(terminal))
        }
    }

    /// Starts `a_program_that_waits_for_a_paste` in the foreground of `terminal`.
    fn start(terminal: &File, play: &str) -> Child {
        let mut command = again("sys::terminal::tests::a_program_that_waits_for_a_paste", play);
        command.stdin(terminal.try_clone().unwrap());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: only system calls are made.
        unsafe {
            command.pre_exec(|| {
                // Whoever started the tests in the background may have had signals ignored.
                restore_defaults()?;
                check(libc::setsid())?;
                check(libc::ioctl(0, libc::TIOCSCTTY as _, 0)).map(drop)
            });
        }
        command.spawn().unwrap()
    }

    /// Reads what `child` says up to `>`.
    fn hear(child: &mut Child) -> String {
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b">") && child.stderr.as_mut().unwrap().read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
        }
        String::from_utf8(said).unwrap()
    }

    /// Not a test by itself: the program on the terminal, started by the next ones.
    #[test]
    fn a_program_that_waits_for_a_paste() {
        let Some(play) = play() else { return };
        let unbuffered = Unbuffered::enter(io::stdin()).unwrap().unwrap();
        eprint!("<waiting>");
        if play == "signal" {
            loop {
                // SAFETY: the call takes nothing.
                unsafe { libc::pause() };
            }
        }
        let mut paste = vec![0; PASTE];
        io::stdin().read_exact(&mut paste).unwrap();
        drop(unbuffered);
        eprint!("<{}>", paste.iter().filter(|byte| **byte == b'x').count());
        process::exit(0)
    }

    #[test]
    fn a_long_paste_arrives_whole_and_the_terminal_is_as_before() {
        let (mut keyboard, terminal) = pair();
        let before = mode(terminal.as_raw_fd()).unwrap();
        let mut child = start(&terminal, "paste");
        assert_eq!(hear(&mut child).trim_start_matches(|c| c != '<'), "<waiting>");
        assert_eq!(mode(terminal.as_raw_fd()).unwrap().c_lflag & libc::ICANON, 0);
        assert_eq!(mode(terminal.as_raw_fd()).unwrap().c_lflag & libc::ECHO, 0);
        keyboard.write_all(&[b'x'; PASTE]).unwrap();
        assert_eq!(hear(&mut child), format!("<{PASTE}>"));
        assert!(child.wait().unwrap().success());
        assert_eq!(mode(terminal.as_raw_fd()).unwrap().c_lflag, before.c_lflag);
    }

    #[test]
    fn a_signal_puts_the_terminal_back() {
        use std::os::unix::process::ExitStatusExt;

        for (name, key) in [("^C", 3), ("^\\", 0x1c)] {
            let (mut keyboard, terminal) = pair();
            let before = mode(terminal.as_raw_fd()).unwrap();
            let mut child = start(&terminal, "signal");
            hear(&mut child);
            keyboard.write_all(&[key]).unwrap();
            assert!(child.wait().unwrap().signal().is_some(), "{name}");
            assert_eq!(mode(terminal.as_raw_fd()).unwrap().c_lflag, before.c_lflag, "{name}");
        }
    }

    #[test]
    fn a_terminal_of_somebody_else_is_left_alone() {
        let (_keyboard, terminal) = pair();
        assert!(!may_read(&terminal));
        assert!(Unbuffered::enter(&terminal).unwrap().is_none());
        assert!(!may_read(File::open("/dev/null").unwrap()));
    }
}
