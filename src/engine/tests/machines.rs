//! The tables of the machines' documentation: every state with every event. What is not in a table is ignored, and
//! stands here as `-`.

use super::sim::{Sim, account, bound, command_account, config, device_account, reply, secs, tokens, userless_account};
use crate::{
    config::{Account, Config, Grant},
    engine::{
        ChildEnd, Event, Hook, Ticket,
        account::{Attempt, Browser, ClientSecret, Device, Renewal},
        persistence::{Load, Save},
        shutdown::Phase,
    },
    oauth::Stage,
    proto::Request,
};

/// An event, how it is brought about, and the state that follows each state.
type Row<'a> = (&'a str, &'a dyn Fn(&mut Sim), &'a str);

/// Checks one machine: for each event a line with the state that follows each of `states`, `-` for unchanged.
fn check(states: &[(&str, &dyn Fn() -> Sim)], name: fn(&Sim) -> String, rows: &[Row]) {
    for (event, apply, wants) in rows {
        let wants: Vec<&str> = wants.split_whitespace().collect();
        assert_eq!(wants.len(), states.len(), "{event}: a cell for every state");
        for ((state, build), want) in states.iter().zip(wants) {
            let mut sim = build();
            assert_eq!(name(&sim), *state, "how {state} is reached");
            apply(&mut sim);
            let want = if want == "-" { state } else { want };
            assert_eq!(name(&sim), want, "{event} in {state}");
        }
    }
}

/// Answers the last call, or one that is long gone.
fn answer(sim: &mut Sim, status: u16, body: &str) {
    match sim.calls.keys().max().copied() {
        Some(ticket) => sim.answer(ticket, status, body),
        None => sim.event(Event::Answer { ticket: Ticket(9999), outcome: Ok(reply(status, body)) }),
    }
}

fn break_off(sim: &mut Sim, stage: Stage) {
    if !sim.calls.is_empty() {
        sim.break_call(stage);
    }
}

/// Ends a hook of this kind, or one that is long gone.
fn end(sim: &mut Sim, hook: Hook, status: i32, stdout: &str) {
    let end = ChildEnd::Exited { status, stdout: crate::secret::Secret::new(stdout.as_bytes().to_vec()) };
    match sim.running(hook).first().copied() {
        Some(ticket) => sim.end(ticket, end),
        None => sim.event(Event::Exited { ticket: Ticket(9999), end }),
    }
}

fn changed(mut account: Account) -> Config {
    account.client_id.push('x');
    config(vec![account])
}

fn browser(sim: &Sim) -> String {
    match sim.engine.accounts[0].browser() {
        Browser::Closed => "closed",
        Browser::Requested(_) => "requested",
        Browser::Exchanging(exchanging) => match exchanging.attempt {
            Attempt::InFlight(_) => "exchanging",
            Attempt::Due(_) => "retrying",
        },
    }
    .to_owned()
}

#[test]
fn browser_table() {
    let closed = || Sim::new(vec![account("work")]);
    let requested = || {
        let mut sim = closed();
        sim.auth("work", None);
        sim
    };
    let exchanging = || {
        let mut sim = requested();
        sim.allow("work");
        sim
    };
    let retrying = || {
        let mut sim = exchanging();
        sim.break_call(Stage::Connect);
        sim
    };
    let redirect = |sim: &mut Sim, what: &str| {
        let state = match sim.engine.accounts[0].browser() {
            Browser::Closed => "AAAA".to_owned(),
            Browser::Requested(request) => request.state.expose().clone(),
            Browser::Exchanging(exchanging) => exchanging.request.state.expose().clone(),
        };
        sim.browse(&format!("/?{what}&state={state}"));
    };
    let dump = Sim::authorized().dump();
    check(
        &[
            ("closed", &closed as &dyn Fn() -> Sim),
            ("requested", &requested),
            ("exchanging", &exchanging),
            ("retrying", &retrying),
        ],
        browser,
        &[
            ("show", &|sim| _ = sim.show("work"), "requested - - -"),
            ("auth", &|sim| _ = sim.auth("work", None), "requested - - -"),
            ("refresh", &|sim| _ = sim.refresh("work", None), "requested - - -"),
            ("redirect with code", &|sim| redirect(sim, "code=c"), "- exchanging - -"),
            ("redirect with error", &|sim| redirect(sim, "error=access_denied"), "- closed - -"),
            ("another request", &|sim| _ = sim.browse("/favicon.ico"), "- - - -"),
            ("tokens", &|sim| answer(sim, 200, &tokens(1, 3600)), "- - closed -"),
            ("nothing written", &|sim| break_off(sim, Stage::Connect), "- - retrying -"),
            ("broken after writing", &|sim| break_off(sim, Stage::Sent), "- - closed -"),
            ("refusal", &|sim| answer(sim, 400, r#"{"error":"invalid_grant"}"#), "- - closed -"),
            ("transient failure", &|sim| answer(sim, 503, ""), "- - closed -"),
            ("5 s pass", &|sim| sim.sleep(secs(5)), "- - - exchanging"),
            ("no answer for 32 s", &|sim| sim.sleep(secs(33)), "- - closed exchanging"),
            ("a listener moved", &|sim| _ = sim.reload(config(vec![account("work")]), bound(4321)), "- - - -"),
            ("tokens were restored", &|sim| _ = sim.restore(&dump), "- closed - -"),
            ("revoke", &|sim| _ = sim.revoke("work"), "- closed closed closed"),
            ("account changed", &|sim| _ = sim.reload(changed(account("work")), bound(1234)), "- closed closed closed"),
        ],
    );
}

fn device(sim: &Sim) -> String {
    match sim.engine.accounts[0].device() {
        Device::Closed => "closed",
        Device::Asking(Attempt::InFlight(_)) => "asking",
        Device::Asking(Attempt::Due(_)) => "asking-later",
        Device::Held(_) => "held",
        Device::Polling(polling) => match polling.attempt {
            Attempt::InFlight(_) => "polling",
            Attempt::Due(_) => "waiting",
        },
    }
    .to_owned()
}

#[test]
fn device_table() {
    const CODES: &str =
        r#"{"device_code":"d","user_code":"U","verification_uri":"https://a.example/","expires_in":600}"#;
    let closed = || Sim::new(vec![device_account("work")]);
    let asking = || {
        let mut sim = closed();
        sim.auth("work", Some(3600));
        sim
    };
    let later = || {
        let mut sim = asking();
        sim.break_call(Stage::Connect);
        sim
    };
    let waiting = || {
        let mut sim = asking();
        sim.answer_call(200, CODES);
        sim
    };
    let polling = || {
        let mut sim = waiting();
        sim.sleep(secs(5));
        sim
    };
    let held = || {
        let mut sim = asking();
        sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
        sim
    };
    let dump = {
        let mut sim = Sim::new(vec![device_account("work")]);
        sim.auth("work", None);
        sim.answer_call(200, CODES);
        sim.sleep(secs(5));
        sim.answer_call(200, &tokens(1, 3600));
        sim.dump()
    };
    let error = |error: &'static str| move |sim: &mut Sim| answer(sim, 400, &format!(r#"{{"error":"{error}"}}"#));
    check(
        &[
            ("closed", &closed as &dyn Fn() -> Sim),
            ("asking", &asking),
            ("asking-later", &later),
            ("waiting", &waiting),
            ("polling", &polling),
            ("held", &held),
        ],
        device,
        &[
            ("show", &|sim| _ = sim.show("work"), "asking - - - - -"),
            ("auth", &|sim| _ = sim.auth("work", None), "asking - asking - - asking"),
            ("user code", &|sim| answer(sim, 200, CODES), "- waiting - - waiting -"),
            ("broken off", &|sim| break_off(sim, Stage::Connect), "- asking-later - - waiting -"),
            ("503", &|sim| answer(sim, 503, ""), "- asking-later - - waiting -"),
            ("pending", &error("authorization_pending"), "- held - - waiting -"),
            ("slow_down", &error("slow_down"), "- asking-later - - waiting -"),
            ("denied", &error("access_denied"), "- held - - closed -"),
            ("tokens", &|sim| answer(sim, 200, &tokens(1, 3600)), "- asking-later - - closed -"),
            ("5 s pass", &|sim| sim.sleep(secs(5)), "- - - polling - -"),
            ("the pause passes", &|sim| sim.sleep(secs(44)), "- asking-later asking - - -"),
            ("the code's end passes", &|sim| sim.suspend_and_wake(secs(601)), "- asking-later asking closed closed -"),
            ("tokens were restored", &|sim| _ = sim.restore(&dump), "- closed closed closed closed closed"),
            ("read anew", &|sim| _ = sim.reload(config(vec![device_account("work")]), bound(1234)), "- - - - - closed"),
            ("revoke", &|sim| _ = sim.revoke("work"), "- closed closed closed closed closed"),
            (
                "account changed",
                &|sim| _ = sim.reload(changed(device_account("work")), bound(1234)),
                "- closed closed closed closed closed",
            ),
        ],
    );
}

fn renewal(sim: &Sim) -> String {
    match sim.engine.accounts[0].renewal() {
        Renewal::Unable => "unable",
        Renewal::Due(_) => "due",
        Renewal::InFlight(_) => "in-flight",
        Renewal::Held(_) => "held",
    }
    .to_owned()
}

#[test]
fn renewal_table() {
    let unable = || Sim::new(vec![account("work")]);
    let due = Sim::authorized;
    let in_flight = || {
        let mut sim = due();
        sim.refresh("work", None);
        sim
    };
    let held = || {
        let mut sim = in_flight();
        sim.answer_call(401, r#"{"error":"invalid_client"}"#);
        sim
    };
    let error = |error: &'static str| move |sim: &mut Sim| answer(sim, 400, &format!(r#"{{"error":"{error}"}}"#));
    let dump = Sim::authorized().dump();
    check(
        &[("unable", &unable as &dyn Fn() -> Sim), ("due", &due), ("in-flight", &in_flight), ("held", &held)],
        renewal,
        &[
            ("tokens by the user", &|sim| sim.authorize_beside("work", &tokens(2, 3600)), "due due due due"),
            ("refresh", &|sim| _ = sim.refresh("work", None), "- in-flight - in-flight"),
            ("show of a good token", &|sim| _ = sim.show("work"), "- - - -"),
            ("show -t", &|sim| _ = sim.show_with("work", None, Some(9000)), "- - - -"),
            ("its time comes", &|sim| sim.suspend_and_wake(secs(3600)), "- in-flight due in-flight"),
            ("tokens", &|sim| answer(sim, 200, &tokens(2, 3600)), "- - due -"),
            ("transient failure", &|sim| answer(sim, 503, ""), "- - due -"),
            ("means nothing", &|sim| answer(sim, 404, ""), "- - due -"),
            ("broken off", &|sim| break_off(sim, Stage::Sent), "- - due -"),
            ("invalid_grant", &error("invalid_grant"), "- - unable -"),
            ("another refusal", &error("unauthorized_client"), "- - held -"),
            ("tokens were restored", &|sim| _ = sim.restore(&dump), "due - - -"),
            ("reload", &|sim| _ = sim.reload(config(vec![account("work")]), bound(1234)), "- - - in-flight"),
            ("revoke", &|sim| _ = sim.revoke("work"), "- unable unable unable"),
            ("account changed", &|sim| _ = sim.reload(changed(account("work")), bound(1234)), "- unable unable unable"),
        ],
    );
}

#[test]
fn renewal_table_without_user() {
    let in_flight = || Sim::new(vec![userless_account("work")]);
    let due = || {
        let mut sim = in_flight();
        sim.answer_call(200, r#"{"access_token":"a","expires_in":3600}"#);
        sim
    };
    let unable = || {
        let mut sim = due();
        sim.request(Request::Revoke { account: "work".to_owned(), local: true });
        sim
    };
    check(
        &[("unable", &unable as &dyn Fn() -> Sim), ("due", &due), ("in-flight", &in_flight)],
        renewal,
        &[
            ("show", &|sim| _ = sim.show("work"), "in-flight - -"),
            ("refresh", &|sim| _ = sim.refresh("work", None), "in-flight in-flight -"),
            ("auth", &|sim| _ = sim.auth("work", None), "in-flight in-flight -"),
            ("the grant ended", &|sim| answer(sim, 400, r#"{"error":"invalid_grant"}"#), "- - held"),
        ],
    );
}

fn load(sim: &Sim) -> String {
    match sim.engine.load {
        Load::Off => "off",
        Load::Restoring { .. } => "restoring",
        Load::Sealed { .. } => "sealed",
        Load::Done => "done",
    }
    .to_owned()
}

fn storing(persist: bool, restore: bool) -> Config {
    let mut config = config(vec![account("work")]);
    config.persist_cmd = persist.then(|| "persist".to_owned());
    config.restore_cmd = restore.then(|| "restore".to_owned());
    config
}

#[test]
fn load_table() {
    let off = || Sim::start(storing(true, false));
    let restoring = || Sim::start(storing(true, true));
    let sealed = || {
        let mut sim = restoring();
        sim.exit_hook(Hook::Restore, 1, "");
        sim
    };
    let done = || {
        let mut sim = restoring();
        sim.exit_hook(Hook::Restore, 0, "");
        sim
    };
    let dump = Sim::authorized().dump();
    check(
        &[("off", &off as &dyn Fn() -> Sim), ("restoring", &restoring), ("sealed", &sealed), ("done", &done)],
        load,
        &[
            ("exit 0", &|sim| end(sim, Hook::Restore, 0, &dump), "- done - -"),
            ("exit 0 and nothing", &|sim| end(sim, Hook::Restore, 0, ""), "- done - -"),
            ("exit 0 and garbage", &|sim| end(sim, Hook::Restore, 0, "garbage"), "- sealed - -"),
            ("exit 1", &|sim| end(sim, Hook::Restore, 1, &dump), "- sealed - -"),
            ("show at once", &|sim| _ = sim.show("work"), "- - - -"),
            ("show after 10 s", &|sim| sim.show_after(secs(10)), "- - restoring -"),
            ("show waits for 10 s", &|sim| sim.show_and_sleep(secs(10)), "- - restoring -"),
            ("time passes", &|sim| sim.sleep(secs(1000)), "- - - -"),
            ("pizauth restore", &|sim| _ = sim.restore(""), "done done done -"),
            ("pizauth restore of garbage", &|sim| _ = sim.restore("garbage"), "- - - -"),
            ("reload", &|sim| _ = sim.reload(storing(true, true), bound(1234)), "- - - -"),
            ("reload without restore_cmd", &|sim| _ = sim.reload(storing(true, false), bound(1234)), "- off off -"),
        ],
    );
}

fn save(sim: &Sim) -> String {
    match sim.engine.save {
        Save::Off => "off",
        Save::Clean => "clean",
        Save::Dirty { .. } => "dirty",
        Save::Saving { .. } => "saving",
    }
    .to_owned()
}

#[test]
fn save_table() {
    let off = || Sim::authorized_with(storing(false, false));
    let saving = || Sim::authorized_with(storing(true, false));
    let clean = || {
        let mut sim = saving();
        sim.exit_hook(Hook::Persist, 0, "");
        sim
    };
    let dirty = || {
        let mut sim = saving();
        sim.exit_hook(Hook::Persist, 1, "");
        sim
    };
    let refresh = |sim: &mut Sim| {
        sim.refresh("work", None);
        sim.answer_call(200, &tokens(2, 3600));
    };
    check(
        &[("off", &off as &dyn Fn() -> Sim), ("clean", &clean), ("dirty", &dirty), ("saving", &saving)],
        save,
        &[
            ("tokens change", &refresh, "- saving - -"),
            ("exit 0", &|sim| end(sim, Hook::Persist, 0, ""), "- - - clean"),
            ("exit 1", &|sim| end(sim, Hook::Persist, 1, ""), "- - - dirty"),
            (
                "exit 0 after another change",
                &|sim| {
                    refresh(sim);
                    end(sim, Hook::Persist, 0, "");
                },
                "- clean - saving",
            ),
            ("its time comes", &|sim| sim.sleep(secs(1)), "- - saving -"),
            ("reload", &|sim| _ = sim.reload(storing(true, false), bound(1234)), "saving - - -"),
            ("reload without persist_cmd", &|sim| _ = sim.reload(storing(false, false), bound(1234)), "- off off off"),
        ],
    );
}

#[test]
fn save_table_of_a_sealed_store() {
    let sealed = || {
        let mut sim = Sim::start(storing(true, true));
        sim.exit_hook(Hook::Restore, 1, "");
        sim.authorize("work", &tokens(1, 3600));
        sim
    };
    check(
        &[("dirty", &sealed as &dyn Fn() -> Sim)],
        save,
        &[
            ("time passes", &|sim| sim.sleep(secs(1000)), "-"),
            ("the store opens", &|sim| _ = sim.restore(""), "saving"),
            ("restore_cmd is taken away", &|sim| _ = sim.reload(storing(true, false), bound(1234)), "saving"),
        ],
    );
}

fn secret(sim: &Sim) -> String {
    match sim.engine.accounts[0].client_secret {
        ClientSecret::Unneeded => "unneeded",
        ClientSecret::Known(_) => "known",
        ClientSecret::Unread => "unread",
        ClientSecret::Reading(_) => "reading",
    }
    .to_owned()
}

#[test]
fn client_secret_table() {
    let unneeded = || Sim::new(vec![userless_account("work")]);
    let command = || Account { grant: Grant::ClientCredentials, auth_uri: None, ..command_account("work") };
    let reading = move || Sim::new(vec![command()]);
    let unread = move || {
        let mut sim = reading();
        sim.exit_hook(Hook::ClientSecret, 1, "");
        sim
    };
    let known = move || {
        let mut sim = reading();
        sim.exit_hook(Hook::ClientSecret, 0, "s");
        sim
    };
    let states: [(&str, &dyn Fn() -> Sim); 3] = [("unread", &unread), ("reading", &reading), ("known", &known)];
    check(
        &states,
        secret,
        &[
            ("a request", &|sim| _ = sim.refresh("work", None), "reading - -"),
            ("one line", &|sim| end(sim, Hook::ClientSecret, 0, "s\n"), "- known -"),
            ("nothing", &|sim| end(sim, Hook::ClientSecret, 0, ""), "- unread -"),
            ("exit 1", &|sim| end(sim, Hook::ClientSecret, 1, "s"), "- unread -"),
            ("invalid_client", &|sim| answer(sim, 401, r#"{"error":"invalid_client"}"#), "- - unread"),
            ("another refusal", &|sim| answer(sim, 400, r#"{"error":"x"}"#), "- - -"),
            ("reload", &|sim| _ = sim.reload(config(vec![command()]), bound(1234)), "- - unread"),
            ("revoke", &|sim| _ = sim.revoke("work"), "- - -"),
        ],
    );
    check(
        &[("unneeded", &unneeded)],
        secret,
        &[
            ("a request", &|sim| _ = sim.refresh("work", None), "-"),
            ("invalid_client", &|sim| answer(sim, 401, r#"{"error":"invalid_client"}"#), "-"),
        ],
    );
}

fn phase(sim: &Sim) -> String {
    match sim.engine.phase {
        Phase::Running => "running",
        Phase::Stopping(_) => "stopping",
        Phase::Stopped => "stopped",
    }
    .to_owned()
}

#[test]
fn phase_table() {
    let running = || {
        let mut sim = Sim::authorized();
        sim.refresh("work", None);
        sim
    };
    let stopping = || {
        let mut sim = running();
        sim.event(Event::Shutdown);
        sim
    };
    let stopped = || {
        let mut sim = Sim::authorized();
        sim.event(Event::Shutdown);
        sim
    };
    check(
        &[("running", &running as &dyn Fn() -> Sim), ("stopping", &stopping), ("stopped", &stopped)],
        phase,
        &[
            ("signal", &|sim| sim.event(Event::Shutdown), "stopping - -"),
            ("pizauth shutdown", &|sim| _ = sim.request(Request::Shutdown), "stopping - -"),
            ("another request", &|sim| _ = sim.show("work"), "- - -"),
            ("the last answer", &|sim| answer(sim, 503, ""), "- stopped -"),
            ("time passes", &|sim| sim.sleep(secs(5)), "- stopped -"),
            ("hangup", &|sim| sim.event(Event::Hangup), "- - -"),
        ],
    );
}

impl Sim {
    /// Lets time pass behind the engine's back, and wakes it.
    fn suspend_and_wake(&mut self, duration: std::time::Duration) {
        self.suspend(duration);
        self.sleep(secs(0));
    }

    fn show_after(&mut self, duration: std::time::Duration) {
        self.sleep(duration);
        self.show("work");
    }

    fn show_and_sleep(&mut self, duration: std::time::Duration) {
        self.show_waiting("work", 60);
        self.sleep(duration);
    }

    /// A login beside whatever is under way.
    fn authorize_beside(&mut self, account: &str, answer: &str) {
        self.auth(account, None);
        self.allow(account);
        let ticket = *self.calls.keys().max().expect("an exchange");
        self.answer(ticket, 200, answer);
    }
}
