//! What `show -f` prints, taken by the programs that it is for: git, curl, msmtp, jq.

mod support;

use std::{
    ffi::OsString,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use support::{
    document::{fences, read},
    mail::{Login, MailServer, Protocol},
    provider::{Provider, Settings},
    server::Pizauth,
    tool,
};

const USER: &str = "me@example.org";

/// A user that needs care in OAUTHBEARER; not for curl and msmtp, which write names as they are.
const ODD_USER: &str = "me=you,too@example.org";

const BOTH: &str = "XOAUTH2 OAUTHBEARER";
const MECHANISMS: [(&str, &str); 2] = [("xoauth2", "XOAUTH2"), ("oauthbearer", "OAUTHBEARER")];

/// A provider and a server whose account `work` has a token.
struct Stage {
    server: Pizauth,
    provider: Provider,
    token: String,
}

impl Stage {
    fn new(options: &str) -> Stage {
        let provider = Provider::start(Settings::default());
        let server = Pizauth::start(&provider.account("work", options));
        server.authorize("work");
        let token = server.token("work");
        Stage { server, provider, token }
    }

    /// Runs a shell script with pizauth in its PATH, as recipes do; a step of a pipe that fails makes it fail.
    fn shell(&self, script: &str, input: &str) -> Output {
        let folder = Path::new(env!("CARGO_BIN_EXE_pizauth")).parent().expect("a program is in a folder");
        let mut path = OsString::from(folder);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let pizauth = self.server.command(&[]);
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -eu -o pipefail; umask 077; {script}")]).env_clear();
        command.envs(pizauth.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", path).env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "true");
        command.current_dir(self.server.folder().path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash can be started");
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        child.wait_with_output().expect("its end")
    }

    #[track_caller]
    fn shell_ok(&self, script: &str, input: &str) -> String {
        let output = self.shell(script, input);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {stderr}; the log:\n{}", self.server.log());
        String::from_utf8(output.stdout).expect("text")
    }

    fn login(&self, mechanism: &str) -> Login {
        Login { mechanism: mechanism.to_owned(), user: USER.to_owned(), token: self.token.clone() }
    }
}

fn with_user(more: &str) -> String {
    format!("user = {USER:?}; {more}")
}

#[test]
fn git_takes_the_token_for_its_hosts() {
    if tool::find("git").is_none() {
        return;
    }
    let stage = Stage::new(&with_user("git_hosts = [\"git.example\", \"git.example:8443\"];"));
    let fill = r#"git -c credential.helper= -c 'credential.helper=!pizauth show -f git work' credential"#;
    for host in ["git.example", "git.example:8443"] {
        let filled = stage.shell_ok(&format!("{fill} fill"), &format!("protocol=https\nhost={host}\n\n"));
        let lines: Vec<&str> = filled.lines().collect();
        assert!(lines.contains(&format!("username={USER}").as_str()), "{filled}");
        assert!(lines.contains(&format!("password={}", stage.token).as_str()), "{filled}");
        let expiry = lines.iter().find_map(|line| line.strip_prefix("password_expiry_utc="));
        assert!(expiry.is_some_and(|time| time.parse::<u64>().is_ok()), "{filled}");
        // What git tells afterwards changes nothing.
        for operation in ["approve", "reject"] {
            stage.shell_ok(&format!("{fill} {operation}"), &filled);
        }
    }
    assert_eq!(stage.server.token("work"), stage.token);
}

#[test]
fn git_gets_no_token_for_anybody_else() {
    if tool::find("git").is_none() {
        return;
    }
    let stage = Stage::new(&with_user("git_hosts = [\"git.example\"];"));
    let git = "git -c credential.helper= -c 'credential.helper=!pizauth show -f git work' credential fill";
    for (name, request) in [
        ("in the clear", "protocol=http\nhost=git.example\n"),
        ("another scheme", "protocol=ssh\nhost=git.example\n"),
        ("a submodule's host", "protocol=https\nhost=evil.example\n"),
        ("a longer name", "protocol=https\nhost=git.example.evil.example\n"),
        ("a name before it", "protocol=https\nhost=evil-git.example\n"),
        ("another port", "protocol=https\nhost=git.example:444\n"),
        ("a user in the host", "protocol=https\nhost=git.example@evil.example\n"),
        ("a path in the host", "protocol=https\nhost=evil.example/git.example\n"),
        ("a dot at the end", "protocol=https\nhost=git.example.\n"),
        ("no host", "protocol=https\n"),
        ("a URL", "url=https://git.example@evil.example/x\n"),
        ("a URL in the clear", "url=http://git.example/\n"),
    ] {
        let output = stage.shell(git, &format!("{request}\n"));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!String::from_utf8_lossy(&output.stdout).contains(&stage.token), "{name}");
        assert!(!told.contains(&stage.token), "{name}: {told}");
        let own: Vec<&str> = told.lines().filter(|line| line.starts_with("pizauth: ")).collect();
        assert!(own.len() == 1 || told.starts_with("fatal: "), "{name}: {told}");
    }
}

#[test]
fn a_foreign_host_starts_nothing() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", "git_hosts = [\"git.example\"];"));
    let get = |host: &str| {
        let request = format!("protocol=https\nhost={host}\n\n");
        server.run_with_input(&["show", "-f", "git", "work", "get"], request.as_bytes())
    };
    let refused = get("evil.example").expect(1);
    assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{}", refused.stderr);
    assert!(refused.stderr.contains("evil.example") && refused.stderr.contains("git_hosts"), "{}", refused.stderr);
    assert_eq!(server.run(&["status"]).expect(0).stdout, "work: No access token\n");
    get("git.example").expect(3);
}

#[test]
fn jq_reads_the_json() {
    if tool::find("jq").is_none() {
        return;
    }
    let stage = Stage::new("scopes = [\"mail \\\"all\\\"\", \"calendar\"];");
    assert_eq!(stage.shell_ok("pizauth show -f json work | jq -r .access_token", "").trim_end(), stage.token);
    let text = stage.shell_ok("pizauth show -f json work | jq -c .", "");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let names = ["account", "access_token", "token_type", "expires_at", "expires_in", "scope"];
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(names.len()), "{text}");
    assert!(names.iter().all(|name| !json[name].is_null()), "{text}");
    let wants_attention = r#"pizauth status -ju | jq -r '.accounts[] | select(.state != "active") | .name'"#;
    assert_eq!(stage.shell_ok(wants_attention, ""), "");
    stage.server.run(&["revoke", "work"]).expect(0);
    assert_eq!(stage.shell_ok(wants_attention, ""), "work\n");
    // A failed show makes the recipe fail.
    assert!(!stage.shell("pizauth show -f json work | jq -r .access_token", "").status.success());
}

#[test]
fn curl_sends_the_header_from_its_stdin() {
    if tool::find("curl").is_none() {
        return;
    }
    let stage = Stage::new("");
    let recipe = format!("pizauth show -f header work | curl -fsS -H @- {}", stage.provider.url("/whoami"));
    assert!(stage.shell_ok(&recipe, "").contains("work"), "{recipe}");
    stage.server.run(&["revoke", "work"]).expect(0);
    assert!(!stage.shell(&recipe, "").status.success());
}

#[test]
fn the_recipes_for_curl_work_and_fail_as_they_say() {
    if tool::find("curl").is_none() {
        return;
    }
    let stage = Stage::new(&with_user(""));
    let mail = MailServer::start(Protocol::Imap, BOTH, USER, &stage.token);
    let here = |recipe: &str| {
        recipe
            .replace("https://api.example/me", &stage.provider.url("/whoami"))
            .replace("imaps://imap.example/", &format!("imap://127.0.0.1:{}/", mail.port()))
            .replace("USER@company.example", USER)
    };
    let recipes = fences(&read("README.md"), "bash");
    assert_eq!(recipes.len(), 2);
    for (recipe, file, text) in [(&recipes[0], "me.json", "work"), (&recipes[1], "folders.txt", "INBOX")] {
        stage.shell_ok(&here(recipe), "");
        let written = stage.server.folder().join(file);
        assert!(stage.server.folder().read(file).contains(text), "{recipe}");
        let mode = std::fs::metadata(written).expect(file).permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read {file}");
    }
    // Without a token they fail, though the last step would have been content.
    stage.server.run(&["revoke", "work"]).expect(0);
    for recipe in &recipes {
        let recipe = here(recipe).replace("curl ", "true ");
        assert_eq!(stage.shell(&recipe, "").status.code(), Some(3), "{recipe}");
    }
}

#[test]
fn curl_logs_in_to_imap_and_smtp() {
    if tool::find("curl").is_none() {
        return;
    }
    let stage = Stage::new(&with_user(""));
    for (protocol, scheme) in [(Protocol::Imap, "imap"), (Protocol::Smtp, "smtp")] {
        for (_, mechanism) in MECHANISMS {
            // curl takes the best that is offered.
            let server = MailServer::start(protocol, mechanism, USER, &stage.token);
            let mail = match protocol {
                Protocol::Imap => "",
                Protocol::Smtp => "--mail-from me@example.org --mail-rcpt you@example.org -T README",
            };
            stage.server.folder().write("README", "Subject: hello\r\n\r\nhello\r\n");
            let recipe = format!(
                r#"pizauth show work | sed 's/.*/oauth2-bearer = "&"/' |
                   curl -fsS -K - --user '{USER}:' {mail} {scheme}://127.0.0.1:{}/"#,
                server.port()
            );
            stage.shell_ok(&recipe, "");
            assert_eq!(server.take_logins(), [stage.login(mechanism)], "{scheme}");
        }
    }
}

#[test]
fn msmtp_sends_with_the_token() {
    if tool::find("msmtp").is_none() {
        return;
    }
    let stage = Stage::new(&with_user(""));
    let server = MailServer::start(Protocol::Smtp, BOTH, USER, &stage.token);
    for (name, mechanism) in MECHANISMS {
        let config = format!(
            "account work\nhost 127.0.0.1\nport {}\ntls off\nauth {name}\nuser {USER}\nfrom me@example.org\n\
             passwordeval pizauth show work\n",
            server.port()
        );
        stage.server.folder().write("msmtprc", &config);
        stage.shell_ok("msmtp -C msmtprc -a work you@example.org", "Subject: hello\n\nhello\n");
        assert_eq!(server.take_logins(), [stage.login(mechanism)]);
    }
    // Without a token, msmtp says so and sends nothing.
    stage.server.run(&["revoke", "work"]).expect(0);
    let failed = stage.shell("msmtp -C msmtprc -a work you@example.org", "Subject: hello\n\nhello\n");
    assert!(!failed.status.success() && server.take_logins().is_empty());
}

#[test]
fn initial_responses_are_accepted_as_they_are() {
    let login = |stage: &Stage, mechanism: &str| Login { user: ODD_USER.to_owned(), ..stage.login(mechanism) };
    let stage = Stage::new(&format!("user = {ODD_USER:?};"));
    let imap = MailServer::start(Protocol::Imap, BOTH, ODD_USER, &stage.token);
    let smtp = MailServer::start(Protocol::Smtp, BOTH, ODD_USER, &stage.token);
    for (format, mechanism) in MECHANISMS {
        let response = stage.server.run(&["show", "-f", format, "work"]).expect(0).stdout;
        let response = response.trim_end();
        let said = imap.talk(&format!("a AUTHENTICATE {mechanism} {response}\r\nb LOGOUT\r\n"));
        assert!(said.contains("\r\na OK "), "{said}");
        assert_eq!(imap.take_logins(), [login(&stage, mechanism)]);
        let said = smtp.talk(&format!("EHLO me\r\nAUTH {mechanism} {response}\r\nQUIT\r\n"));
        assert!(said.contains("\r\n235 "), "{said}");
        assert_eq!(smtp.take_logins(), [login(&stage, mechanism)]);
        let other = stage.server.run(&["show", "-f", format, "-U", "other", "work"]).expect(0).stdout;
        imap.talk(&format!("a AUTHENTICATE {mechanism} {}\r\n\r\nb LOGOUT\r\n", other.trim_end()));
        assert_eq!(imap.take_logins(), [Login { user: "other".to_owned(), ..login(&stage, mechanism) }]);
        let refused = stage.server.run(&["show", "-f", format, "-U", "a\nb", "work"]).expect(1);
        assert!(refused.stdout.is_empty(), "{refused:?}");
    }
    let nobody = Stage::new("");
    for (format, _) in MECHANISMS {
        let refused = nobody.server.run(&["show", "-f", format, "work"]).expect(1);
        assert!(refused.stdout.is_empty() && refused.stderr.contains("-U"), "{refused:?}");
    }
}
