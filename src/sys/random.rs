//! Random bytes that nobody can guess, from the operating system.

use std::io;

use ring::rand::{SecureRandom, SystemRandom};

/// Fills `buffer` with random bytes. Fails only where the system has no source of them.
pub fn fill(buffer: &mut [u8]) -> io::Result<()> {
    SystemRandom::new().fill(buffer).map_err(|_| io::Error::other("the system has no random bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        fill(&mut one).unwrap();
        fill(&mut other).unwrap();
        assert_ne!(one, [0; 32]);
        assert_ne!(one, other);
    }
}
