//! The provider: it rotates refresh tokens, and ends a grant when one comes that was replaced before.
//!
//! What it knows is the oracle: a refresh token that it replaced must never come again, a code only once, and nobody
//! may poll faster than it allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pizauth::{
    engine::Time,
    oauth::{Call, Reply},
    secret::Secret,
};

use super::setting::{CLIENT_SECRET, SECRETIVE, USERLESS, secs};

/// Life of a device code, in seconds.
const DEVICE_LIFE: u64 = 600;

/// Shortest time between two polls, in seconds.
const INTERVAL: u64 = 5;

/// One grant, with the refresh tokens that followed one another.
#[derive(Debug, Default)]
pub struct Grant {
    pub account: String,
    /// The refresh token that is honoured.
    pub current: String,
    replaced: BTreeSet<String>,
    pub ended: bool,
    /// An answer was lost on the way, or the daemon was killed at the wrong moment: what follows proves nothing.
    pub excused: bool,
}

/// What became of a device code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    NotYet,
    Allowed,
    Denied,
    /// It was turned into the tokens of this grant.
    Used(usize),
}

struct Device {
    account: String,
    entered: Entered,
    end: Time,
    polled: Time,
}

#[derive(Default)]
pub struct Provider {
    pub grants: Vec<Grant>,
    /// Codes that were given, with their accounts, and not used.
    codes: BTreeMap<String, String>,
    used: BTreeSet<String>,
    /// Device codes; the user codes differ in the first word only.
    devices: BTreeMap<String, Device>,
    /// When each access token ends, and its grant.
    pub access: BTreeMap<String, (Time, usize)>,
    last: u64,
    pub life: Duration,
    /// What the daemon did that it must never do.
    pub violations: Vec<String>,
}

/// What a request brought.
pub struct Answer {
    pub reply: Reply,
    /// The grant whose tokens are in it.
    pub grant: Option<usize>,
    /// Whether the tokens are the first of their grant.
    pub first: bool,
}

impl Answer {
    fn plain(status: u16, body: &str) -> Answer {
        Answer { reply: reply(status, body), grant: None, first: false }
    }
}

pub fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: Secret::new(body.as_bytes().to_vec()), ..Reply::default() }
}

/// A token answer with another name where the refresh token stands.
pub fn without_refresh_token(body: &Secret<Vec<u8>>) -> Secret<Vec<u8>> {
    let text = String::from_utf8_lossy(body.expose()).replace(r#""refresh_token""#, r#""ignored""#);
    Secret::new(text.into_bytes())
}

/// A field of a call's form; nothing in these tests needs decoding.
pub fn field(call: &Call, name: &str) -> Option<String> {
    let body = call.body.as_ref()?.expose();
    body.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

impl Provider {
    /// A provider whose access tokens live that long.
    pub fn new(life: Duration) -> Provider {
        Provider { life, ..Provider::default() }
    }

    /// The user allows it: a code for the redirect.
    pub fn allow(&mut self, account: &str) -> String {
        self.last += 1;
        let code = format!("code-{}", self.last);
        self.codes.insert(code.clone(), account.to_owned());
        code
    }

    /// The user enters a user code, and says what they think of it.
    pub fn enter(&mut self, user_code: &str, entered: Entered) {
        let device = self.devices.get_mut(&user_code.replace("user", "device"));
        if let Some(device) = device.filter(|device| device.entered == Entered::NotYet) {
            device.entered = entered;
        }
    }

    /// The user takes the grants of an account back on the provider's page.
    pub fn take_back(&mut self, account: &str) {
        for grant in self.grants.iter_mut().filter(|grant| grant.account == account) {
            grant.ended = true;
        }
    }

    /// Answers a request of `account`; `given_up` says that it has another one under way that nobody waits for.
    pub fn handle(&mut self, call: &Call, account: &str, given_up: bool, now: Time) -> Answer {
        let secret = [SECRETIVE, USERLESS].contains(&account).then_some(CLIENT_SECRET);
        if field(call, "client_secret").as_deref() != secret {
            self.violations.push("a request with the wrong client_secret".to_owned());
        }
        if call.uri.ends_with("/device") {
            return self.give_codes(account, now);
        }
        if call.uri.ends_with("/revoke") {
            return self.revoke(&field(call, "token").unwrap_or_default());
        }
        match field(call, "grant_type").as_deref() {
            Some("authorization_code") => self.exchange(&field(call, "code").unwrap_or_default(), now),
            Some("refresh_token") => self.refresh(&field(call, "refresh_token").unwrap_or_default(), now),
            Some("client_credentials") if account == USERLESS => {
                // There is nothing to keep, and so nothing to hold the daemon to.
                self.grants.push(Grant { account: account.to_owned(), excused: true, ..Grant::default() });
                let answer = self.issue(self.grants.len() - 1, true, now);
                let body = without_refresh_token(&answer.reply.body);
                Answer { reply: Reply { body, ..answer.reply }, ..answer }
            }
            Some("urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code") => {
                self.poll(&field(call, "device_code").unwrap_or_default(), given_up, now)
            }
            other => {
                self.violations.push(format!("a request that makes no sense: {other:?}"));
                Answer::plain(400, r#"{"error":"invalid_request"}"#)
            }
        }
    }

    fn exchange(&mut self, code: &str, now: Time) -> Answer {
        if !self.used.insert(code.to_owned()) {
            self.violations.push(format!("{code} was sent twice"));
        }
        let Some(account) = self.codes.remove(code) else {
            return Answer::plain(400, r#"{"error":"invalid_grant"}"#);
        };
        self.grants.push(Grant { account, ..Grant::default() });
        self.issue(self.grants.len() - 1, true, now)
    }

    fn give_codes(&mut self, account: &str, now: Time) -> Answer {
        self.last += 1;
        let (number, end) = (self.last, now + secs(DEVICE_LIFE));
        let device = Device { account: account.to_owned(), entered: Entered::NotYet, end, polled: now };
        self.devices.insert(format!("device-{number}"), device);
        let body = format!(
            r#"{{"device_code":"device-{number}","user_code":"user-{number}","interval":{INTERVAL},
                "verification_uri":"https://a.example/code","expires_in":{DEVICE_LIFE}}}"#
        );
        Answer::plain(200, &body)
    }

    fn poll(&mut self, device_code: &str, given_up: bool, now: Time) -> Answer {
        let Some(device) = self.devices.get_mut(device_code) else {
            self.violations.push(format!("{device_code} was never given"));
            return Answer::plain(400, r#"{"error":"invalid_grant"}"#);
        };
        let since = now.since(std::mem::replace(&mut device.polled, now));
        if since < secs(INTERVAL) {
            self.violations.push(format!("{device_code} came again after {} s", since.as_secs()));
        }
        match device.entered {
            Entered::Used(place) => {
                let grant = &mut self.grants[place];
                grant.excused |= given_up;
                if !grant.excused {
                    self.violations.push(format!("{device_code} came again after its tokens"));
                }
                Answer::plain(400, r#"{"error":"invalid_grant"}"#)
            }
            _ if device.end <= now => Answer::plain(400, r#"{"error":"expired_token"}"#),
            Entered::NotYet => Answer::plain(400, r#"{"error":"authorization_pending"}"#),
            Entered::Denied => Answer::plain(400, r#"{"error":"access_denied"}"#),
            Entered::Allowed => {
                let place = self.grants.len();
                device.entered = Entered::Used(place);
                self.grants.push(Grant { account: device.account.clone(), ..Grant::default() });
                self.issue(place, true, now)
            }
        }
    }

    fn refresh(&mut self, refresh_token: &str, now: Time) -> Answer {
        let ended = Answer::plain(400, r#"{"error":"invalid_grant"}"#);
        if let Some(grant) = self.grants.iter_mut().find(|grant| grant.replaced.contains(refresh_token)) {
            if !grant.excused && !grant.ended {
                self.violations.push(format!("{refresh_token} of {} came after it was replaced", grant.account));
            }
            grant.ended = true;
            return ended;
        }
        let place = self.grants.iter().position(|grant| grant.current == refresh_token && !grant.ended);
        place.map_or(ended, |place| self.issue(place, false, now))
    }

    fn revoke(&mut self, token: &str) -> Answer {
        let access = self.access.get(token).map(|(_, place)| *place);
        let place = access.or_else(|| self.grants.iter().position(|grant| grant.current == token));
        if let Some(place) = place {
            self.grants[place].ended = true;
        }
        Answer::plain(200, "")
    }

    fn issue(&mut self, place: usize, first: bool, now: Time) -> Answer {
        self.last += 1;
        let number = self.last;
        let grant = &mut self.grants[place];
        let old = std::mem::replace(&mut grant.current, format!("refresh-{number}"));
        grant.replaced.insert(old);
        self.access.insert(format!("access-{number}"), (now + self.life, place));
        let body = format!(
            r#"{{"access_token":"access-{number}","refresh_token":"refresh-{number}","expires_in":{}}}"#,
            self.life.as_secs()
        );
        Answer { reply: reply(200, &body), grant: Some(place), first }
    }
}
