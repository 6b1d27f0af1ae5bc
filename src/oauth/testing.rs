//! What the tests of this room share.

use std::time::Duration;

use super::Reply;
use crate::{
    config::{Account, ClientAuth, ClientSecret, Grant},
    secret::Secret,
};

/// An account in which every option that may be missing is.
pub fn account() -> Account {
    Account {
        name: "work".to_owned(),
        assume_expires_in: Duration::from_secs(3600),
        auth_uri: Some("https://a.example/auth".to_owned()),
        auth_uri_fields: Vec::new(),
        client_auth: ClientAuth::Post,
        client_id: "my id".to_owned(),
        client_secret: ClientSecret::None,
        device_auth_uri: Some("https://a.example/device".to_owned()),
        git_hosts: Vec::new(),
        grant: Grant::AuthorizationCode,
        issuer: None,
        login_hint: None,
        redirect_uri: "http://localhost/".to_owned(),
        refresh_at_least: Duration::from_secs(5400),
        refresh_before_expiry: Duration::from_secs(90),
        refresh_retry: Duration::from_secs(40),
        revocation_uri: Some("https://a.example/revoke".to_owned()),
        scopes: Vec::new(),
        token_uri: "https://a.example/token".to_owned(),
        token_uri_fields: Vec::new(),
        token_uri_headers: Vec::new(),
        user: None,
    }
}

/// An answer with a body.
pub fn reply(status: u16, body: impl AsRef<[u8]>) -> Reply {
    Reply { status, body: Secret::new(body.as_ref().to_vec()), ..Reply::default() }
}

/// Every text that differs from `seeds` by a few seeded mutations, handed to `check` one after another.
pub fn mutations(seeds: &[&str], mut check: impl FnMut(&[u8])) {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for _ in 0..20_000 {
        let mut text = seeds[next(seeds.len())].as_bytes().to_vec();
        for _ in 0..=next(4) {
            let at = next(text.len() + 1);
            match next(5) {
                0 => text.truncate(at),
                1 => text.insert(at, b"&=?%+{}[]\":,\\/@#\0\r\n\xff\xc3 09aZ-."[next(28)]),
                2 if at < text.len() => text[at] = next(256) as u8,
                3 if at < text.len() => drop(text.remove(at)),
                _ => {
                    let tail = text[at.min(text.len())..].to_vec();
                    let place = next(text.len() + 1);
                    text.splice(place..place, tail);
                }
            }
        }
        check(&text);
    }
}
