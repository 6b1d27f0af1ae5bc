//! Time as the engine sees it: an argument, never asked for.

use std::time::Duration;

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
    fn wall_time_of_a_deadline_follows_the_clock() {
        let now = Now { time: Time::new(Duration::from_secs(100)), wall: WallTime::from_secs(1_000_000) };
        for (name, time, want) in [("ahead", 160, 1_000_060), ("now", 100, 1_000_000), ("before", 40, 999_940)] {
            assert_eq!(now.wall_at(Time::new(Duration::from_secs(time))), WallTime::from_secs(want), "{name}");
        }
    }
}
