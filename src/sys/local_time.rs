//! Dates for people, in local time.

use std::mem::MaybeUninit;

use crate::engine::WallTime;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The end of the year 9999, in seconds since 1970: RFC 2822 knows years of four digits.
const LAST_SECOND: u64 = 253_402_300_799;

/// The date of RFC 2822 s3.3 in local time, as in `Tue, 1 Jul 2003 10:52:37 +0200`.
///
/// Local time is UTC where the system cannot tell it; dates after the year 9999 are shown as its end.
pub fn rfc2822(time: WallTime) -> String {
    let seconds = time.as_secs().min(LAST_SECOND - 24 * 3600);
    local(seconds).unwrap_or_else(|| utc(seconds)).to_string()
}

/// The TIMESTAMP of RFC 3164 s4.1.2 in local time, as in `Jul  1 10:52:37`.
#[cfg(target_os = "linux")]
pub fn rfc3164(time: WallTime) -> String {
    let seconds = time.as_secs();
    local(seconds).unwrap_or_else(|| utc(seconds)).timestamp()
}

/// A moment as a calendar and a clock on the wall show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: i64,
    /// From 1.
    month: u8,
    /// From 1.
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    /// From 0, which is Sunday.
    weekday: u8,
    /// East of Greenwich, in seconds.
    offset: i64,
}

impl std::fmt::Display for Civil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let weekday = WEEKDAYS[usize::from(self.weekday) % 7];
        let month = MONTHS[(usize::from(self.month) + 11) % 12];
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs() / 60;
        write!(f, "{weekday}, {} {month} {:04} ", self.day, self.year)?;
        write!(f, "{:02}:{:02}:{:02} ", self.hour, self.minute, self.second)?;
        write!(f, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
    }
}

#[cfg(target_os = "linux")]
impl Civil {
    fn timestamp(&self) -> String {
        let month = MONTHS[(usize::from(self.month) + 11) % 12];
        format!("{month} {:2} {:02}:{:02}:{:02}", self.day, self.hour, self.minute, self.second)
    }
}

/// `seconds` since 1970 in the zone of TZ or /etc/localtime.
fn local(seconds: u64) -> Option<Civil> {
    let seconds = libc::time_t::try_from(seconds).ok()?;
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r reads the one and writes the other, and both live until it returns.
    if unsafe { libc::localtime_r(&seconds, parts.as_mut_ptr()) }.is_null() {
        return None;
    }
    // SAFETY: zeros are a valid tm, and localtime_r has filled it in.
    let parts = unsafe { parts.assume_init() };
    Some(Civil {
        year: i64::from(parts.tm_year) + 1900,
        month: u8::try_from(parts.tm_mon + 1).ok()?,
        day: u8::try_from(parts.tm_mday).ok()?,
        hour: u8::try_from(parts.tm_hour).ok()?,
        minute: u8::try_from(parts.tm_min).ok()?,
        second: u8::try_from(parts.tm_sec).ok()?,
        weekday: u8::try_from(parts.tm_wday).ok()?,
        offset: parts.tm_gmtoff,
    })
}

/// `seconds` since 1970 in UTC, by the proleptic Gregorian calendar.
fn utc(seconds: u64) -> Civil {
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Counted from 1 March 0000, leap days come last in each year of four, hundred and four hundred.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    // Each of these is in the range of its unit.
    Civil {
        year: year as i64,
        month: month as u8,
        day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
        hour: (clock / 3_600) as u8,
        minute: (clock / 60 % 60) as u8,
        second: (clock % 60) as u8,
        weekday: ((days + 4) % 7) as u8,
        offset: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_rfc_2822() {
        for (name, seconds, offset, want) in [
            ("the start", 0, 0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            ("leap day", 951_782_399, 0, "Mon, 28 Feb 2000 23:59:59 +0000"),
            ("leap day of a century", 951_782_400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"),
            ("no leap day in 2100", 4_107_542_400, 0, "Mon, 1 Mar 2100 00:00:00 +0000"),
            ("east", 1_057_049_557, 7_200, "Tue, 1 Jul 2003 08:52:37 +0200"),
            ("west, half an hour", 1_057_049_557, -12_600, "Tue, 1 Jul 2003 08:52:37 -0330"),
            ("the last", LAST_SECOND, 0, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ] {
            assert_eq!(Civil { offset, ..utc(seconds) }.to_string(), want, "{name}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn timestamps_are_those_of_rfc_3164() {
        for (name, seconds, want) in [
            ("a day of one digit", 1_057_049_557, "Jul  1 08:52:37"),
            ("a day of two", 951_782_399, "Feb 28 23:59:59"),
            ("the first minute", 951_782_400, "Feb 29 00:00:00"),
        ] {
            assert_eq!(utc(seconds).timestamp(), want, "{name}");
        }
    }

    #[test]
    fn local_time_is_utc_plus_its_offset() {
        for seconds in [0, 86_399, 951_782_400, 1_700_000_000, 4_107_542_400] {
            let civil = local(seconds).unwrap();
            let shifted = u64::try_from(i64::try_from(seconds).unwrap() + civil.offset);
            let Ok(shifted) = shifted else { continue };
            assert_eq!(Civil { offset: 0, ..civil }, utc(shifted), "{seconds}");
        }
    }

    #[test]
    fn a_date_beyond_all_calendars_is_shown() {
        assert!(rfc2822(WallTime::from_secs(u64::MAX)).contains(" 9999 "));
    }
}
