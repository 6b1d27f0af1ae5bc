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
use support::{
    folder::Folder,
    provider::{self, Provider},
    server::Pizauth,
    terminal::Terminal,
    tool,
};

const STATUS: &str = "#!/bin/sh\n\
    [ \"$1\" = status ] || exit 1\n\
    echo 'home: No access token'\n\
    echo '*: No access token'\n\
    echo \"it's: No access token\"\n\
    echo 'me@example.com: No access token'\n\
    echo 'of:two: No access token'\n\
    echo 'shop: No access token [last error: work: Access token; never]'\n\
    echo 'work: Active access token (obtained never; expires never)'\n\
    echo 'work two: Access token expired (last refresh attempt never)'\n";

const NO_SERVER: &str = "#!/bin/sh\nexit 5\n";

const CONFIG: &str = "// account \"comment\"\naccount \"mail\" {\n}\n  account \"mine\" {\n}\n";

/// Which shell, and how to have it complete the last of some words.
type Shell = (&'static str, fn(&Path, Settings, &[&str]) -> Vec<String>);

/// Sets the environment of a shell.
type Settings<'a> = &'a dyn Fn(&mut Command);

const SHELLS: [Shell; 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];

fn completions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/completions")
}

/// What M-* puts in, as the words that a program gets.
fn bash(_: &Path, settings: Settings, words: &[&str]) -> Vec<String> {
    let got = typed_in_bash(settings, &words.join(" "), "\x1b*");
    got.get(words.len() - 1..).unwrap_or_default().to_vec()
}

/// The words that a program gets of a line typed in bash at a terminal, with keys that complete it.
fn typed_in_bash(settings: Settings, line: &str, keys: &str) -> Vec<String> {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]).env("INPUTRC", "/dev/null").env("TERM", "dumb");
    settings(&mut command);
    let mut terminal = Terminal::open();
    let mut child = terminal.start(command);
    let file = completions().join("pizauth.bash");
    terminal.write(&format!(
        "source '{}'; complete -F _pizauth told; told() {{ printf '<%s>' \"$@\"; echo '<<'end; }}; echo rea''dy\n",
        file.display()
    ));
    terminal.read_until("ready\r\n");
    terminal.write(&format!("told {line}{keys}\n"));
    let seen = terminal.read_until("<<end");
    terminal.write("exit\n");
    child.wait().unwrap();
    let line = seen.lines().find_map(|line| line.split_once("<<end")).map_or("", |(line, _)| line);
    let told = line.split_once('<').map_or("", |(_, told)| told).trim_end_matches('>');
    told.split("><").filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// zsh completes at a terminal only: it gets one of its own, and prints what it would insert between marks.
fn zsh(folder: &Path, settings: Settings, words: &[&str]) -> Vec<String> {
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
    settings(&mut command);
    let hit = |line: &str| Some(line.trim_end().strip_suffix('>')?.rsplit_once('<')?.1.to_owned());
    lines(command).iter().filter_map(|line| hit(line)).filter(|hit| !hit.ends_with('>')).collect()
}

fn fish(folder: &Path, settings: Settings, words: &[&str]) -> Vec<String> {
    let mut command = Command::new("fish");
    let script = r#"source $argv[1]; complete -C "pizauth $argv[2]""#;
    command.args(["--no-config", "-c", script]).arg(completions().join("pizauth.fish")).arg(words.join(" "));
    settings(&mut command);
    command.env("HOME", folder);
    lines(command).iter().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

fn lines(mut command: Command) -> Vec<String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// What a shell offers for the last of `words`, sorted.
fn offered(shell: &Shell, folder: &Path, settings: Settings, words: &[&str]) -> Vec<String> {
    let (_, ask) = shell;
    let mut offered: Vec<String> = ask(folder, settings, words)
        .iter()
        .map(|word| word.replace('\\', ""))
        .filter(|word| !word.is_empty())
        .collect();
    offered.sort();
    offered.dedup();
    offered
}

/// A folder in which `program` is pizauth.
fn folder_with(program: &str) -> Folder {
    let folder = Folder::new();
    let path = folder.write("pizauth", program);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    folder.write("pizauth.conf", CONFIG);
    folder
}

/// Has a shell find its programs in `folder` first, and its configuration there.
fn use_folder(command: &mut Command, folder: &Folder) {
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("XDG_CONFIG_HOME", folder.path());
}

#[test]
fn shells_offer_commands_formats_and_accounts() {
    let (running, stopped) = (folder_with(STATUS), folder_with(NO_SERVER));
    for shell in SHELLS.iter().filter(|shell| tool::find(shell.0).is_some()) {
        for (folder, words, want) in [
            (&running, &["re"][..], &["refresh", "reload", "restore", "revoke"][..]),
            (&running, &["show", "-f", "x"], &["xoauth2"]),
            (&running, &["show", "wo"], &["work", "work two"]),
            (&running, &["show", ""], &["*", "home", "it's", "me@example.com", "of:two", "shop", "work", "work two"]),
            (&running, &["revoke", "-l", "h"], &["home"]),
            (&running, &["show", "-u", "m"], &["me@example.com"]),
            (&stopped, &["show", "m"], &["mail", "mine"]),
            (&stopped, &["status", "mai"], &["mail"]),
        ] {
            let settings: Settings = &|command| use_folder(command, folder);
            assert_eq!(offered(shell, folder.path(), settings, words), want, "{}: {words:?}", shell.0);
        }
    }
}

#[test]
fn bash_completes_names_with_signs_of_its_own() {
    if tool::find("bash").is_none() {
        return;
    }
    let folder = folder_with(STATUS);
    let settings: Settings = &|command| use_folder(command, &folder);
    for (line, want) in [
        ("show me", &["show", "me@example.com"][..]),
        ("show me@", &["show", "me@example.com"]),
        ("show me@ex", &["show", "me@example.com"]),
        ("show -u me@ex", &["show", "-u", "me@example.com"]),
        ("show of:t", &["show", "of:two"]),
        ("show it", &["show", "it's"]),
        ("show work\\ t", &["show", "work two"]),
        ("show \"work t", &["show", "work two"]),
        ("show 'me@e", &["show", "me@example.com"]),
        ("status -j ho", &["status", "-j", "home"]),
    ] {
        assert_eq!(typed_in_bash(settings, line, "\t"), want, "{line}");
    }
    let file = folder.write("my own.conf", "").display().to_string();
    let line = format!("check -c {}", file.trim_end_matches(" own.conf"));
    assert_eq!(typed_in_bash(settings, &line, "\t"), ["check", "-c", &file]);
}

#[test]
fn shells_ask_the_running_server_first() {
    let provider = Provider::start(provider::Settings::default());
    let server = Pizauth::start(&[provider.account("work", ""), provider.account("me@example.com", "")].concat());
    // What the server does not know yet is in the configuration.
    server.configure(&provider.account("later", ""));
    let program = Path::new(env!("CARGO_BIN_EXE_pizauth")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let home = server.clone();
    let shells = || SHELLS.iter().filter(|shell| tool::find(shell.0).is_some());
    let accounts = |shell: &Shell| {
        let settings: Settings = &|command| {
            command.env("PATH", &path).env("PIZAUTH_SOCKET", home.socket());
            command.env("XDG_CONFIG_HOME", home.folder().join("home/.config"));
        };
        offered(shell, &home.folder().join("home"), settings, &["show", ""])
    };
    for shell in shells() {
        assert_eq!(accounts(shell), ["me@example.com", "work"], "{}", shell.0);
    }
    server.shutdown();
    for shell in shells() {
        assert_eq!(accounts(shell), ["later"], "{}", shell.0);
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
