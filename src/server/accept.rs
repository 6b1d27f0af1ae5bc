//! What it means when a listener gives no connection.

use std::{io, time::Duration};

/// Pause before connections are accepted again when there was no descriptor for one: short enough that a client does
/// not give up, long enough to cost nothing.
pub(super) const RETRY_ACCEPT: Duration = Duration::from_millis(200);

/// Why a listener gave no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptFault {
    /// Nobody waits.
    NothingWaits,
    /// The one that waited has left; there may be more.
    OneIsGone,
    /// There is no descriptor or memory for one: something else must go first.
    Exhausted,
    /// Something else, which may pass.
    Other,
}

impl AcceptFault {
    /// What `error` of accept(2) means.
    pub(super) fn of(error: &io::Error) -> AcceptFault {
        match error.kind() {
            io::ErrorKind::WouldBlock => return AcceptFault::NothingWaits,
            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {
                return AcceptFault::OneIsGone;
            }
            _ => {}
        }
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => AcceptFault::Exhausted,
            Some(libc::EPROTO) => AcceptFault::OneIsGone,
            Some(_) | None => AcceptFault::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_remedy() {
        for (errno, want) in [
            (libc::EAGAIN, AcceptFault::NothingWaits),
            (libc::EINTR, AcceptFault::OneIsGone),
            (libc::ECONNABORTED, AcceptFault::OneIsGone),
            (libc::EPROTO, AcceptFault::OneIsGone),
            (libc::EMFILE, AcceptFault::Exhausted),
            (libc::ENFILE, AcceptFault::Exhausted),
            (libc::EINVAL, AcceptFault::Other),
        ] {
            assert_eq!(AcceptFault::of(&io::Error::from_raw_os_error(errno)), want, "{errno}");
        }
    }
}
