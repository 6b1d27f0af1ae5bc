//! Reading a configuration and getting ready for it beside the one that runs, so that taking it cannot fail.

use std::{env, path::Path};

use super::{
    listeners::Listeners,
    paths,
    roots::{self, Roots},
};
use crate::config::{self, Config};

/// A configuration with all that it needs from the system.
pub(super) struct Staged {
    /// The configuration.
    pub(super) config: Config,
    /// Its redirect listeners, not registered yet where they are new.
    pub(super) listeners: Listeners,
    /// The roots that its endpoints are believed by.
    pub(super) roots: Roots,
}

/// Reads and checks the configuration at `path`, with what is questionable about it. Each error or warning is a
/// message for the user, which may have its source line as a second line.
pub(super) fn read(path: &Path) -> Result<(Config, Vec<String>), Vec<String>> {
    let text = paths::read_config(path).map_err(|error| vec![error])?;
    let file = path.display().to_string();
    let config =
        config::parse(&text).map_err(|faults| faults.0.iter().map(|fault| fault.render(&file)).collect::<Vec<_>>())?;
    let mut warnings: Vec<String> =
        config::warnings(&config).iter().map(|warning| format!("{file}: {warning}")).collect();
    warnings.extend(paths::mode_warning(path, &config));
    Ok((config, warnings))
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
