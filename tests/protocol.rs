//! The control protocol is documented in pizauth(1) for other programs: with each kind of line, and each field.

mod support;

use std::collections::BTreeSet;

use pizauth::{
    engine::WallTime,
    proto::{
        self, AccountState, AccountStatus, ErrorStatus, Info, Notice, PersistenceState, PersistenceStatus, Reason,
        Request, Response, Show, Status, Token,
    },
    secret::Secret,
};
use serde_json::Value;
use support::document::{read, section};

#[test]
fn the_control_protocol_is_documented_with_every_field() {
    let page = read("man/pizauth.1");
    let documented: BTreeSet<_> =
        page.lines().flat_map(|line| line.split([' ', ',', '(', ')', ';', '.', '[', ']'])).map(str::to_owned).collect();
    let chapter = section(&page, "DESCRIPTION").split("\n.Ss ").find(|part| part.starts_with("Control protocol\n"));
    let items = chapter.expect("a subsection").lines().filter_map(|line| line.strip_prefix(".It Li "));

    let mut names = Vec::new();
    for line in lines() {
        let value: Value = serde_json::from_slice(line.expose()).expect("JSON");
        let kind = ["request", "notice", "answer"].into_iter().find_map(|kind| value[kind].as_str()).expect("its kind");
        names.push(kind.to_owned());
        for key in keys(&value) {
            assert!(documented.contains(&key), "{key} of {kind}");
        }
    }
    assert_eq!(items.collect::<Vec<_>>(), names);
}

/// The keys of an object and of all objects in it.
fn keys(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| [vec![key.clone()], keys(value)].concat()).collect()
        }
        Value::Array(values) => values.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}

/// A line of each kind of the control protocol, in the manual's order, with everything that can be in it.
fn lines() -> Vec<Secret<Vec<u8>>> {
    let requests = requests().into_iter().map(|request| proto::write_request(&request));
    let notices = notices().into_iter().map(|notice| proto::write_notice(&notice));
    let answers = answers().into_iter().map(|answer| proto::write_response(&answer));
    requests.chain(notices).chain(answers).collect()
}

fn requests() -> [Request; 11] {
    let account = || "work".to_owned();
    [
        Request::Show(Show {
            account: account(),
            wait: Some(1),
            min_life: Some(1),
            urls: true,
            git_host: Some("a".to_owned()),
        }),
        Request::Refresh { account: account(), wait: Some(1), urls: true },
        Request::Auth { account: account(), wait: Some(1), urls: true },
        Request::Paste { account: account(), text: "code=a".into() },
        Request::Revoke { account: account(), local: true },
        Request::Status { accounts: vec![account()], urls: true },
        Request::Info,
        Request::Reload,
        Request::Dump,
        Request::Restore { dump: "text".into() },
        Request::Shutdown,
    ]
}

fn notices() -> [Notice; 3] {
    [
        Notice::Authorize { url: "https://a".to_owned() },
        Notice::Device {
            verification_uri: "https://a".to_owned(),
            verification_uri_complete: Some("https://a".to_owned()),
            user_code: "A".to_owned(),
        },
        Notice::Message { text: "text".to_owned() },
    ]
}

fn answers() -> [Response; 6] {
    let time = WallTime::from_secs(0);
    let text = || "text".to_owned();
    let account = AccountStatus {
        name: text(),
        state: AccountState::Active,
        obtained_at: Some(time),
        expires_at: Some(time),
        next_refresh_at: Some(time),
        last_refresh_attempt_at: Some(time),
        last_notification_at: Some(time),
        refreshable: true,
        refresh_token_expires_at: Some(time),
        scope: Some(text()),
        last_error: Some(ErrorStatus { message: text(), at: time, transient: true }),
        not_saved: Some(text()),
        authorization_url: Some("https://a".to_owned()),
    };
    let token = Token {
        account: text(),
        access_token: "text".into(),
        token_type: text(),
        expires_at: time,
        expires_in: 1,
        scope: Some(text()),
        user: Some(text()),
    };
    let persistence = PersistenceStatus { state: PersistenceState::Saved, last_error: Some(text()) };
    let info = Info {
        http_port: text(),
        https_port: text(),
        https_pub_key: Some(text()),
        https_cert_sha256: Some(text()),
        warnings: vec![text()],
    };
    [
        Response::Done { messages: vec![text()] },
        Response::Token(Box::new(token)),
        Response::Status(Status { status_format_version: 1, accounts: vec![account], persistence }),
        Response::Info(info),
        Response::Dump { dump: "text".into() },
        Response::Failed { reason: Reason::Error, messages: vec![text()] },
    ]
}
