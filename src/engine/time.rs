//! Time as the engine sees it: an argument, never asked for.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Suspend-aware monotonic time since an arbitrary start. Saturates, so no overflow case exists anywhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The time `since_start` after the arbitrary start.
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Time since the arbitrary start.
    pub fn since_start(self) -> Duration {
        self.0
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;
    fn add(self, by: Duration) -> Time {
        Time(self.0.saturating_add(by))
    }
}

impl std::ops::Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, by: Duration) -> Time {
        Time(self.0.saturating_sub(by))
    }
}

/// Wall-clock time: the time since 1970-01-01 00:00 UTC, never before it. Saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(Duration);

impl WallTime {
    /// The wall-clock time `since_epoch` after 1970-01-01 00:00 UTC.
    pub const fn new(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// The wall-clock time `seconds` after 1970-01-01 00:00 UTC.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole seconds since 1970-01-01 00:00 UTC.
    pub fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: WallTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for WallTime {
    type Output = WallTime;
    fn add(self, by: Duration) -> WallTime {
        WallTime(self.0.saturating_add(by))
    }
}

impl std::ops::Sub<Duration> for WallTime {
    type Output = WallTime;
    fn sub(self, by: Duration) -> WallTime {
        WallTime(self.0.saturating_sub(by))
    }
}

/// RFC 3339 in UTC with whole seconds: `2026-11-23T09:05:00Z`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.as_secs().min(LAST_SECOND);
        let (year, month, day) = civil_date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Reads what `Display` writes.
impl std::str::FromStr for WallTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let number = |from: usize, to: usize| -> Result<u64, NotATime> {
            let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).ok_or(NotATime)
        };
        let marks: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_digit()).collect();
        if text.len() != 20 || marks != b"--T::Z" {
            return Err(NotATime);
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(NotATime);
        }
        if hour > 23 || minute > 59 || second > 60 {
            return Err(NotATime);
        }
        Ok(Self::from_secs(days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second))
    }
}

/// A text that is no RFC 3339 time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time of the form 2026-11-23T09:05:00Z")
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// 9999-12-31 23:59:59 UTC, the last second that RFC 3339 can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// Days in an era of 400 years of the Gregorian calendar.
const ERA: u64 = 146_097;

/// Year, month and day of a day since 1970-01-01, by counting from 0000-03-01 so that leap days end a year.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let day_of_era = days % ERA;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (days / ERA * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The inverse of [`civil_date`], for years from 1970 on.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let year_of_era = year % 400;
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year / 400 * ERA + day_of_era - 719_468
}

/// Both clocks, read together once per turn of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// What deadlines are compared with.
    pub time: Time,
    /// What people and stored states are told.
    pub wall: WallTime,
}

impl Now {
    /// The wall-clock time at which `time` is, was or will be, as far as the clocks are known now.
    pub fn wall_at(self, time: Time) -> WallTime {
        if time >= self.time { self.wall + time.since(self.time) } else { self.wall - self.time.since(time) }
    }
}

/// The pause after `failures` earlier failures in a row: `first`, doubling up to `longest`.
///
/// Where `first` is longer than `longest`, it is `first`.
pub(super) fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let second = Duration::from_secs(1);
        assert_eq!(Time::default() - second, Time::default());
        assert_eq!(Time::new(Duration::MAX) + second, Time::new(Duration::MAX));
        assert_eq!(Time::default().since(Time::new(second)), Duration::ZERO);
        assert_eq!(WallTime::new(Duration::MAX) + second, WallTime::new(Duration::MAX));
    }

    #[test]
    fn wall_time_is_written_and_read_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_424_700, "2026-11-23T09:05:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (LAST_SECOND, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(WallTime::from_secs(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(WallTime::from_secs(seconds)), "{text}");
        }
        assert_eq!(WallTime::new(Duration::MAX).to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T09:05:00",
            "2026-13-23T09:05:00Z",
            "1969-12-31T23:59:59Z",
            "٢٠٢٦-11T",
            "2026-11-23T24:05:00Z",
            "2026-11-23T09:60:00Z",
            "2026-11-23T09:05:61Z",
            "2026-11-23 09:05:00Z",
        ] {
            assert_eq!(text.parse::<WallTime>(), Err(NotATime), "{text}");
        }
        assert!("2026-11-23T09:05:60Z".parse::<WallTime>().is_ok(), "a leap second");
        assert!(NotATime.to_string().contains("2026-11-23T09:05:00Z"), "an example of the form");
    }

    #[test]
    fn every_day_of_four_centuries_has_its_date() {
        let mut day = 0;
        for year in 1970..2402 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            for (month, days) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for date in 1..=days {
                    assert_eq!(civil_date(day), (year, month, date), "day {day}");
                    assert_eq!(days_since_epoch(year, month, date), day, "{year}-{month}-{date}");
                    day += 1;
                }
            }
        }
    }

    #[test]
    fn backoff_doubles_up_to_its_end() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        for (first, failures, want) in
            [(1, 0, 1), (1, 3, 8), (40, 2, 160), (40, 30, 300), (40, 99, 300), (3600, 5, 3600)]
        {
            assert_eq!(backoff(second * first, second * 300, failures), second * want, "{first} {failures}");
        }
        assert_eq!(backoff(hour, Duration::MAX, 99), hour.saturating_mul(u32::MAX));
    }

    #[test]
    fn wall_time_of_a_deadline_follows_the_clock() {
        let now = Now { time: Time::new(Duration::from_secs(100)), wall: WallTime::from_secs(1_000_000) };
        for (name, time, want) in [("ahead", 160, 1_000_060), ("now", 100, 1_000_000), ("before", 40, 999_940)] {
            assert_eq!(now.wall_at(Time::new(Duration::from_secs(time))), WallTime::from_secs(want), "{name}");
        }
    }
}
