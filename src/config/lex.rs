//! Cuts the text of a configuration into tokens. No text is refused here: what is no token of the grammar becomes
//! one of its own kind, and the parser says what stands there instead of what.

use super::parse_time;

/// One token and where it stands, as byte offsets into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// `account`, `none`, or the name of an option.
    Word,
    /// A string with both its quotes.
    Text,
    /// A string without end: from its quote to the end of that line.
    OpenText,
    /// Digits with a unit.
    Time,
    Equals,
    Comma,
    Colon,
    Semicolon,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    /// From `//` to the end of the line.
    Comment,
    /// Anything else, up to the next blank or sign.
    Other,
    /// The end of the text.
    End,
}

/// Strings that may turn out to lack their end before strings are no longer sought beyond their line; each costs a
/// look through the whole text.
const MAX_CUTS: usize = 50;

/// Reads tokens from `text`, beginning at `position`, a byte offset.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    cuts: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0, cuts: 0 }
    }

    /// Takes the string at `start` to lack its end: the string ends with its first line, and reading goes on there.
    pub fn cut_string(&mut self, start: usize) -> Token {
        self.cuts += 1;
        self.position = start;
        self.position += line_length(self.rest());
        Token { kind: TokenKind::OpenText, start, end: self.position }
    }

    /// The next token, comments included; [`TokenKind::End`] for ever once the text is over.
    pub fn next_token(&mut self) -> Token {
        let blanks = self.rest().bytes().take_while(|byte| b" \t\r\n".contains(byte)).count();
        let start = self.position + blanks;
        self.position = start;
        let rest = self.rest();
        let (kind, length) = match rest.bytes().next() {
            None => (TokenKind::End, 0),
            Some(b'=') => (TokenKind::Equals, 1),
            Some(b',') => (TokenKind::Comma, 1),
            Some(b':') => (TokenKind::Colon, 1),
            Some(b';') => (TokenKind::Semicolon, 1),
            Some(b'{') => (TokenKind::OpenBrace, 1),
            Some(b'}') => (TokenKind::CloseBrace, 1),
            Some(b'[') => (TokenKind::OpenBracket, 1),
            Some(b']') => (TokenKind::CloseBracket, 1),
            Some(b'"') => match string_length(rest, self.cuts) {
                Some(length) => (TokenKind::Text, length),
                None => return self.cut_string(start),
            },
            Some(b'/') if rest.starts_with("//") => (TokenKind::Comment, line_length(rest)),
            Some(byte) if byte.is_ascii_digit() => number(rest),
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => (TokenKind::Word, word_length(rest)),
            Some(_) => (TokenKind::Other, other_length(rest)),
        };
        self.position = start + length;
        Token { kind, start, end: self.position }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }
}

/// Bytes up to the end of the line, its end not counted.
fn line_length(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// Length of the string that `rest` begins with. It may span lines; a backslash takes the next character with it,
/// whatever that is.
fn string_length(rest: &str, cuts: usize) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'\n' if cuts >= MAX_CUTS => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn number(rest: &str) -> (TokenKind, usize) {
    let length = word_length(rest);
    let word = rest.get(..length).unwrap_or_default();
    (if parse_time(word).is_some() { TokenKind::Time } else { TokenKind::Other }, length)
}

/// A hyphen belongs to a word, so that `auth-uri` is one misspelt name.
fn word_length(rest: &str) -> usize {
    rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte)).count()
}

fn other_length(rest: &str) -> usize {
    let signs = [' ', '\t', '\r', '\n', '=', ',', ':', ';', '{', '}', '[', ']', '"'];
    let run = rest.split(signs).next().unwrap_or_default();
    run.find("//").unwrap_or(run.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> Vec<(TokenKind, &str)> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| Some(lexer.next_token()).filter(|token| token.kind != TokenKind::End))
            .map(|token| (token.kind, &text[token.start..token.end]))
            .collect()
    }

    #[test]
    fn text_becomes_tokens() {
        use TokenKind::*;
        for (text, want) in [
            ("", vec![]),
            (" \t\r\n", vec![]),
            ("a=b;", vec![(Word, "a"), (Equals, "="), (Word, "b"), (Semicolon, ";")]),
            ("account\"x\"{}", vec![(Word, "account"), (Text, "\"x\""), (OpenBrace, "{"), (CloseBrace, "}")]),
            ("[,]", vec![(OpenBracket, "["), (Comma, ","), (CloseBracket, "]")]),
            (r#""a\"b" "\\" """#, vec![(Text, r#""a\"b""#), (Text, r#""\\""#), (Text, "\"\"")]),
            ("\"a\nb\":", vec![(Text, "\"a\nb\""), (Colon, ":")]),
            ("\"a // b\" // \"c", vec![(Text, "\"a // b\""), (Comment, "// \"c")]),
            ("// a\nb", vec![(Comment, "// a"), (Word, "b")]),
            ("\"a\nb", vec![(OpenText, "\"a"), (Word, "b")]),
            ("\"a\\\"\nb", vec![(OpenText, "\"a\\\""), (Word, "b")]),
            ("90s 15m 2h 1d 0s", vec![(Time, "90s"), (Time, "15m"), (Time, "2h"), (Time, "1d"), (Time, "0s")]),
            ("90 9x 9ms 1.5h", vec![(Other, "90"), (Other, "9x"), (Other, "9ms"), (Other, "1"), (Other, ".5h")]),
            ("auth-uri _a9", vec![(Word, "auth-uri"), (Word, "_a9")]),
            ("ü+/x;/ //", vec![(Other, "ü+/x"), (Semicolon, ";"), (Other, "/"), (Comment, "//")]),
            ("é//", vec![(Other, "é"), (Comment, "//")]),
        ] {
            assert_eq!(lex(text), want, "{text:?}");
        }
    }
}
