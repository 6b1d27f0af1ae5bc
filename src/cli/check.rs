//! `check`: what is wrong with a configuration, and what is questionable about it, without running it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    command::Arguments,
    config_file::{config_path, read},
    failure::Failure,
    output,
};
use crate::config::{self, ClientSecret, Config};

/// Mode bits that let others read a file.
const OTHERS_READ: u32 = 0o044;

/// Reports every error, or else every warning.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let refused = |message| Failure::Refused(vec![message]);
    let option = arguments.value("c").map(PathBuf::from);
    let path = config_path(option.as_deref()).map_err(refused)?;
    let text = read(&path).map_err(refused)?;
    let named = |what: &dyn std::fmt::Display| format!("{}:{what}", path.display());
    let config = config::parse(&text)
        .map_err(|diagnostics| Failure::Refused(diagnostics.iter().map(|fault| named(fault)).collect()))?;
    for warning in config::warnings(&config) {
        output::tell(&format!("{}: {warning}", path.display()));
    }
    if let Some(warning) = mode_warning(&path, &config) {
        output::tell(&warning);
    }
    Ok(())
}

/// Warns of a file that shows a client secret to others.
pub fn mode_warning(path: &Path, config: &Config) -> Option<String> {
    let mode = fs::metadata(path).ok()?.mode();
    let secret = config.accounts.iter().any(|account| matches!(account.client_secret, ClientSecret::Text(_)));
    (secret && mode & OTHERS_READ != 0).then(|| {
        format!("{0}: others can read this file and the client_secret in it; run: chmod 600 {0}", path.display())
    })
}
