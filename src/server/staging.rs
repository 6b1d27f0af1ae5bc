//! Reading a configuration and getting ready for it beside the one that runs, so that taking it cannot fail.

use std::{env, path::Path};

use super::{
    listeners::Listeners,
    roots::{self, Roots},
};
use crate::config::Config;

/// A configuration with all that it needs from the system.
pub(super) struct Staged {
    /// The configuration.
    pub(super) config: Config,
    /// Its redirect listeners, not registered yet where they are new.
    pub(super) listeners: Listeners,
    /// The roots that its endpoints are believed by.
    pub(super) roots: Roots,
}

/// Binds and loads what `config`, which was read from `path`, needs and `present` does not have yet.
pub(super) fn prepare(config: Config, path: &Path, present: &Listeners) -> Result<Staged, Vec<String>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let ca_file = config.ca_file.as_ref().map(|file| folder.join(file));
    let ssl_cert_file = env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
    let roots = roots::load(ca_file.as_deref(), ssl_cert_file.as_deref().map(Path::new));
    let listeners = Listeners::open(&config, folder, present);
    match (roots, listeners) {
        (Ok(roots), Ok(listeners)) => Ok(Staged { config, listeners, roots }),
        (roots, listeners) => Err(roots.err().into_iter().chain(listeners.err().into_iter().flatten()).collect()),
    }
}
