//! What the poll can tell of, as the tokens that it tells with.

use mio::Token;

/// Something that is registered with the poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The timer of the next deadline.
    Alarm,
    /// The pipe that signals come through.
    Signals,
    /// The helper threads' way to wake the loop.
    Waker,
    /// The listener of the control socket.
    ControlListener,
    /// A listener for redirects, by its running number.
    RedirectListener(usize),
    /// A client of the control socket, by its slot.
    Control(usize),
    /// A browser, by its slot.
    Redirect(usize),
    /// What a child reads, by the child's slot.
    ChildStdin(usize),
    /// What a child writes, by the child's slot.
    ChildStdout(usize),
}

/// Bits of a token that tell the kind; the rest is the slot or number.
const KIND_BITS: u32 = 4;

impl Source {
    /// The token to register it with.
    pub(super) fn token(self) -> Token {
        let (kind, index) = match self {
            Source::Alarm => (0, 0),
            Source::Signals => (1, 0),
            Source::Waker => (2, 0),
            Source::ControlListener => (3, 0),
            Source::RedirectListener(number) => (4, number),
            Source::Control(slot) => (5, slot),
            Source::Redirect(slot) => (6, slot),
            Source::ChildStdin(slot) => (7, slot),
            Source::ChildStdout(slot) => (8, slot),
        };
        Token(index << KIND_BITS | kind)
    }

    /// What `token` stands for; `None` for one that was never given.
    pub(super) fn of(token: Token) -> Option<Source> {
        let index = token.0 >> KIND_BITS;
        Some(match token.0 & ((1 << KIND_BITS) - 1) {
            0 => Source::Alarm,
            1 => Source::Signals,
            2 => Source::Waker,
            3 => Source::ControlListener,
            4 => Source::RedirectListener(index),
            5 => Source::Control(index),
            6 => Source::Redirect(index),
            7 => Source::ChildStdin(index),
            8 => Source::ChildStdout(index),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_its_source() {
        for source in [
            Source::Alarm,
            Source::Signals,
            Source::Waker,
            Source::ControlListener,
            Source::RedirectListener(7),
            Source::Control(0),
            Source::Redirect(65_535),
            Source::ChildStdin(1),
            Source::ChildStdout(1),
        ] {
            assert_eq!(Source::of(source.token()), Some(source));
        }
        assert_eq!(Source::of(Token(15)), None);
    }
}
