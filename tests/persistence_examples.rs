//! The scripts of conf/examples keep a token state and give it back, with the real tools where they are installed.
//!
//! The desktop's keyring and the macOS keychain cannot be had in a test; small stand-ins take their place, so that the
//! scripts' own steps are held.

mod support;

use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A keyring in a file, locked while another file is there.
const SECRET_TOOL: &str = r#"#!/bin/sh
[ ! -e "$HOME/locked" ] || exit 1
case $1 in
lookup) cat "$HOME/keyring" 2>/dev/null ;;
store) cat >"$HOME/keyring" ;;
esac
"#;

/// The same with the commands of macOS.
const SECURITY: &str = r#"#!/bin/sh
[ ! -e "$HOME/locked" ] || exit 36
case $1 in
find-generic-password) [ -e "$HOME/keyring" ] || exit 44; cat "$HOME/keyring"; echo ;;
-i) read -r line; printf %s "${line##* }" >"$HOME/keyring" ;;
esac
"#;

#[test]
fn age_keeps_the_token_state() {
    let Some(home) = Home::with("age", &["age", "age-keygen"]) else { return };
    home.shell(
        "mkdir -p .config/pizauth && age-keygen -o .config/pizauth/age-key.txt &&
         age-keygen -y .config/pizauth/age-key.txt >.config/pizauth/age-recipient.txt",
    );
    home.keeps("age.sh", ".local/state/pizauth/state.age");
    fs::remove_file(home.path(".config/pizauth/age-key.txt")).unwrap();
    home.cannot_be_read("age.sh");
}

#[test]
fn gpg_keeps_the_token_state() {
    let Some(home) = Home::with("gpg", &["gpg", "gpgconf"]) else { return };
    home.make_gpg_key();
    home.keeps("gpg.sh", ".local/state/pizauth/state.gpg");
    home.forget_gpg_key();
    home.cannot_be_read("gpg.sh");
}

#[test]
fn pass_keeps_the_token_state() {
    let Some(home) = Home::with("pass", &["gpg", "gpgconf", "pass"]) else { return };
    home.make_gpg_key();
    home.shell("pass init a@example.org");
    home.keeps("pass.sh", ".password-store/pizauth/state.gpg");
    home.forget_gpg_key();
    home.cannot_be_read("pass.sh");
}

#[test]
fn a_keyring_keeps_the_key_of_the_token_state() {
    let Some(home) = Home::with("secret-tool", &["openssl"]) else { return };
    home.program("secret-tool", SECRET_TOOL);
    home.keeps("secret-tool.sh", ".local/state/pizauth/state.keyring");
    home.survives_a_lock("secret-tool.sh");
}

#[test]
fn the_macos_keychain_keeps_the_key_of_the_token_state() {
    let Some(home) = Home::with("security", &["openssl"]) else { return };
    home.program("security", SECURITY);
    home.keeps("macos-security.sh", ".local/state/pizauth/state.keychain");
    home.survives_a_lock("macos-security.sh");
}

/// A home folder of its own, with nothing in it.
struct Home(PathBuf);

impl Home {
    /// `None`, and a word about it, where a tool is not installed.
    fn with(name: &str, tools: &[&str]) -> Option<Home> {
        for tool in tools {
            support::tool::find(tool)?;
        }
        // Short, since gpg-agent has a socket below it.
        let folder = env::temp_dir().join(format!("pz-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).expect("a folder for temporary files");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        Some(Home(folder))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn command(&self, program: &Path) -> Command {
        let path = env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(&self.0)
            .env_clear()
            .env("HOME", &self.0)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("GNUPGHOME", self.path("gnupg"));
        command
    }

    fn shell(&self, script: &str) {
        let output = self.command(Path::new("/bin/sh")).args(["-c", script]).output().expect("a shell");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        fs::write(&file, script).expect("the folder is ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    fn make_gpg_key(&self) {
        self.shell(
            "mkdir -m 700 gnupg &&
             gpg --batch --passphrase '' --quick-generate-key 'a <a@example.org>' default default never",
        );
    }

    fn forget_gpg_key(&self) {
        self.shell("gpgconf --kill gpg-agent; rm -r gnupg/private-keys-v1.d");
    }

    /// Runs an example with `persist` or `restore`.
    fn run(&self, script: &str, operation: &str, stdin: &[u8]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/examples").join(script);
        let mut command = self.command(&script);
        command.arg(operation).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("an executable script");
        // One that fails does not read to the end.
        let _ = child.stdin.take().expect("a pipe").write_all(stdin);
        child.wait_with_output().expect("its output")
    }

    fn restored(&self, script: &str) -> Vec<u8> {
        let output = self.run(script, "restore", b"");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Nothing at first, then what was last saved, in a file that is for its owner alone.
    fn keeps(&self, script: &str, file: &str) {
        assert_eq!(self.restored(script), b"", "nothing was saved yet");
        for state in [state("long", 2 * 1024 * 1024), state("short", 100)] {
            let output = self.run(script, "persist", &state);
            assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(self.restored(script) == state, "{script} gives back another state");
            let stored = fs::read(self.path(file)).expect(file);
            assert!(!stored.windows(12).any(|part| part == b"pizauth-dump"), "{script} does not encrypt");
            let mode = fs::metadata(self.path(file)).expect(file).permissions().mode();
            assert_eq!(mode & 0o077, 0, "others can read {file}");
        }
        self.replaces_nothing_by_less(script);
    }

    /// Input that ends early, because pizauth died while it wrote, does not get into the store.
    fn replaces_nothing_by_less(&self, script: &str) {
        let saved = self.restored(script);
        let whole = state("cut", 200_000);
        for length in [0, 15, 70_000, whole.len() - 2] {
            let output = self.run(script, "persist", &whole[..length]);
            assert!(!output.status.success(), "{script} takes {length} bytes of {} for a state", whole.len());
            assert!(self.restored(script) == saved, "{script} lets {length} bytes replace a state");
        }
        assert!(self.run(script, "persist", &saved).status.success());
        assert!(self.restored(script) == saved, "{script} does not save after an input that ended early");
    }

    /// A store that cannot be opened is a failure, not an empty store.
    fn cannot_be_read(&self, script: &str) {
        let output = self.run(script, "restore", b"");
        assert!(!output.status.success() && output.stdout.is_empty(), "{script}");
    }

    /// While the key cannot be had, nothing is read and nothing is overwritten.
    fn survives_a_lock(&self, script: &str) {
        let saved = self.restored(script);
        fs::write(self.path("locked"), "").expect("the folder is ours");
        self.cannot_be_read(script);
        assert!(!self.run(script, "persist", &state("other", 100)).status.success());
        fs::remove_file(self.path("locked")).expect("the file is ours");
        assert_eq!(self.restored(script), saved);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.path("gnupg").exists() {
            self.shell("gpgconf --kill gpg-agent");
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Text with the shape of a dump.
fn state(word: &str, length: usize) -> Vec<u8> {
    let line = format!("{word}0123456789\n");
    let body = line.repeat(length / line.len() + 1);
    format!("pizauth-dump 1\n{body}pizauth-dump end\n").into_bytes()
}
