//! The one place for `application/x-www-form-urlencoded`: bodies, queries and redirects.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::secret::Secret;

/// All that the URL standard's form serializer escapes; the blank, which becomes `+`, is among it.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// Form fields in the order in which they were added, encoded.
#[derive(Default)]
pub struct Form(String);

impl Form {
    /// A form without fields.
    pub fn new() -> Form {
        Form::default()
    }

    /// Adds a field.
    pub fn field(mut self, name: &str, value: &str) -> Form {
        // Room for the worst case at once, so that no half-written copy of a secret is left behind by growing.
        self.0.reserve(3 * (name.len() + value.len()) + 2);
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode_into(&mut self.0, name);
        self.0.push('=');
        encode_into(&mut self.0, value);
        self
    }

    /// The encoded fields.
    pub fn into_secret(self) -> Secret {
        Secret::new(self.0)
    }

    /// The encoded fields, to be shown.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Encodes one name or value.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(3 * text.len());
    encode_into(&mut encoded, text);
    encoded
}

/// Encodes one value with `%20` for a blank, which every reader of forms takes for one. Some servers (Authlib's) do not
/// take `+` for one in the credentials of RFC 6749 s2.3.1.
pub fn encode_blank(text: &str) -> String {
    let mut encoded = String::with_capacity(3 * text.len());
    encoded.extend(utf8_percent_encode(text, ESCAPED));
    encoded
}

fn encode_into(out: &mut String, text: &str) {
    for piece in utf8_percent_encode(text, ESCAPED) {
        out.push_str(if piece == "%20" { "+" } else { piece });
    }
}

/// Decodes the fields of a form, those without a name or `=` included. Never fails: what is no escape stands for
/// itself, and what is no UTF-8 is replaced.
pub fn parse(text: &str) -> impl Iterator<Item = (String, Secret)> + '_ {
    text.split('&').filter(|field| !field.is_empty()).map(|field| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        (decode(name), Secret::new(decode(value)))
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_the_url_standard_says() {
        for (name, value, want) in [
            ("unreserved", "aZ09*-._", "aZ09*-._"),
            ("blank and plus", "a b+c", "a+b%2Bc"),
            ("tilde", "~", "%7E"),
            ("a literal escape", "%20", "%2520"),
            ("delimiters", "&=?#/:", "%26%3D%3F%23%2F%3A"),
            ("not ASCII", "\u{e9}", "%C3%A9"),
            ("controls", "\r\n\0", "%0D%0A%00"),
        ] {
            assert_eq!(encode(value), want, "{name}");
            let form = Form::new().field("k", value).into_text();
            let back: Vec<_> = parse(&form).map(|(name, value)| (name, value.expose().clone())).collect();
            assert_eq!(back, [("k".to_owned(), value.to_owned())], "{name}");
        }
    }

    #[test]
    fn fields_are_decoded_whatever_comes() {
        for (name, text, want) in [
            ("empty", "", vec![]),
            ("empty fields", "&&a=1&", vec![("a", "1")]),
            ("no value", "a&b=", vec![("a", ""), ("b", "")]),
            ("further =", "a=b=c", vec![("a", "b=c")]),
            ("cut escapes", "a=%&b=%4&c=%zz", vec![("a", "%"), ("b", "%4"), ("c", "%zz")]),
            ("no UTF-8", "a=%ff", vec![("a", "\u{fffd}")]),
            ("encoded name", "a%2Bb+c=1", vec![("a+b c", "1")]),
        ] {
            let got: Vec<_> = parse(text).map(|(name, value)| (name, value.expose().clone())).collect();
            let want: Vec<_> = want.into_iter().map(|(a, b): (&str, &str)| (a.to_owned(), b.to_owned())).collect();
            assert_eq!(got, want, "{name}");
        }
    }
}
