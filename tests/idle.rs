//! What the daemon costs while nothing is to be done. Takes minutes, so it runs with PIZAUTH_SLOW=1 only.

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use support::{
    process::{figures, wait_until_asleep},
    provider::{Provider, Settings},
    server::Pizauth,
    tool,
};

/// How long nothing may happen.
const IDLE: Duration = Duration::from_secs(120);

/// Life of the access token, and from when on before its end it is refreshed, in seconds: the refresh comes after
/// [`IDLE`].
const LIFE: u64 = 240;
const BEFORE_EXPIRY: u64 = 90;

/// How late a refresh may come on a busy machine.
const LATE: Duration = Duration::from_secs(5);

#[test]
fn an_idle_daemon_never_wakes_up_and_still_refreshes_on_time() {
    if !tool::is_asked_for("PIZAUTH_SLOW") {
        return;
    }
    let provider = Provider::start(Settings { expires_in: Some(LIFE), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", &format!("refresh_before_expiry = {BEFORE_EXPIRY}s;")));
    server.authorize("work");
    let authorised = Instant::now();
    wait_until_asleep(server.pid());

    // The last connection lingers for a second.
    thread::sleep(Duration::from_secs(2));
    let Some(before) = figures(server.pid()) else { return println!("skipped: no /proc") };
    assert_eq!(before.threads, 1);
    thread::sleep(IDLE);
    let after = figures(server.pid()).expect("the server runs");
    assert_eq!(after.threads, 1);
    assert_eq!(after.voluntary_switches, before.voluntary_switches, "it woke up; its log:\n{}", server.log());

    provider.wait_for_issued(1);
    assert_eq!(provider.issued().len(), 1, "refreshed too early");
    let due = authorised + Duration::from_secs(LIFE - BEFORE_EXPIRY);
    while provider.issued().len() < 2 {
        assert!(Instant::now() < due + LATE, "the refresh is late");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(Instant::now() + Duration::from_secs(1) >= due, "refreshed too early");
    assert_eq!(server.token("work"), provider.last_access_token());
}
