//! `status` and `info`: the engine's state as others are told it.

use std::collections::BTreeSet;

use super::{
    Engine,
    account::{Account, Browser, Device, Invitation, Renewal},
    event::ConnId,
    message::Message,
    time::Now,
};
use crate::proto::{AccountState, AccountStatus, ErrorStatus, Info, Reason, Response, Status};

/// Version of the shape of `status -j`.
const FORMAT_VERSION: u32 = 1;

impl Engine {
    /// `pizauth status`
    pub(super) fn on_status(&mut self, conn: ConnId, names: &[String], urls: bool, now: Now) {
        let unknown: BTreeSet<&String> = names.iter().filter(|name| self.account_named(name).is_none()).collect();
        if !unknown.is_empty() {
            let message = |account: &String| Message::UnknownAccount { account: account.clone() }.to_string();
            let messages = unknown.into_iter().map(message).collect();
            return self.respond(conn, Response::Failed { reason: Reason::Error, messages });
        }
        let asked = |account: &&Account| names.is_empty() || names.iter().any(|name| name == account.name());
        let accounts = self.accounts.iter().filter(asked).map(|account| self.describe(account, urls, now)).collect();
        let persistence = self.persistence_status();
        self.respond(conn, Response::Status(Status { status_format_version: FORMAT_VERSION, accounts, persistence }));
    }

    /// `pizauth info`
    pub(super) fn on_info(&mut self, conn: ConnId) {
        let port = |port: Option<u16>| port.map_or("none".to_owned(), |port| port.to_string());
        let info = Info {
            http_port: port(self.bound.ports.http),
            https_port: port(self.bound.ports.https),
            https_pub_key: self.bound.https_pub_key.clone(),
            https_cert_sha256: self.bound.https_cert_sha256.clone(),
            warnings: self.bound.warnings.clone(),
        };
        self.respond(conn, Response::Info(info));
    }

    fn describe(&self, account: &Account, urls: bool, now: Now) -> AccountStatus {
        // A refresh token without an access token is all that came: there is nothing to tell of the latter.
        let token = account.token.as_ref();
        let access = token.filter(|token| !token.access_token.is_empty());
        let requested = (!account.settings.scopes.is_empty()).then(|| account.settings.scopes.join(" "));
        AccountStatus {
            name: account.name().to_owned(),
            state: state_of(account, now),
            obtained_at: access.map(|token| token.began_at(now)),
            expires_at: access.map(|token| now.wall_at(token.expires_at)),
            next_refresh_at: match account.renewal() {
                Renewal::Due(at) | Renewal::Held(at) => Some(now.wall_at(at)),
                Renewal::InFlight(_) => Some(now.wall),
                Renewal::Unable => None,
            },
            last_refresh_attempt_at: account.renewed_at.map(|at| now.wall_at(at)),
            last_notification_at: account
                .reminder
                .as_ref()
                .and_then(|reminder| reminder.last)
                .map(|at| now.wall_at(at)),
            refreshable: token.is_some_and(|token| token.refresh_token.is_some()),
            refresh_token_expires_at: token.and_then(|token| token.refresh_token_expires_at),
            scope: access.and_then(|token| token.scope.clone().or(requested)),
            last_error: account.last_error.as_ref().map(|error| ErrorStatus {
                message: error.message.clone(),
                at: error.at,
                transient: error.transient,
            }),
            not_saved: self.not_saved(account),
            authorization_url: url_of(account).filter(|_| urls),
        }
    }
}

fn state_of(account: &Account, now: Now) -> AccountState {
    if account.usable_token(now.time).is_some() {
        return AccountState::Active;
    }
    match (account.browser(), account.device()) {
        (Browser::Exchanging(_), _) => AccountState::Exchanging,
        _ if account.token.is_some() => AccountState::Expired,
        (Browser::Requested(_), _) | (_, Device::Asking(_) | Device::Polling(_)) => AccountState::Pending,
        (Browser::Closed, Device::Closed | Device::Held(_)) => AccountState::Empty,
    }
}

fn url_of(account: &Account) -> Option<String> {
    account.invitation().map(|invitation| match invitation {
        Invitation::Browser(request) => request.url.clone(),
        Invitation::Device(polling) => polling.verification_uri.clone(),
    })
}
