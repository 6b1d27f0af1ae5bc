//! Tokens that outlast the server: persist_cmd and restore_cmd on the real binary, and what a kill may cost.

mod support;

use std::fs;

use pizauth::oauth::dump;
use serde_json::Value;
use support::{
    eventually, http,
    process::living_in,
    provider::{Provider, Rotation, Settings},
    server::{Home, Pizauth},
    tool,
};

/// A store as the examples make one, but for the encryption: with an end to look for, written aside and renamed.
///
/// `slow` makes a save last, `broken` makes it fail, and `locked` makes the store unreadable.
const STORE: &str = r#"
cd "$HOME" || exit 1
case $1 in
persist)
    echo run >>persisted
    [ ! -e broken ] || exit 1
    cat >state.new
    [ "$(tail -n 1 state.new)" = "pizauth-dump end" ] || exit 1
    [ ! -e slow ] || sleep 0.5
    mv state.new state ;;
restore)
    echo run >>tried
    [ ! -e locked ] || exit 2
    [ ! -e state ] || cat state ;;
esac
"#;

fn config(provider: &Provider, names: &[&str]) -> String {
    let accounts: String = names.iter().map(|name| provider.account(name, "refresh_retry = 1s;")).collect();
    let commands = ["persist", "restore"].map(|verb| format!("{verb}_cmd = \"sh $HOME/store.sh {verb}\";\n"));
    commands.concat() + &accounts
}

fn home(provider: &Provider, names: &[&str]) -> Home {
    let home = Home::new(&config(provider, names));
    home.folder().write("home/store.sh", STORE);
    home
}

/// The refresh token that is kept for an account.
fn stored(home: &Home, account: &str) -> Option<String> {
    let state = fs::read(home.folder().join("home/state")).ok()?;
    refresh_token(&state, account)
}

fn refresh_token(state: &[u8], account: &str) -> Option<String> {
    let tokens = dump::read(state).expect("a whole dump");
    let saved = tokens.into_iter().find(|saved| saved.account == account)?;
    saved.refresh_token.map(|token| token.expose().clone())
}

/// The refresh token that the server has for an account.
fn held(server: &Pizauth, account: &str) -> Option<String> {
    refresh_token(&server.run(&["dump"]).expect(0).bytes, account)
}

fn lines(home: &Home, file: &str) -> usize {
    home.folder().read(&format!("home/{file}")).lines().count()
}

fn mark(home: &Home, file: &str, is_set: bool) {
    match is_set {
        true => _ = home.folder().write(&format!("home/{file}"), ""),
        false => fs::remove_file(home.folder().join(&format!("home/{file}"))).expect("the mark is there"),
    }
}

fn persistence(server: &Pizauth) -> Value {
    let status: Value = serde_json::from_str(&server.run(&["status", "-j"]).expect(0).stdout).expect("JSON");
    status["persistence"].clone()
}

#[track_caller]
fn wait_for_state(server: &Pizauth, state: &str) {
    eventually(state, || persistence(server)["state"] == state);
}

fn rotating() -> Provider {
    Provider::start(Settings { rotation: Rotation::Strict, ..Settings::default() })
}

#[test]
fn a_restart_costs_no_token() {
    let provider = rotating();
    let server = Pizauth::start_in(home(&provider, &["work", "home"]));
    wait_for_restore(&server, "work");
    assert_eq!(persistence(&server)["state"], "saved");
    server.authorize("work");
    wait_for_state(&server, "saved");
    assert_eq!(stored(&server, "work"), provider.current_refresh_token("work"));
    let (token, saved) = (server.token("work"), lines(&server, "persisted"));
    let server = Pizauth::start_in(server.shutdown());
    assert_eq!(server.run(&["show", "-w", "30s", "work"]).expect(0).stdout.trim_end(), token);
    server.run(&["show", "home"]).expect(3);
    assert_eq!(lines(&server, "persisted"), saved, "what was restored is no change");
    assert_eq!(provider.token_requests().len(), 1);
}

#[test]
fn a_change_that_cannot_be_saved_is_told_until_it_is() {
    let provider = rotating();
    let server = Pizauth::start_in(home(&provider, &["home", "work"]));
    wait_for_restore(&server, "work");
    mark(&server, "broken", true);
    server.authorize("work");
    eventually("a second try", || lines(&server, "persisted") >= 2);
    let status = server.run(&["status"]).expect(0).stdout;
    assert!(status.starts_with("home: No access token\n"), "{status}");
    assert!(status.contains(" [not saved: persist_cmd ended with exit status 1]\n"), "{status}");
    let only_home = server.run(&["status", "home"]).expect(0).stdout;
    assert_eq!(only_home, "home: No access token\n");
    let state = persistence(&server);
    assert_eq!((state["state"].as_str(), state["last_error"].is_string()), (Some("unsaved"), true), "{state}");

    mark(&server, "broken", false);
    wait_for_state(&server, "saved");
    assert!(!server.run(&["status"]).expect(0).stdout.contains("not saved"));
    assert!(persistence(&server)["last_error"].is_null());

    // At the end it is tried once more, and told.
    mark(&server, "broken", true);
    server.run(&["revoke", "work"]).expect(0);
    let told = server.run(&["shutdown"]).expect(1);
    assert!(told.stderr.contains("work") && told.stderr.contains("persist_cmd"), "{}", told.stderr);
    assert_eq!(told.stderr.lines().count(), 1, "{}", told.stderr);
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn status_of_an_unknown_account_prints_nothing() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    for arguments in [&["status", "nobody"][..], &["status", "work", "nobody"], &["status", "-j", "nobody"]] {
        let output = server.run(arguments).expect(1);
        assert!(output.stdout.is_empty() && output.stderr.contains("nobody"), "{arguments:?}: {output:?}");
    }
    assert_eq!(persistence(&server)["state"], "off");
}

#[test]
fn a_save_is_made_at_shutdown() {
    let provider = rotating();
    let server = Pizauth::start_in(home(&provider, &["work"]));
    wait_for_restore(&server, "work");
    mark(&server, "slow", true);
    server.authorize("work");
    let home = server.shutdown();
    assert_eq!(stored(&home, "work"), provider.current_refresh_token("work"));
}

#[test]
fn a_command_that_reload_adds_saves_at_once() {
    let provider = rotating();
    let server = Pizauth::start_in(home(&provider, &["work"]));
    wait_for_restore(&server, "work");
    server.configure(&provider.account("work", ""));
    server.run(&["reload"]).expect(0);
    assert_eq!(persistence(&server)["state"], "off");
    server.authorize("work");
    assert_eq!(lines(&server, "persisted"), 0);
    server.configure(&config(&provider, &["work"]));
    server.run(&["reload"]).expect(0);
    wait_for_state(&server, "saved");
    assert_eq!(stored(&server, "work"), provider.current_refresh_token("work"));
}

#[test]
fn a_dump_of_megabytes_goes_through_and_holds_up_nobody() {
    let provider = rotating();
    let token = "t".repeat(700_000);
    provider.change(|settings| _ = settings.token_fields.insert("access_token".to_owned(), Value::from(token)));
    let names = ["a", "b", "c"];
    let server = Pizauth::start_in(home(&provider, &names));
    wait_for_restore(&server, "a");
    mark(&server, "slow", true);
    for name in names {
        server.authorize(name);
        // While it is saved, everybody is answered.
        assert_eq!(server.token(name).len(), 700_000);
    }
    wait_for_state(&server, "saved");
    let server = Pizauth::start_in(server.shutdown());
    for name in names {
        assert_eq!(server.run(&["show", "-w", "30s", name]).expect(0).stdout.len(), 700_001);
    }
}

#[test]
fn a_store_that_is_locked_at_first_is_read_when_it_opens_and_never_overwritten() {
    let provider = rotating();
    let names = ["changed", "new", "revoked", "work"];
    let server = Pizauth::start_in(home(&provider, &names));
    wait_for_restore(&server, "work");
    for name in ["changed", "revoked", "work"] {
        server.authorize(name);
    }
    wait_for_state(&server, "saved");
    let (token, saved) = (server.token("work"), lines(&server, "persisted"));
    let home = server.shutdown();

    // It fails three times, and then works: the key is unlocked.
    let store = STORE.replace("[ ! -e locked ]", "[ \"$(wc -l <tried)\" -ge 4 ]");
    home.folder().write("home/store.sh", &store);
    home.folder().write("home/tried", "");
    let server = Pizauth::start_in(home);
    eventually("the first failure", || persistence(&server)["state"] == "sealed");
    let waiting = server.spawn(&["show", "-w", "120s", "work"], b"");
    let told = server.run(&["show", "work"]).expect(4);
    assert!(told.stdout.is_empty() && told.stderr.contains("work"), "{told:?}");

    // Meanwhile there are changes, which are kept, told, and not saved.
    server.run(&["revoke", "revoked"]).expect(0);
    let mut login = server.command(&["auth", "new"]);
    let login = login.stdout(std::process::Stdio::piped()).spawn().expect("a process");
    let status = || -> Value { serde_json::from_str(&server.run(&["status", "-j"]).expect(0).stdout).expect("JSON") };
    let url = support::eventually_some("an authorization", || {
        let account = status()["accounts"][1].clone();
        account["authorization_url"].as_str().map(str::to_owned)
    });
    http::browse(&url).and_then(http::Exchange::finish).expect("a page");
    assert_eq!(login.wait_with_output().expect("its end").status.code(), Some(0));
    let line = server.run(&["status", "new"]).expect(0).stdout;
    assert!(line.contains(" [not saved: restore_cmd has not succeeded yet]"), "{line}");
    assert_eq!(server.token("new"), provider.last_access_token());

    assert_eq!(lines(&server, "persisted"), saved, "saved over a store that was not read");
    assert_eq!(waiting.finish().expect(0).stdout.trim_end(), token);
    assert_eq!(lines(&server, "tried"), 4);
    wait_for_state(&server, "saved");
    assert_eq!(server.run(&["status", "revoked"]).expect(0).stdout, "revoked: No access token\n");

    // Nor do they come back later.
    home_has(&server, &provider, &["changed", "new", "work"], &["revoked"]);
    let server = Pizauth::start_in(server.shutdown());
    server.run(&["show", "-w", "30s", "work"]).expect(0);
    assert_eq!(server.run(&["status", "revoked"]).expect(0).stdout, "revoked: No access token\n");
}

#[track_caller]
fn home_has(home: &Home, provider: &Provider, there: &[&str], gone: &[&str]) {
    for name in there {
        assert_eq!(stored(home, name), provider.current_refresh_token(name), "{name}");
    }
    for name in gone {
        assert_eq!(stored(home, name), None, "{name}");
    }
}

#[test]
fn what_could_not_be_saved_under_a_seal_is_told_at_the_end() {
    let provider = rotating();
    let server = Pizauth::start_in(home(&provider, &["work"]));
    mark(&server, "locked", true);
    let server = Pizauth::start_in(server.shutdown());
    wait_for_state(&server, "sealed");
    let told = server.run(&["show", "work"]).expect(4);
    assert!(told.stderr.contains("exit status 2"), "{}", told.stderr);
    let status = server.run(&["status"]).expect(0);
    assert_eq!(status.stdout, "work: No access token\n");
    assert_eq!(status.stderr.lines().count(), 1, "{}", status.stderr);
    assert!(status.stderr.contains("exit status 2") && status.stderr.contains("pizauth restore"), "{}", status.stderr);

    // Giving the store up unseals.
    server.run(&["restore"]).expect(0);
    assert_eq!(persistence(&server)["state"], "saved");
    assert_eq!(server.run(&["status"]).expect(0).stderr, "");
    server.run(&["show", "work"]).expect(3);
    server.authorize("work");
    wait_for_state(&server, "saved");
    assert_eq!(stored(&server, "work"), provider.current_refresh_token("work"));
}

/// How a server's life ends in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    KillWhenSaved,
    KillAtOnce,
    KillWithinASave,
    KillWithinARefresh,
    StopWithinARefresh,
    StopAtOnce,
    KillAfterRevoke,
}

const ENDS: [End; 7] = [
    End::KillWhenSaved,
    End::StopAtOnce,
    End::KillAtOnce,
    End::StopWithinARefresh,
    End::KillWithinASave,
    End::KillWithinARefresh,
    End::KillAfterRevoke,
];

impl End {
    /// Whether the kill may come between the provider's answer and the end of a save.
    fn may_cost_the_last_change(self) -> bool {
        match self {
            End::KillAtOnce | End::KillWithinASave | End::KillWithinARefresh => true,
            End::KillWhenSaved | End::StopWithinARefresh | End::StopAtOnce | End::KillAfterRevoke => false,
        }
    }

    /// Refreshes the token and ends the server in this way.
    fn perform(self, server: Pizauth, provider: &Provider) -> Home {
        let refresh = || server.run(&["refresh", "-w", "30s", "work"]).expect(0);
        match self {
            End::KillWhenSaved => {
                refresh();
                wait_for_state(&server, "saved");
                server.kill()
            }
            End::KillAtOnce => {
                refresh();
                server.kill()
            }
            End::KillWithinASave => {
                mark(&server, "slow", true);
                let before = lines(&server, "persisted");
                refresh();
                eventually("a save", || lines(&server, "persisted") > before);
                let home = server.kill();
                mark(&home, "slow", false);
                home
            }
            End::KillWithinARefresh | End::StopWithinARefresh => {
                provider.hold();
                let asked = provider.token_requests().len();
                server.run(&["refresh", "work"]).expect(0);
                provider.wait_for_token_requests(asked + 1);
                server.signal(if self == End::KillWithinARefresh { "KILL" } else { "TERM" });
                provider.release();
                server.wait().1
            }
            End::StopAtOnce => {
                refresh();
                server.signal("TERM");
                let (status, home) = server.wait();
                assert!(status.success(), "{status}");
                home
            }
            End::KillAfterRevoke => {
                server.run(&["revoke", "work"]).expect(0);
                wait_for_state(&server, "saved");
                server.kill()
            }
        }
    }
}

/// Where in the order of everything that was issued a refresh token stands; nothing stands before all.
fn age(provider: &Provider, token: Option<&String>) -> usize {
    let issued = provider.issued();
    let place = token.and_then(|token| issued.iter().position(|issued| issued.refresh_token.as_ref() == Some(token)));
    place.map_or(0, |place| place + 1)
}

#[test]
fn no_kill_costs_more_than_the_change_it_came_into() {
    let rounds = if tool::is_asked_for("PIZAUTH_SLOW") { 210 } else { 42 };
    let provider = rotating();
    let mut server = Pizauth::start_in(home(&provider, &["work"]));
    wait_for_restore(&server, "work");
    for round in 0..rounds {
        let end = ENDS[round % ENDS.len()];
        let name = format!("round {round}, {end:?}");
        if server.run(&["show", "-u", "work"]).status != 0 {
            server.authorize("work");
        }
        wait_for_state(&server, "saved");
        let before = stored(&server, "work");
        assert_eq!(before, provider.current_refresh_token("work"), "{name}");

        let home = end.perform(server, &provider);
        let at_end = stored(&home, "work");
        server = Pizauth::start_in(home);
        wait_for_restore(&server, "work");
        let (now, current) = (held(&server, "work"), provider.current_refresh_token("work"));
        // A command that outlives its server may still put the last change into the store, but nothing older.
        eventually("the end of the last server's commands", || living_in_store(&server) == 0);
        let kept = stored(&server, "work");
        assert!(age(&provider, kept.as_ref()) >= age(&provider, at_end.as_ref()), "{name}: an older state came back");
        assert_eq!(now, kept, "{name}: what was restored is not what is kept");
        match end {
            End::KillAfterRevoke => assert_eq!(kept, None, "{name}"),
            _ if kept == current => {}
            _ => {
                assert!(end.may_cost_the_last_change(), "{name}: the store is behind the provider");
                assert_eq!(kept, before, "{name}: more than the last change is lost");
                // The provider knows that it gave another one: the user has to authorise anew.
                server.run(&["revoke", "work"]).expect(0);
            }
        }
    }
}

/// Waits until restore_cmd has succeeded.
#[track_caller]
fn wait_for_restore(server: &Pizauth, account: &str) {
    eventually("restored tokens", || {
        let shown = server.run(&["show", "-u", account]);
        assert!([0, 3, 4].contains(&shown.status), "{shown:?}");
        shown.status != 4
    });
}

/// How many runs of the store's script there are.
fn living_in_store(home: &Home) -> usize {
    living_in(home.folder().path()).iter().filter(|(_, line)| line.contains("store.sh persist")).count()
}
