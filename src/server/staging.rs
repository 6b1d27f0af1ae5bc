//! Getting ready for a configuration beside the one that runs, so that taking it cannot fail.
//!
//! Host names of listeners are looked up first: by the loop in a thread that lives as long as that, since a name server
//! may be silent.

use std::{
    env, io,
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    endpoint::STACK,
    listeners::Listeners,
    ports::{self, Found},
    roots::{self, Roots},
};
use crate::{
    config::Config,
    engine::{Ticket, Time},
};

/// Time for looking host names up: enough to ask once more after the resolver's usual 5 s, and little enough to be told
/// to who waits for the reload. A look-up that is given up ends when it ends; one reload after the other has one.
pub(super) const LOOK_UP_LIMIT: Duration = Duration::from_secs(8);

/// A configuration with host names that are being looked up.
pub(super) struct Unbound {
    /// The staging.
    pub(super) ticket: Ticket,
    /// The configuration.
    pub(super) config: Config,
    /// What is unwise in it.
    pub(super) warnings: Vec<String>,
    /// The host names.
    pub(super) names: Vec<String>,
    /// When the look-up is given up.
    pub(super) until: Time,
}

/// A configuration with all that it needs from the system.
pub(super) struct Staged {
    /// The configuration.
    pub(super) config: Config,
    /// Its redirect listeners, not registered yet where they are new.
    pub(super) listeners: Listeners,
    /// The roots that its endpoints are believed by.
    pub(super) roots: Roots,
}

/// Looks `names` up in a thread of its own, which is returned; `done` gets there what was found.
pub(super) fn look_up(names: Vec<String>, done: impl FnOnce(Found) + Send + 'static) -> io::Result<JoinHandle<()>> {
    let run = move || done(ports::look_up(names));
    thread::Builder::new().name("look-up".to_owned()).stack_size(STACK).spawn(run)
}

/// What stands for addresses that there are none of for this `reason`.
pub(super) fn not_found(names: &[String], reason: &str) -> Found {
    names.iter().map(|name| (name.clone(), Err(reason.to_owned()))).collect()
}

/// Binds and loads what `config`, which was read from `path`, needs and `present` does not have yet. `found` are the
/// addresses of its host names.
pub(super) fn prepare(config: Config, path: &Path, present: &Listeners, found: &Found) -> Result<Staged, Vec<String>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let ca_file = config.ca_file.as_ref().map(|file| folder.join(file));
    let ssl_cert_file = env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
    let roots = roots::load(ca_file.as_deref(), ssl_cert_file.as_deref().map(Path::new));
    let listeners = Listeners::open(&config, folder, present, found);
    match (roots, listeners) {
        (Ok(roots), Ok(listeners)) => Ok(Staged { config, listeners, roots }),
        (roots, listeners) => Err(roots.err().into_iter().chain(listeners.err().into_iter().flatten()).collect()),
    }
}
