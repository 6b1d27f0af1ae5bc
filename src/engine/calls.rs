//! The requests to endpoints: those that wait for their turn, and those under way in helper threads.
//!
//! A request belongs to whoever holds its ticket. An owner that goes away leaves the request behind as abandoned:
//! it still counts against the limit, and what it brings is revoked.

use std::{collections::VecDeque, time::Duration};

use super::{
    Engine,
    account::{Account, AccountId, Browser, ClientSecret, Device},
    clause::Clause,
    event::{ConnId, Effect, Level, Ticket},
    renewals::retry_after_of,
    revocations::{Client, Revocation},
    time::{Now, Time},
};
use crate::{
    config::{self, Grant},
    oauth::{
        Broken, Call, Reply, Stage, device,
        text::Mask,
        token::{self, Asked, Failure, TokenGrant, Tokens},
    },
    secret::Secret,
};

/// Requests under way at once, abandoned ones counted: a bound on threads and memory.
pub(super) const MAX_CALLS: usize = 32;

/// How long a request may be under way: a little more than the 30 s that its helper allows itself, so that the
/// helper's own report, which knows how far the request came, is normally the one that counts.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(32);

/// All requests that have not ended.
#[derive(Default)]
pub(super) struct Calls {
    queue: VecDeque<Queued>,
    under_way: Vec<UnderWay>,
}

/// A request that waits for its turn, or for its client secret.
struct Queued {
    ticket: Ticket,
    purpose: Purpose,
}

/// A request in a helper thread.
struct UnderWay {
    ticket: Ticket,
    purpose: Purpose,
    owner: Owner,
    sent: Sent,
    /// When it is given up; it may still answer later.
    until: Option<Time>,
}

/// What a request was sent with. By the time of its answer the account may have others.
#[derive(Default)]
pub(super) struct Sent {
    /// When: a token in the answer has lived since then at the most.
    pub(super) at: Time,
    /// Of a renewal.
    pub(super) refresh_token: Option<Secret>,
    pub(super) client_secret: Option<Secret>,
}

/// How a request ended.
pub(super) struct Ending {
    pub(super) outcome: Result<Reply, Broken>,
    pub(super) sent: Sent,
}

/// Who is interested in the outcome.
enum Owner {
    /// The purpose's account.
    Account,
    /// Nobody; tokens that it brings are revoked as this client.
    Abandoned(Client),
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To exchange a code for tokens.
    Exchange(AccountId),
    /// To get tokens without the user; counts tokens by their generation.
    Renewal(AccountId, u64),
    /// To get a user code.
    DeviceAuthorization(AccountId),
    /// To ask whether the user code was entered.
    DevicePoll(AccountId),
    /// To revoke a token.
    Revocation(Box<Revocation>),
}

impl Purpose {
    /// The account that the request belongs to.
    pub(super) fn account(&self) -> Option<AccountId> {
        match self {
            Purpose::Exchange(id) | Purpose::Renewal(id, _) => Some(*id),
            Purpose::DeviceAuthorization(id) | Purpose::DevicePoll(id) => Some(*id),
            Purpose::Revocation(_) => None,
        }
    }

    /// The account whose client secret must be known before the request can be sent.
    fn needs_secret_of(&self) -> Option<AccountId> {
        match self {
            Purpose::Revocation(revocation) => {
                let Client { account, settings, client_secret } = &revocation.client;
                let unread =
                    client_secret.is_none() && matches!(settings.client_secret, config::ClientSecret::Command(_));
                unread.then_some(*account)
            }
            Purpose::Exchange(_) | Purpose::Renewal(..) => self.account(),
            Purpose::DeviceAuthorization(_) | Purpose::DevicePoll(_) => self.account(),
        }
    }

    /// Whether the answer may hold tokens.
    fn brings_tokens(&self) -> bool {
        match self {
            Purpose::Exchange(_) | Purpose::Renewal(..) | Purpose::DevicePoll(_) => true,
            Purpose::DeviceAuthorization(_) | Purpose::Revocation(_) => false,
        }
    }
}

impl Calls {
    /// The next moment at which a request is given up.
    pub(super) fn deadline(&self) -> Option<(Time, &'static str)> {
        self.under_way.iter().filter_map(|call| call.until).min().map(|at| (at, "end of a request"))
    }

    /// Whether an answer that may hold tokens for somebody is still waited for.
    pub(super) fn tokens_expected(&self) -> bool {
        let wanted = |call: &&UnderWay| matches!(call.owner, Owner::Account) && call.until.is_some();
        self.under_way.iter().filter(wanted).any(|call| call.purpose.brings_tokens())
    }

    /// Whether a request with this refresh token is still somewhere on its way, given up, abandoned or not. Without
    /// one, whether the account's own request is.
    fn is_renewing(&self, id: AccountId, refresh_token: Option<&Secret>) -> bool {
        self.under_way.iter().any(|call| match (&call.sent.refresh_token, refresh_token) {
            (Some(sent), Some(refresh_token)) => sent == refresh_token,
            (None, None) => matches!(call.purpose, Purpose::Renewal(owner, _) if owner == id),
            (Some(_), None) | (None, Some(_)) => false,
        })
    }

    /// Who waits for the outcome of a revocation: forgets a connection that is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        let queued = self.queue.iter_mut().map(|call| &mut call.purpose);
        for purpose in queued.chain(self.under_way.iter_mut().map(|call| &mut call.purpose)) {
            if let Purpose::Revocation(revocation) = purpose {
                revocation.conn.take_if(|waiting| *waiting == conn);
            }
        }
    }
}

impl Engine {
    /// Queues a request; it starts at the end of this turn at the earliest.
    pub(super) fn enqueue(&mut self, purpose: Purpose) -> Ticket {
        let ticket = self.issue_ticket();
        self.calls.queue.push_back(Queued { ticket, purpose });
        ticket
    }

    /// Starts what may start: those somebody waits for first.
    pub(super) fn start_calls(&mut self, now: Now) {
        while self.calls.under_way.len() < MAX_CALLS {
            let Some(position) = self.next_call() else { return };
            let Some(Queued { ticket, mut purpose }) = self.calls.queue.remove(position) else { return };
            self.complete(&mut purpose);
            let Some(call) = self.build_call(ticket, &purpose, now) else { continue };
            let sent = self.sent_with(&purpose, now);
            let (owner, until) = (Owner::Account, Some(now.time + CALL_LIMIT));
            self.calls.under_way.push(UnderWay { ticket, purpose, owner, sent, until });
            self.effects.push_back(Effect::Call { ticket, call });
        }
    }

    /// Leaves an account's requests under way behind; those that only wait for their turn are dropped.
    pub(super) fn abandon_calls(&mut self, index: usize) {
        let account = &self.accounts[index];
        self.calls.queue.retain(|call| call.purpose.account() != Some(account.id));
        for call in self.calls.under_way.iter_mut().filter(|call| call.purpose.account() == Some(account.id)) {
            if let Owner::Account = call.owner {
                let client_secret = call.sent.client_secret.take();
                call.owner = Owner::Abandoned(Client { client_secret, ..Client::of(account) });
            }
        }
    }

    /// Ends an account's requests that wait for their turn, because none of them can be sent.
    pub(super) fn fail_queued_calls(&mut self, index: usize, broken: &Broken, now: Now) {
        let id = self.accounts[index].id;
        let queue = std::mem::take(&mut self.calls.queue);
        let (failed, rest): (VecDeque<_>, _) =
            queue.into_iter().partition(|call| call.purpose.needs_secret_of() == Some(id));
        self.calls.queue = rest;
        for call in failed {
            let ending = Ending { outcome: Err(broken.clone()), sent: Sent::default() };
            self.conclude_call(call.ticket, call.purpose, ending, now);
        }
    }

    /// Drops everything that only waits for its turn, because the server stops.
    pub(super) fn drop_queued_calls(&mut self) {
        for call in std::mem::take(&mut self.calls.queue) {
            self.leave_revocation(call.purpose);
        }
    }

    /// Tells everybody who waits for a revocation that the server stops.
    pub(super) fn leave_calls(&mut self) {
        self.drop_queued_calls();
        for call in std::mem::take(&mut self.calls.under_way) {
            self.leave_revocation(call.purpose);
        }
    }

    /// Gives up the requests whose time is over.
    pub(super) fn on_calls_timeout(&mut self, now: Now) {
        while let Some(call) =
            self.calls.under_way.iter_mut().find(|call| call.until.is_some_and(|until| until <= now.time))
        {
            call.until = None;
            let abandoned = matches!(call.owner, Owner::Abandoned(_));
            let (ticket, purpose) = (call.ticket, call.purpose.clone());
            if let Purpose::Revocation(revocation) = &mut call.purpose {
                revocation.conn = None;
            }
            if !abandoned {
                let detail = Clause::NoAnswer { seconds: CALL_LIMIT.as_secs() }.to_string();
                let outcome = Err(Broken { stage: Stage::Sent, detail });
                self.conclude_call(ticket, purpose, Ending { outcome, sent: Sent::default() }, now);
            }
        }
    }

    /// A helper thread ended.
    pub(super) fn on_answer(&mut self, ticket: Ticket, outcome: Result<Reply, Broken>, now: Now) {
        let Some(position) = self.calls.under_way.iter().position(|call| call.ticket == ticket) else {
            return self.log(Level::Debug, format!("answer to request {} that nobody made", ticket.0));
        };
        let call = self.calls.under_way.swap_remove(position);
        let ending = Ending { outcome, sent: call.sent };
        match call.owner {
            Owner::Abandoned(client) => self.revoke_late_tokens(&call.purpose, client, &ending.outcome, now),
            Owner::Account if call.until.is_none() => self.on_late_answer(&call.purpose, ending, now),
            Owner::Account => self.conclude_call(ticket, call.purpose, ending, now),
        }
    }

    /// Hands an outcome to the machine that waits for it.
    fn conclude_call(&mut self, ticket: Ticket, purpose: Purpose, ending: Ending, now: Now) {
        let index = purpose.account().and_then(|id| self.index_of(id));
        match (purpose, index) {
            (Purpose::Revocation(revocation), _) => self.on_revocation_answer(*revocation, ending.outcome, now),
            (purpose, Some(index)) if !self.accounts[index].holds(&purpose, ticket) => {
                self.on_late_answer(&purpose, ending, now);
            }
            (Purpose::Exchange(_), Some(index)) => self.on_exchange_answer(index, ending, now),
            (Purpose::Renewal(..), Some(index)) => self.on_renewal_answer(index, ending, now),
            (Purpose::DeviceAuthorization(_), Some(index)) => self.on_device_answer(index, ending, now),
            (Purpose::DevicePoll(_), Some(index)) => self.on_poll_answer(index, ending, now),
            (Purpose::Exchange(_) | Purpose::Renewal(..), None) => {}
            (Purpose::DeviceAuthorization(_) | Purpose::DevicePoll(_), None) => {}
        }
    }

    /// An answer came after its request was given up, or its machine has moved on: tokens in it are still worth having,
    /// unless there are newer.
    fn on_late_answer(&mut self, purpose: &Purpose, ending: Ending, now: Now) {
        let Some(index) = purpose.account().and_then(|id| self.index_of(id)) else { return };
        let client = Client::of(&self.accounts[index]);
        let account = &self.accounts[index];
        let is_newest = account.token.as_ref().is_none_or(|token| token.obtained_at <= ending.sent.at);
        let wanted = match purpose {
            Purpose::Renewal(_, generation) => account.generation == *generation,
            Purpose::Exchange(_) => is_newest,
            Purpose::DevicePoll(_) => is_newest || matches!(account.device(), Device::Polling(_)),
            Purpose::DeviceAuthorization(_) | Purpose::Revocation(_) => false,
        };
        let tokens = match read_late(&client.settings, purpose, &ending.outcome, now) {
            Some(Ok(tokens)) => tokens,
            Some(Err(mut failure)) => {
                self.note_pause(index, retry_after_of(failure.kind), now);
                self.forget_refused_secret(index, &failure);
                let is_renewal = matches!(purpose, Purpose::Renewal(..));
                if wanted && !is_renewal {
                    return self.keep_offered(index, &mut failure, now);
                }
                return self.keep_rotated(index, &ending, now);
            }
            None => return self.keep_rotated(index, &ending, now),
        };
        let life = tokens.expires_in.unwrap_or(account.settings.assume_expires_in);
        if tokens.refresh_token.is_none() && ending.sent.at + life <= now.time {
            return self.log(Level::Info, format!("{}: late answer with a token that has expired", account.name()));
        }
        self.log(Level::Info, format!("{}: late answer to a token request", self.accounts[index].name()));
        match (wanted, purpose) {
            (true, Purpose::Renewal(..)) => self.install_renewed(index, tokens, ending.sent.at, now),
            (true, _) => self.install_authorized(index, tokens, ending.sent.at, now),
            (false, _) if self.accounts[index].token.is_none() => self.revoke_tokens(client, tokens),
            // Some providers end a client's every grant with one of them, and so the newer one too.
            (false, _) => self.keep_rotated(index, &ending, now),
        }
    }

    /// The position in the queue of the request to start next, and starts reading client secrets on the way.
    fn next_call(&mut self) -> Option<usize> {
        let (mut first, mut first_awaited) = (None, None);
        let mut unread = Vec::new();
        for (position, call) in self.calls.queue.iter().enumerate() {
            let Some(index) = call.purpose.needs_secret_of().and_then(|id| self.index_of(id)) else {
                first = first.or(Some(position));
                let asked = matches!(&call.purpose, Purpose::Revocation(revocation) if revocation.conn.is_some());
                first_awaited = first_awaited.or(asked.then_some(position));
                continue;
            };
            match self.accounts[index].client_secret {
                ClientSecret::Unneeded | ClientSecret::Known(_) => {}
                ClientSecret::Unread => {
                    unread.push(index);
                    continue;
                }
                ClientSecret::Reading(_) => continue,
            }
            first = first.or(Some(position));
            let awaited = !matches!(call.purpose, Purpose::Renewal(..)) || !self.accounts[index].waiters.is_empty();
            first_awaited = first_awaited.or(awaited.then_some(position));
        }
        for index in unread {
            self.read_client_secret(index);
        }
        first_awaited.or(first)
    }

    /// Gives a revocation the client secret that it waited for.
    fn complete(&self, purpose: &mut Purpose) {
        let index = purpose.needs_secret_of().and_then(|id| self.index_of(id));
        if let (Purpose::Revocation(revocation), Some(index)) = (purpose, index) {
            revocation.client.client_secret = self.accounts[index].client_secret.known().cloned();
        }
    }

    /// The call itself, from what is known now; none where the ticket's holder has moved on.
    fn build_call(&mut self, ticket: Ticket, purpose: &Purpose, now: Now) -> Option<Call> {
        if let Purpose::Revocation(revocation) = purpose {
            return revocation.next_call();
        }
        let index = self.index_of(purpose.account()?)?;
        let account = &self.accounts[index];
        if !account.holds(purpose, ticket) {
            return None;
        }
        let (settings, secret) = (&account.settings, account.client_secret.known());
        match purpose {
            Purpose::Revocation(_) => None,
            Purpose::Exchange(_) => {
                let Browser::Exchanging(exchanging) = account.browser() else { return None };
                let request = &exchanging.request;
                let grant = TokenGrant::AuthorizationCode {
                    code: &exchanging.code,
                    code_verifier: &request.code_verifier,
                    redirect_uri: &request.redirect_uri,
                };
                Some(token::request(settings, secret, grant))
            }
            Purpose::Renewal(..) => self.build_renewal(index, now),
            Purpose::DeviceAuthorization(_) => match self.paused_until(&settings.token_uri, now.time) {
                Some(until) => {
                    self.postpone_question(index, until, now);
                    None
                }
                None => device::request(settings, secret),
            },
            Purpose::DevicePoll(_) => {
                let Device::Polling(polling) = account.device() else { return None };
                Some(token::request(settings, secret, TokenGrant::DeviceCode(&polling.device_code)))
            }
        }
    }

    /// The call of a renewal, unless it must wait after all.
    fn build_renewal(&mut self, index: usize, now: Now) -> Option<Call> {
        let account = &self.accounts[index];
        let busy = self.calls.is_renewing(account.id, account.refresh_token());
        let paused = self.paused_until(&account.settings.token_uri, now.time);
        if let Some(until) = paused.or(busy.then(|| now.time + account.retry())) {
            self.postpone_renewal(index, until, now);
            return None;
        }
        let grant = match (account.settings.grant, account.refresh_token()) {
            (Grant::ClientCredentials, _) => TokenGrant::ClientCredentials,
            (Grant::AuthorizationCode | Grant::DeviceCode, refresh_token) => TokenGrant::RefreshToken(refresh_token?),
        };
        Some(token::request(&account.settings, account.client_secret.known(), grant))
    }

    /// What a request is sent with now.
    fn sent_with(&self, purpose: &Purpose, now: Now) -> Sent {
        let account = purpose.account().and_then(|id| self.index_of(id)).map(|index| &self.accounts[index]);
        let renewing = account.filter(|_| matches!(purpose, Purpose::Renewal(..)));
        Sent {
            at: now.time,
            refresh_token: renewing.and_then(Account::refresh_token).cloned(),
            client_secret: account.and_then(|account| account.client_secret.known()).cloned(),
        }
    }

    /// Reads what a token endpoint answered for an account.
    pub(super) fn read_tokens(
        &self,
        index: usize,
        redirect_uri: Option<&str>,
        ending: &Ending,
        now: Now,
    ) -> Result<Tokens, Failure> {
        let mask = self.mask(index, ending.sent.client_secret.as_ref());
        let asked = Asked { account: &self.accounts[index].settings, redirect_uri, mask: &mask };
        match &ending.outcome {
            Ok(reply) => token::read_answer(&asked, reply, now.wall),
            Err(broken) => Err(token::read_broken(&asked, broken)),
        }
    }

    /// Everything of an account that a message must not show, and the client secret that was `sent`.
    pub(super) fn mask(&self, index: usize, sent: Option<&Secret>) -> Mask {
        let account = &self.accounts[index];
        let mut mask = token::mask(&account.settings, sent.or(account.client_secret.known()));
        if let Some(token) = &account.token {
            mask.add(&token.access_token);
            token.refresh_token.iter().for_each(|token| mask.add(token));
        }
        let request = match account.browser() {
            Browser::Closed => None,
            Browser::Requested(request) => Some(request),
            Browser::Exchanging(exchanging) => {
                mask.add(&exchanging.code);
                Some(&exchanging.request)
            }
        };
        if let Some(request) = request {
            mask.add(&request.state);
            mask.add(&request.code_verifier);
        }
        if let Device::Polling(polling) = account.device() {
            mask.add(&polling.device_code);
        }
        mask
    }
}

/// Reads an answer that its owner does not wait for any more, where it can hold tokens.
pub(super) fn read_late(
    settings: &config::Account,
    purpose: &Purpose,
    outcome: &Result<Reply, Broken>,
    now: Now,
) -> Option<Result<Tokens, Failure>> {
    let reply = outcome.as_ref().ok().filter(|_| purpose.brings_tokens())?;
    let asked = Asked { account: settings, redirect_uri: None, mask: &Mask::default() };
    Some(token::read_answer(&asked, reply, now.wall))
}

#[cfg(test)]
impl Calls {
    /// Whether a request is still to have an outcome for its owner.
    pub(super) fn is_expected(&self, ticket: Ticket) -> bool {
        self.queue.iter().any(|call| call.ticket == ticket)
            || self.under_way.iter().any(|call| call.ticket == ticket && call.until.is_some())
    }

    /// Whether an account wants what a request brings.
    pub(super) fn is_wanted(&self, ticket: Ticket) -> bool {
        self.under_way.iter().any(|call| call.ticket == ticket && matches!(call.owner, Owner::Account))
    }

    /// Who waits for a revocation.
    pub(super) fn askers(&self) -> Vec<ConnId> {
        let queued = self.queue.iter().map(|call| &call.purpose);
        let purposes = queued.chain(self.under_way.iter().map(|call| &call.purpose));
        let askers = purposes.filter_map(|purpose| match purpose {
            Purpose::Revocation(revocation) => revocation.conn,
            Purpose::Exchange(_) | Purpose::Renewal(..) => None,
            Purpose::DeviceAuthorization(_) | Purpose::DevicePoll(_) => None,
        });
        askers.collect()
    }
}
