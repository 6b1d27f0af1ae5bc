//! `check`: what is wrong with a configuration, and what is questionable about it, without running it.

use std::path::PathBuf;

use super::{command::Arguments, failure::Failure, output};
use crate::server::paths;

/// Reports every error, or else every warning.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let option = arguments.value("c").map(PathBuf::from);
    let path = paths::config_path(option.as_deref()).map_err(|message| Failure::Refused(vec![message]))?;
    let (_, warnings) = paths::read_checked(&path).map_err(Failure::Diagnosed)?;
    warnings.iter().for_each(|warning| output::tell(warning));
    Ok(())
}
