//! The configuration file: where it is, and its text.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Longest configuration that is read, in bytes: a thousand accounts have some hundred KiB.
const MAX_SIZE: u64 = 1024 * 1024;

/// Where the configuration is: at `option`, else in XDG_CONFIG_HOME, else in .config of HOME.
///
/// An error is one message for the user.
pub fn config_path(option: Option<&Path>) -> Result<PathBuf, String> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    choose(option, variable("XDG_CONFIG_HOME"), variable("HOME"))
}

fn choose(option: Option<&Path>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, String> {
    let folder = match (option, xdg, home) {
        (Some(path), _, _) => return Ok(path.to_owned()),
        (None, Some(xdg), _) => xdg,
        (None, None, Some(home)) => home.join(".config"),
        (None, None, None) => {
            return Err("neither XDG_CONFIG_HOME nor HOME is set; name the configuration file with -c".to_owned());
        }
    };
    Ok(folder.join("pizauth.conf"))
}

/// Reads the configuration at `path`. An error is one message for the user.
pub fn read(path: &Path) -> Result<String, String> {
    let named = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("no config file found at {}; make one, or name it with -c", path.display()))
        }
        Err(error) => Err(named(&error)),
        Ok(_) if text.len() as u64 > MAX_SIZE => Err(named(&"longer than 1 MiB, which no configuration is")),
        Ok(_) => String::from_utf8(text).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
            named(&format_args!("line {line} is not UTF-8"))
        }),
    }
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
        let folder = std::env::temp_dir().join(format!("pizauth-config-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("pizauth.conf");
        for (name, content, want) in [
            ("missing", None, "no config file found at FILE; make one, or name it with -c"),
            ("not UTF-8", Some(b"a\nb\xff\n".to_vec()), "FILE: line 2 is not UTF-8"),
            ("too long", Some(vec![b' '; 1024 * 1024 + 1]), "FILE: longer than 1 MiB, which no configuration is"),
        ] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let fault = read(&path).unwrap_err();
            assert_eq!(fault.replace(&path.display().to_string(), "FILE"), want, "{name}");
        }
        std::fs::write(&path, "// é\n").unwrap();
        assert_eq!(read(&path).as_deref(), Ok("// é\n"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
