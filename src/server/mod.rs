//! The daemon around the engine: start-up, the loop, and the rooms that turn bytes into events and effects into bytes.
//!
//! Start-up goes so: read the configuration, take the place of the control socket, bind the redirect listeners, detach,
//! and only then make the poll and the first thread, since neither survives a fork. Whatever fails before the daemon
//! answers is told by the process that was started.

mod accept;
mod browser;
mod control;
pub mod endpoint;
mod event_loop;
mod fault;
mod hooks;
mod lines;
mod linger;
mod listeners;
mod outbox;
mod page;
pub mod paths;
#[cfg(test)]
mod pki;
mod ports;
mod postponed;
pub mod proxy;
mod redirect;
pub mod request_head;
pub mod roots;
mod slab;
mod source;
mod staging;
pub mod tls;
pub mod wire;

use std::{os::unix::net::UnixListener, path::PathBuf};

use self::{
    event_loop::{EventLoop, Parts},
    fault::Fault,
    listeners::Listeners,
    staging::Staged,
};
use crate::{
    engine::ExitReason,
    sys::{
        daemon::{self, Detached, Outcome},
        heap,
        log::{Level, Log},
        notify::{self, Notify},
        place::Environment,
        process::Output,
        sandbox::{self, Inherited},
        signal,
        socket::ControlSocket,
        user,
    },
};

/// Most clients of the control socket at once: `show -w` of every script and status bar of a user, many times over.
const MAX_CLIENTS: usize = 1024;

/// Most browsers at once: those that wait for an outcome, and connections made ahead.
const MAX_BROWSERS: usize = 64;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Whether to stay in the foreground and log to stderr.
    pub foreground: bool,
    /// How often `-v` was given.
    pub verbosity: usize,
}

/// Starts the server. Returns when the daemon answers, or in the foreground and in the daemon when it has stopped.
///
/// Each error is a message for the user.
pub fn run(options: Options) -> Result<(), Vec<String>> {
    // First of all: what is opened later could take the descriptor's number.
    let passed = notify::passed_listener().map_err(|error| vec![error.to_string()])?;
    let inherited = sandbox::harden();
    signal::ignore_terminal_output().map_err(|error| vec![error.to_string()])?;
    heap::settle();
    let config_path = paths::config_path(options.config.as_deref()).map_err(|error| vec![error])?;
    let config_path = std::path::absolute(&config_path).unwrap_or(config_path);
    let (config, warnings) = paths::read_checked(&config_path)?;
    let place = Environment::read().server_place();
    let (socket, listener) =
        ControlSocket::open(place, user::uid(), passed).map_err(|error| vec![error.to_string()])?;
    let nothing = Listeners::default();
    // Nobody else waits yet.
    let found = ports::look_up(nothing.unknown_names(&config));
    let staged = match staging::prepare(config, &config_path, &nothing, &found) {
        Ok(staged) => staged,
        Err(errors) => {
            socket.close();
            return Err(errors);
        }
    };
    let log = Log::to_stderr(Level::from_verbosity(options.verbosity).max(Level::Warn));
    for warning in &warnings {
        log.write(Level::Warn, warning);
    }
    let bound = Start { config_path, staged, socket, listener, inherited, verbosity: options.verbosity };
    if options.foreground { bound.stay() } else { bound.detach() }
}

/// Everything that is ready before it is known which process goes on with it.
struct Start {
    config_path: PathBuf,
    staged: Staged,
    socket: ControlSocket,
    listener: UnixListener,
    inherited: Inherited,
    verbosity: usize,
}

impl Start {
    fn stay(self) -> Result<(), Vec<String>> {
        let log = Log::in_foreground(Level::from_verbosity(self.verbosity));
        self.serve(log, Output::Stderr, None)
    }

    fn detach(self) -> Result<(), Vec<String>> {
        let detached = match daemon::detach() {
            Ok(detached) => detached,
            Err(error) => {
                self.socket.close();
                return Err(vec![Fault::NotDetached { reason: error.to_string() }.into()]);
            }
        };
        match detached {
            Detached::Parent(Outcome::Ready) => Ok(()),
            Detached::Parent(Outcome::Failed(reason)) => Err(vec![reason]),
            Detached::Parent(Outcome::Died(status)) => Err(vec![Fault::Died { status: status.to_string() }.into()]),
            Detached::Child(readiness) => {
                sandbox::harden_again();
                let log = Log::to_syslog(Level::from_verbosity(self.verbosity));
                self.serve(log, Output::Null, Some(readiness))
            }
        }
    }

    /// Serves until the end, and tells the waiting parent, if there is one, how the start went.
    fn serve(self, log: Log, output: Output, parent: Option<daemon::Readiness>) -> Result<(), Vec<String>> {
        let Start { config_path, staged, mut socket, listener, inherited, verbosity: _ } = self;
        let parts = Parts {
            config_path,
            staged,
            socket: &mut socket,
            listener,
            inherited,
            output,
            log,
            notify: Notify::from_env(),
            caps: caps(sandbox::open_files()),
        };
        let started = EventLoop::new(parts).and_then(|event_loop| sandbox::pledge().map(|()| event_loop));
        let mut event_loop = match started {
            Ok(event_loop) => event_loop,
            Err(error) => {
                socket.close();
                let reason = String::from(Fault::NotStarted { reason: error.to_string() });
                return match parent {
                    None => Err(vec![reason]),
                    Some(parent) => {
                        parent.failed(&reason);
                        Err(Vec::new())
                    }
                };
            }
        };
        event_loop.start();
        // Where nobody reads what this process says at its end.
        let is_detached = parent.is_some();
        if let Some(error) = parent.and_then(|parent| parent.ready().err()) {
            log.write(Level::Warn, &format!("the terminal was not let go of: {error}"));
        }
        let end = event_loop.run();
        socket.close();
        match end {
            Ok(ExitReason::Asked) => Ok(()),
            Ok(ExitReason::Unsaved) => Err(vec![Fault::Unsaved.into()]),
            Err(fault) => {
                let line = String::from(fault);
                if is_detached {
                    log.write(Level::Error, &line);
                }
                Err(vec![line])
            }
        }
    }
}

/// How many clients and how many browsers there may be, so that requests and hooks keep descriptors of their own.
fn caps(open_files: usize) -> (usize, usize) {
    ((open_files / 2).clamp(8, MAX_CLIENTS), (open_files / 8).clamp(8, MAX_BROWSERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        for (name, open_files, want) in [
            ("as wished", 4096, (1024, 64)),
            ("no limit", usize::MAX, (1024, 64)),
            ("an old default", 256, (128, 32)),
            ("hardly any", 64, (32, 8)),
            ("too few", 10, (8, 8)),
        ] {
            assert_eq!(caps(open_files), want, "{name}");
        }
    }
}
