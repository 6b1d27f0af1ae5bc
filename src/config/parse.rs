//! Recursive descent over the tokens. Whatever is wrong is noted, and reading goes on behind it, so that one look
//! finds everything; what the values must be is in `rules`.
//!
//! A missing quote turns texts inside out from there on. So a string that spans lines and leads nowhere is taken to
//! end with its first line. A secret without quotes is words and signs, and base64 may end like `NAME =`. So no message
//! repeats a word that is no option's name but the name of a statement, and behind a value at fault only an option that
//! is known begins another.

use std::collections::BTreeMap;

use super::{
    diagnostic::{Fault, place},
    lex::{Lexer, Token, TokenKind},
    mistake::Mistake,
    options::{Draft, Kind, OptionRow, Placed, RENAMED, Scope, Value, find_option, option_names, similar_name},
    parse_time, rules,
};

/// Most faults that are reported: more than anybody reads, and a bound on the work for a hostile text.
pub(super) const MAX_FAULTS: usize = 200;

/// What a text says, before the rules are applied.
#[derive(Default)]
pub(super) struct Parsed {
    pub globals: Draft,
    pub accounts: Vec<(Placed<String>, Draft)>,
    /// Whether anything is there that wants to be an account.
    pub mentions_account: bool,
    pub faults: Vec<Fault>,
    /// All tokens, comments included.
    pub tokens: Vec<Token>,
}

/// Reads the whole of `text`.
pub(super) fn read(text: &str) -> Parsed {
    let mut parser = Parser {
        text,
        lexer: Lexer::new(text),
        tokens: Vec::new(),
        at: 0,
        faults: Vec::new(),
        account_places: BTreeMap::new(),
    };
    let mut parsed = Parsed::default();
    parser.file(&mut parsed);
    parser.lex_rest();
    Parsed { faults: parser.faults, tokens: parser.tokens, ..parsed }
}

/// A fault was noted, and reading must go on at the next statement.
struct Failed;

/// A value as its tokens.
enum RawValue {
    Text(Token),
    Time(Token),
    None(Token),
    List(Vec<Token>),
    Map(Vec<(Token, Token)>),
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// What was lexed so far, comments included.
    tokens: Vec<Token>,
    /// Index of the next token.
    at: usize,
    faults: Vec<Fault>,
    /// Where each account's name stands first.
    account_places: BTreeMap<String, usize>,
}

impl<'a> Parser<'a> {
    fn file(&mut self, parsed: &mut Parsed) {
        while !self.is_over() {
            let token = self.peek();
            match token.kind {
                TokenKind::Word if self.word(token) == "account" => {
                    parsed.mentions_account = true;
                    let account = self.account();
                    parsed.accounts.extend(account);
                }
                TokenKind::Word => self.statement(Scope::Global, &mut parsed.globals),
                TokenKind::CloseBrace => {
                    self.fault(token.start, Mistake::UnexpectedBrace);
                    self.next();
                }
                _ => self.skip_non_statement(Scope::Global),
            }
        }
    }

    /// `account "NAME" { .. }`. `None` where it has no usable name; what is in the block is looked through anyhow.
    fn account(&mut self) -> Option<(Placed<String>, Draft)> {
        let keyword = self.next();
        let faults_before = self.faults.len();
        let name = self.account_name();
        if self.peek().kind != TokenKind::OpenBrace {
            if self.faults.len() == faults_before {
                self.fail_expected("\"{\"");
            }
            while !self.is_at_line_start() && !matches!(self.peek().kind, TokenKind::OpenBrace | TokenKind::End) {
                self.next();
            }
        }
        if self.peek().kind == TokenKind::OpenBrace {
            self.next();
        } else if !self.is_statement_start() {
            return None;
        }
        let mut draft = Draft::default();
        self.block(keyword, &mut draft);
        name.map(|name| (name, draft))
    }

    fn account_name(&mut self) -> Option<Placed<String>> {
        let token = self.peek();
        if token.kind != TokenKind::Text {
            self.fail_expected("the account's name in double quotes");
            if !matches!(self.peek().kind, TokenKind::OpenBrace | TokenKind::End) && !self.is_at_line_start() {
                self.next();
            }
            return None;
        }
        self.next();
        if self.peek().kind != TokenKind::OpenBrace {
            return None;
        }
        let name = self.unescape(token, true)?;
        if name.value.contains(char::is_control) {
            self.fault(token.start, Mistake::ControlInAccount);
            return None;
        }
        if let Some(&first) = self.account_places.get(&name.value) {
            let first = place(self.text, first);
            self.fault_at(token, Mistake::AccountTwice { account: name.value.clone(), first });
        } else {
            self.account_places.insert(name.value.clone(), token.start);
        }
        Some(name)
    }

    fn block(&mut self, keyword: Token, draft: &mut Draft) {
        while !self.is_full() {
            let token = self.peek();
            match token.kind {
                TokenKind::CloseBrace => {
                    self.next();
                    return;
                }
                TokenKind::End => {
                    self.fault(keyword.start, Mistake::NotClosed);
                    return;
                }
                TokenKind::Word if self.word(token) == "account" && self.peek_second().kind != TokenKind::Equals => {
                    self.fault(token.start, Mistake::NextAccount);
                    return;
                }
                TokenKind::Word => self.statement(Scope::Account, draft),
                _ => self.skip_non_statement(Scope::Account),
            }
        }
    }

    fn statement(&mut self, scope: Scope, draft: &mut Draft) {
        let first = self.at;
        if self.option(scope, draft).is_err() {
            self.resynchronise(first);
        }
    }

    fn skip_non_statement(&mut self, scope: Scope) {
        let first = self.at;
        self.fail_expected(&expected_names(scope));
        self.resynchronise(first);
    }

    /// `NAME = VALUE;`
    fn option(&mut self, scope: Scope, draft: &mut Draft) -> Result<(), Failed> {
        let name = self.next();
        let known = find_option(self.word(name));
        if known.is_none() && !self.is_name(name, scope) {
            // A word that is no name may be a piece of a secret, so it is not repeated.
            return Err(self.fail(name.start, Mistake::Expected { expected: expected_names(scope), found: None }));
        }
        self.expect(TokenKind::Equals, "\"=\"")?;
        let row = self.check_name(name, known, scope, draft);
        let first = self.peek();
        let value = self.value(known.map_or("a value", |row| row.kind.expected()))?;
        self.semicolon()?;
        if let Some(row) = row {
            self.assign(row, draft, value, first);
        }
        Ok(())
    }

    /// The row of a name that may stand here, for the first time.
    fn check_name(
        &mut self,
        name: Token,
        known: Option<&'static OptionRow>,
        scope: Scope,
        draft: &mut Draft,
    ) -> Option<&'static OptionRow> {
        let word = self.word(name);
        let Some(row) = known else {
            self.fault_at(name, unknown_option(word, scope));
            return None;
        };
        if row.scope != scope && row.scope != Scope::Both {
            let word = word.to_owned();
            let mistake = match scope {
                Scope::Account => Mistake::GlobalOption { name: word },
                Scope::Global | Scope::Both => Mistake::AccountOption { name: word },
            };
            self.fault_at(name, mistake);
            return None;
        }
        if let Some(&first) = draft.seen.get(row.name) {
            let first = place(self.text, first);
            self.fault_at(name, Mistake::OptionTwice { name: word.to_owned(), first });
            return None;
        }
        draft.seen.insert(row.name, name.start);
        Some(row)
    }

    fn value(&mut self, expected: &str) -> Result<RawValue, Failed> {
        let token = self.peek();
        match token.kind {
            TokenKind::Text => Ok(RawValue::Text(self.next())),
            TokenKind::Time => Ok(RawValue::Time(self.next())),
            TokenKind::Word if self.word(token) == "none" => Ok(RawValue::None(self.next())),
            TokenKind::OpenBracket => self.list(),
            TokenKind::OpenBrace => self.map(),
            _ => Err(self.fail_expected(expected)),
        }
    }

    /// `["a", "b"]`. Commas may stand before the first (pizauth 1 had it so) and after the last.
    fn list(&mut self) -> Result<RawValue, Failed> {
        self.next();
        let mut texts = Vec::new();
        self.accept(TokenKind::Comma);
        while !self.accept(TokenKind::CloseBracket) {
            texts.push(self.expect(TokenKind::Text, "a string in double quotes or \"]\"")?);
            if !self.accept(TokenKind::Comma) && self.peek().kind != TokenKind::CloseBracket {
                return Err(self.fail_expected("\",\" or \"]\""));
            }
        }
        Ok(RawValue::List(texts))
    }

    /// `{"k": "v", "k": "w"}`, with the same liberty.
    fn map(&mut self) -> Result<RawValue, Failed> {
        self.next();
        let mut pairs = Vec::new();
        self.accept(TokenKind::Comma);
        while !self.accept(TokenKind::CloseBrace) {
            let key = self.expect(TokenKind::Text, "a key in double quotes or \"}\"")?;
            self.expect(TokenKind::Colon, "\":\"")?;
            pairs.push((key, self.expect(TokenKind::Text, "a string in double quotes")?));
            if !self.accept(TokenKind::Comma) && self.peek().kind != TokenKind::CloseBrace {
                return Err(self.fail_expected("\",\" or \"}\""));
            }
        }
        Ok(RawValue::Map(pairs))
    }

    /// The `;` of a statement. Where it is only forgotten, the statement holds all the same.
    fn semicolon(&mut self) -> Result<(), Failed> {
        if self.accept(TokenKind::Semicolon) {
            return Ok(());
        }
        let next = self.peek();
        let starts_anew = self.is_at_line_start() && self.is_statement_start();
        if starts_anew || matches!(next.kind, TokenKind::CloseBrace | TokenKind::End) {
            let end = self.previous().map_or(0, |token| token.end);
            self.fault(end, Mistake::Expected { expected: "\";\"".to_owned(), found: None });
            return Ok(());
        }
        Err(self.fail_expected("\";\""))
    }

    /// Checks a value, whose first token is `first`, and puts it into its place.
    fn assign(&mut self, row: &'static OptionRow, draft: &mut Draft, raw: RawValue, first: Token) {
        let has_password = row.kind == Kind::Uri && self.word(first).contains('@');
        let shown = row.kind.may_be_shown() && !has_password;
        let Some(value) = self.cook(raw, shown) else { return };
        if let Some(fault) = rules::check_value(row.kind, &value) {
            self.push(fault);
        } else if let Err(value) = row.set(draft, value) {
            let (expected, found) = (row.kind.expected().to_owned(), Some(value.found().to_owned()));
            let mistake = Mistake::Expected { expected, found };
            self.push(Fault::new(&(first.start..first.end), mistake).shown_if(shown));
        }
    }

    fn cook(&mut self, raw: RawValue, shown: bool) -> Option<Value> {
        Some(match raw {
            RawValue::Text(token) => Value::Text(self.unescape(token, shown)?),
            RawValue::Time(token) => {
                Value::Time(Placed { at: token.start..token.end, value: parse_time(self.word(token))? })
            }
            RawValue::None(token) => Value::None(token.start..token.end),
            RawValue::List(tokens) => {
                let texts: Vec<_> = tokens.into_iter().map(|token| self.unescape(token, shown)).collect();
                Value::List(texts.into_iter().collect::<Option<_>>()?)
            }
            RawValue::Map(pairs) => {
                let pairs: Vec<_> = pairs
                    .into_iter()
                    .map(|(key, value)| (self.unescape(key, shown), self.unescape(value, shown)))
                    .map(|(key, value)| Some((key?, value?)))
                    .collect();
                Value::Map(pairs.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    fn unescape(&mut self, token: Token, shown: bool) -> Option<Placed<String>> {
        let inner = self.text.get(token.start + 1..token.end.saturating_sub(1)).unwrap_or_default();
        let mut value = String::with_capacity(inner.len());
        let mut characters = inner.char_indices();
        while let Some((at, character)) = characters.next() {
            if character != '\\' {
                value.push(character);
                continue;
            }
            match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => {
                    let mut fault = Fault::new(&(token.start..token.end), Mistake::Backslash).shown_if(shown);
                    fault.offset = token.start + 1 + at;
                    self.push(fault);
                    return None;
                }
            }
        }
        Some(Placed { at: token.start..token.end, value })
    }

    /// Skips to where the next statement may begin. `first` is the index of the first token of the one at fault.
    fn resynchronise(&mut self, first: usize) {
        let is_text = |token: &Token| matches!(token.kind, TokenKind::Text | TokenKind::OpenText);
        let mut had_text = self.tokens.get(first..self.at).is_some_and(|tokens| tokens.iter().any(is_text));
        loop {
            let token = self.peek();
            had_text |= is_text(&token);
            match token.kind {
                TokenKind::End => return,
                TokenKind::Word if self.is_at_line_start() && self.is_known_start() => return,
                TokenKind::CloseBrace if self.peek_second().kind != TokenKind::Semicolon => return,
                TokenKind::Text if self.spans_lines(token) => self.cut(token),
                TokenKind::Semicolon => {
                    self.next();
                    // A `;` between strings may itself be inside one, and so may one in a secret that has no quotes.
                    let ends = self.is_at_line_start() || self.peek().kind == TokenKind::CloseBrace;
                    if ends || (!had_text && self.is_known_start()) {
                        return;
                    }
                }
                _ => {
                    self.next();
                }
            }
        }
    }

    /// Notes that something else than `expected` is next.
    fn fail_expected(&mut self, expected: &str) -> Failed {
        let next = self.peek();
        if let Some(previous) = self.previous().filter(|token| self.spans_lines(*token)) {
            self.cut(previous);
            return self.fail(previous.start, Mistake::QuoteMissing);
        }
        if next.kind == TokenKind::OpenText {
            return self.fail(next.start, Mistake::QuoteMissing);
        }
        let found = Some(self.describe(next));
        self.fail(next.start, Mistake::Expected { expected: expected.to_owned(), found })
    }

    fn describe(&self, token: Token) -> String {
        let text = self.word(token);
        match token.kind {
            TokenKind::Word if find_option(text).is_some() || matches!(text, "account" | "none") => {
                format!("\"{text}\"")
            }
            TokenKind::Word => "a word without quotes".to_owned(),
            TokenKind::Text | TokenKind::OpenText => "a string".to_owned(),
            TokenKind::Time => "a time".to_owned(),
            TokenKind::Other if text.starts_with(|c: char| c.is_ascii_digit()) => "a number without unit".to_owned(),
            TokenKind::Other | TokenKind::Comment => "something else".to_owned(),
            TokenKind::End => "the end of the file".to_owned(),
            TokenKind::Equals | TokenKind::Comma | TokenKind::Colon | TokenKind::Semicolon => format!("\"{text}\""),
            TokenKind::OpenBrace | TokenKind::CloseBrace => format!("\"{text}\""),
            TokenKind::OpenBracket | TokenKind::CloseBracket => format!("\"{text}\""),
        }
    }

    fn fail(&mut self, offset: usize, mistake: Mistake) -> Failed {
        self.fault(offset, mistake);
        Failed
    }

    /// Notes a fault whose string or word stays hidden.
    fn fault(&mut self, offset: usize, mistake: Mistake) {
        self.push(Fault::new(&(offset..offset), mistake));
    }

    fn fault_at(&mut self, token: Token, mistake: Mistake) {
        self.push(Fault::new(&(token.start..token.end), mistake).shown_if(true));
    }

    fn push(&mut self, fault: Fault) {
        if !self.is_full() {
            self.faults.push(fault);
        }
    }

    fn is_full(&self) -> bool {
        self.faults.len() >= MAX_FAULTS
    }

    fn is_over(&mut self) -> bool {
        self.is_full() || self.peek().kind == TokenKind::End
    }

    fn accept(&mut self, kind: TokenKind) -> bool {
        let is_there = self.peek().kind == kind;
        if is_there {
            self.next();
        }
        is_there
    }

    fn expect(&mut self, kind: TokenKind, expected: &str) -> Result<Token, Failed> {
        if self.peek().kind == kind { Ok(self.next()) } else { Err(self.fail_expected(expected)) }
    }

    fn peek(&mut self) -> Token {
        let (_, token) = self.look(self.at);
        token
    }

    fn peek_second(&mut self) -> Token {
        let (at, _) = self.look(self.at);
        let (_, token) = self.look(at + 1);
        token
    }

    fn next(&mut self) -> Token {
        let (at, token) = self.look(self.at);
        self.at = if token.kind == TokenKind::End { at } else { at + 1 };
        token
    }

    /// The first token from index `at` on that is no comment, and its index.
    fn look(&mut self, mut at: usize) -> (usize, Token) {
        loop {
            let token = match self.tokens.get(at) {
                Some(token) => *token,
                None => {
                    let token = self.lexer.next_token();
                    if token.kind == TokenKind::End {
                        return (self.tokens.len(), token);
                    }
                    self.tokens.push(token);
                    continue;
                }
            };
            if token.kind != TokenKind::Comment {
                return (at, token);
            }
            at += 1;
        }
    }

    /// The token read last.
    fn previous(&self) -> Option<Token> {
        let read = self.tokens.get(..self.at)?;
        read.iter().rev().find(|token| token.kind != TokenKind::Comment).copied()
    }

    /// Ends a string with its first line, and goes on behind that.
    fn cut(&mut self, token: Token) {
        self.tokens.retain(|other| other.start < token.start);
        let open = self.lexer.cut_string(token.start);
        self.tokens.push(open);
        self.at = self.tokens.len();
    }

    fn lex_rest(&mut self) {
        loop {
            let token = self.lexer.next_token();
            if token.kind == TokenKind::End {
                return;
            }
            self.tokens.push(token);
        }
    }

    /// Whether the next token is the first on its line.
    fn is_at_line_start(&mut self) -> bool {
        let (at, token) = self.look(self.at);
        let before = at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.end);
        at == 0 || self.text.get(before..token.start).is_some_and(|blanks| blanks.contains('\n'))
    }

    /// Whether the next token begins a statement: `NAME =` or `account "`.
    fn is_statement_start(&mut self) -> bool {
        let (at, token) = self.look(self.at);
        let (_, second) = self.look(at + 1);
        token.kind == TokenKind::Word
            && (second.kind == TokenKind::Equals || (second.kind == TokenKind::Text && self.word(token) == "account"))
    }

    /// Whether the next token begins the statement of an option that there is or was, or an account.
    fn is_known_start(&mut self) -> bool {
        let token = self.peek();
        let word = self.word(token);
        let is_known = word == "account" || find_option(word).is_some() || renamed(word).is_some();
        is_known && self.is_statement_start()
    }

    /// Whether an unknown word, which was read, is meant as the name of an option: a value follows, or it is nearly
    /// right.
    fn is_name(&mut self, word: Token, scope: Scope) -> bool {
        let (equals, value) = (self.peek(), self.peek_second());
        let is_value = match value.kind {
            TokenKind::Text => !self.spans_lines(value),
            TokenKind::Word => self.word(value) == "none",
            TokenKind::Time | TokenKind::OpenBracket | TokenKind::OpenBrace => true,
            TokenKind::OpenText | TokenKind::CloseBracket | TokenKind::CloseBrace => false,
            TokenKind::Equals | TokenKind::Comma | TokenKind::Colon | TokenKind::Semicolon => false,
            TokenKind::Comment | TokenKind::Other | TokenKind::End => false,
        };
        let word = self.word(word);
        equals.kind == TokenKind::Equals && (is_value || renamed(word).is_some() || similar_name(word, scope).is_some())
    }

    fn spans_lines(&self, token: Token) -> bool {
        token.kind == TokenKind::Text && self.word(token).contains('\n')
    }

    fn word(&self, token: Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }
}

fn expected_names(scope: Scope) -> String {
    let account = (scope != Scope::Account).then_some("account");
    let names: Vec<_> = account.into_iter().chain(option_names(scope)).collect();
    let end = if scope == Scope::Account { ", or \"}\"" } else { "" };
    format!("one of {}{end}", names.join(", "))
}

/// An option of an earlier version with its name of today.
fn renamed(word: &str) -> Option<(&'static str, &'static str)> {
    RENAMED.iter().find(|(old, _)| *old == word).copied()
}

fn unknown_option(word: &str, scope: Scope) -> Mistake {
    if let Some((old, new)) = renamed(word) {
        return Mistake::Renamed { old, new };
    }
    let (similar, expected) = (similar_name(word, scope), expected_names(scope));
    Mistake::UnknownOption { name: word.to_owned(), similar, expected }
}
