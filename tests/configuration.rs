//! What a configuration does on the real binary: `check` and its warnings, and secrets that a command tells.

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use support::{
    eventually,
    provider::{Answer, Provider, Settings},
    server::{Home, Pizauth},
};

const SECRET: &str = "demo secret &=+/%";

fn account(name: &str, uris: &str, more: &str) -> String {
    format!("account \"{name}\" {{\n    {uris}\n    client_id = \"a\";\n    {more}\n}}\n")
}

#[test]
fn check_warns_and_exits_with_0() {
    let good = "auth_uri = \"https://a.example/\"; token_uri = \"https://a.example/\";";
    let plain = "auth_uri = \"http://a.example/\"; token_uri = \"https://a.example/\";";
    let plain_token = "auth_uri = \"https://a.example/\"; token_uri = \"http://a.example/\";";
    let local = "auth_uri = \"http://localhost:1/\"; token_uri = \"http://127.0.0.1:1/\";";
    let microsoft = "auth_uri = \"https://login.microsoftonline.com/common/oauth2/v2.0/authorize\";
        token_uri = \"https://login.microsoftonline.com/common/oauth2/v2.0/token\";";
    let secret = "client_secret = \"hunter2\";";
    for (name, config, mode, want) in [
        ("nothing", account("work", good, ""), 0o644, &[][..]),
        ("plain http", account("work", plain, ""), 0o600, &["work", "http"]),
        ("plain http for tokens", account("work", plain_token, ""), 0o600, &["work", "http"]),
        ("plain http on loopback", account("work", local, ""), 0o600, &[]),
        ("others can read a secret", account("work", good, secret), 0o644, &["chmod 600"]),
        ("nobody else can", account("work", good, secret), 0o600, &[]),
        ("Microsoft", account("work", microsoft, "scopes = [\"openid\"];"), 0o600, &["work", "offline_access"]),
        ("Microsoft, offline", account("work", microsoft, "scopes = [\"offline_access\"];"), 0o600, &[]),
    ] {
        let home = Home::new(&config);
        fs::set_permissions(home.config_path(), fs::Permissions::from_mode(mode)).expect("the file is ours");
        let output = home.run(&["check"]).expect(0);
        assert_eq!(output.stdout, "", "{name}");
        assert_eq!(output.stderr.lines().count(), usize::from(!want.is_empty()), "{name}: {}", output.stderr);
        assert!(want.iter().all(|text| output.stderr.contains(text)), "{name}: {}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{name}: {}", output.stderr);
    }
}

#[test]
fn check_tells_every_error_with_its_place_and_no_secret() {
    let config = "account \"work\" {\n    client_secret = \"hunter2\" \"hunter3\";\n    scope = [\"a\"];\n}\n";
    let home = Home::new(config);
    let output = home.run(&["check"]).expect(1);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains("pizauth.conf:2:31: "), "{}", output.stderr);
    assert!(!output.stderr.contains("hunter"), "{}", output.stderr);
    let elsewhere = home.folder().write("other.conf", "nonsense\n");
    let output = home.run(&["check", "-c", elsewhere.to_str().expect("a path")]).expect(1);
    assert!(output.stderr.contains("other.conf:1:1: "), "{}", output.stderr);
    let missing = home.run(&["check", "-c", "/nowhere/at.conf"]).expect(1);
    assert!(missing.stderr.contains("/nowhere/at.conf"), "{}", missing.stderr);
}

#[test]
fn a_name_never_breaks_a_message() {
    let mistaken = "account \"work\" {\n    scope = [\"a\"];\n}\n";
    let home = Home::new(mistaken);
    let odd = home.folder().write("a\nb.conf", mistaken);
    let odd = odd.to_str().expect("a path");
    let output = home.run(&["check", "-c", odd]).expect(1);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(lines[0].starts_with("pizauth: ") && lines[0].contains("b.conf:"), "{}", output.stderr);
    assert!(lines.contains(&"    scope = [\"***\"];"), "{}", output.stderr);
    assert_eq!(lines.iter().filter(|line| line.starts_with("pizauth: ")).count() * 2, lines.len(), "{lines:?}");
    for line in [&["check", "-c", "/nowhere\nat.conf"][..], &["server", "-c", "/nowhere\nat.conf"]] {
        let missing = home.run(line).expect(1);
        assert_eq!(missing.stderr.lines().count(), 1, "{}", missing.stderr);
    }

    let server =
        Pizauth::start(&account("work", "auth_uri = \"http://127.0.0.1/\"; token_uri = \"http://127.0.0.1/\";", ""));
    for command in ["show", "auth", "refresh", "revoke", "status"] {
        let unknown = server.run(&[command, "no\npe"]).expect(1);
        assert_eq!(unknown.stderr.lines().count(), 1, "{command}: {}", unknown.stderr);
    }
    // A reload that is refused tells the same as check.
    server.configure(mistaken);
    let refused = server.run(&["reload"]).expect(1);
    assert!(refused.stderr.contains("\n    scope = [\"***\"];\n"), "{}", refused.stderr);
}

/// A server whose client secret comes from a file, by a command that notes its runs.
fn with_command(provider: &Provider, command: &str) -> Pizauth {
    let block = provider.account("work", "refresh_retry = 1s;");
    let line = format!("client_secret = \"{SECRET}\";");
    assert!(block.contains(&line));
    let block = block.replace(&line, &format!("client_secret_cmd = \"echo run >>$HOME/runs; {command}\";"));
    let server = Pizauth::start(&block);
    server.folder().write("home/secret", SECRET);
    server
}

fn runs(server: &Pizauth) -> usize {
    server.folder().read("home/runs").lines().count()
}

#[test]
fn a_secret_is_asked_for_when_it_is_needed_and_once() {
    let provider = Provider::start(Settings::default());
    let server = with_command(&provider, "[ $PIZAUTH_ACCOUNT = work ] && cat $HOME/secret");
    server.run(&["show", "work"]).expect(3);
    assert_eq!(runs(&server), 0);
    server.authorize("work");
    server.run(&["refresh", "-w", "30s", "work"]).expect(0);
    assert_eq!(server.token("work"), provider.last_access_token());
    assert_eq!(runs(&server), 1);

    // Read anew after a reload, and when the provider does not know it.
    server.run(&["reload"]).expect(0);
    server.run(&["refresh", "-w", "30s", "work"]).expect(0);
    assert_eq!(runs(&server), 2);
    provider.next_token_answer(Answer::error(401, "invalid_client", "a wrong secret"));
    server.run(&["refresh", "-w", "30s", "work"]).expect(1);
    server.run(&["refresh", "-w", "30s", "work"]).expect(0);
    assert_eq!(runs(&server), 3);
    assert!(!server.log().contains("demo secret"), "{}", server.log());
}

#[test]
fn a_secret_that_cannot_be_had_costs_no_token_and_is_asked_for_again() {
    let provider = Provider::start(Settings::default());
    let server = with_command(&provider, "[ -e $HOME/unlocked ] && cat $HOME/secret");
    server.folder().write("home/unlocked", "");
    server.authorize("work");
    let token = server.token("work");
    server.run(&["reload"]).expect(0);
    fs::remove_file(server.folder().join("home/unlocked")).expect("it is there");
    let failed = server.run(&["refresh", "-w", "30s", "work"]).expect(4);
    assert!(failed.stderr.contains("client_secret_cmd"), "{}", failed.stderr);
    assert_eq!(server.token("work"), token);
    server.folder().write("home/unlocked", "");
    eventually("a new token", || server.token("work") != token);
    assert_eq!(provider.token_requests().len(), 2);

    for (name, text) in [("empty", ""), ("two lines", "a\nb\n")] {
        server.run(&["reload"]).expect(0);
        server.folder().write("home/secret", text);
        let failed = server.run(&["refresh", "-w", "30s", "work"]).expect(4);
        assert!(failed.stderr.contains("client_secret_cmd"), "{name}: {}", failed.stderr);
    }
    assert_eq!(provider.token_requests().len(), 2);
}
