//! The standard streams as this program was given them.
//!
//! Rust's runtime opens /dev/null in the place of a closed one before `main`, so what was closed must be seen before
//! that: an input that is not there is not an empty one, and what nobody gets was not written.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether standard input and standard output were closed when the program started.
static CLOSED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Run by the loader, before the runtime begins.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static AT_START: extern "C" fn() = look;

extern "C" fn look() {
    for (descriptor, closed) in (0..).zip(&CLOSED) {
        // SAFETY: the call takes numbers only.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
        closed.store(flags == -1, Ordering::Relaxed);
    }
}

/// Fails where the program was started without a standard input.
pub fn check_stdin() -> io::Result<()> {
    check_open(&CLOSED[0])
}

/// Fails where the program was started without a standard output.
pub fn check_stdout() -> io::Result<()> {
    check_open(&CLOSED[1])
}

fn check_open(closed: &AtomicBool) -> io::Result<()> {
    if closed.load(Ordering::Relaxed) { Err(io::Error::from_raw_os_error(libc::EBADF)) } else { Ok(()) }
}
