//! What is shown of text that came from outside: one line, short, without control characters and without secrets.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::form;
use crate::secret::Secret;

/// Longest text from outside that is shown, in characters: room for a provider's longest explanation.
pub const MAX_SHOWN: usize = 500;

/// Shortest secret that is masked, in bytes: masking single letters would only spoil the message.
const MIN_SECRET: usize = 3;

/// What `encodeURIComponent` leaves as it is, besides letters and digits.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Secrets that no message may show, as they are and in the spellings in which they can come back.
#[derive(Clone, Default, Debug)]
pub struct Mask {
    /// Longest first, so that no secret is shown in part because another one is its beginning.
    needles: Vec<Secret>,
}

impl Mask {
    /// Masks `secret` too.
    pub fn add(&mut self, secret: &Secret) {
        self.add_text(secret.expose());
    }

    /// Masks `text` too: as it is, percent-encoded, form-decoded, and escaped as in JSON.
    pub fn add_text(&mut self, text: &str) {
        let component = utf8_percent_encode(text, COMPONENT).to_string();
        let encoded = form::encode(text);
        let with_blank = form::encode_blank(text);
        let json = serde_json::to_string(text).unwrap_or_default();
        self.insert(lower_escapes(&component));
        self.insert(lower_escapes(&encoded));
        self.insert(lower_escapes(&with_blank));
        self.insert(component);
        self.insert(encoded);
        self.insert(with_blank);
        self.insert(json.trim_matches('"').to_owned());
        self.insert(text.replace('+', " "));
        self.insert(text.to_owned());
    }

    fn insert(&mut self, needle: String) {
        if needle.trim().len() < MIN_SECRET {
            return;
        }
        let needle = Secret::new(needle);
        let place = self.needles.partition_point(|other| other.expose().len() > needle.expose().len());
        let same_length =
            self.needles[place..].iter().take_while(|other| other.expose().len() == needle.expose().len());
        if same_length.into_iter().all(|other| *other != needle) {
            self.needles.insert(place, needle);
        }
    }

    /// Replaces every secret in `text` by `***`.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for needle in &self.needles {
            if masked.contains(needle.expose().as_str()) {
                masked = Cow::Owned(masked.replace(needle.expose().as_str(), "***"));
            }
        }
        masked
    }
}

/// Makes text from outside fit to be shown: one line of at most [`MAX_SHOWN`] characters without control
/// characters, in which every secret of `mask` is `***`.
pub fn clean(text: &str, mask: &Mask) -> String {
    let line = one_line(&mask.apply(text));
    // Once more: a control character may have stood within a secret.
    let masked = mask.apply(&line);
    match masked.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => masked.get(..end).unwrap_or_default().to_owned(),
        None => masked.into_owned(),
    }
}

/// Joins the lines of `text` by blanks and drops what a terminal or a reader would not show as it stands.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for piece in text.split(is_line_space).filter(|piece| !piece.is_empty()) {
        if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        line.extend(piece.chars().filter(|&c| !is_hidden(c)));
    }
    line.trim().to_owned()
}

/// Whether nothing in `text` would act on a terminal or be shown as something else.
pub fn is_plain(text: &str) -> bool {
    !text.contains(|c| is_line_space(c) || is_hidden(c))
}

fn is_line_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Control characters of both sets, and those that change the direction of what stands around them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The same percent-encoded text with its escapes in lower case.
fn lower_escapes(encoded: &str) -> String {
    let mut left = 0;
    encoded
        .chars()
        .map(|c| {
            left = if c == '%' { 3 } else { usize::saturating_sub(left, 1) };
            if left > 0 { c.to_ascii_lowercase() } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        let mut mask = Mask::default();
        for secret in secrets {
            mask.add(&Secret::from(*secret));
        }
        mask
    }

    #[test]
    fn text_from_outside_becomes_one_plain_line() {
        for (name, text, want) in [
            ("plain", "Bad Request", "Bad Request"),
            ("line breaks", "one\r\n\r\ntwo\tthree\u{2028}four\u{85}five", "one two three four five"),
            ("escape sequences", "\u{1b}[31mred\u{1b}[0m\u{7}", "[31mred[0m"),
            ("C1", "a\u{9b}31mb", "a31mb"),
            ("direction", "a\u{202e}b\u{2066}c\u{200f}d", "abcd"),
            ("nul and del", "a\0b\u{7f}c", "abc"),
            ("only controls", "\r\n\u{1b}", ""),
            ("blanks around", "  a  ", "a"),
            ("a blank before a line break", "a \nb", "a b"),
            ("other scripts", "\u{65e5}\u{672c} \u{e9}", "\u{65e5}\u{672c} \u{e9}"),
        ] {
            let got = clean(text, &Mask::default());
            assert_eq!(got, want, "{name}");
            assert!(is_plain(&got), "{name}");
        }
        for (name, text) in [("a line break", "a\nb"), ("an escape sequence", "\u{1b}[2J"), ("direction", "a\u{202e}b")]
        {
            assert!(!is_plain(text), "{name}");
        }
    }

    #[test]
    fn text_is_capped_in_characters() {
        assert_eq!(clean(&"\u{e9}".repeat(501), &Mask::default()), "\u{e9}".repeat(500));
        assert_eq!(clean(&"a".repeat(500), &Mask::default()), "a".repeat(500));
    }

    #[test]
    fn secrets_are_masked_in_every_spelling() {
        for (name, secrets, text, want) in [
            ("as it is", &["s3cret"][..], "token s3cret expired", "token *** expired"),
            ("twice", &["s3cret"], "s3crets3cret", "******"),
            ("form-encoded", &["a/b+c d="], "got a%2Fb%2Bc+d%3D", "got ***"),
            ("in lower case", &["a/b+c d="], "got a%2fb%2bc+d%3d", "got ***"),
            ("percent-encoded", &["a/b+c d~"], "got a%2Fb%2Bc%20d~", "got ***"),
            ("decoded once too often", &["ab+cd"], "got ab cd", "got ***"),
            ("as JSON", &["a\"b\\c"], r#"{"t":"a\"b\\c"}"#, r#"{"t":"***"}"#),
            ("divided by a control character", &["s3cret"], "s3\u{1b}cret", "***"),
            ("one begins the other", &["abc", "abcdef"], "abcdef abc", "*** ***"),
            ("the longer one first", &["abcdef", "abc"], "abcdef abc", "*** ***"),
            ("one within the other", &["cde", "abcdef"], "abcdef", "***"),
            ("capitals with escapes in lower case", &["A/B+C"], "got A%2fB%2bC", "got ***"),
            ("at the cap", &["s3cret"], "s3cret", "***"),
            ("empty and tiny ones spoil nothing", &["", "a"], "a banana", "a banana"),
        ] {
            assert_eq!(clean(text, &mask(secrets)), want, "{name}");
        }
    }

    #[test]
    fn a_secret_at_the_cap_is_not_shown_in_part() {
        let text = format!("{}s3cret", "a".repeat(497));
        assert_eq!(clean(&text, &mask(&["s3cret"])), format!("{}***", "a".repeat(497)));
    }
}
