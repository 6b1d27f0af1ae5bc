//! The fields of an answer, whether it came as a JSON object or as a form. Whatever cannot be read is not there.

use std::{collections::BTreeMap, time::Duration};

use serde_json::value::RawValue;

use super::{Reply, form};
use crate::secret::Secret;

/// Longest time that an answer can name: a hundred years, far from any overflow and from the year 10000.
const MAX_SECONDS: u64 = 100 * 365 * 86_400;

/// An answer's fields. A field that is `null` is not there; of a repeated one the last counts.
#[derive(Debug)]
pub struct Fields(BTreeMap<String, Value>);

#[derive(Debug)]
enum Value {
    Text(Secret),
    /// Any other JSON value, as it came.
    Json(Secret),
}

impl Fields {
    /// Reads a JSON object, with or without a byte order mark.
    pub fn from_json(body: &[u8]) -> Option<Fields> {
        let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
        // The values are read one by one, so that one that cannot be read (nesting, a number beyond all numbers)
        // costs no other.
        let raw: BTreeMap<String, &RawValue> = serde_json::from_str(&text).ok()?;
        let values = raw.into_iter().filter(|(_, raw)| raw.get() != "null").map(|(name, raw)| {
            let value = match serde_json::from_str::<Secret>(raw.get()) {
                Ok(text) => Value::Text(text),
                Err(_) => Value::Json(Secret::from(raw.get())),
            };
            (name, value)
        });
        Some(Fields(values.collect()))
    }

    /// Reads JSON, else a form where the answer says that it is one, or looks like nothing else.
    pub fn from_reply(reply: &Reply) -> Option<Fields> {
        let body = reply.body.expose();
        if let Some(fields) = Fields::from_json(body) {
            return Some(fields);
        }
        let content_type = reply.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
        let text = std::str::from_utf8(body).ok()?.trim();
        let form_like =
            text.contains('=') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"{}".contains(&byte));
        let declared = content_type.starts_with("application/x-www-form-urlencoded");
        if !declared && (!form_like || content_type.contains("html")) {
            return None;
        }
        Some(Fields(form::parse(text).map(|(name, value)| (name, Value::Text(value))).collect()))
    }

    /// A text that is not empty.
    pub fn text(&self, name: &str) -> Option<&Secret> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Json(_) => None,
        }
    }

    /// Any value that says something, to be told: a text as it is, all else as compact JSON.
    pub fn told(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text.expose().trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Json(raw) => {
                let compact = serde_json::from_str::<serde_json::Value>(raw.expose()).map(|value| value.to_string());
                let text = compact.unwrap_or_else(|_| raw.expose().clone());
                Some(text).filter(|text| !matches!(text.as_str(), "false" | "0" | "{}" | "[]"))
            }
        }
    }

    /// A list of texts, or a single one.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        match self.0.get(name)? {
            Value::Text(text) => Some(vec![text.expose().clone()]),
            Value::Json(raw) => serde_json::from_str(raw.expose()).ok(),
        }
    }

    /// Whether the value is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Json(raw)) => raw.expose() == "true",
            Some(Value::Text(_)) | None => false,
        }
    }

    /// A time in seconds, as a number or a text, rounded down and at most a hundred years; none where it is not
    /// positive.
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        let (Value::Text(number) | Value::Json(number)) = self.0.get(name)?;
        let number = number.expose().trim();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
            return None;
        }
        // Saturates: beyond all integers is MAX_SECONDS, below zero is zero.
        let seconds = (number.parse::<f64>().ok()? as u64).min(MAX_SECONDS);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::testing::reply;

    #[test]
    fn a_form_is_told_from_a_page() {
        for (name, content_type, body, want) in [
            ("declared", "application/x-www-form-urlencoded; charset=utf-8", "access_token=at&scope=a b", true),
            ("not declared", "text/plain", "access_token=at", true),
            ("declared as a page", "text/html", "access_token=at", false),
            ("not a form", "text/plain", "please log in: access_token=at", false),
            ("something else", "text/plain", "access_token=at&x={y}", false),
        ] {
            let reply = Reply { content_type: Some(content_type.to_owned()), ..reply(200, body) };
            let read = Fields::from_reply(&reply).is_some_and(|fields| fields.text("access_token").is_some());
            assert_eq!(read, want, "{name}");
        }
        assert!(Fields::from_reply(&Reply { content_type: None, ..reply(200, "forbidden") }).is_none(), "a word");
    }

    #[test]
    fn words_are_no_numbers() {
        for (name, value, want) in [("digits", "60", Some(60)), ("infinity", "inf", None), ("no number", "nan", None)] {
            let fields = Fields::from_json(format!(r#"{{"x":"{value}"}}"#).as_bytes()).unwrap();
            assert_eq!(fields.seconds("x"), want.map(Duration::from_secs), "{name}");
        }
    }
}
