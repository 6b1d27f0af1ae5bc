//! Revoking tokens at the provider (RFC 7009): those that the user gives up, and those that came too late.

use std::rc::Rc;

use super::{
    Engine,
    account::{Account, AccountId},
    calls::{Purpose, read_late},
    clause::Clause,
    event::{ConnId, Level},
    message::Message,
    time::Now,
};
use crate::{
    config,
    oauth::{
        Broken, Call, Reply, revocation,
        token::{self, Asked, Tokens},
    },
    proto::Response,
    secret::Secret,
};

/// A client as it was when its tokens were given up: the account may have changed when they are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Whose client secret is sent, where a command has to print it first.
    pub(super) account: AccountId,
    pub(super) settings: Rc<config::Account>,
    pub(super) client_secret: Option<Secret>,
}

/// Tokens to revoke one after another, and who is told how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revocation {
    pub(super) client: Client,
    /// The next is last.
    pub(super) tokens: Vec<(Secret, revocation::Hint)>,
    pub(super) conn: Option<ConnId>,
    pub(super) messages: Vec<String>,
}

impl Client {
    /// The client that an account is now.
    pub(super) fn of(account: &Account) -> Client {
        let client_secret = account.client_secret.known().cloned();
        Client { account: account.id, settings: Rc::clone(&account.settings), client_secret }
    }
}

impl Engine {
    /// Revokes what an abandoned request brought.
    pub(super) fn revoke_late_tokens(
        &mut self,
        purpose: &Purpose,
        client: Client,
        outcome: &Result<Reply, Broken>,
        now: Now,
    ) {
        match read_late(&client.settings, purpose, outcome, now) {
            Some(Ok(tokens)) => self.revoke_tokens(client, tokens),
            Some(Err(failure)) => _ = self.revoke_at_provider(client, failure.refresh_token, None, None),
            None => {}
        }
    }

    pub(super) fn revoke_tokens(&mut self, client: Client, tokens: Tokens) {
        self.log(Level::Info, format!("{}: tokens came that nobody wants any more", client.settings.name));
        self.revoke_at_provider(client, tokens.refresh_token, Some(tokens.access_token), None);
    }

    /// Asks the provider to revoke tokens, the refresh token first; does nothing where it has no such endpoint.
    pub(super) fn revoke_at_provider(
        &mut self,
        client: Client,
        refresh_token: Option<Secret>,
        access_token: Option<Secret>,
        conn: Option<ConnId>,
    ) -> bool {
        let access = access_token.map(|token| (token, revocation::Hint::AccessToken));
        let refresh = refresh_token.map(|token| (token, revocation::Hint::RefreshToken));
        let tokens: Vec<_> = [access, refresh].into_iter().flatten().filter(|(token, _)| !token.is_empty()).collect();
        if client.settings.revocation_uri.is_none() || tokens.is_empty() {
            return false;
        }
        let revocation = Revocation { client, tokens, conn, messages: Vec::new() };
        self.enqueue(Purpose::Revocation(Box::new(revocation)));
        true
    }

    pub(super) fn on_revocation_answer(
        &mut self,
        mut revocation: Revocation,
        outcome: Result<Reply, Broken>,
        now: Now,
    ) {
        let client = &revocation.client;
        let mut mask = token::mask(&client.settings, client.client_secret.as_ref());
        revocation.tokens.iter().for_each(|(token, _)| mask.add(token));
        let asked = Asked { account: &client.settings, redirect_uri: None, mask: &mask };
        let result = match &outcome {
            Ok(reply) => revocation::read_answer(&asked, reply, now.wall),
            Err(broken) => Err(token::read_broken(&asked, broken)),
        };
        revocation.tokens.pop();
        if outcome.is_err() {
            // Whoever could not be reached for one token is not waited for once more.
            revocation.tokens.clear();
        }
        if let Err(failure) = result {
            let refused = failure.error.as_deref() == Some("invalid_client");
            if let Some(index) = self.index_of(revocation.client.account).filter(|_| refused) {
                self.forget_refused_secret(index, &failure);
                revocation.client.client_secret = self.accounts[index].client_secret.known().cloned();
            }
            let account = revocation.client.settings.name.clone();
            let message = Message::NotRevoked { account, reason: failure.message }.to_string();
            self.log(Level::Warn, message.clone());
            revocation.messages.push(message);
        }
        if !revocation.tokens.is_empty() {
            self.enqueue(Purpose::Revocation(Box::new(revocation)));
        } else if let Some(conn) = revocation.conn {
            self.respond(conn, Response::Done { messages: revocation.messages });
        }
    }

    /// Tells who waits for a revocation that the server stops.
    pub(super) fn leave_revocation(&mut self, purpose: Purpose) {
        let Purpose::Revocation(mut revocation) = purpose else { return };
        let Some(conn) = revocation.conn else { return };
        let reason = Clause::ShuttingDown.to_string();
        let message = Message::NotRevoked { account: revocation.client.settings.name.clone(), reason };
        revocation.messages.push(message.to_string());
        self.respond(conn, Response::Done { messages: revocation.messages });
    }
}

impl Revocation {
    pub(super) fn next_call(&self) -> Option<Call> {
        let (token, hint) = self.tokens.last()?;
        revocation::request(&self.client.settings, self.client.client_secret.as_ref(), token, *hint)
    }
}
