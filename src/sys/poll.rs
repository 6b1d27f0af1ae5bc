//! Waiting for the first of a few descriptors, for what is too small for a loop of events.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use super::check;

/// Waits until one of `descriptors` can be read without blocking, its end and its errors included, and tells for each
/// whether it can. None can when `timeout` is over or a signal came.
pub fn wait_readable<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    // macOS has a poll that knows no devices, terminals among them.
    #[cfg(target_vendor = "apple")]
    let result = by_select(descriptors, timeout);
    #[cfg(not(target_vendor = "apple"))]
    let result = by_poll(descriptors, timeout);
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        other => other,
    }
}

#[cfg(any(not(target_vendor = "apple"), test))]
fn by_poll<const N: usize>(descriptors: [Option<BorrowedFd<'_>>; N], timeout: Duration) -> io::Result<[bool; N]> {
    let mut entries = descriptors.map(|descriptor| libc::pollfd {
        fd: descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up, so that waiting for a deadline is over when it has passed.
    let milliseconds = timeout.as_millis().saturating_add(1).try_into().unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to N entries, which live until the call returns.
    check(unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, milliseconds) })?;
    Ok(entries.map(|entry| entry.revents != 0))
}

#[cfg(any(target_vendor = "apple", test))]
fn by_select<const N: usize>(descriptors: [Option<BorrowedFd<'_>>; N], timeout: Duration) -> io::Result<[bool; N]> {
    /// Longest time-out that every system takes.
    const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);
    let numbers = descriptors.map(|descriptor| descriptor.map(|descriptor| descriptor.as_raw_fd()));
    if numbers.iter().flatten().any(|number| *number as usize >= libc::FD_SETSIZE) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let timeout = timeout.min(MONTH);
    let mut left = libc::timeval {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_usec: timeout.subsec_micros() as libc::suseconds_t,
    };
    let mut set = std::mem::MaybeUninit::<libc::fd_set>::zeroed();
    let highest = numbers.iter().flatten().max().map_or(0, |highest| highest + 1);
    // SAFETY: zeros are a valid fd_set; every number is less than FD_SETSIZE; the pointers live until the call returns.
    let set = unsafe {
        for number in numbers.iter().flatten() {
            libc::FD_SET(*number, set.as_mut_ptr());
        }
        let none = std::ptr::null_mut();
        check(libc::select(highest, set.as_mut_ptr(), none, none, &mut left))?;
        set.assume_init()
    };
    // SAFETY: as above.
    Ok(numbers.map(|number| number.is_some_and(|number| unsafe { libc::FD_ISSET(number, &set) })))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write, os::fd::AsFd, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn what_can_be_read_is_told() {
        let (quiet, _open) = UnixStream::pair().unwrap();
        let (ready, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"x").unwrap();
        let (ended, gone) = UnixStream::pair().unwrap();
        drop(gone);
        let null = File::open("/dev/null").unwrap();
        let soon = Duration::from_millis(1);
        for (name, waited) in [("poll", by_poll as fn(_, _) -> _), ("select", by_select)] {
            let all = [Some(quiet.as_fd()), Some(ready.as_fd()), Some(ended.as_fd()), Some(null.as_fd()), None];
            let got: io::Result<[bool; 5]> = waited(all, Duration::from_secs(60));
            assert_eq!(got.unwrap(), [false, true, true, true, false], "{name}");
            let none = [Some(quiet.as_fd()), None, None, None, None];
            assert_eq!(waited(none, soon).unwrap(), [false; 5], "{name}: the time is up");
        }
    }
}
