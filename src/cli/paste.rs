//! Lines that a user pastes while `auth` waits: cut out of what standard input brings, whether typed or piped.

use crate::secret::Secret;

/// Longest line, in bytes: redirect URLs of several KiB are in use.
const MAX_LINE: usize = 16 * 1024;

const END_OF_INPUT: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// Who writes the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A person at a terminal that edits no lines itself.
    Keyboard,
    /// A program.
    Pipe,
}

/// What came of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// A line that is not blank, without the blanks around it.
    Line(Secret),
    /// A line that is too long to be meant.
    TooLong,
    /// A line that is not text.
    NotText,
    /// The last character was erased.
    Erased,
    /// Everything since the line's begin was erased.
    Killed,
    /// There was nothing to erase.
    NothingErased,
    /// The end of input was typed.
    End,
}

/// Puts lines together from bytes as they come.
#[derive(Debug)]
pub struct Lines {
    source: Source,
    line: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// No line yet.
    pub fn new(source: Source) -> Self {
        Self { source, line: Vec::new(), too_long: false }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        bytes.iter().filter_map(|byte| self.feed_byte(*byte)).collect()
    }

    /// Takes the end of input: what stands in an unfinished line counts.
    pub fn end(&mut self) -> Option<Input> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return Some(Input::TooLong);
        }
        let Ok(text) = String::from_utf8(line) else { return Some(Input::NotText) };
        let text = text.trim();
        (!text.is_empty()).then(|| Input::Line(Secret::from(text)))
    }

    fn feed_byte(&mut self, byte: u8) -> Option<Input> {
        match (self.source, byte) {
            (_, b'\n') => return self.end(),
            (Source::Keyboard, BACKSPACE | DELETE) => return Some(self.erase()),
            (Source::Keyboard, KILL) => {
                self.line.clear();
                self.too_long = false;
                return Some(Input::Killed);
            }
            (Source::Keyboard, END_OF_INPUT) => return self.line.is_empty().then_some(Input::End),
            (Source::Keyboard | Source::Pipe, _) => {}
        }
        if self.line.len() < MAX_LINE {
            self.line.push(byte);
        } else {
            self.too_long = true;
        }
        None
    }

    fn erase(&mut self) -> Input {
        // Of a character in UTF-8, the continuation bytes go with the first.
        while let Some(byte) = self.line.pop() {
            if byte & 0xc0 != 0x80 {
                return Input::Erased;
            }
        }
        Input::NothingErased
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Input {
        Input::Line(Secret::from(text))
    }

    #[test]
    fn lines_come_out_whole_and_trimmed() {
        let long = "x".repeat(MAX_LINE);
        let url = format!("http://localhost:1/?code={}", "c".repeat(3000));
        for (name, source, bytes, want) in [
            ("two lines", Source::Pipe, "a\nb\n".to_owned(), vec![line("a"), line("b")]),
            ("no line break at the end", Source::Pipe, "a\nb".to_owned(), vec![line("a"), line("b")]),
            ("blanks around", Source::Pipe, " \ta\r\n\n  \n".to_owned(), vec![line("a")]),
            ("a long URL", Source::Keyboard, url.clone() + "\n", vec![line(&url)]),
            ("the longest", Source::Pipe, long.clone() + "\n", vec![line(&long)]),
            ("too long", Source::Pipe, long.clone() + "y\nb\n", vec![Input::TooLong, line("b")]),
            ("keys in a pipe are bytes", Source::Pipe, "a\x7f\x04\n".to_owned(), vec![line("a\x7f\x04")]),
            ("erased", Source::Keyboard, "ab\x7fc\n".to_owned(), vec![Input::Erased, line("ac")]),
            ("erased, not ASCII", Source::Keyboard, "aé\x08c\n".to_owned(), vec![Input::Erased, line("ac")]),
            ("nothing to erase", Source::Keyboard, "\x7fa\n".to_owned(), vec![Input::NothingErased, line("a")]),
            ("killed", Source::Keyboard, "abc\x15d\n".to_owned(), vec![Input::Killed, line("d")]),
            ("end of input", Source::Keyboard, "\x04".to_owned(), vec![Input::End]),
            ("no end within a line", Source::Keyboard, "a\x04b\n".to_owned(), vec![line("ab")]),
        ] {
            for size in [1, 5, 4096] {
                let mut lines = Lines::new(source);
                let mut got: Vec<Input> = bytes.as_bytes().chunks(size).flat_map(|part| lines.feed(part)).collect();
                got.extend(lines.end());
                assert_eq!(got, want, "{name}, {size} at a time");
            }
        }
    }

    #[test]
    fn what_is_not_text_is_told() {
        assert_eq!(Lines::new(Source::Pipe).feed(b"a\xff\nb\n"), [Input::NotText, line("b")]);
    }
}
