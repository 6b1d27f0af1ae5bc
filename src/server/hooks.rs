//! The hooks' children: started by the shell, fed and read through the loop, and ended with their process groups.
//!
//! | phase | what happens | next phase |
//! | --- | --- | --- |
//! | `Running` | it exits, and its stdout is at its end or not kept | told |
//! | `Running` | it exits, but a background process still holds its stdout open | `Draining` |
//! | `Running` | its time is over, but the machine was suspended for a part of it, and so was the child | the same |
//! | `Running` | its time is up, it prints too much, or [`Effect::Kill`](crate::engine::Effect::Kill) | `Ending`: SIGTERM |
//! | `Draining` | end of its stdout, or a second later | told, with what came |
//! | `Ending` | two seconds later | `Killed`: SIGKILL |
//! | `Killed` | it is reaped | told |
//!
//! Signals go to the whole group. An `Ending` child is not reaped before SIGKILL is sent, so that its number, which is
//! the group's, stays its own. What a hook leaves in the background when it exits in time is left alone.

use std::{
    collections::VecDeque,
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::Duration,
};

use mio::{Interest, Registry};
use zeroize::Zeroize;

use super::{outbox::Outbox, postponed::Postponed, source::Source};
use crate::{
    engine::{ChildEnd, Event, Hook, Run, Ticket, Time},
    secret::Secret,
    sys::{
        log::{Level, Log},
        process::{self, Input, Output, Running, Signal, Spawn},
        sandbox::Inherited,
        save_mark::SaveMark,
    },
};

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Time after a child's exit in which what others still print to its stdout counts as its own.
const DRAIN: Duration = Duration::from_secs(1);

/// How late the end of a child's time can be noticed while the machine runs: a virtual one may have been paused without
/// any of its clocks stopping.
const LATENESS: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ_SIZE: usize = 16 * 1024;

/// The children that run.
pub(super) struct Hooks {
    children: Vec<Option<Child>>,
    inherited: Inherited,
    /// Where output goes that is not kept.
    output: Output,
    mark: SaveMark,
    postponed: Postponed,
    /// A clock that stops in suspend, as children do.
    awake: Awake,
}

type Awake = Box<dyn Fn() -> Duration>;

struct Child {
    ticket: Ticket,
    hook: Hook,
    running: Running,
    input: Outbox,
    /// What is kept of its stdout.
    captured: Vec<u8>,
    capture: usize,
    limit: Option<Duration>,
    /// When its limit began to count, by the clock that stops in suspend.
    began: Duration,
    phase: Phase,
}

enum Phase {
    Running { until: Option<Time> },
    Draining { status: ExitStatus, until: Time },
    Ending { kill_at: Time, end: ChildEnd },
    Killed { end: ChildEnd },
}

impl Hooks {
    /// No children yet. They get the limits of `inherited`, and print to `output` what is not kept; a save is marked
    /// by `mark`. Their limits count by `awake`, which stops in suspend.
    pub(super) fn new(inherited: Inherited, output: Output, mark: SaveMark, awake: Awake) -> Self {
        Self { children: Vec::new(), inherited, output, mark, postponed: Postponed::default(), awake }
    }

    /// Starts a hook, as soon as no earlier server's save is in its way. Where that fails, the end joins `events`.
    pub(super) fn run(
        &mut self,
        ticket: Ticket,
        run: Run,
        registry: &Registry,
        now: Time,
        log: &Log,
        events: &mut VecDeque<Event>,
    ) {
        if Postponed::must_wait(&run, &self.mark) {
            log.write(Level::Info, &format!("{}: waits for the persist_cmd of an earlier server", run.hook));
            return self.postponed.push(ticket, run, now);
        }
        let slot = self.children.iter().position(Option::is_none).unwrap_or(self.children.len());
        match self.start(slot, ticket, run, registry, now, log) {
            Ok(child) if slot < self.children.len() => self.children[slot] = Some(child),
            Ok(child) => self.children.push(Some(child)),
            Err(reason) => events.push_back(Event::Exited { ticket, end: ChildEnd::NotStarted(reason) }),
        }
    }

    fn start(
        &mut self,
        slot: usize,
        ticket: Ticket,
        run: Run,
        registry: &Registry,
        now: Time,
        log: &Log,
    ) -> Result<Child, String> {
        let environment: Vec<(&str, &str)> =
            run.env.iter().map(|(name, value)| (*name, value.expose().as_str())).collect();
        let spawn = Spawn {
            command: &run.command,
            environment: &environment,
            stdin: if run.stdin.is_some() { Input::Pipe } else { Input::Null },
            stdout: if run.capture > 0 { Output::Pipe } else { self.output },
            stderr: self.output,
        };
        let mut running = process::spawn(&spawn, self.inherited).map_err(|error| error.to_string())?;
        if let Err(error) = register(&mut running, slot, registry) {
            process::kill_group(running.child.id(), Signal::Kill);
            // It is gone with SIGKILL: the wait is as short as its end.
            let _ = running.child.wait();
            return Err(error.to_string());
        }
        log.write(Level::Debug, &format!("{}: started as process {}", run.hook, running.child.id()));
        if run.hook == Hook::Persist {
            // Before it gets anything: a server that is killed here leaves a command that has nothing to save.
            let marked = self.mark.set(running.child.id());
            marked.unwrap_or_else(|error| log.write(Level::Warn, &format!("a save could not be marked: {error}")));
        }
        let mut input = Outbox::default();
        if let Some(stdin) = &run.stdin {
            input.push(stdin.expose().as_bytes());
        }
        let phase = Phase::Running { until: run.limit.map(|limit| now + limit) };
        let Run { hook, capture, limit, .. } = run;
        let began = (self.awake)();
        let mut child = Child { ticket, hook, running, input, captured: Vec::new(), capture, limit, began, phase };
        child.feed();
        Ok(child)
    }

    /// Writes to the child in `slot` what it has room for.
    pub(super) fn feed(&mut self, slot: usize) {
        if let Some(Some(child)) = self.children.get_mut(slot) {
            child.feed();
        }
    }

    /// Reads what the child in `slot` printed.
    pub(super) fn read(&mut self, slot: usize, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        let Some(Some(child)) = self.children.get_mut(slot) else { return };
        child.read(now, log);
        self.settle(slot, events, log);
    }

    /// Finds out which children have ended, after SIGCHLD.
    pub(super) fn reap(&mut self, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        for slot in 0..self.children.len() {
            let Some(Some(child)) = self.children.get_mut(slot) else { continue };
            child.reap(now, log);
            self.settle(slot, events, log);
        }
    }

    /// Ends a hook's process group. The end of one that has not been started joins `events`.
    pub(super) fn kill(&mut self, ticket: Ticket, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        events.extend(self.postponed.kill(ticket));
        let child = self.children.iter_mut().flatten().find(|child| child.ticket == ticket);
        if let Some(child) = child.filter(|child| matches!(child.phase, Phase::Running { .. })) {
            log.write(Level::Debug, &format!("{}: not needed any more", child.hook));
            child.terminate(ChildEnd::Killed, now);
        }
    }

    /// The next deadline and what it is for.
    pub(super) fn deadline(&self) -> Option<(Time, &'static str)> {
        let children = self.children.iter().flatten().filter_map(Child::deadline).map(|at| (at, "a hook"));
        children.chain(self.postponed.deadline()).min()
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, registry: &Registry, now: Time, log: &Log, events: &mut VecDeque<Event>) {
        for (ticket, run) in self.postponed.take_due(&self.mark, now) {
            self.run(ticket, run, registry, now, log, events);
        }
        for slot in 0..self.children.len() {
            let Some(Some(child)) = self.children.get_mut(slot) else { continue };
            if child.deadline().is_some_and(|at| at <= now) {
                child.expire(now, (self.awake)(), log);
                self.settle(slot, events, log);
            }
        }
    }

    /// Asks every hook to end but `startup_cmd`, because this process will.
    pub(super) fn terminate_all(&mut self, now: Time) {
        self.postponed = Postponed::default();
        for child in self.doomed() {
            if matches!(child.phase, Phase::Running { .. }) {
                child.terminate(ChildEnd::Killed, now);
            }
        }
    }

    /// Whether every hook has ended but `startup_cmd`. From now on numbers may be used again.
    pub(super) fn have_ended(&mut self) -> bool {
        let ended = |child: &mut Child| child.running.child.try_wait().is_ok_and(|status| status.is_some());
        self.doomed().all(ended)
    }

    /// Ends what is left of every hook but `startup_cmd`.
    pub(super) fn kill_all(&mut self) {
        for child in self.doomed() {
            process::kill_group(child.running.child.id(), Signal::Kill);
        }
        self.mark.clear();
    }

    fn doomed(&mut self) -> impl Iterator<Item = &mut Child> {
        let others = |child: &&mut Child| match child.hook {
            Hook::Startup => false,
            Hook::AuthNotify
            | Hook::ErrorNotify
            | Hook::ClientSecret
            | Hook::TokenEvent
            | Hook::TransientErrorIf
            | Hook::Persist
            | Hook::Restore => true,
        };
        self.children.iter_mut().flatten().filter(others)
    }

    /// Tells the end of the child in `slot`, if it has come.
    fn settle(&mut self, slot: usize, events: &mut VecDeque<Event>, log: &Log) {
        let Some(place) = self.children.get_mut(slot) else { return };
        let Some(child) = place.take_if(|child| child.is_over()) else { return };
        let ticket = child.ticket;
        let hook = child.hook;
        if hook == Hook::Persist {
            self.mark.clear();
        }
        let end = child.into_end();
        if let ChildEnd::Exited { status, .. } = &end {
            log.write(Level::Debug, &format!("{hook}: ended with status {status}"));
        }
        events.push_back(Event::Exited { ticket, end });
    }
}

impl Child {
    fn feed(&mut self) {
        let Some(stdin) = &mut self.running.stdin else { return };
        // Who does not want to read need not: that alone is no failure.
        if self.input.flush(stdin).is_err() || self.input.is_empty() {
            self.running.stdin = None;
            self.input = Outbox::default();
        }
    }

    fn read(&mut self, now: Time, log: &Log) {
        let mut buffer = [0; READ_SIZE];
        while let Some(stdout) = &mut self.running.stdout {
            match stdout.read(&mut buffer) {
                Ok(0) => self.running.stdout = None,
                Ok(count) if self.captured.len() + count > self.capture => self.stop_reading(now, log),
                Ok(count) => self.captured.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.running.stdout = None,
            }
        }
        buffer.zeroize();
    }

    fn stop_reading(&mut self, now: Time, log: &Log) {
        self.running.stdout = None;
        log.write(Level::Warn, &format!("{}: printed more than {} bytes: ended", self.hook, self.capture));
        match self.phase {
            Phase::Running { .. } => self.terminate(ChildEnd::TooMuch, now),
            Phase::Draining { .. } => self.phase = Phase::Killed { end: ChildEnd::TooMuch },
            Phase::Ending { .. } | Phase::Killed { .. } => {}
        }
    }

    fn reap(&mut self, now: Time, log: &Log) {
        match self.phase {
            Phase::Running { .. } => {}
            Phase::Draining { .. } | Phase::Ending { .. } | Phase::Killed { .. } => return,
        }
        if let Ok(Some(status)) = self.running.child.try_wait() {
            self.running.stdin = None;
            self.phase = Phase::Draining { status, until: now + DRAIN };
            self.read(now, log);
        }
    }

    fn terminate(&mut self, end: ChildEnd, now: Time) {
        process::kill_group(self.running.child.id(), Signal::Terminate);
        self.phase = Phase::Ending { kill_at: now + GRACE, end };
    }

    fn expire(&mut self, now: Time, awake: Duration, log: &Log) {
        let old = std::mem::replace(&mut self.phase, Phase::Killed { end: ChildEnd::Killed });
        match old {
            Phase::Running { until } => match self.time_left(until, now, awake) {
                Some(left) => self.phase = Phase::Running { until: Some(now + left) },
                None => {
                    log.write(Level::Warn, &format!("{}: its time is up: its process group gets SIGTERM", self.hook));
                    self.terminate(ChildEnd::Killed, now);
                }
            },
            Phase::Draining { status, until } => {
                self.running.stdout = None;
                self.phase = Phase::Draining { status, until };
            }
            Phase::Ending { end, .. } => {
                // Most have ended long before and only wait to be reaped.
                process::kill_group(self.running.child.id(), Signal::Kill);
                self.phase = Phase::Killed { end };
            }
            Phase::Killed { end } => self.phase = Phase::Killed { end },
        }
    }

    /// What is left of its time at its deadline, because the machine stood still.
    fn time_left(&mut self, until: Option<Time>, now: Time, awake: Duration) -> Option<Duration> {
        let (limit, used) = (self.limit?, awake.saturating_sub(self.began));
        if used < limit {
            return Some(limit - used);
        }
        if now.since(until?) <= LATENESS {
            return None;
        }
        self.began = awake;
        Some(limit)
    }

    fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Running { until } => *until,
            Phase::Draining { until, .. } => Some(*until),
            Phase::Ending { kill_at, .. } => Some(*kill_at),
            Phase::Killed { .. } => None,
        }
    }

    fn is_over(&mut self) -> bool {
        match self.phase {
            Phase::Running { .. } | Phase::Ending { .. } => false,
            Phase::Draining { .. } => self.running.stdout.is_none(),
            Phase::Killed { .. } => self.running.child.try_wait().map_or(true, |status| status.is_some()),
        }
    }

    fn into_end(self) -> ChildEnd {
        match self.phase {
            Phase::Running { .. } => ChildEnd::Killed,
            Phase::Draining { status, .. } => {
                ChildEnd::Exited { status: status_of(status), stdout: Secret::new(self.captured) }
            }
            Phase::Ending { end, .. } | Phase::Killed { end } => end,
        }
    }
}

fn register(running: &mut Running, slot: usize, registry: &Registry) -> io::Result<()> {
    if let Some(stdin) = &mut running.stdin {
        registry.register(stdin, Source::ChildStdin(slot).token(), Interest::WRITABLE)?;
    }
    if let Some(stdout) = &mut running.stdout {
        registry.register(stdout, Source::ChildStdout(slot).token(), Interest::READABLE)?;
    }
    Ok(())
}

/// The status as a shell tells it: 128 and the signal's number where one ended the process.
fn status_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        os::unix::process::CommandExt,
        process::Command,
        rc::Rc,
        sync::atomic::{AtomicU32, Ordering},
    };

    use mio::{Events, Poll};

    use super::*;
    use crate::sys::sandbox;

    /// Hooks with a poll of their own, at a time that only the test moves.
    struct Room {
        poll: Poll,
        hooks: Hooks,
        log: Log,
        events: VecDeque<Event>,
        now: Time,
        awake: Rc<Cell<Duration>>,
    }

    impl Room {
        fn new() -> Room {
            let awake = Rc::new(Cell::new(Duration::ZERO));
            let clock = awake.clone();
            let mark = SaveMark::new(mark_of_its_own());
            Room {
                poll: Poll::new().unwrap(),
                hooks: Hooks::new(sandbox::harden(), Output::Null, mark, Box::new(move || clock.get())),
                awake,
                log: Log::to_stderr(Level::Error),
                events: VecDeque::new(),
                now: Time::default(),
            }
        }

        fn running(run: Run) -> Room {
            let mut room = Room::new();
            room.hooks.run(Ticket(1), run, room.poll.registry(), room.now, &room.log, &mut room.events);
            room
        }

        fn turn(&mut self) {
            let mut ready = Events::with_capacity(8);
            // SIGCHLD belongs to another test: children are looked after at short intervals instead.
            let _ = self.poll.poll(&mut ready, Some(Duration::from_millis(5)));
            for event in &ready {
                match Source::of(event.token()) {
                    Some(Source::ChildStdin(slot)) => self.hooks.feed(slot),
                    Some(Source::ChildStdout(slot)) => self.hooks.read(slot, self.now, &self.log, &mut self.events),
                    other => panic!("{other:?}"),
                }
            }
            self.hooks.reap(self.now, &self.log, &mut self.events);
            self.hooks.expire(self.poll.registry(), self.now, &self.log, &mut self.events);
        }

        /// Turns until the hook is over, and tells how.
        fn end(&mut self) -> ChildEnd {
            loop {
                if let Some(event) = self.events.pop_front() {
                    let Event::Exited { ticket: Ticket(1), end } = event else { panic!("{event:?}") };
                    assert_eq!(self.hooks.deadline(), None);
                    return end;
                }
                self.turn();
            }
        }

        fn turn_until(&mut self, holds: impl Fn(&Child) -> bool) {
            while !self.hooks.children.iter().flatten().any(&holds) {
                assert!(self.events.is_empty());
                self.turn();
            }
        }

        fn advance_to_deadline(&mut self) {
            let deadline = self.hooks.deadline().unwrap().0;
            self.advance(deadline.since(self.now));
        }

        /// Lets time pass while the machine runs.
        fn advance(&mut self, time: Duration) {
            self.now = self.now + time;
            self.awake.set(self.awake.get() + time);
        }
    }

    fn mark_of_its_own() -> std::path::PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("pizauth-save-{}-{count}", std::process::id()))
    }

    fn run(command: &str) -> Run {
        Run {
            hook: Hook::Persist,
            command: command.to_owned(),
            env: Vec::new(),
            stdin: None,
            capture: 1024,
            limit: Some(Duration::from_secs(60)),
        }
    }

    fn exited(status: i32, stdout: &str) -> ChildEnd {
        ChildEnd::Exited { status, stdout: Secret::new(stdout.as_bytes().to_vec()) }
    }

    #[test]
    fn a_hook_is_told_with_its_status_and_output() {
        let env = vec![("PIZAUTH_ACCOUNT", Secret::from("work"))];
        for (name, run, want) in [
            ("output", run("echo done"), exited(0, "done\n")),
            ("status", run("exit 3"), exited(3, "")),
            ("signal", run("kill -KILL $$"), exited(137, "")),
            ("environment", Run { env, ..run("echo $PIZAUTH_ACCOUNT") }, exited(0, "work\n")),
            ("input", Run { stdin: Some(Secret::from("state")), ..run("cat") }, exited(0, "state")),
            ("input not read", Run { stdin: Some(Secret::from("x".repeat(1 << 20))), ..run("exit 0") }, exited(0, "")),
            ("nothing kept", Run { capture: 0, ..run("echo lost") }, exited(0, "")),
        ] {
            assert_eq!(Room::running(run).end(), want, "{name}");
        }
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_out() {
        let state = "0123456789abcdef".repeat(2 * 1024 * 1024 / 16);
        let big = Run { stdin: Some(Secret::from(state.as_str())), capture: 4 * 1024 * 1024, ..run("cat") };
        assert_eq!(Room::running(big).end(), exited(0, &state));
    }

    #[test]
    fn who_prints_too_much_is_ended() {
        let mut room = Room::running(run("cat /dev/zero"));
        room.turn_until(|child| matches!(child.phase, Phase::Ending { .. }));
        room.advance_to_deadline();
        assert_eq!(room.end(), ChildEnd::TooMuch);
    }

    #[test]
    fn the_whole_group_is_ended_at_the_limit() {
        // The first process goes at once, the one in the background only by SIGKILL.
        let mut room = Room::running(run("(trap '' TERM; echo up; while :; do sleep 1; done) & wait"));
        room.turn_until(|child| child.captured == b"up\n");
        let first = room.hooks.deadline().unwrap().0;
        room.advance_to_deadline();
        room.turn();
        assert_eq!(room.hooks.deadline().unwrap().0, first + GRACE);
        room.advance_to_deadline();
        let mut stdout = room.hooks.children[0].as_mut().unwrap().running.stdout.take().unwrap();
        assert_eq!(room.end(), ChildEnd::Killed);
        // Its end of the pipe is closed once nobody of the group is left.
        stdout.set_nonblocking(false).unwrap();
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
    }

    #[test]
    fn a_hook_that_is_not_needed_any_more_is_ended() {
        let mut room = Room::running(Run { limit: None, ..run("sleep 600") });
        assert_eq!(room.hooks.deadline(), None);
        room.hooks.kill(Ticket(2), room.now, &room.log, &mut room.events);
        assert_eq!(room.hooks.deadline(), None);
        room.hooks.kill(Ticket(1), room.now, &room.log, &mut room.events);
        room.advance_to_deadline();
        assert_eq!(room.end(), ChildEnd::Killed);
    }

    #[test]
    fn a_hook_has_its_time_while_the_machine_is_awake() {
        const SECOND: Duration = Duration::from_secs(1);
        for (name, awake, asleep, left) in [
            ("an hour's sleep", 50, 3600, 10),
            ("a sleep that ends just after its time", 59, 5, 1),
            ("a short sleep", 10, 20, 50),
        ] {
            let mut room = Room::running(run("sleep 600"));
            room.advance(SECOND * awake);
            room.now = room.now + SECOND * asleep;
            room.turn();
            let slept = room.now;
            while room.hooks.children[0].as_ref().is_some_and(|child| matches!(child.phase, Phase::Running { .. })) {
                room.advance_to_deadline();
                room.turn();
            }
            assert_eq!(room.now, slept + SECOND * left, "{name}");
            room.advance_to_deadline();
            assert_eq!(room.end(), ChildEnd::Killed, "{name}");
        }
    }

    #[test]
    fn a_machine_that_was_paused_leaves_a_hook_its_time() {
        let mut room = Room::running(run("sleep 600"));
        room.advance(Duration::from_secs(3600));
        room.turn();
        assert_eq!(room.hooks.deadline().unwrap().0, room.now + Duration::from_secs(60), "the hook was paused too");
        room.advance_to_deadline();
        room.turn();
        assert!(matches!(room.hooks.children[0].as_ref().unwrap().phase, Phase::Ending { .. }));
        room.advance_to_deadline();
        assert_eq!(room.end(), ChildEnd::Killed);
    }

    #[test]
    fn a_save_waits_for_that_of_an_earlier_server() {
        for (name, is_needed) in [("until it ends", true), ("and is not needed any more", false)] {
            let mut earlier = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
            let mut room = Room::new();
            let path = mark_of_its_own();
            room.hooks.mark = SaveMark::new(path.clone());
            let mut mark = SaveMark::new(path);
            mark.set(earlier.id()).unwrap();
            room.hooks.run(Ticket(1), run("echo"), room.poll.registry(), room.now, &room.log, &mut room.events);
            for _ in 0..3 {
                room.advance_to_deadline();
                room.turn();
                assert!(room.hooks.children.is_empty() && room.events.is_empty(), "{name}");
            }
            if !is_needed {
                room.hooks.kill(Ticket(1), room.now, &room.log, &mut room.events);
                assert_eq!(room.end(), ChildEnd::Killed, "{name}");
            }
            earlier.kill().unwrap();
            earlier.wait().unwrap();
            if is_needed {
                room.advance_to_deadline();
                assert_eq!(room.end(), exited(0, "\n"), "{name}");
            }
            mark.clear();
        }
    }

    #[test]
    fn what_stays_in_the_background_holds_up_no_result() {
        let mut room = Room::running(run("sleep 600 & echo $!"));
        room.turn_until(|child| matches!(child.phase, Phase::Draining { .. }));
        room.advance_to_deadline();
        let ChildEnd::Exited { status: 0, stdout } = room.end() else { panic!() };
        let background: u32 = String::from_utf8(stdout.expose().clone()).unwrap().trim().parse().unwrap();
        let alive = std::process::Command::new("kill").args(["-0", &background.to_string()]).status().unwrap();
        assert!(alive.success());
        std::process::Command::new("kill").arg(background.to_string()).status().unwrap();
    }
}
