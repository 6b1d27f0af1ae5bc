//! How long a provider asks to wait.

use std::time::Duration;

use super::Reply;
use crate::engine::WallTime;

/// Longest pause that a `Retry-After` can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long the provider asks to wait (RFC 9110 s10.2.3), an hour at most.
pub(super) fn retry_after(reply: &Reply, now: WallTime) -> Option<Duration> {
    let text = reply.retry_after.as_deref()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    Some(http_date(text)?.since(now).min(MAX_RETRY_AFTER))
}

/// Reads the three forms of an HTTP date (RFC 9110 s5.6.7).
fn http_date(text: &str) -> Option<WallTime> {
    let words: Vec<&str> = text.split([' ', '-', ',']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words.as_slice() {
        [_, day, month, year, time, zone] if zone.eq_ignore_ascii_case("GMT") => (day, month, year, time),
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let century = if year.len() == 2 { "20" } else { "" };
    format!("{century}{year}-{month:02}-{day:0>2}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::testing::mutations;

    /// 2026-01-01 00:00 UTC.
    const NOW: WallTime = WallTime::from_secs(1_767_225_600);

    #[test]
    fn retry_after_is_read_and_capped() {
        for (name, text, want) in [
            ("seconds", "120", Some(120)),
            ("blanks", " 120 ", Some(120)),
            ("zero", "0", Some(0)),
            ("too long", "86400", Some(3600)),
            ("beyond all integers", "99999999999999999999999", Some(3600)),
            ("a date", "Thu, 01 Jan 2026 00:02:00 GMT", Some(120)),
            ("an obsolete date", "Thursday, 01-Jan-26 00:02:00 GMT", Some(120)),
            ("an asctime date", "Thu Jan  1 00:02:00 2026", Some(120)),
            ("a date long ahead", "Thu, 01 Jan 2099 00:00:00 GMT", Some(3600)),
            ("a date in the past", "Wed, 31 Dec 2025 23:59:00 GMT", Some(0)),
            ("negative", "-5", None),
            ("a fraction", "1.5", None),
            ("empty", "", None),
            ("no date", "Thu, 41 Foo 2026 00:02:00 GMT", None),
            ("another zone", "Thu, 01 Jan 2026 00:02:00 CET", None),
        ] {
            let reply = Reply { retry_after: Some(text.to_owned()), ..Reply::default() };
            assert_eq!(retry_after(&reply, NOW), want.map(Duration::from_secs), "{name}");
        }
    }

    #[test]
    fn no_header_field_makes_the_reader_panic() {
        mutations(&["120", "Thu, 01 Jan 2026 00:02:00 GMT", "Thu Jan  1 00:02:00 2026"], |bytes| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let _ = retry_after(&Reply { retry_after: Some(text), ..Reply::default() }, NOW);
        });
    }
}
