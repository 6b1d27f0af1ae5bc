//! Everything that differs between Linux, FreeBSD, NetBSD, OpenBSD and macOS, and the only `unsafe` of the crate.
//!
//! Each file has one subject and keeps its decisions in pure functions that are tested for every system; what is left
//! are the system calls. Nothing here knows about accounts, tokens or the protocol.
#![allow(unsafe_code)]

pub mod clock;
pub mod daemon;
#[cfg(target_os = "linux")]
mod dev_log;
pub mod directory;
pub mod heap;
pub mod local_time;
pub mod log;
pub mod notify;
pub mod place;
pub mod poll;
pub mod process;
pub mod random;
pub mod sandbox;
pub mod save_mark;
pub mod signal;
pub mod socket;
pub mod streams;
pub mod terminal;
pub mod user;
pub mod wipe;

#[cfg(test)]
mod testing;

use std::io;

use libc::c_int;

// Unwinding from the compiler's archive, in place of a library of its own that every start would load.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// Turns a system call's -1 into the error that errno holds.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `bytes` with the NUL that system calls want.
fn c_string(bytes: &[u8]) -> io::Result<std::ffi::CString> {
    std::ffi::CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
