//! The provider: it rotates refresh tokens, and ends a grant when one comes that was replaced before.
//!
//! What it knows is the oracle: a refresh token that it replaced must never come again, and a code only once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pizauth::{
    engine::Time,
    oauth::{Call, Reply},
    secret::Secret,
};

use super::setting::SECRETIVE;

/// What [`SECRETIVE`]'s requests must have.
pub const CLIENT_SECRET: &str = "word";

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

#[derive(Default)]
pub struct Provider {
    pub grants: Vec<Grant>,
    /// Codes that were given, with their accounts, and not used.
    codes: BTreeMap<String, String>,
    used: BTreeSet<String>,
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

    /// The user takes the grants of an account back on the provider's page.
    pub fn take_back(&mut self, account: &str) {
        for grant in self.grants.iter_mut().filter(|grant| grant.account == account) {
            grant.ended = true;
        }
    }

    pub fn handle(&mut self, call: &Call, now: Time) -> Answer {
        let is_secretive = field(call, "client_id").is_some_and(|client_id| client_id.starts_with(SECRETIVE));
        if field(call, "client_secret").as_deref() != is_secretive.then_some(CLIENT_SECRET) {
            self.violations.push("a request with the wrong client_secret".to_owned());
        }
        if call.uri.ends_with("/revoke") {
            return self.revoke(&field(call, "token").unwrap_or_default());
        }
        match field(call, "grant_type").as_deref() {
            Some("authorization_code") => self.exchange(&field(call, "code").unwrap_or_default(), now),
            Some("refresh_token") => self.refresh(&field(call, "refresh_token").unwrap_or_default(), now),
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
