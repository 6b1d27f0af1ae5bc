//! Token state that survives a restart: `dump`, `restore`, `restore_cmd` and `persist_cmd`, as two machines.
//!
//! [`Load`]: what is in the store must be read before anything may be written over it.
//!
//! | state | event | next state and what follows |
//! | --- | --- | --- |
//! | `Off` | start, with a `restore_cmd` | `Restoring`: run it |
//! | `Restoring` | exit 0, readable or empty | `Done`: take over what improves |
//! | `Restoring` | anything else | `Sealed`: report |
//! | `Sealed` | `show`, 10 s after the last try; or a `show` waits | `Restoring` |
//! | `Restoring`, `Sealed` | `pizauth restore` with a readable or empty input | `Done` |
//! | any | reload | unchanged: a command that is taken away is `Off` |
//!
//! [`Save`]: one run of `persist_cmd` at a time, changes meanwhile folded into one more.
//!
//! | state | event | next state and what follows |
//! | --- | --- | --- |
//! | `Off` | reload adds a `persist_cmd` | `Dirty` |
//! | `Clean` | tokens change | `Dirty` |
//! | `Dirty` | its time comes, and the store has been read | `Saving`: run it |
//! | `Saving` | exit 0 | `Clean`, or `Dirty` where tokens changed meanwhile |
//! | `Saving` | anything else | `Dirty` after 1 s, doubling to 5 min |

use std::{collections::BTreeSet, time::Duration};

use super::{
    Engine,
    account::{Account, Browser, Issued, Renewal},
    clause::{Clause, failure_of},
    event::{ChildEnd, ConnId, Hook, Level, Run, Ticket},
    hooks::RunOwner,
    message::Message,
    time::{Now, Time},
};
use crate::{
    oauth::dump::{self, DumpFault, SavedToken},
    proto::{PersistenceState, PersistenceStatus, Reason, Response},
    secret::Secret,
};

/// How long `persist_cmd` and `restore_cmd` may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Shortest time between two tries to read a sealed store.
const RETRY_SEALED: Duration = Duration::from_secs(10);

/// First and longest pause after a failed save.
const RETRY_SAVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Largest token state that is read from `restore_cmd`, in bytes.
const MAX_STATE: usize = crate::proto::MAX_RESTORE;

/// Reading the store.
#[derive(Debug)]
pub(super) enum Load {
    /// There is no store to read.
    Off,
    /// `restore_cmd` runs.
    Restoring {
        ticket: Ticket,
        /// Accounts whose saved tokens must not come back.
        tombstones: BTreeSet<String>,
    },
    /// `restore_cmd` failed.
    Sealed {
        /// When it may be tried again.
        retry_at: Time,
        /// Accounts whose saved tokens must not come back.
        tombstones: BTreeSet<String>,
    },
    /// What was in the store is known.
    Done,
}

impl Load {
    /// Whether the store has still to be read.
    pub(super) fn keeps_waiting(&self) -> bool {
        match self {
            Load::Restoring { .. } | Load::Sealed { .. } => true,
            Load::Off | Load::Done => false,
        }
    }

    /// Keeps an account's saved tokens from coming back.
    pub(super) fn bury(&mut self, account: &str) {
        match self {
            Load::Restoring { tombstones, .. } | Load::Sealed { tombstones, .. } => {
                tombstones.insert(account.to_owned());
            }
            Load::Off | Load::Done => {}
        }
    }
}

/// Writing the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Save {
    /// There is no store to write.
    Off,
    /// Nothing is unsaved.
    Clean,
    /// Something is unsaved; the next save is due then.
    Dirty {
        /// When.
        at: Time,
    },
    /// `persist_cmd` runs.
    Saving {
        /// Its run.
        ticket: Ticket,
        /// The last change in what it was given.
        upto: u64,
    },
}

impl Engine {
    /// Reads the store at start.
    pub(super) fn start_restore(&mut self) {
        if self.config.restore_cmd.is_some() {
            self.run_restore(BTreeSet::new());
        }
    }

    /// Tries to read a sealed store again, where it is time.
    pub(super) fn retry_restore(&mut self, now: Now) {
        let Load::Sealed { retry_at, tombstones } = &mut self.load else { return };
        if *retry_at <= now.time {
            let tombstones = std::mem::take(tombstones);
            self.run_restore(tombstones);
        }
    }

    /// When a sealed store is tried again by itself: while somebody waits for it.
    pub(super) fn restore_deadline(&self) -> Option<(Time, &'static str)> {
        let Load::Sealed { retry_at, .. } = self.load else { return None };
        let awaited = self.accounts.iter().any(|account| !account.waiters.is_empty());
        awaited.then_some((retry_at, "restore_cmd"))
    }

    /// When the next save is due: one run at a time, even where a reload took the command away and gave it back.
    pub(super) fn save_deadline(&self) -> Option<(Time, &'static str)> {
        match self.save {
            Save::Dirty { at } if !self.load.keeps_waiting() && !self.runs(RunOwner::Persist) => {
                Some((at, "persist_cmd"))
            }
            Save::Off | Save::Clean | Save::Dirty { .. } | Save::Saving { .. } => None,
        }
    }

    /// Remembers that an account's tokens are not what was saved.
    pub(super) fn mark_changed(&mut self, index: usize, now: Now) {
        self.changes += 1;
        self.accounts[index].change = self.changes;
        self.plan_save(now);
    }

    /// Remembers that there is something to save.
    pub(super) fn plan_save(&mut self, now: Now) {
        match self.save {
            Save::Clean => self.enter_save(Save::Dirty { at: now.time }),
            Save::Off | Save::Dirty { .. } | Save::Saving { .. } => {}
        }
    }

    /// Whether something is unsaved that should be saved.
    pub(super) fn is_unsaved(&self) -> bool {
        match self.save {
            Save::Off | Save::Clean => false,
            Save::Dirty { .. } | Save::Saving { .. } => true,
        }
    }

    /// Runs `persist_cmd` where it is time.
    pub(super) fn start_save(&mut self, now: Now) {
        let due = self.save_deadline().is_some_and(|(at, _)| at <= now.time);
        let Some(command) = self.config.persist_cmd.clone().filter(|_| due) else { return };
        let run = Run {
            hook: Hook::Persist,
            command,
            env: Vec::new(),
            stdin: Some(self.write_dump(now)),
            capture: 0,
            limit: Some(LIMIT),
        };
        let ticket = self.run(RunOwner::Persist, run);
        self.enter_save(Save::Saving { ticket, upto: self.changes });
    }

    pub(super) fn on_persist_end(&mut self, ticket: Ticket, end: &ChildEnd, now: Now) {
        let Save::Saving { ticket: current, upto } = self.save else { return };
        if current != ticket {
            return;
        }
        let Some(fault) = failure_of(Hook::Persist, end) else {
            self.saved_upto = upto;
            self.save_error = None;
            self.save_failures = 0;
            let next = if self.changes > upto { Save::Dirty { at: now.time } } else { Save::Clean };
            return self.enter_save(next);
        };
        let pause = super::time::backoff(RETRY_SAVE.0, RETRY_SAVE.1, self.save_failures);
        self.save_failures += 1;
        let reason = fault.to_string();
        self.log(Level::Error, Message::NotSaved { reason: reason.clone() }.to_string());
        self.save_error = Some(reason);
        self.enter_save(Save::Dirty { at: now.time + pause });
    }

    pub(super) fn on_restore_end(&mut self, ticket: Ticket, end: &ChildEnd, now: Now) {
        let Load::Restoring { ticket: current, tombstones } = &mut self.load else { return };
        if *current != ticket {
            return;
        }
        let tombstones = std::mem::take(tombstones);
        let read = match (failure_of(Hook::Restore, end), end) {
            (Some(fault), _) => Err(fault.to_string()),
            (None, ChildEnd::Exited { stdout, .. }) => read_state(stdout.expose()).map_err(|fault| fault.to_string()),
            (None, ChildEnd::Killed | ChildEnd::NotStarted(_) | ChildEnd::TooMuch) => Ok(Vec::new()),
        };
        match read {
            Ok(saved) => {
                self.load_error = None;
                self.take_over(saved, &tombstones, now);
                self.enter_load(Load::Done);
                self.renew_userless(now);
            }
            Err(reason) => {
                self.log(Level::Error, Message::StoreSealed { reason: reason.clone() }.to_string());
                self.load_error = Some(reason);
                self.enter_load(Load::Sealed { retry_at: now.time + RETRY_SEALED, tombstones });
            }
        }
        self.resume_shows(now);
    }

    /// `pizauth restore`
    pub(super) fn on_restore(&mut self, conn: ConnId, state: &Secret, now: Now) {
        let saved = match read_state(state.expose().as_bytes()) {
            Ok(saved) => saved,
            Err(fault) => {
                let message = Message::NotRestored { reason: fault.to_string() };
                return self.fail(conn, Reason::Error, message);
            }
        };
        let tombstones = match self.enter_load(Load::Done) {
            Load::Restoring { ticket, tombstones } => {
                self.kill(ticket);
                tombstones
            }
            Load::Sealed { tombstones, .. } => tombstones,
            Load::Off | Load::Done => BTreeSet::new(),
        };
        self.load_error = None;
        for index in self.take_over(saved, &tombstones, now) {
            self.mark_changed(index, now);
        }
        self.renew_userless(now);
        self.resume_shows(now);
        self.respond(conn, Response::Done { messages: Vec::new() });
    }

    /// `pizauth dump`, and what `persist_cmd` reads.
    pub(super) fn write_dump(&mut self, now: Now) -> Secret {
        let saved: Vec<SavedToken> = self.accounts.iter().filter_map(|account| save(account, now)).collect();
        dump::write(&saved, &mut *self.random)
    }

    pub(super) fn persistence_status(&self) -> PersistenceStatus {
        let state = match (&self.load, &self.save) {
            (Load::Sealed { .. }, _) => PersistenceState::Sealed,
            (Load::Restoring { .. }, _) if self.load_error.is_some() => PersistenceState::Sealed,
            (Load::Off | Load::Restoring { .. } | Load::Done, Save::Dirty { .. } | Save::Saving { .. }) => {
                PersistenceState::Unsaved
            }
            (Load::Off | Load::Restoring { .. } | Load::Done, Save::Off | Save::Clean) => self.idle_state(),
        };
        PersistenceStatus { state, last_error: self.load_error.clone().or_else(|| self.save_error.clone()) }
    }

    /// Why an account's last change is not saved, where it is not.
    pub(super) fn not_saved(&self, account: &Account) -> Option<String> {
        if self.save == Save::Off || account.change <= self.saved_upto {
            return None;
        }
        let waiting = self.load.keeps_waiting().then(|| Clause::StoreUnread.to_string());
        Some(waiting.or_else(|| self.save_error.clone()).unwrap_or_else(|| Clause::BeingSaved.to_string()))
    }

    /// Follows a change of the two commands.
    pub(super) fn adopt_persistence(&mut self, old_persist_cmd: Option<&str>, now: Now) {
        if self.config.persist_cmd.is_none() {
            self.enter_save(Save::Off);
        } else if self.config.persist_cmd.as_deref() != old_persist_cmd {
            self.changes += 1;
            for account in self.accounts.iter_mut().filter(|account| account.token.is_some()) {
                account.change = self.changes;
            }
            match self.save {
                Save::Saving { .. } => {}
                Save::Off | Save::Clean | Save::Dirty { .. } => self.enter_save(Save::Dirty { at: now.time }),
            }
        }
        if self.config.restore_cmd.is_none() && self.load.keeps_waiting() {
            if let Load::Restoring { ticket, .. } = self.load {
                self.kill(ticket);
            }
            self.load_error = None;
            self.enter_load(Load::Off);
        }
    }

    /// With neither command there is no persistence to speak of; with one, nothing is unsaved.
    fn idle_state(&self) -> PersistenceState {
        match (&self.config.restore_cmd, &self.config.persist_cmd) {
            (None, None) => PersistenceState::Off,
            (Some(_), _) | (_, Some(_)) => PersistenceState::Saved,
        }
    }

    fn run_restore(&mut self, tombstones: BTreeSet<String>) {
        let Some(command) = self.config.restore_cmd.clone() else { return };
        let run =
            Run { hook: Hook::Restore, command, env: Vec::new(), stdin: None, capture: MAX_STATE, limit: Some(LIMIT) };
        let ticket = self.run(RunOwner::Restore, run);
        self.enter_load(Load::Restoring { ticket, tombstones });
    }

    /// Takes over saved tokens that are better than what is there, and names the accounts that got them.
    fn take_over(&mut self, saved: Vec<SavedToken>, tombstones: &BTreeSet<String>, now: Now) -> Vec<usize> {
        let mut improved = Vec::new();
        for saved in saved {
            let Some(index) = self.account_named(&saved.account) else { continue };
            let account = &self.accounts[index];
            let bound = dump::fingerprint(&account.settings) == saved.binding;
            let has_better =
                account.token.as_ref().is_some_and(|own| own.is_usable(now.time) || own.refresh_token.is_some());
            let is_good = saved.refresh_token.is_some() || saved.expires_at > now.wall;
            if !bound || !is_good || has_better || tombstones.contains(&saved.account) {
                self.log(Level::Info, format!("{}: saved token not taken over", saved.account));
                continue;
            }
            self.install_saved(index, saved, now);
            improved.push(index);
        }
        improved
    }

    fn install_saved(&mut self, index: usize, saved: SavedToken, now: Now) {
        let whole = saved.expires_at.since(saved.obtained_at);
        let from_the_future = saved.obtained_at > now.wall;
        let left = saved.expires_at.since(now.wall).min(whole);
        let account = &mut self.accounts[index];
        let keeps_refresh_tokens = account.keeps_refresh_tokens();
        account.generation += 1;
        account.failures = 0;
        account.failed_questions = 0;
        account.last_error = None;
        account.token = Some(Issued {
            access_token: saved.access_token.unwrap_or_default(),
            obtained_at: now.time - now.wall.since(saved.obtained_at),
            expires_at: if left.is_zero() { now.time - now.wall.since(saved.expires_at) } else { now.time + left },
            life: whole,
            refresh_in: saved.refresh_at.map(|at| at.since(saved.obtained_at)),
            refresh_token: saved.refresh_token.filter(|_| keeps_refresh_tokens),
            refresh_token_expires_at: saved.refresh_token_expires_at.filter(|_| keeps_refresh_tokens),
            scope: saved.scope,
        });
        let refresh_at =
            if from_the_future || left.is_zero() { now.time } else { super::renewals::refresh_at(account) };
        let next = match account.renewal() {
            // An account without user has asked already, and somebody may wait for that.
            Renewal::InFlight(ticket) => Renewal::InFlight(ticket),
            _ if account.is_renewable() => Renewal::Due(refresh_at.max(now.time)),
            Renewal::Due(_) | Renewal::Held(_) | Renewal::Unable => Renewal::Unable,
        };
        self.enter_renewal(index, next);
        // The exchange of a code brings what is newer, or ends the authorization itself.
        if !matches!(self.accounts[index].browser(), Browser::Exchanging(_)) {
            self.leave_to_restored(index, now);
        }
    }

    fn enter_load(&mut self, next: Load) -> Load {
        let name = |state: &Load| match state {
            Load::Off => "off",
            Load::Restoring { .. } => "restoring",
            Load::Sealed { .. } => "sealed",
            Load::Done => "done",
        };
        self.log(Level::Debug, format!("restore {} -> {}", name(&self.load), name(&next)));
        std::mem::replace(&mut self.load, next)
    }

    pub(super) fn enter_save(&mut self, next: Save) {
        let name = |state: Save| match state {
            Save::Off => "off",
            Save::Clean => "clean",
            Save::Dirty { .. } => "dirty",
            Save::Saving { .. } => "saving",
        };
        self.log(Level::Debug, format!("save {} -> {}", name(self.save), name(next)));
        self.save = next;
    }
}

/// Reads a token state; nothing in it means that nothing was saved yet.
fn read_state(state: &[u8]) -> Result<Vec<SavedToken>, DumpFault> {
    if state.is_empty() { Ok(Vec::new()) } else { dump::read(state) }
}

/// What of an account is saved.
fn save(account: &Account, now: Now) -> Option<SavedToken> {
    let token = account.token.as_ref()?;
    let began_at = token.began_at(now);
    Some(SavedToken {
        account: account.name().to_owned(),
        binding: dump::fingerprint(&account.settings),
        access_token: Some(token.access_token.clone()),
        obtained_at: began_at,
        expires_at: now.wall_at(token.expires_at),
        refresh_token: token.refresh_token.clone(),
        refresh_token_expires_at: token.refresh_token_expires_at,
        scope: token.scope.clone(),
        refresh_at: token.refresh_in.map(|refresh_in| began_at + refresh_in),
    })
}
