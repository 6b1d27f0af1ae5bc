//! The clocks, and the alarm that wakes the loop at a deadline.
//!
//! Deadlines are kept in time that counts suspend. Where the system has no such clock, a step of the wall clock
//! stands in for it; where it has no timer on such a clock, waits are short while a deadline is pending.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(target_os = "linux")]
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, event};

use crate::engine::{Now, Time, WallTime};

/// The monotonic clock that [`Clock`] reads, and whether it counts suspend.
#[cfg(target_os = "linux")]
const MONOTONIC: (libc::clockid_t, Suspend) = (libc::CLOCK_BOOTTIME, Suspend::Counted);
#[cfg(target_os = "openbsd")]
const MONOTONIC: (libc::clockid_t, Suspend) = (libc::CLOCK_MONOTONIC, Suspend::Counted);
#[cfg(target_vendor = "apple")]
const MONOTONIC: (libc::clockid_t, Suspend) = (libc::CLOCK_MONOTONIC_RAW, Suspend::Counted);
// FreeBSD's CLOCK_BOOTTIME is another name for CLOCK_UPTIME.
#[cfg(not(any(target_os = "linux", target_os = "openbsd", target_vendor = "apple")))]
const MONOTONIC: (libc::clockid_t, Suspend) = (libc::CLOCK_MONOTONIC, Suspend::NotCounted);

/// The monotonic clock that stops in suspend.
#[cfg(target_os = "openbsd")]
const AWAKE: libc::clockid_t = libc::CLOCK_UPTIME;
#[cfg(target_vendor = "apple")]
const AWAKE: libc::clockid_t = libc::CLOCK_UPTIME_RAW;
#[cfg(not(any(target_os = "openbsd", target_vendor = "apple")))]
const AWAKE: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// How far the wall clock may run ahead of the monotonic one between two readings before it counts as suspend:
/// more than a daemon that corrects the clock does in one step.
const SUSPECT_STEP: Duration = Duration::from_secs(10);

/// Longest wait while a deadline is pending where waiting stops in suspend.
const LONGEST_NAP: Duration = Duration::from_secs(60);

/// Reads both clocks.
pub struct Clock {
    elapsed: Elapsed,
}

impl Clock {
    /// A clock that starts at the system's own arbitrary start.
    pub fn new() -> Self {
        Self { elapsed: Elapsed::new(MONOTONIC.1) }
    }

    /// Both clocks now. Monotonic time never runs backwards; a wall clock before 1970 reads as 1970.
    pub fn now(&mut self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { time: Time::new(self.elapsed.advance(read(MONOTONIC.0), wall)), wall: WallTime::new(wall) }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Time that stops in suspend, as every process does.
pub fn awake() -> Duration {
    read(AWAKE)
}

/// The time of one of the system's clocks; zero where the system has no such clock.
pub(super) fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to, and lives until the call returns.
    if unsafe { libc::clock_gettime(clock, &mut time) } == -1 {
        return Duration::ZERO;
    }
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Wakes the loop at a deadline, also when the machine was suspended meanwhile.
///
/// On Linux it is a timer in the poll, so that nothing wakes an idle daemon; elsewhere it is never ready, and
/// [`Alarm::poll_timeout`] keeps the waits short.
pub struct Alarm {
    #[cfg(target_os = "linux")]
    timer: OwnedFd,
    #[cfg(target_os = "linux")]
    armed: Option<Time>,
}

impl Alarm {
    /// An alarm that is not set.
    #[cfg(target_os = "linux")]
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let timer = unsafe { libc::timerfd_create(MONOTONIC.0, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        let timer = super::check(timer)?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self { timer: unsafe { OwnedFd::from_raw_fd(timer) }, armed: None })
    }

    /// An alarm that is not set.
    #[cfg(not(target_os = "linux"))]
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Sets the alarm to `deadline` and says how long the poll may wait, `None` being until something is ready.
    #[cfg(target_os = "linux")]
    pub fn poll_timeout(&mut self, now: Time, deadline: Option<Time>) -> Option<Duration> {
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Duration::ZERO);
        }
        if self.armed != deadline {
            if self.arm(deadline).is_err() {
                return nap(now, deadline);
            }
            self.armed = deadline;
        }
        None
    }

    /// Sets the alarm to `deadline` and says how long the poll may wait, `None` being until something is ready.
    #[cfg(not(target_os = "linux"))]
    pub fn poll_timeout(&mut self, now: Time, deadline: Option<Time>) -> Option<Duration> {
        nap(now, deadline)
    }

    /// Takes note that the alarm went off; must be called when the poll reports it.
    #[cfg(target_os = "linux")]
    pub fn drain(&mut self) {
        let mut count = [0; 8];
        // SAFETY: the buffer is valid for the length given with it.
        unsafe { libc::read(self.timer.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        self.armed = None;
    }

    /// Takes note that the alarm went off; must be called when the poll reports it.
    #[cfg(not(target_os = "linux"))]
    pub fn drain(&mut self) {}

    #[cfg(target_os = "linux")]
    fn arm(&self, deadline: Option<Time>) -> io::Result<()> {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let at = deadline.map_or(never, |deadline| {
            let since_start = deadline.since_start();
            libc::timespec {
                tv_sec: since_start.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: since_start.subsec_nanos().into(),
            }
        });
        let setting = libc::itimerspec { it_interval: never, it_value: at };
        let timer = self.timer.as_raw_fd();
        // SAFETY: `setting` is a valid itimerspec; the old setting is not asked for.
        let result = unsafe { libc::timerfd_settime(timer, libc::TFD_TIMER_ABSTIME, &setting, std::ptr::null_mut()) };
        super::check(result).map(drop)
    }
}

#[cfg(target_os = "linux")]
impl event::Source for Alarm {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.timer.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.timer.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.timer.as_raw_fd()).deregister(registry)
    }
}

#[cfg(not(target_os = "linux"))]
impl event::Source for Alarm {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

/// How long to wait for `deadline` where waiting stops in suspend.
fn nap(now: Time, deadline: Option<Time>) -> Option<Duration> {
    deadline.map(|deadline| deadline.since(now).min(LONGEST_NAP))
}

/// Whether a monotonic clock goes on while the machine is suspended.
// Each system names one of the two; the arithmetic is tested for both.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspend {
    Counted,
    NotCounted,
}

/// Makes time that counts suspend out of readings of a clock that may not.
#[derive(Debug)]
struct Elapsed {
    suspend: Suspend,
    /// The monotonic and the wall clock at the last reading.
    last: Option<(Duration, Duration)>,
    /// All the suspends seen so far.
    suspended: Duration,
    latest: Duration,
}

impl Elapsed {
    fn new(suspend: Suspend) -> Self {
        Self { suspend, last: None, suspended: Duration::ZERO, latest: Duration::ZERO }
    }

    /// Takes a reading of both clocks and tells the time passed, which never decreases.
    fn advance(&mut self, monotonic: Duration, wall: Duration) -> Duration {
        if let (Suspend::NotCounted, Some((last_monotonic, last_wall))) = (self.suspend, self.last) {
            let awake = monotonic.saturating_sub(last_monotonic);
            let ahead = wall.saturating_sub(last_wall).saturating_sub(awake);
            if ahead > SUSPECT_STEP {
                self.suspended = self.suspended.saturating_add(ahead);
            }
        }
        self.last = Some((monotonic, wall));
        self.latest = self.latest.max(monotonic.saturating_add(self.suspended));
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn suspend_is_time_that_passed_on_every_system() {
        use Suspend::{Counted, NotCounted};
        // Each reading is the monotonic clock, the wall clock, and the time that must come of them, in seconds.
        for (name, suspend, readings) in [
            ("counted: the clock itself", Counted, [(100, 5_000, 100), (3_700, 8_600, 3_700), (3_701, 8_601, 3_701)]),
            ("counted: a wall step is nothing", Counted, [(100, 5_000, 100), (101, 9_000, 101), (102, 10, 102)]),
            ("an hour asleep", NotCounted, [(100, 5_000, 100), (110, 8_610, 3_710), (111, 8_611, 3_711)]),
            ("asleep twice", NotCounted, [(100, 5_000, 100), (101, 5_101, 201), (102, 5_202, 302)]),
            ("a small correction is none", NotCounted, [(100, 5_000, 100), (101, 5_011, 101), (102, 5_022, 102)]),
            ("just beyond it is", NotCounted, [(100, 5_000, 100), (101, 5_012, 112), (102, 5_013, 113)]),
            ("a step back is nothing", NotCounted, [(100, 5_000, 100), (101, 1_000, 101), (102, 1_001, 102)]),
            ("never backwards", NotCounted, [(100, 5_000, 100), (90, 5_001, 100), (101, 5_012, 101)]),
        ] {
            let mut elapsed = Elapsed::new(suspend);
            for (monotonic, wall, want) in readings {
                assert_eq!(elapsed.advance(seconds(monotonic), seconds(wall)), seconds(want), "{name} at {monotonic}");
            }
        }
        let mut elapsed = Elapsed::new(NotCounted);
        elapsed.advance(seconds(1), seconds(0));
        assert_eq!(elapsed.advance(Duration::MAX, Duration::MAX), Duration::MAX);
        assert_eq!(elapsed.advance(Duration::MAX, Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_wait_that_stops_in_suspend_is_short() {
        let now = Time::new(seconds(1_000));
        for (name, deadline, want) in [
            ("nothing pending", None, None),
            ("near", Some(1_010), Some(10)),
            ("far", Some(9_000), Some(60)),
            ("passed", Some(900), Some(0)),
        ] {
            let deadline = deadline.map(|at| Time::new(seconds(at)));
            assert_eq!(nap(now, deadline), want.map(seconds), "{name}");
        }
    }

    #[test]
    fn both_clocks_go_forward() {
        let mut clock = Clock::new();
        let first = clock.now();
        let second = clock.now();
        assert!(second.time >= first.time);
        assert!(first.time > Time::default());
        assert!(first.wall > WallTime::from_secs(1_700_000_000));
        let first = awake();
        assert!(first > Duration::ZERO && awake() >= first);
    }

    #[test]
    fn the_alarm_wakes_the_poll_at_its_deadline() {
        let (mut clock, mut alarm) = (Clock::new(), Alarm::new().unwrap());
        let mut poll = Poll::new().unwrap();
        poll.registry().register(&mut alarm, Token(0), Interest::READABLE).unwrap();
        assert_eq!(alarm.poll_timeout(clock.now().time, None), None);

        let mut events = Events::with_capacity(4);
        for _ in 0..2 {
            let deadline = clock.now().time + Duration::from_millis(2);
            loop {
                let now = clock.now().time;
                if now >= deadline {
                    break;
                }
                let timeout = alarm.poll_timeout(now, Some(deadline));
                poll.poll(&mut events, timeout).unwrap();
                if !events.is_empty() {
                    alarm.drain();
                }
            }
            assert_eq!(alarm.poll_timeout(clock.now().time, Some(deadline)), Some(Duration::ZERO));
        }
    }

    #[test]
    fn an_alarm_at_the_end_of_time_does_no_harm() {
        let mut alarm = Alarm::new().unwrap();
        let timeout = alarm.poll_timeout(Time::default(), Some(Time::new(Duration::MAX)));
        assert!(timeout.is_none_or(|timeout| timeout == LONGEST_NAP));
    }
}
