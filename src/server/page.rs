//! What a browser is shown: the head of the HTTP answer and the HTML, as bytes.
//!
//! A page comes whole, or as an opening part and an outcome that follows when the token endpoint has answered. There
//! is no script: the style sheet hides the first sentence once an outcome is there. Everything that came from outside
//! is escaped here and nowhere else, and no part of it reaches a header field.

use std::fmt::Write as _;

use crate::engine::Outcome;

/// What the page says first; scripts and users of old look for it.
pub(super) const PROCESSING: &str = "pizauth processing authentication: you can safely close this page.";

/// Shortest first part, in bytes: browsers hold back less.
const MIN_OPENING: usize = 1024;

/// The one style sheet; [`STYLE_HASH`] names it in the Content-Security-Policy.
const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1d2530;--soft:#5c6675;--ground:#f3f4f6;--card:#fff;--line:#d8dce2;\
--good:#1b7543;--bad:#b0261e}\
@media(prefers-color-scheme:dark){:root{--text:#e6e9ee;--soft:#a2abb8;--ground:#13161b;--card:#1c2027;\
--line:#323943;--good:#72d29c;--bad:#ff9d94}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.25rem;background:var(--ground);\
color:var(--text);font:1rem/1.6 system-ui,sans-serif}\
main{width:100%;max-width:36rem;padding:1.75rem 2rem;background:var(--card);border:1px solid var(--line);\
border-left:4px solid var(--soft);border-radius:6px;overflow-wrap:anywhere}\
main:has(.success){border-left-color:var(--good)}\
main:has(.failure){border-left-color:var(--bad)}\
main:has(section) .processing{display:none}\
h1{margin:0 0 .5rem;font-size:1.25rem;line-height:1.35}\
.success h1{color:var(--good)}\
.failure h1{color:var(--bad)}\
p{margin:0;white-space:pre-line;text-wrap:pretty}\
@media(max-width:30rem){body{place-items:start stretch}main{padding:1.25rem}}";

/// SHA-256 of [`STYLE`] in base64.
const STYLE_HASH: &str = "z6h5Qoiq+RUSseu7K3keJdemBgly2lgX3935Chg44pM=";

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// With the connection: more follows.
    Open,
    /// After so many bytes.
    Bytes(usize),
}

/// Whether an answer carries its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// It does.
    Sent,
    /// It does not, because the request was HEAD.
    Omitted,
}

/// The head of the answer and the first part of the page, to which [`outcome`] is added later.
pub(super) fn opening() -> Vec<u8> {
    let mut page = html_start();
    // Infallible: a String takes all that is written to it. Here and below.
    let _ = writeln!(page, "<p class=\"processing\">{PROCESSING}</p>");
    while page.len() < MIN_OPENING {
        page.push_str("<!-- browsers hold back a part that is too short -->\n");
    }
    let mut answer = head(200, Length::Open);
    answer.push_str(&page);
    answer.into_bytes()
}

/// The rest of a page that [`opening`] began.
pub(super) fn outcome(outcome: &Outcome) -> Vec<u8> {
    html_end(outcome).into_bytes()
}

/// A whole answer with a page of its own.
pub(super) fn whole(status: u16, outcome: &Outcome, body: Body) -> Vec<u8> {
    let page = html_start() + &html_end(outcome);
    let mut answer = head(status, Length::Bytes(page.len()));
    match body {
        Body::Sent => answer.push_str(&page),
        Body::Omitted => {}
    }
    answer.into_bytes()
}

fn head(status: u16, length: Length) -> String {
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Connection: close\r\n\
         Cache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'\r\n",
        reason_phrase(status)
    );
    if status == 405 {
        head.push_str("Allow: GET\r\n");
    }
    if let Length::Bytes(length) = length {
        let _ = write!(head, "Content-Length: {length}\r\n");
    }
    head.push_str("\r\n");
    head
}

/// The reason phrase of RFC 9110 s15 for the statuses that pages have.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        425 => "Too Early",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unnamed",
    }
}

/// The empty icon keeps browsers from asking for /favicon.ico.
fn html_start() -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>pizauth</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main aria-live=\"polite\">\n"
    )
}

fn html_end(outcome: &Outcome) -> String {
    let class = if outcome.success { "success" } else { "failure" };
    let (title, detail) = (escape(&outcome.title), escape(&outcome.detail));
    let detail = if detail.is_empty() { detail } else { format!("<p>{detail}</p>\n") };
    format!("<section class=\"{class}\">\n<h1>{title}</h1>\n{detail}</section>\n</main>\n</body>\n</html>\n")
}

/// `text` as HTML text or attribute value; control characters other than line ends are dropped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            control if control.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    fn outcome_of(title: &str, detail: &str) -> Outcome {
        Outcome { success: false, title: title.to_owned(), detail: detail.to_owned() }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_policy_names_the_style_sheet_by_its_hash() {
        let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
        assert_eq!(STYLE_HASH, BASE64_STANDARD.encode(digest));
    }

    #[test]
    fn the_opening_says_its_sentence_and_is_long_enough_to_be_shown() {
        let opening = text(opening());
        let (head, page) = opening.split_once("\r\n\r\n").unwrap();
        assert!(page.contains(PROCESSING));
        assert!(page.len() >= MIN_OPENING);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(!head.contains("Content-Length"));
    }

    #[test]
    fn every_answer_has_the_headers_that_keep_it_private() {
        for (name, answer) in [
            ("streamed", opening()),
            ("whole", whole(404, &outcome_of("Not found", ""), Body::Sent)),
            ("no body", whole(405, &outcome_of("Only GET", ""), Body::Omitted)),
        ] {
            let answer = text(answer);
            for field in [
                "Content-Type: text/html; charset=utf-8",
                "Connection: close",
                "Cache-Control: no-store",
                "Referrer-Policy: no-referrer",
                "X-Content-Type-Options: nosniff",
                "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ] {
                assert!(answer.contains(field), "{name}: {field}");
            }
        }
    }

    #[test]
    fn a_whole_page_has_its_length_and_a_refused_method_the_allowed_one() {
        let answer = text(whole(405, &outcome_of("Only GET", "No."), Body::Sent));
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}", page.len())));
        assert!(head.contains("\r\nAllow: GET\r\n"));
        assert!(text(whole(405, &outcome_of("Only GET", "No."), Body::Omitted)).ends_with("\r\n\r\n"));
    }

    #[test]
    fn what_came_from_outside_stays_text() {
        for (name, input, want) in [
            ("plain", "work: done", "work: done"),
            ("a tag", "<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("an attribute", "\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("control characters", "a\u{1b}[1m\0b\r\u{85}c", "a[1mbc"),
            ("lines", "one\ntwo", "one\ntwo"),
            ("other scripts", "Zürich 東京", "Zürich 東京"),
        ] {
            assert_eq!(escape(input), want, "{name}");
        }
        let page = text(outcome(&outcome_of("<b>", "</section><img src=x>")));
        assert!(page.contains("<h1>&lt;b&gt;</h1>\n<p>&lt;/section&gt;&lt;img src=x&gt;</p>"));
    }

    #[test]
    fn no_title_splits_the_answer() {
        let hostile = outcome_of("x\r\nSet-Cookie: a=b\r\n\r\n", "y\r\n\r\nHTTP/1.1 200 OK");
        let answer = text(whole(400, &hostile, Body::Sent));
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("Set-Cookie"));
        assert!(head.lines().skip(1).all(|line| line.contains(": ")));
    }

    #[test]
    fn opening_and_outcome_make_one_document() {
        let page = text(opening()) + &text(outcome(&Outcome { success: true, ..outcome_of("Done", "") }));
        for (tag, end) in [("<html", "</html>"), ("<body", "</body>"), ("<main", "</main>"), ("<section", "</section>")]
        {
            assert_eq!((page.matches(tag).count(), page.matches(end).count()), (1, 1), "{tag}");
        }
        assert!(page.contains("class=\"success\""));
    }
}
