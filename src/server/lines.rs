//! Lines of the control protocol, cut out of bytes as they come, within the limits of [`crate::proto`].

use zeroize::Zeroize;

use crate::proto::{MAX_REQUEST, MAX_RESTORE, RESTORE_PREFIX};

/// Bytes that came and were not taken as lines yet. They may hold secrets, so they are wiped when they are.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Where the first line that was not taken begins.
    start: usize,
    /// Up to where there is no line end.
    scanned: usize,
}

/// A line over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    /// Whether there is nothing in it, not even part of a line.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Takes in what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end; `None` where more must come first.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, TooLong> {
        // Moving what is left once in a while costs less than moving it for each of many lines.
        if self.is_empty() || self.start > self.bytes.len() / 2 {
            self.forget_taken();
        }
        let end = self.bytes.get(self.scanned..).and_then(|new| new.iter().position(|&byte| byte == b'\n'));
        let length = end.map_or(self.bytes.len() - self.start, |end| self.scanned + end - self.start);
        if length > limit(&self.bytes[self.start..]) {
            return Err(TooLong);
        }
        let Some(end) = end else {
            self.scanned = self.bytes.len();
            return Ok(None);
        };
        let line = self.start..self.scanned + end;
        self.start = line.end + 1;
        self.scanned = self.start;
        Ok(self.bytes.get(line))
    }

    /// What is left when nothing more comes: a last line without its end.
    pub(super) fn last_line(&mut self) -> Option<&[u8]> {
        let line = self.start..self.bytes.len();
        self.start = line.end;
        self.scanned = line.end;
        self.bytes.get(line).filter(|line| !line.is_empty())
    }

    /// Wipes the lines that were taken, and gives the memory of long ones back.
    pub(super) fn forget_taken(&mut self) {
        if self.start == 0 {
            return;
        }
        if self.is_empty() {
            self.bytes.as_mut_slice().zeroize();
            self.bytes.clear();
            self.bytes.shrink_to(MAX_REQUEST);
        } else {
            let left = self.bytes.len() - self.start;
            self.bytes.copy_within(self.start.., 0);
            self.bytes.get_mut(left..).unwrap_or_default().zeroize();
            self.bytes.truncate(left);
        }
        self.scanned -= self.start;
        self.start = 0;
    }
}

/// How long a line may be that begins like this.
fn limit(line: &[u8]) -> usize {
    if line.starts_with(RESTORE_PREFIX) { MAX_RESTORE } else { MAX_REQUEST }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &mut Lines) -> Vec<String> {
        let mut taken = Vec::new();
        while let Ok(Some(line)) = lines.next_line() {
            taken.push(String::from_utf8(line.to_vec()).unwrap());
        }
        taken
    }

    #[test]
    fn lines_come_out_as_they_went_in_however_they_are_cut() {
        for (name, input, want, rest) in [
            ("nothing", "", &[][..], false),
            ("one", "a\n", &["a"], false),
            ("part", "ab", &[], true),
            ("two and a part", "a\nbc\nd", &["a", "bc"], true),
            ("empty ones", "\n\na\n", &["", "", "a"], false),
        ] {
            let mut whole = Lines::default();
            whole.push(input.as_bytes());
            assert_eq!(taken(&mut whole), want, "{name}");
            assert_eq!(!whole.is_empty(), rest, "{name}");

            let mut bytewise = Lines::default();
            let mut lines = Vec::new();
            for byte in input.bytes() {
                bytewise.push(&[byte]);
                lines.extend(taken(&mut bytewise));
            }
            assert_eq!(lines, want, "{name}, byte by byte");
        }
    }

    #[test]
    fn a_line_has_a_limit_with_and_without_its_end() {
        for (name, length, end, want) in [
            ("just right", MAX_REQUEST, "\n", Ok(true)),
            ("just right so far", MAX_REQUEST, "", Ok(false)),
            ("too long", MAX_REQUEST + 1, "\n", Err(TooLong)),
            ("too long already", MAX_REQUEST + 1, "", Err(TooLong)),
        ] {
            let mut lines = Lines::default();
            lines.push("a\n".as_bytes());
            lines.push("x".repeat(length).as_bytes());
            lines.push(end.as_bytes());
            assert_eq!(lines.next_line(), Ok(Some(&b"a"[..])), "{name}");
            assert_eq!(lines.next_line().map(|line| line.is_some()), want, "{name}");
        }
    }

    #[test]
    fn only_a_restore_may_be_long() {
        let mut lines = Lines::default();
        lines.push(RESTORE_PREFIX);
        for _ in 0..3 {
            lines.push(&vec![b'x'; MAX_REQUEST]);
            assert_eq!(lines.next_line(), Ok(None));
        }
        lines.push(&vec![b'x'; MAX_RESTORE]);
        assert_eq!(lines.next_line(), Err(TooLong));
    }

    #[test]
    fn a_last_line_needs_no_end() {
        let mut lines = Lines::default();
        lines.push(b"a\nb");
        assert_eq!(lines.next_line(), Ok(Some(&b"a"[..])));
        assert_eq!(lines.next_line(), Ok(None));
        assert_eq!(lines.last_line(), Some(&b"b"[..]));
        assert_eq!(lines.last_line(), None);
        assert!(lines.is_empty());
    }

    #[test]
    fn a_long_line_does_not_keep_its_memory() {
        let mut lines = Lines::default();
        lines.push(RESTORE_PREFIX);
        lines.push(&vec![b'x'; 4 * MAX_REQUEST]);
        lines.push(b"\n");
        assert!(matches!(lines.next_line(), Ok(Some(_))));
        assert_eq!(lines.next_line(), Ok(None));
        assert!(lines.bytes.capacity() <= MAX_REQUEST);
    }
}
