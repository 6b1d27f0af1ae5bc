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
    /// A person at a terminal that neither edits lines nor shows what is typed.
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
    /// The end of input was typed.
    End,
}

/// Puts lines together from bytes as they come.
#[derive(Debug)]
pub struct Lines {
    source: Source,
    line: Vec<u8>,
    too_long: bool,
    echo: Vec<u8>,
}

impl Lines {
    /// No line yet.
    pub fn new(source: Source) -> Self {
        Self { source, line: Vec::new(), too_long: false, echo: Vec::new() }
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

    /// What the keyboard's terminal is to show of the bytes taken since the last call.
    pub fn take_echo(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.echo)
    }

    fn feed_byte(&mut self, byte: u8) -> Option<Input> {
        match self.source {
            Source::Keyboard => self.feed_key(byte),
            Source::Pipe if byte == b'\n' => self.end(),
            Source::Pipe => self.push(byte),
        }
    }

    fn feed_key(&mut self, byte: u8) -> Option<Input> {
        match byte {
            b'\n' => {
                self.echo.push(b'\n');
                self.end()
            }
            END_OF_INPUT => self.line.is_empty().then_some(Input::End),
            BACKSPACE | DELETE => {
                if self.erase() {
                    self.echo.extend_from_slice(b"\x08 \x08");
                }
                None
            }
            KILL => {
                self.line.clear();
                self.too_long = false;
                self.echo.push(b'\n');
                None
            }
            _ => {
                if !byte.is_ascii_control() {
                    self.echo.push(byte);
                }
                self.push(byte)
            }
        }
    }

    fn push(&mut self, byte: u8) -> Option<Input> {
        if self.line.len() < MAX_LINE {
            self.line.push(byte);
        } else {
            self.too_long = true;
        }
        None
    }

    /// Takes the last character away, if there is one.
    fn erase(&mut self) -> bool {
        // Of a character in UTF-8, the continuation bytes go with the first.
        while let Some(byte) = self.line.pop() {
            if byte & 0xc0 != 0x80 {
                return true;
            }
        }
        false
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
            ("erased", Source::Keyboard, "ab\x7fc\n".to_owned(), vec![line("ac")]),
            ("erased, not ASCII", Source::Keyboard, "aé\x08c\n".to_owned(), vec![line("ac")]),
            ("nothing to erase", Source::Keyboard, "\x7fa\n".to_owned(), vec![line("a")]),
            ("killed", Source::Keyboard, "abc\x15d\n".to_owned(), vec![line("d")]),
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
    fn a_keyboard_sees_what_it_typed() {
        for (bytes, want) in [
            (&b"ab\x7fc\n"[..], &b"ab\x08 \x08c\n"[..]),
            (b"\x7f\x08\x1b[A\x04", b"[A"),
            (b"abc\x15d", b"abc\nd"),
            ("é\x7f".as_bytes(), "é\x08 \x08".as_bytes()),
        ] {
            let mut lines = Lines::new(Source::Keyboard);
            lines.feed(bytes);
            assert_eq!(lines.take_echo(), want, "{bytes:?}");
        }
        let mut lines = Lines::new(Source::Pipe);
        lines.feed(b"ab\n");
        assert_eq!(lines.take_echo(), b"");
    }

    #[test]
    fn what_is_not_text_is_told() {
        assert_eq!(Lines::new(Source::Pipe).feed(b"a\xff\nb\n"), [Input::NotText, line("b")]);
    }
}
