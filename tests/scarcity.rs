//! What there may be too little of: processes, threads and room on a disk. Each is a failure that passes, costs no
//! token and holds up nobody. Root sets the limits; elsewhere these tests are skipped.

mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use support::{
    eventually, http,
    pace::Pace,
    provider::{Provider, Rotation, Settings},
    server::{Home, Pizauth},
    stranger::{self, OWNER, Server},
    tool,
};

/// Sets how many processes and threads the user of the server may have.
#[track_caller]
fn limit_processes(server: &Server, most: u32) {
    let output = server.run_as(OWNER, "prlimit", &["--pid", &server.pid().to_string(), &format!("--nproc={most}:")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn without_threads_and_children_everything_waits_and_nothing_is_lost() {
    if !stranger::can_be_anybody() || tool::find("prlimit").is_none() {
        return;
    }
    let provider = Provider::start(Settings { rotation: Rotation::Strict, ..Settings::default() });
    let accounts = ["gone", "new", "work"].map(|name| provider.account(name, "refresh_retry = 1s;")).concat();
    let server = Server::start(&format!("persist_cmd = \"cat > saved\";\n{accounts}"));
    let run = |arguments: &[&str]| {
        let output = server.run_as(OWNER, "pizauth", arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
    };
    let url = |account: &str| {
        let (status, said) = run(&["show", account]);
        let url = said.split_once("until authorised with URL ").and_then(|(_, url)| url.split_whitespace().next());
        assert_eq!(status, 3, "{said}");
        url.unwrap_or_else(|| panic!("no URL in {said}")).to_owned()
    };
    let log_has = |text: &str| eventually(text, || server.log().contains(text));
    for account in ["gone", "work"] {
        http::browse(&url(account)).and_then(http::Exchange::finish).expect("a page");
    }
    eventually("a saved state", || run(&["status", "-j"]).1.contains("\"state\":\"saved\""));
    let pace = Pace::at_rest(&server.socket(), "work");

    limit_processes(&server, 0);
    let mut page = http::browse(&url("new")).expect("a page");
    page.read_until("processing authentication");
    log_has("no thread could be started");
    let (status, said) = run(&["refresh", "-w", "3s", "work"]);
    assert_eq!(status, 4, "{said}");
    assert!(said.contains("no thread could be started"), "{said}");
    assert_eq!(run(&["revoke", "gone"]).0, 0);
    eventually("a save that fails", || run(&["status"]).1.contains("[not saved: "));
    pace.is_kept("no thread and no child", &server.socket(), "work");
    assert_eq!(provider.token_requests().len(), 2, "something was sent");

    // What waited goes on by itself.
    limit_processes(&server, 100);
    page.read_until("authorised");
    provider.wait_for_token_requests(4);
    eventually("a saved state", || run(&["status", "-j"]).1.contains("\"state\":\"saved\""));
    for account in ["new", "work"] {
        let (status, token) = run(&["show", "-w", "30s", account]);
        assert_eq!(status, 0, "{token}");
        assert!(provider.is_honoured(token.trim_end()), "{account}");
    }
    assert_eq!(provider.counters().refresh_tokens_reused, 0);
}

/// Whether root may mount here, in a namespace that goes with its processes.
fn can_mount() -> bool {
    let Some(unshare) = tool::find("unshare") else { return false };
    let mut mount = Command::new(unshare);
    mount.args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).stderr(Stdio::null());
    let can_mount = mount.status().is_ok_and(|status| status.success());
    if !can_mount {
        tool::skip("no mounts");
    }
    can_mount
}

#[test]
fn a_full_disk_is_told_and_costs_no_token() {
    if !can_mount() {
        return;
    }
    let provider = Provider::start(Settings { rotation: Rotation::Strict, ..Settings::default() });
    let hooks = "persist_cmd = \"cat > disk/new && mv disk/new disk/state\";\n\
                 token_event_cmd = \"echo $PIZAUTH_EVENT >> disk/events\";\n";
    let home = Home::new(&(hooks.to_owned() + &provider.account("work", "")));
    home.folder().make("disk");
    let mount = "mount -t tmpfs -o size=64k none disk && exec \"$@\"";
    let server = Pizauth::start_in(home.limited(&format!("-c 0 && exec unshare -m sh -c '{mount}' sh \"$@\"")));
    let disk = PathBuf::from(format!("/proc/{}/root{}/disk", server.pid(), server.folder().path().display()));
    let saved = || fs::read(disk.join("state")).unwrap_or_default();
    server.authorize("work");
    eventually("a saved state", || !saved().is_empty());
    let first = saved();
    let pace = Pace::at_rest(&server.socket(), "work");

    assert!(fs::write(disk.join("filler"), [0; 128 * 1024]).is_err(), "the disk is not full");
    server.run(&["refresh", "-w", "1m", "work"]).expect(0);
    eventually("a save that fails", || server.run(&["status"]).expect(0).stdout.contains("[not saved: persist_cmd"));
    pace.is_kept("a full disk", &server.socket(), "work");
    assert_eq!(server.token("work"), provider.last_access_token());
    assert_eq!(saved(), first, "what was saved is still there");

    fs::remove_file(disk.join("filler")).expect("it is there");
    eventually("a save that succeeds", || !server.run(&["status"]).expect(0).stdout.contains("not saved"));
    assert_ne!(saved(), first);
    let dump = pizauth::oauth::dump::read(&saved()).expect("a whole dump");
    let refresh_token = dump[0].refresh_token.as_ref().map(|token| token.expose().clone());
    assert_eq!(refresh_token, provider.current_refresh_token("work"));
}
