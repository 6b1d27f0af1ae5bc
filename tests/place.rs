//! What a server does whose socket and lock are taken away while it runs: a logout does that, and a cleaner of old files.

mod support;

use std::fs;

use pizauth::oauth::dump;
use support::{
    control::Control,
    eventually,
    process::wait_until_asleep,
    provider::{Provider, Rotation, Settings},
    server::{Home, Pizauth},
};

/// Commands that keep the state in a file, count the saves, and wait in a save while there is a mark.
const STORE: &str = "persist_cmd = \"echo run >> saves; while [ -e slow ]; do sleep 0.05; done; cat > new && mv new store\";\n\
                     restore_cmd = \"cat store\";\n";

/// Why a server ends whose place was gone.
const GONE: &str = "the server stopped: lock and socket in ";

/// Why one ends whose place another has.
const TAKEN: &str = "the server stopped without saving: ";

fn rotating() -> Provider {
    Provider::start(Settings { rotation: Rotation::Strict, ..Settings::default() })
}

/// A server with a store and a token in it.
fn server_with_store(provider: &Provider) -> Pizauth {
    let home = Home::new(&[STORE, &provider.account("work", "")].concat());
    home.folder().write("store", "");
    let server = Pizauth::start_in(home);
    eventually("the end of restore_cmd", || server.run(&["show", "-u", "work"]).status == 3);
    server.authorize("work");
    wait_until_saved(&server);
    server
}

fn wait_until_saved(server: &Pizauth) {
    eventually("a save", || server.run(&["status", "-j"]).expect(0).stdout.contains("\"saved\""));
}

fn saves(home: &Home) -> usize {
    home.folder().read("saves").lines().count()
}

/// The refresh token in the store.
fn stored(home: &Home) -> Option<String> {
    let tokens = dump::read(home.folder().read("store").as_bytes()).expect("a whole dump");
    tokens.into_iter().next()?.refresh_token.map(|token| token.expose().clone())
}

/// As a logout does it.
fn remove_runtime_folder(home: &Home) {
    fs::remove_dir_all(home.folder().join("run")).expect("the runtime folder is there");
}

/// As a cleaner of old files does it.
fn remove_files(home: &Home) {
    let socket = home.socket();
    fs::remove_file(socket.with_extension("sock.lock")).expect("the lock is there");
    fs::remove_file(socket).expect("the socket is there");
}

fn reloads(home: &Home) -> usize {
    home.log().matches("configuration read anew").count()
}

/// Wakes the server up, which has a reload to do then.
fn wake(server: &Pizauth) {
    let before = reloads(server);
    server.signal("HUP");
    eventually("a reload", || reloads(server) > before);
}

#[track_caller]
fn ends_for(server: Pizauth, reason: &str) -> Home {
    let (status, home) = server.wait();
    assert_eq!(status.code(), Some(1), "{}", home.log());
    let line = format!("pizauth: {reason}");
    assert!(home.log().lines().any(|said| said.starts_with(&line)), "{line}\n{}", home.log());
    home
}

#[test]
fn a_server_whose_place_was_taken_leaves_the_tokens_to_the_next() {
    let provider = rotating();
    let old = server_with_store(&provider);
    let mut client = Control::connect(&old.socket());
    // It must not look before there is another.
    wait_until_asleep(old.pid());
    remove_runtime_folder(&old);
    old.folder().make("run/pizauth");
    let next = Pizauth::start_in(old.clone());
    next.run(&["show", "-w", "1m", "work"]).expect(0);
    next.run(&["refresh", "-w", "1m", "work"]).expect(0);
    wait_until_saved(&next);
    let (requests, store) = (provider.token_requests().len(), next.folder().read("store"));

    client.send(b"{\"version\":1,\"request\":\"refresh\",\"account\":\"work\"}\n");
    ends_for(old, TAKEN);
    assert!(client.is_closed());
    assert_eq!((provider.token_requests().len(), next.folder().read("store")), (requests, store));
    let second = next.run(&["server"]).expect(1);
    assert_eq!(second.stderr, "pizauth: pizauth authenticator already running\n");
    next.run(&["refresh", "-w", "1m", "work"]).expect(0);
}

#[test]
fn without_a_store_the_place_is_taken_again() {
    let provider = rotating();
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    let token = server.token("work");
    for remove in [remove_runtime_folder, remove_files] {
        remove(&server);
        wake(&server);
        assert_eq!(server.token("work"), token);
        let second = server.run(&["server"]).expect(1);
        assert_eq!(second.stderr, "pizauth: pizauth authenticator already running\n");
    }
}

#[test]
fn a_place_that_cannot_be_taken_again_is_told_once_and_tried_again() {
    let provider = rotating();
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    let token = server.token("work");
    remove_runtime_folder(&server);
    server.folder().write("run", "in the way");
    for _ in 0..3 {
        wake(&server);
    }
    assert_eq!(server.log().matches("the socket cannot be made anew: ").count(), 1, "{}", server.log());
    fs::remove_file(server.folder().join("run")).expect("it is in the way");
    wake(&server);
    assert_eq!(server.token("work"), token);
}

#[test]
fn with_a_store_the_server_ends_and_does_not_touch_what_is_saved() {
    let provider = rotating();
    let server = server_with_store(&provider);
    let (requests, saves_before) = (provider.token_requests().len(), saves(&server));
    server.folder().write("store", "of another server");
    let mut client = Control::connect(&server.socket());
    remove_runtime_folder(&server);
    client.send(b"{\"version\":1,\"request\":\"refresh\",\"account\":\"work\"}\n");
    let home = ends_for(server, GONE);
    assert_eq!((provider.token_requests().len(), saves(&home)), (requests, saves_before));
    assert_eq!(home.folder().read("store"), "of another server");
    assert!(!home.folder().join("run").exists());
}

#[test]
fn a_store_counts_from_the_reload_that_brings_it_to_the_one_that_takes_it() {
    let provider = rotating();
    let account = provider.account("work", "");
    let server = Pizauth::start(&account);
    server.folder().write("store", "");
    let with_store = [STORE, &account].concat();
    server.configure(&with_store);
    server.run(&["reload"]).expect(0);
    server.configure(&account);
    server.run(&["reload"]).expect(0);
    remove_runtime_folder(&server);
    wake(&server);
    server.configure(&with_store);
    server.run(&["reload"]).expect(0);
    remove_runtime_folder(&server);
    server.signal("HUP");
    ends_for(server, GONE);
}

#[test]
fn a_token_that_was_asked_for_in_time_is_waited_for_and_saved() {
    let provider = rotating();
    for is_woken in [false, true] {
        let server = server_with_store(&provider);
        let requests = provider.token_requests().len();
        provider.hold();
        server.run(&["refresh", "work"]).expect(0);
        provider.wait_for_token_requests(requests + 1);
        remove_runtime_folder(&server);
        if is_woken {
            server.signal("HUP");
            server.wait_for_log("shutting down");
        }
        provider.release();
        let home = ends_for(server, GONE);
        assert_eq!(stored(&home), provider.current_refresh_token("work"), "woken before the answer: {is_woken}");
    }
}

#[test]
fn a_save_that_began_in_time_ends() {
    let provider = rotating();
    let server = server_with_store(&provider);
    let saves_before = saves(&server);
    server.folder().write("slow", "");
    server.run(&["refresh", "-w", "1m", "work"]).expect(0);
    eventually("a slow save", || saves(&server) > saves_before);
    remove_runtime_folder(&server);
    server.signal("HUP");
    server.wait_for_log("shutting down");
    fs::remove_file(server.folder().join("slow")).expect("the mark is there");
    let home = ends_for(server, GONE);
    assert_eq!(stored(&home), provider.current_refresh_token("work"));
    assert_eq!(saves(&home), saves_before + 1);
}

#[test]
fn another_server_ends_the_wait_for_a_token_at_once() {
    let provider = rotating();
    let server = server_with_store(&provider);
    let requests = provider.token_requests().len();
    provider.hold();
    server.run(&["refresh", "work"]).expect(0);
    provider.wait_for_token_requests(requests + 1);
    remove_runtime_folder(&server);
    server.signal("HUP");
    server.wait_for_log("shutting down");
    let saves_before = saves(&server);
    server.folder().make("run/pizauth");
    let next = Pizauth::start_in(server.clone());
    provider.release();
    let home = ends_for(server, TAKEN);
    assert_eq!(saves(&home), saves_before);
    next.shutdown();
}
