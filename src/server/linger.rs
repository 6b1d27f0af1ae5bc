//! The time after an answer in which what the other side still sends is read and dropped: closing at once could reset
//! the connection before it has read everything.

use std::{
    io::{self, Read},
    time::Duration,
};

/// How long a connection lingers at the most.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Reads for each time the poll tells of it.
const READS: usize = 16;

/// Drops what has come. True where the connection is to be closed: nothing more comes, or far too much.
pub(super) fn drop_input(stream: &mut impl Read, buffer: &mut [u8]) -> bool {
    for _ in 0..READS {
        match stream.read(buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives these results one after the other, then waits.
    struct Script(Vec<io::Result<usize>>);

    impl Read for Script {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.pop().unwrap_or(Err(io::ErrorKind::WouldBlock.into()))
        }
    }

    #[test]
    fn a_connection_lingers_until_its_end_or_until_it_says_too_much() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        for (name, results, want) in [
            ("silence", vec![], false),
            ("a little", vec![Ok(3), interrupted(), Ok(3)], false),
            ("its end", vec![Ok(0), Ok(3)], true),
            ("a reset", vec![Err(io::ErrorKind::ConnectionReset.into()), Ok(3)], true),
            ("without end", (0..READS).map(|_| Ok(1)).collect(), true),
        ] {
            assert_eq!(drop_input(&mut Script(results), &mut [0; 4]), want, "{name}");
        }
    }
}
