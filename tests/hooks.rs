//! Hooks as processes, on the real binary: their limits, their groups, and what they are told.

mod support;

use support::{
    PATIENCE, eventually,
    folder::Folder,
    process::signal,
    provider::{Provider, Settings},
    server::Pizauth,
    within,
};

/// A hook that writes its process and that of a child in the background, and then does not end by itself.
fn hanging(folder: &Folder, prefix: &str) -> String {
    format!("{prefix} sleep 1000 & echo $! > {0}/child; echo $$ > {0}/hook; wait; sleep 1000", folder.path().display())
}

/// The processes that [`hanging`] told of.
#[track_caller]
fn processes(folder: &Folder) -> [i64; 2] {
    ["hook", "child"].map(|name| {
        let mut number = None;
        eventually(name, || {
            number = folder.read(name).trim().parse().ok();
            number.is_some()
        });
        number.expect("a number")
    })
}

#[test]
fn a_hook_past_its_limit_goes_with_its_whole_group() {
    for (name, prefix) in [("ends when asked", ""), ("has to be killed", "trap '' TERM;")] {
        let provider = Provider::start(Settings::default());
        let folder = Folder::new();
        let config = format!("token_event_cmd = \"{}\";\n{}", hanging(&folder, prefix), provider.account("work", ""));
        let server = Pizauth::start(&config);
        server.authorize("work");
        let processes = processes(&folder);
        assert!(processes.iter().all(|&process| signal("0", process)), "{name}: they run");
        assert_eq!(server.token("work"), provider.last_access_token(), "{name}: nobody waits for a hook");
        // Ten seconds, and two more for the one that does not listen.
        eventually(name, || processes.iter().all(|&process| !signal("0", process)));
        server.wait_for_log("token_event_cmd");
    }
}

#[test]
fn hooks_end_with_the_server_and_so_does_what_they_left() {
    let provider = Provider::start(Settings::default());
    let folder = Folder::new();
    let config = format!("auth_notify_cmd = \"{}\";\n{}", hanging(&folder, ""), provider.account("work", ""));
    let server = Pizauth::start(&config);
    server.authorization_url("work");
    let processes = processes(&folder);
    server.shutdown();
    for process in processes {
        assert!(within(PATIENCE, || (!signal("0", process)).then_some(())).is_some(), "{process} is left");
    }
}

#[test]
fn what_hooks_print_is_seen_in_the_foreground_but_never_a_secret() {
    let provider = Provider::start(Settings { client_secret: Some("s3cret".to_owned()), ..Settings::default() });
    let hooks = "startup_cmd = \"cat; echo started out; echo started err >&2\";\n";
    let command = "client_secret_cmd = \"echo s3cret; echo asked for the secret >&2\";";
    let account = provider.account("work", "").replace("client_secret = \"s3cret\";", command);
    let server = Pizauth::start(&format!("{hooks}{account}"));
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
    for line in ["started out", "started err", "asked for the secret"] {
        server.wait_for_log(line);
    }
    assert!(!server.log().contains("s3cret"), "{}", server.log());
}

#[test]
fn a_notifier_may_wait_for_a_click_until_the_login_is_done() {
    let provider = Provider::start(Settings::default());
    let folder = Folder::new();
    let url = folder.join("url");
    let hook = format!("printf %s \\\"$PIZAUTH_URL\\\" > {}; {}", url.display(), hanging(&folder, ""));
    let server = Pizauth::start(&format!("auth_notify_cmd = \"{hook}\";\n{}", provider.account("work", "")));
    let wanted = server.authorization_url("work");
    let processes = processes(&folder);
    assert_eq!(folder.read("url"), wanted);
    server.authorize("work");
    eventually("the end of the notifier", || processes.iter().all(|&process| !signal("0", process)));
}

#[test]
fn events_are_told_in_order_one_at_a_time() {
    let provider = Provider::start(Settings::default());
    let folder = Folder::new();
    let events = folder.join("events");
    let hook = format!(
        "echo \\\"$PIZAUTH_ACCOUNT $PIZAUTH_EVENT\\\" >> {0}; echo \\\"end $PIZAUTH_EVENT\\\" >> {0}",
        events.display()
    );
    let server = Pizauth::start(&format!("token_event_cmd = \"{hook}\";\n{}", provider.account("work", "")));
    server.authorize("work");
    server.run(&["refresh", "-w", "1m", "work"]).expect(0);
    server.run(&["revoke", "work"]).expect(0);
    server.authorize("work");
    provider.revoke_client("work");
    server.run(&["refresh", "-w", "1m", "work"]).expect(3);
    let wanted: String = ["new", "refreshed", "revoked", "new", "invalidated"]
        .map(|event| format!("work token_{event}\nend token_{event}\n"))
        .concat();
    eventually("all events", || folder.read("events") == wanted);
}
