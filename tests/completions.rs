//! The shell completions, asked in the real shells, and held to the table of commands.
//!
//! A shell that is not installed is passed over, with a line that says so.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pizauth::cli::command::{COMMANDS, Value};

const STATUS: &str = "#!/bin/sh\n\
    [ \"$1\" = status ] || exit 1\n\
    echo 'home: No access token'\n\
    echo 'shop: No access token [last error: work: Access token; never]'\n\
    echo 'work: Active access token (obtained never; expires never)'\n\
    echo 'work two: Access token expired (last refresh attempt never)'\n";

const NO_SERVER: &str = "#!/bin/sh\nexit 5\n";

const CONFIG: &str = "// account \"comment\"\naccount \"mail\" {\n}\n  account \"mine\" {\n}\n";

/// Which shell, and how to have it complete a line of words.
type Shell = (&'static str, fn(&Path, &[&str]) -> Command);

const SHELLS: [Shell; 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];

fn completions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/completions")
}

fn bash(_: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("bash");
    let script =
        r#"source "$1"; shift; COMP_WORDS=(pizauth "$@"); COMP_CWORD=$#; _pizauth; printf '%s\n' "${COMPREPLY[@]}""#;
    command.args(["--norc", "-c", script, "bash"]).arg(completions().join("pizauth.bash")).args(words);
    command
}

/// zsh completes at a terminal only: it gets one of its own, and prints what it would insert between marks.
fn zsh(folder: &Path, words: &[&str]) -> Command {
    let script = format!(
        r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1= PS2= RPS1=; stty -echo; unsetopt prompt_cr'
zpty -w shell 'fpath=({completions} $fpath); autoload -Uz compinit; compinit -u -D'
zpty -w shell 'compadd() {{ local -a hits; builtin compadd -O hits "$@"; local hit; for hit in $hits; do print -r -- "<$hit>"; done; builtin compadd "$@" }}'
zpty -w shell 'told() {{ _main_complete; print -r -- "<<""end>>"; compstate[insert]= ; compstate[list]= }}'
zpty -w shell 'zle -C told complete-word told; bindkey "^T" told; print rea""dy'
zpty -r shell line '*ready*' || exit 1
zpty -w -n shell "$1"$'\x14'
zpty -r shell text '*<<end>>*'
print -r -- "$text"
"#,
        completions = completions().display()
    );
    let path = folder.join("complete.zsh");
    fs::write(&path, script).unwrap();
    let mut command = Command::new("zsh");
    command.arg("-f").arg(path).arg(format!("pizauth {}", words.join(" ")));
    command
}

fn fish(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("fish");
    let script = r#"source $argv[1]; complete -C "pizauth $argv[2]""#;
    command.args(["--no-config", "-c", script]).arg(completions().join("pizauth.fish")).arg(words.join(" "));
    command.env("HOME", folder);
    command
}

/// What a shell offers for the last of `words`.
fn offered(shell: &Shell, program: &str, words: &[&str]) -> Option<Vec<String>> {
    let (name, ask) = shell;
    support::tool::find(name)?;
    let folder = std::env::temp_dir().join(format!("pizauth-completions-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("pizauth"), program).unwrap();
    fs::set_permissions(folder.join("pizauth"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("pizauth.conf"), CONFIG).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = ask(&folder, words);
    let output = command.env("PATH", path).env("XDG_CONFIG_HOME", &folder).stdin(Stdio::null()).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| match *name {
        "zsh" => Some(line.trim_end().strip_suffix('>')?.rsplit_once('<')?.1).filter(|hit| !hit.ends_with('>')),
        "fish" => line.split('\t').next(),
        _ => Some(line),
    });
    let mut words: Vec<String> = words.map(|word| word.replace('\\', "")).filter(|word| !word.is_empty()).collect();
    words.sort();
    words.dedup();
    Some(words)
}

#[test]
fn shells_offer_commands_formats_and_accounts() {
    for shell in &SHELLS {
        for (program, words, want) in [
            (STATUS, &["re"][..], &["refresh", "reload", "restore", "revoke"][..]),
            (STATUS, &["show", "-f", "x"], &["xoauth2"]),
            (STATUS, &["show", "wo"], &["work", "work two"]),
            (STATUS, &["show", ""], &["home", "shop", "work", "work two"]),
            (STATUS, &["revoke", "-l", "h"], &["home"]),
            (NO_SERVER, &["show", "m"], &["mail", "mine"]),
            (NO_SERVER, &["status", "mai"], &["mail"]),
        ] {
            let Some(got) = offered(shell, program, words) else { continue };
            assert_eq!(got, want, "{}: {words:?}", shell.0);
        }
    }
}

#[test]
fn every_command_option_and_format_is_in_every_file() {
    let read = |name: &str| fs::read_to_string(completions().join(name)).unwrap();
    let (bash, zsh, fish) = (read("pizauth.bash"), read("_pizauth"), read("pizauth.fish"));
    for command in COMMANDS {
        let name = command.name;
        let mut bash_words = bash.split(|char: char| !char.is_ascii_alphanumeric());
        assert!(bash_words.any(|word| word == name), "bash: {name}");
        assert!(zsh.contains(&format!("'{name}:")), "zsh: {name}");
        assert!(fish.contains(&format!("-a {name} ")), "fish: {name}");
        for option in command.options {
            let short = option.short;
            let bash_row = bash.lines().find(|line| line.trim_start().starts_with(&format!("{name}) ")));
            assert!(bash_row.is_some_and(|row| row.contains(&format!("-{short}"))), "bash: {name} -{short}");
            let zsh_row =
                zsh.split(&format!("{name})\n")).nth(1).and_then(|rest| rest.split(";;").next()).unwrap_or("");
            let shared = short == "u" && zsh_row.contains("$urls");
            assert!(shared || zsh_row.contains(&format!("-{short}[")), "zsh: {name} -{short}");
            let mut fish_rows = fish.lines().filter(|line| line.contains(&format!(" -s {short} ")));
            assert!(fish_rows.any(|row| row.contains(name)), "fish: {name} -{short}");
            if option.value == Value::Format {
                let formats = "token json header xoauth2 oauthbearer git";
                assert!([&bash, &zsh, &fish].iter().all(|file| file.contains(formats)), "{formats}");
            }
        }
    }
}
