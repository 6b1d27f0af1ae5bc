//! What the documents tell people to type, typed as it stands: README.md from a clone to a token, and the examples of
//! pizauth(1).
//!
//! Three things are put in place of what a person has. The accounts are the documents' own, but their endpoints are
//! those of the demo provider. The browser is the test's. And cargo is one that hands over the program under test and
//! runs no tests, since it would build that program and run these tests once more.

mod support;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use support::{
    document::{displays, fences, path, read, section},
    eventually,
    folder::Folder,
    http,
    process::{living_in, signal},
    provider::{Provider, Settings},
    tool,
};

/// Hands over the program under test, as a build does; runs no tests.
const CARGO: &str = "#!/bin/sh\ncase $1 in\n\
                     build) mkdir -p target/release && cp PROGRAM target/release/pizauth ;;\n\
                     test) ;;\n*) echo \"cargo $*: not expected\" >&2; exit 1 ;;\nesac\n";

/// The machine of somebody who has just heard of pizauth. Dropping it ends what still runs.
struct Newcomer {
    folder: Folder,
    provider: Provider,
}

impl Newcomer {
    fn new() -> Newcomer {
        let folder = Folder::new();
        ["bin", "home/.config", "home/.local/bin", "run"].iter().for_each(|name| _ = folder.make(name));
        let settings = Settings { client_secret: None, ..Settings::default() };
        Newcomer { folder, provider: Provider::start(settings) }
    }

    /// Puts a program of that text in the newcomer's PATH.
    fn program(&self, name: &str, text: &str) {
        let file = self.folder.write(&format!("bin/{name}"), text);
        fs::set_permissions(file, fs::Permissions::from_mode(0o700)).expect("a mode");
    }

    fn configure(&self, text: &str) {
        self.folder.write("home/.config/pizauth.conf", text);
    }

    /// Runs a script in `folder`, logs in wherever it prints an authorization URL, and returns what it printed.
    #[track_caller]
    fn types(&self, shell: &str, script: &str, folder: &str) -> String {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let path = format!("{}:{}:{}", at("bin"), at("home/.local/bin"), std::env::var("PATH").unwrap_or_default());
        let errors = File::create(self.folder.join("errors")).expect("a file");
        let mut child = Command::new(shell)
            .args(["-e", "-c", script])
            .current_dir(self.folder.join(folder))
            .env_clear()
            .envs([("PATH", path), ("HOME", at("home")), ("XDG_RUNTIME_DIR", at("run"))])
            .envs([("SHELL", "/bin/sh".to_owned()), ("PREFIX", at("home/.local"))])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect(shell);
        let mut printed = String::new();
        let authorize = self.provider.url("/authorize");
        for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
            let line = line.expect("text");
            if line.starts_with(&authorize) {
                http::browse(&line).and_then(http::Exchange::finish).expect("the page after the login");
            }
            printed += &(line + "\n");
        }
        let status = child.wait().expect("its end");
        assert!(status.success(), "{script}\n{printed}\n{}", self.folder.read("errors"));
        printed
    }

    /// The account's block with the demo provider's endpoints.
    fn at_home(&self, block: &str) -> String {
        let lines = block.lines().map(|line| match line.trim_start().split_once(" = ") {
            Some((name @ ("auth_uri" | "token_uri" | "revocation_uri"), _)) => {
                let path = name.trim_end_matches("_uri").replace("auth", "authorize").replace("revocation", "revoke");
                format!("    {name} = \"{}\";\n", self.provider.url(&format!("/{path}")))
            }
            _ => format!("{line}\n"),
        });
        lines.collect()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let left = || living_in(self.folder.path());
        left().into_iter().for_each(|(pid, _)| _ = signal("TERM", pid.into()));
        if !std::thread::panicking() {
            eventually("the end of what was started", || left().is_empty());
        }
    }
}

#[test]
fn the_readme_leads_from_a_clone_to_a_token() {
    if tool::find("git").is_none() || tool::find("make").is_none() {
        return;
    }
    if !Path::new(&path(".git")).exists() {
        return tool::skip("no git repository to clone");
    }
    let newcomer = Newcomer::new();
    newcomer.program("cargo", &CARGO.replace("PROGRAM", env!("CARGO_BIN_EXE_pizauth")));
    newcomer.types("/bin/sh", &format!("git clone -q '{}' pizauth", path("")), ".");

    let page = read("README.md");
    let accounts: Vec<_> = fences(&page, "conf").into_iter().filter(|block| block.starts_with("account ")).collect();
    assert!(accounts.iter().any(|block| block.contains("login.microsoftonline.com")));
    assert!(accounts.iter().any(|block| block.contains("accounts.google.com")));
    let config: String = accounts.iter().map(|block| newcomer.at_home(block)).collect();
    assert!(!config.contains("https://login") && !config.contains("https://accounts"), "{config}");
    newcomer.configure(&config.replace("client_secret = \"CLIENT_SECRET\";", ""));

    let blocks = fences(&page, "sh");
    let mut printed = String::new();
    for block in &blocks {
        printed = newcomer.types("/bin/sh", block, "pizauth");
    }
    assert_eq!(printed.lines().last(), Some(newcomer.provider.last_access_token().as_str()), "{printed}");
    // The same for the other provider, and the rest of what one does with an installation.
    let last = blocks.last().expect("a block");
    assert!(last.contains("\npizauth server\npizauth auth work\npizauth show work\n"), "{last}");
    let printed = newcomer.types("/bin/sh", "pizauth auth gmail; pizauth show gmail; pizauth shutdown", ".");
    assert_eq!(printed.lines().last(), Some(newcomer.provider.last_access_token().as_str()), "{printed}");
    newcomer.types("/bin/sh", "make uninstall", "pizauth");
    assert!(!newcomer.folder.join("home/.local/bin/pizauth").exists());
}

#[test]
fn the_examples_of_the_manual_work() {
    let newcomer = Newcomer::new();
    let link = format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_pizauth"));
    newcomer.program("pizauth", &link);
    newcomer.program("mbsync", "#!/bin/sh\necho \"mbsync $*\"\n");
    let forge = "git_hosts = [\"git.example\"];\n    user = \"oauth2\";";
    let accounts = [("work", ""), ("forge", forge), ("backup", "")];
    newcomer.configure(&accounts.map(|(name, options)| newcomer.provider.account(name, options)).concat());

    let page = read("man/pizauth.1");
    let mut kinds = Vec::new();
    for text in displays(section(&page, "EXAMPLES")) {
        kinds.push(example(&newcomer, &text));
    }
    assert_eq!(
        kinds,
        ["server", "mail", "mail", "mail", "git", "curl", "cron", "status bar", "backup", "socket"],
        "each example is tried"
    );
}

/// Tries an example of pizauth(1), and says of which kind it is.
#[track_caller]
fn example(newcomer: &Newcomer, text: &str) -> &'static str {
    let typed = text.strip_prefix("$ ").map(|typed| typed.replace("\n$ ", "\n"));
    let run = |script: &str| newcomer.types("bash", script, ".");
    let token = || newcomer.provider.last_access_token();
    match typed {
        Some(typed) if typed.starts_with("pizauth server\n") => {
            assert!(run(&typed).starts_with(&newcomer.provider.url("/authorize")));
            run("pizauth auth forge; pizauth auth backup; pizauth auth work");
            "server"
        }
        Some(typed) if typed.starts_with("pizauth status ") => {
            if tool::find("jq").is_some() {
                assert_eq!(run(&typed), "");
                run("pizauth revoke backup");
                assert_eq!(run(&typed), "backup\n");
                run("pizauth auth backup");
            }
            "status bar"
        }
        Some(typed) if typed.starts_with("pizauth show -t ") => {
            assert_eq!(run(&typed), format!("{}\n", token()));
            "backup"
        }
        Some(typed) if typed.contains(" nc ") => {
            if tool::find("nc").is_some() {
                let answer: Value = serde_json::from_str(&run(&typed)).expect("one line of JSON");
                assert_eq!((&answer["version"], &answer["answer"]), (&1.into(), &"status".into()));
                assert_eq!(answer["accounts"].as_array().map(Vec::len), Some(3), "{answer}");
            }
            "socket"
        }
        Some(typed) => panic!("an example that nobody tries: {typed}"),
        None if text.starts_with("[credential ") => {
            if tool::find("git").is_some() {
                newcomer.folder.write("home/.gitconfig", text);
                let asked = "printf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill";
                let filled = run(asked);
                assert!(filled.contains("\nusername=oauth2\npassword="), "{filled}");
            }
            "git"
        }
        None if text.starts_with("set -euo pipefail\n") => {
            if tool::find("curl").is_some() {
                run(&text.replace("https://api.example/me", &newcomer.provider.url("/whoami")));
                assert!(newcomer.folder.read("me.json").contains("work"), "{}", newcomer.folder.read("me.json"));
            }
            "curl"
        }
        None if text.contains("\n*/") => {
            let (setting, line) = text.split_once('\n').expect("two lines");
            // Where `make install` puts programs, this newcomer has them in a folder of the test.
            let setting = setting.replace("/usr/local/bin", &newcomer.folder.join("bin").display().to_string());
            let command = line.splitn(6, ' ').last().expect("a command after the times");
            assert_eq!(run(&format!("{setting}\n{command}")), "mbsync -q work\n");
            "cron"
        }
        None => {
            let commands =
                text.lines().filter_map(|line| line.find("pizauth ").map(|at| line[at..].trim_end_matches('"')));
            let printed: Vec<_> = commands.map(run).collect();
            assert!(!printed.is_empty(), "an example that nobody tries: {text}");
            assert!(printed.iter().all(|printed| *printed == format!("{}\n", token())), "{text}");
            "mail"
        }
    }
}
