//! What the provider has handed out: codes, device codes, tokens, and which of them still count.
//!
//! All tokens that go back to one decision of the user are a family: where a code or a replaced refresh token is used
//! a second time, the whole family is revoked (RFC 6749 s4.1.2, RFC 9700 s4.14).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};

use super::{Rotation, Settings, answer::Answer};

/// How far below the interval a device may poll before it is told to slow down.
const POLL_TOLERANCE: Duration = Duration::from_millis(200);

/// Tokens as one answer of the token endpoint carried them.
#[derive(Clone, Debug)]
pub struct Issued {
    pub client_id: String,
    pub grant_type: String,
    pub access_token: String,
    pub refresh_token: Option<String>,
    pub scope: Option<String>,
}

/// An authorization request that was found correct (RFC 6749 s4.1.1, RFC 7636 s4.3).
#[derive(Clone, Debug)]
pub(super) struct Requested {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    pub(super) scope: Option<String>,
    pub(super) state: String,
}

/// How often things went wrong that must never happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Codes that were redeemed, the first time each.
    pub codes_redeemed: usize,
    /// Codes that were sent again.
    pub codes_reused: usize,
    /// Refresh tokens that were sent after their successor had been issued.
    pub refresh_tokens_reused: usize,
    /// Polls of the device grant that came before the interval was over.
    pub early_polls: usize,
    /// Tokens that were revoked through the revocation endpoint.
    pub revoked: usize,
}

#[derive(Default)]
pub(super) struct Grants {
    serial: usize,
    codes: HashMap<String, Code>,
    devices: Vec<Device>,
    families: Vec<Family>,
    refresh_tokens: HashMap<String, RefreshToken>,
    access_tokens: HashMap<String, AccessToken>,
    pub(super) issued: Vec<Issued>,
    pub(super) counters: Counters,
}

struct Code {
    request: Requested,
    /// The family that it was redeemed for; `None` within is a refused attempt.
    redeemed: Option<Option<usize>>,
}

struct Device {
    device_code: String,
    user_code: String,
    client_id: String,
    scope: Option<String>,
    interval: Duration,
    polled_at: Option<Instant>,
    expires_at: Instant,
    decision: Decision,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Pending,
    Allowed,
    Denied,
    Used,
}

struct Family {
    client_id: String,
    scope: Option<String>,
    current: Option<String>,
    is_revoked: bool,
}

struct RefreshToken {
    family: usize,
    replaced_at: Option<Instant>,
}

struct AccessToken {
    family: usize,
    expires_at: Option<Instant>,
    is_revoked: bool,
}

/// A refusal of the token endpoint.
type Refusal = Box<Answer>;

impl Grants {
    pub(super) fn issue_code(&mut self, request: Requested) -> String {
        let code = self.name("code");
        self.codes.insert(code.clone(), Code { request, redeemed: None });
        code
    }

    /// Redeems a code (RFC 6749 s4.1.3): once, with the same redirect_uri to the byte, and with its code_verifier.
    pub(super) fn redeem(
        &mut self,
        settings: &Settings,
        client_id: &str,
        code: &str,
        redirect_uri: &str,
        code_verifier: &str,
    ) -> Result<Issued, Refusal> {
        let Some(found) = self.codes.get_mut(code) else { return refuse("invalid_grant", "unknown code") };
        if let Some(family) = found.redeemed {
            self.counters.codes_reused += 1;
            if let Some(family) = family {
                self.families[family].is_revoked = true;
            }
            return refuse("invalid_grant", "code used a second time");
        }
        found.redeemed = Some(None);
        let request = found.request.clone();
        self.counters.codes_redeemed += 1;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, code_verifier.as_bytes()));
        let wrong = if request.client_id != client_id {
            Some("code of another client")
        } else if request.redirect_uri != redirect_uri {
            Some("redirect_uri differs from the authorization request")
        } else if !(43..=128).contains(&code_verifier.len()) || challenge != request.code_challenge {
            Some("code_verifier does not match code_challenge")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return refuse("invalid_grant", wrong);
        }
        let family = self.found(client_id, request.scope);
        if let Some(code) = self.codes.get_mut(code) {
            code.redeemed = Some(Some(family));
        }
        Ok(self.issue(settings, family, "authorization_code", settings.refresh_tokens))
    }

    /// Exchanges a refresh token (RFC 6749 s6), with rotation where the settings ask for it.
    pub(super) fn refresh(&mut self, settings: &Settings, client_id: &str, token: &str) -> Result<Issued, Refusal> {
        let Some(found) = self.refresh_tokens.get_mut(token) else {
            return refuse("invalid_grant", "unknown refresh token");
        };
        let family = found.family;
        if self.families[family].is_revoked || self.families[family].client_id != client_id {
            return refuse("invalid_grant", "refresh token revoked or of another client");
        }
        let grace = match settings.rotation {
            Rotation::Grace(grace) => grace,
            Rotation::Off | Rotation::Strict => Duration::ZERO,
        };
        if let Some(replaced_at) = found.replaced_at {
            self.counters.refresh_tokens_reused += 1;
            if replaced_at.elapsed() >= grace {
                self.families[family].is_revoked = true;
                return refuse("invalid_grant", "refresh token used after it was replaced");
            }
        }
        if settings.rotation == Rotation::Off {
            return Ok(self.issue(settings, family, "refresh_token", false));
        }
        found.replaced_at.get_or_insert_with(Instant::now);
        Ok(self.issue(settings, family, "refresh_token", true))
    }

    pub(super) fn issue_to_client(&mut self, settings: &Settings, client_id: &str, scope: Option<String>) -> Issued {
        let family = self.found(client_id, scope);
        self.issue(settings, family, "client_credentials", false)
    }

    /// Starts a device grant (RFC 8628 s3.1) and returns device_code and user_code.
    pub(super) fn start_device(
        &mut self,
        settings: &Settings,
        client_id: &str,
        scope: Option<String>,
    ) -> (String, String) {
        let (device_code, user_code) = (self.name("device"), user_code());
        self.devices.push(Device {
            device_code: device_code.clone(),
            user_code: user_code.clone(),
            client_id: client_id.to_owned(),
            scope,
            interval: Duration::from_secs(settings.device_interval.unwrap_or(5)),
            polled_at: None,
            expires_at: Instant::now() + Duration::from_secs(settings.device_expires_in),
            decision: Decision::Pending,
        });
        (device_code, user_code)
    }

    /// Records what the user said about a user code; false where there is no such pending code.
    pub(super) fn decide_device(&mut self, user_code: &str, is_allowed: bool) -> bool {
        let plain = |code: &str| code.replace('-', "").to_ascii_uppercase();
        let is_wanted =
            |device: &&mut Device| plain(&device.user_code) == plain(user_code) && device.decision == Decision::Pending;
        let Some(device) = self.devices.iter_mut().find(is_wanted) else { return false };
        device.decision = if is_allowed { Decision::Allowed } else { Decision::Denied };
        true
    }

    /// User codes that wait for a decision, oldest first.
    pub(super) fn pending_user_codes(&self) -> Vec<String> {
        let pending = self.devices.iter().filter(|device| device.decision == Decision::Pending);
        pending.map(|device| device.user_code.clone()).collect()
    }

    /// Answers a device's poll (RFC 8628 s3.5).
    pub(super) fn poll_device(
        &mut self,
        settings: &Settings,
        client_id: &str,
        device_code: &str,
    ) -> Result<Issued, Refusal> {
        let known = |device: &&mut Device| device.device_code == device_code && device.client_id == client_id;
        let Some(device) = self.devices.iter_mut().find(known) else {
            return refuse("invalid_grant", "unknown device_code");
        };
        let now = Instant::now();
        let earliest = device.polled_at.map(|at| at + device.interval.saturating_sub(POLL_TOLERANCE));
        device.polled_at = Some(now);
        if earliest.is_some_and(|earliest| now < earliest) {
            device.interval += Duration::from_secs(5);
            self.counters.early_polls += 1;
            return refuse("slow_down", "polled too early");
        }
        if now >= device.expires_at {
            return refuse("expired_token", "the device code has expired");
        }
        match device.decision {
            Decision::Pending => refuse("authorization_pending", "the user has not decided yet"),
            Decision::Denied => refuse("access_denied", "the user said no"),
            Decision::Used => refuse("invalid_grant", "device_code used a second time"),
            Decision::Allowed => {
                device.decision = Decision::Used;
                let scope = device.scope.clone();
                let family = self.found(client_id, scope);
                Ok(self.issue(settings, family, "device_code", settings.refresh_tokens))
            }
        }
    }

    /// Revokes a token (RFC 7009 s2.1): with a refresh token goes its whole family.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        if let Some(found) = self.refresh_tokens.get(token) {
            self.families[found.family].is_revoked = true;
        } else if let Some(found) = self.access_tokens.get_mut(token) {
            found.is_revoked = true;
        } else {
            return false;
        }
        self.counters.revoked += 1;
        true
    }

    /// Ends everything that a client was ever granted.
    pub(super) fn revoke_client(&mut self, client_id: &str) {
        for family in self.families.iter_mut().filter(|family| family.client_id == client_id) {
            family.is_revoked = true;
        }
    }

    /// The client and scope of an access token that still counts.
    pub(super) fn bearer(&self, access_token: &str) -> Option<(&str, Option<&str>)> {
        let token = self.access_tokens.get(access_token)?;
        let family = self.families.get(token.family)?;
        let is_over = token.expires_at.is_some_and(|expires_at| Instant::now() >= expires_at);
        (!token.is_revoked && !family.is_revoked && !is_over).then_some((&family.client_id, family.scope.as_deref()))
    }

    /// The refresh token that is honoured for a client's latest grant.
    pub(super) fn current_refresh_token(&self, client_id: &str) -> Option<String> {
        let family = self.families.iter().rev().find(|family| family.client_id == client_id && !family.is_revoked)?;
        family.current.clone()
    }

    fn found(&mut self, client_id: &str, scope: Option<String>) -> usize {
        self.families.push(Family { client_id: client_id.to_owned(), scope, current: None, is_revoked: false });
        self.families.len() - 1
    }

    fn issue(&mut self, settings: &Settings, family: usize, grant_type: &str, with_refresh_token: bool) -> Issued {
        self.serial += 1;
        let access_token = format!("access-{}-{}", self.serial, random());
        let expires_at = settings.expires_in.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.access_tokens.insert(access_token.clone(), AccessToken { family, expires_at, is_revoked: false });
        let refresh_token = with_refresh_token.then(|| format!("refresh-{}-{}", self.serial, random()));
        if let Some(token) = &refresh_token {
            self.refresh_tokens.insert(token.clone(), RefreshToken { family, replaced_at: None });
            self.families[family].current = Some(token.clone());
        }
        let Family { client_id, scope, .. } = &self.families[family];
        let (client_id, scope) = (client_id.clone(), scope.clone());
        let issued = Issued { client_id, grant_type: grant_type.to_owned(), access_token, refresh_token, scope };
        self.issued.push(issued.clone());
        issued
    }

    fn name(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}-{}-{}", self.serial, random())
    }
}

fn refuse<T>(error: &str, description: &str) -> Result<T, Refusal> {
    Err(Box::new(Answer::error(400, error, description)))
}

fn random() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("no random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A code of eight consonants, easy to type (RFC 8628 s6.1).
fn user_code() -> String {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("no random numbers");
    let letters: String =
        bytes.iter().map(|byte| char::from(b"BCDFGHJKLMNPQRSTVWXZ"[usize::from(*byte) % 20])).collect();
    format!("{}-{}", &letters[..4], &letters[4..])
}
