//! The configuration file: where it is, its text, and whether others can read what is secret in it.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::fault::Fault;
use crate::config::{self, ClientSecret, Config};

/// Longest configuration that is read, in bytes: a thousand accounts have some hundred KiB.
const MAX_SIZE: u64 = 1024 * 1024;

/// Mode bits that let others read a file.
const OTHERS_READ: u32 = 0o044;

/// Where the configuration is: at `option`, else in XDG_CONFIG_HOME, else in .config of HOME.
///
/// An error is one message for the user.
pub fn config_path(option: Option<&Path>) -> Result<PathBuf, String> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    choose(option, variable("XDG_CONFIG_HOME"), variable("HOME"))
}

/// Reads and checks the configuration at `path`, with what is questionable about it. Each error or warning is a
/// message for the user, which may have its source line as a second line.
pub fn read_checked(path: &Path) -> Result<(Config, Vec<String>), Vec<String>> {
    let text = read_config(path).map_err(|error| vec![error])?;
    let file = path.display().to_string();
    let config =
        config::parse(&text).map_err(|faults| faults.0.iter().map(|fault| fault.render(&file)).collect::<Vec<_>>())?;
    let mut warnings: Vec<String> =
        config::warnings(&config).iter().map(|warning| format!("{file}: {warning}")).collect();
    warnings.extend(mode_warning(path, &config));
    Ok((config, warnings))
}

/// Reads and checks the configuration at `path` once more, for a server that must not wait for a pipe's other end.
pub(super) fn read_anew(path: &Path) -> Result<(Config, Vec<String>), Vec<String>> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(vec![Fault::NotAFile { path: path.to_owned() }.into()]);
    }
    read_checked(path)
}

/// Reads the text of the configuration at `path`. An error is one message for the user.
fn read_config(path: &Path) -> Result<String, String> {
    let path = || path.to_owned();
    let mut bytes = Vec::new();
    match File::open(path()).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Fault::NoConfiguration { path: path() }.into());
        }
        Err(error) => return Err(Fault::Unreadable { path: path(), reason: error.to_string() }.into()),
        Ok(_) => {}
    }
    if bytes.len() as u64 > MAX_SIZE {
        return Err(Fault::TooLong { path: path() }.into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Fault::NotText { path: path(), line }.into()
    })
}

/// Warns of a file that shows a client secret to others.
fn mode_warning(path: &Path, config: &Config) -> Option<String> {
    let secret = config.accounts.iter().any(|account| matches!(account.client_secret, ClientSecret::Text(_)));
    let mode = fs::metadata(path).ok()?.mode();
    (secret && mode & OTHERS_READ != 0).then(|| Fault::SecretShown { path: path.to_owned() }.into())
}

fn choose(option: Option<&Path>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, String> {
    let folder = match (option, xdg, home) {
        (Some(path), _, _) => return Ok(path.to_owned()),
        (None, Some(xdg), _) => xdg,
        (None, None, Some(home)) => home.join(".config"),
        (None, None, None) => {
            return Err(Fault::NoFolder.into());
        }
    };
    Ok(folder.join("pizauth.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_is_known_is_taken() {
        for (name, option, xdg, home, want) in [
            ("-c", Some("a.conf"), Some("/x"), Some("/h"), Some("a.conf")),
            ("XDG_CONFIG_HOME", None, Some("/x"), Some("/h"), Some("/x/pizauth.conf")),
            ("HOME", None, None, Some("/h"), Some("/h/.config/pizauth.conf")),
            ("nothing", None, None, None, None),
        ] {
            let path = choose(option.map(Path::new), xdg.map(PathBuf::from), home.map(PathBuf::from));
            assert_eq!(path.ok().as_deref(), want.map(Path::new), "{name}");
        }
    }

    #[test]
    fn files_that_are_no_configuration_are_refused() {
        let path = std::env::temp_dir().join(format!("pizauth-read-config-{}.conf", std::process::id()));
        for (name, content, want) in [
            ("missing", None, "no configuration file at FILE: make one, or name one with -c"),
            ("not UTF-8", Some(b"a\nb\xff\n".to_vec()), "FILE: line 2 is not UTF-8"),
            ("too long", Some(vec![b' '; 1024 * 1024 + 1]), "FILE: longer than 1 MiB, which no configuration is"),
        ] {
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let fault = read_config(&path).unwrap_err();
            assert_eq!(fault.replace(&path.display().to_string(), "FILE"), want, "{name}");
        }
        fs::write(&path, "// é\n").unwrap();
        assert_eq!(read_config(&path).as_deref(), Ok("// é\n"));
        fs::remove_file(&path).unwrap();
    }
}
