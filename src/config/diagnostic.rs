//! What is wrong with a configuration, and where. A source line is shown with nothing in it that may be a secret.

use std::ops::Range;

use super::{
    lex::{Token, TokenKind},
    mistake::{Mistake, Position},
    options::{Kind, RENAMED, find_option},
};

/// Longest source line that is shown, in characters; what follows is `...`.
const MAX_SOURCE_LINE: usize = 200;

/// What stands for a text that is not shown.
const HIDDEN: &str = "***";

/// All that is wrong with a configuration, sorted by place; never empty where it comes from `parse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong: one lower-case clause or two, without control characters.
    pub message: String,
    /// The line itself, with `***` for every string but the one at fault in an option that is no secret; `None`
    /// where there is nothing to show.
    pub source_line: Option<String>,
}

impl Diagnostics {
    /// `FILE:LINE:COL: message`, then the source line as a line of its own, for each.
    pub fn render(&self, file: &str) -> String {
        let rendered: Vec<_> = self.0.iter().map(|diagnostic| diagnostic.render(file)).collect();
        rendered.join("\n")
    }
}

impl Diagnostic {
    /// `FILE:LINE:COL: message`, and the source line as a second line. No other line break is in it.
    pub fn render(&self, file: &str) -> String {
        let file = printable(file, usize::MAX);
        let first = format!("{file}:{}:{}: {}", self.line, self.column, self.message);
        match &self.source_line {
            Some(source_line) => format!("{first}\n{source_line}"),
            None => first,
        }
    }
}

/// What the parser and the rules find, before it is made readable.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Byte offset of the place.
    pub offset: usize,
    pub mistake: Mistake,
    /// The bytes of the string or word at fault.
    at: Range<usize>,
    /// Whether those may be shown.
    is_shown: bool,
    has_line: bool,
}

impl Fault {
    /// A fault at these bytes, which are not shown.
    pub fn new(at: &Range<usize>, mistake: Mistake) -> Self {
        Self { offset: at.start, mistake, at: at.clone(), is_shown: false, has_line: true }
    }

    /// A fault of the text as a whole.
    pub fn of_text(mistake: Mistake) -> Self {
        Self { has_line: false, ..Self::new(&(0..0), mistake) }
    }

    /// Shows the bytes at fault where `may_be_shown`.
    pub fn shown_if(self, may_be_shown: bool) -> Self {
        Self { is_shown: may_be_shown, ..self }
    }
}

/// Line and column of a byte offset into `text`, both from 1, the column in characters.
pub(super) fn place(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    Position { line: before.matches('\n').count() + 1, column }
}

/// The text with all its tokens, comments included, in order.
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub tokens: &'a [Token],
}

impl<'a> Source<'a> {
    /// Makes a fault readable.
    pub fn diagnose(&self, fault: Fault) -> Diagnostic {
        let Position { line, column } = place(self.text, fault.offset);
        let source_line = fault.has_line.then(|| self.redacted_line(fault.offset, fault.is_shown.then_some(fault.at)));
        Diagnostic { line, column, message: fault.mistake.to_string(), source_line }
    }

    fn redacted_line(&self, offset: usize, shown: Option<Range<usize>>) -> String {
        let (before, after) = self.text.split_at_checked(offset).unwrap_or((self.text, ""));
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = after.find('\n').map_or(self.text.len(), |at| before.len() + at);
        let first = self.tokens.partition_point(|token| token.end <= start);
        let mut out = String::new();
        let mut length = 0;
        let mut position = start;
        for (at, token) in self.tokens.iter().enumerate().skip(first).take_while(|(_, token)| token.start < end) {
            let (from, to) = (token.start.max(start), token.end.min(end));
            let is_shown = shown.as_ref().is_some_and(|shown| shown.start <= token.start && token.end <= shown.end);
            let blanks = self.text.get(position..from).unwrap_or_default();
            let part = if is_shown || self.is_harmless(at) {
                self.text.get(from..to).unwrap_or_default()
            } else {
                hidden(*token, from, to)
            };
            out.push_str(blanks);
            // Pieces of one mistyped word stay one.
            if !(part == HIDDEN && blanks.is_empty() && out.ends_with(HIDDEN)) {
                out.push_str(part);
            }
            position = to;
            length += blanks.len() + part.len();
            if length > 8 * MAX_SOURCE_LINE {
                break;
            }
        }
        printable(out.trim_end(), MAX_SOURCE_LINE)
    }

    /// Whether a token can be no secret, nor part of one: a text that lost a quote spills its contents.
    pub fn is_harmless(&self, at: usize) -> bool {
        let Some(token) = self.tokens.get(at) else { return false };
        match token.kind {
            TokenKind::Word => {
                let word = self.word(token);
                let renamed = RENAMED.iter().any(|(name, _)| *name == word);
                matches!(word, "account" | "none") || renamed || find_option(word).is_some()
            }
            TokenKind::Time => self.is_value_of_a_time(at),
            TokenKind::Equals | TokenKind::Comma | TokenKind::Colon | TokenKind::Semicolon => true,
            TokenKind::OpenBrace | TokenKind::CloseBrace => true,
            TokenKind::OpenBracket | TokenKind::CloseBracket => true,
            TokenKind::Text | TokenKind::OpenText | TokenKind::Comment | TokenKind::Other | TokenKind::End => false,
        }
    }

    fn is_value_of_a_time(&self, at: usize) -> bool {
        let Some([name, equals]) = at.checked_sub(2).and_then(|from| self.tokens.get(from..at)) else { return false };
        let row = find_option(self.word(name));
        equals.kind == TokenKind::Equals && row.is_some_and(|row| matches!(row.kind, Kind::Time { .. }))
    }

    fn word(&self, token: &Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }
}

/// What stands on a line for the part from `from` to `to` of a token that is not shown.
fn hidden(token: Token, from: usize, to: usize) -> &'static str {
    let begins = from == token.start;
    let ends = to == token.end;
    match token.kind {
        TokenKind::Comment => "// ***",
        TokenKind::Text if begins && ends => "\"***\"",
        TokenKind::Text if begins => "\"***",
        TokenKind::Text if ends => "***\"",
        // Its fault is where it begins.
        TokenKind::OpenText => "\"***",
        TokenKind::End => "",
        TokenKind::Text | TokenKind::Word | TokenKind::Other | TokenKind::Time => HIDDEN,
        TokenKind::Equals | TokenKind::Comma | TokenKind::Colon | TokenKind::Semicolon => HIDDEN,
        TokenKind::OpenBrace | TokenKind::CloseBrace | TokenKind::OpenBracket | TokenKind::CloseBracket => HIDDEN,
    }
}

/// `text` on one line for a terminal, cut after `limit` characters.
pub(super) fn printable(text: &str, limit: usize) -> String {
    let is_strange = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut out: String = text
        .chars()
        .take(limit)
        .map(|c| {
            if c == '\t' {
                ' '
            } else if is_strange(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(limit).is_some() {
        out.push_str("...");
    }
    out
}
