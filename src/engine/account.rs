//! One account: what it has and what it is doing, as small machines side by side.
//!
//! An account may be authorised anew while its token still works, so obtaining a token and having one are apart.
//! Only the `enter_*` functions here write a machine's state; each logs the transition. What an event does in which
//! state is written in these tables, and in no state does anything happen that is not named ("ignored").
//!
//! [`Browser`], the authorization code grant (RFC 6749 s4.1):
//!
//! | state | event | next state and what follows |
//! | --- | --- | --- |
//! | `Closed` | somebody asks for a token that only the user can give | `Requested`: notify, tell the waiters the URL |
//! | `Requested` | redirect with `code` | `Exchanging`: opening page, token request |
//! | `Requested` | redirect with `error` | `Closed`: report, failure page, the waiters fail |
//! | `Requested` | the same question again | unchanged: the same URL |
//! | `Requested` | a listener moved | `Requested` with a new URL |
//! | `Requested` | the listener is gone | `Closed`: a user code is asked for where somebody waits |
//! | `Exchanging` | the same redirect again | unchanged: the page joins |
//! | `Exchanging` | tokens | `Closed`: token installed, success page |
//! | `Exchanging` | no byte of the request was written | the same, tried again every 5 s for a minute |
//! | `Exchanging` | any other failure | `Closed`: report, failure page, the waiters fail |
//! | `Requested` | tokens were restored | `Closed`: the page says so |
//! | any | token obtained by a device, or refused there, revoked, account changed | `Closed` |
//!
//! [`Device`], the device authorization grant (RFC 8628):
//!
//! | state | event | next state and what follows |
//! | --- | --- | --- |
//! | `Closed` | somebody asks for a token that only the user can give | `Asking`: device authorization request |
//! | `Closed`, `Asking` | the same, or its turn, in a pause that the provider asked for | `Asking`, due after it |
//! | `Asking` | user code | `Polling`: notify, tell the waiters the code |
//! | `Asking` | transient failure | the same, due after the backoff; beside a browser `Closed` |
//! | `Asking`, due | the time comes | a further request where somebody waits; else `Closed` |
//! | `Asking`, due | `pizauth auth` | a further request at once |
//! | `Asking` | any other failure | `Held` for an hour: report, the waiters fail |
//! | `Asking` | the same, while a browser is asked too | `Closed` |
//! | `Held` | the hour is over, the configuration is read anew, or another grant ended | `Closed` |
//! | `Held` | `pizauth auth` or `pizauth refresh` | `Asking`: device authorization request |
//! | `Polling` | `authorization_pending`, an answer that may pass | the same, after the interval |
//! | `Polling` | no answer | the same, after the interval doubled for each in a row, up to a minute |
//! | `Polling` | `slow_down`, 429 | the same, the interval 5 s longer |
//! | `Polling` | tokens | `Closed`: token installed |
//! | `Polling` | any other failure, or the code's end between two polls | `Closed`: report, the waiters fail |
//! | any | tokens were restored, and no code is being exchanged | `Closed`; newer tokens of a poll under way still count |
//! | any | token obtained in a browser, or refused there, revoked, account changed | `Closed` |
//!
//! [`Renewal`], a token request that needs no user (RFC 6749 s6, s4.4):
//!
//! | state | event | next state and what follows |
//! | --- | --- | --- |
//! | `Unable` | tokens with a refresh token, or the grant is `client_credentials` | `Due` |
//! | `Due` | the time comes, or somebody asks at once | `InFlight`: token request |
//! | `InFlight` | tokens | `Due` later: token installed |
//! | `InFlight` | transient failure, or an answer that means nothing | `Due` after the backoff |
//! | `InFlight` | `invalid_grant` and its like | `Unable`: token forgotten, report |
//! | `InFlight` | any other refusal | `Held` for an hour: report |
//! | `InFlight` | its turn comes in a pause, or while an old request still has the refresh token | `Due` after that |
//! | `InFlight` | tokens were restored | unchanged |
//! | `Due` | `show -t` in a pause | `Due` at the end of the pause, where that is sooner |
//! | `Held` | the hour is over, or somebody asks at once | `InFlight`: token request |
//! | `Held` | the configuration is read anew | `Due` now |
//! | `Unable` | somebody asks, and the grant is `client_credentials` | `InFlight`: token request |
//! | any | tokens by the user | `Due`; of an answer under way only a new refresh token still counts |
//! | any | revoked, account changed | `Unable` |
//!
//! [`ClientSecret`], where `client_secret_cmd` prints it (else it is `Unneeded` or `Known` for ever):
//!
//! | state | event | next state and what follows |
//! | --- | --- | --- |
//! | `Unread` | a request needs it | `Reading`: run the command; the request waits |
//! | `Reading` | exit 0 and one line | `Known`: the requests go |
//! | `Reading` | any other end | `Unread`: the requests fail, to be tried again like others that never left |
//! | `Known` | `invalid_client`, or the configuration is read anew | `Unread` |

use std::{rc::Rc, time::Duration};

use super::{
    WallTime,
    calls::Purpose,
    event::{ConnId, Ticket},
    time::{Now, Time},
    waiters::Waiter,
};
use crate::{
    config::{self, Grant},
    secret::Secret,
};

/// Shortest pause after a transient failure, whatever is configured: no pause at all would be a busy loop.
const MIN_RETRY: Duration = Duration::from_secs(1);

/// Longest pause between two automatic token requests of an account whose tokens live shorter than that.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Names one account for as long as its tokens belong to it; a changed account is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AccountId {
    /// Unlike any other.
    pub(super) number: u64,
    /// Where the account was put when it was made; a hint, since a reload moves accounts.
    pub(super) place: usize,
}

/// An account with everything that is known of it.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) settings: Rc<config::Account>,
    browser: Browser,
    device: Device,
    renewal: Renewal,
    /// The tokens; `None` until the first are obtained and after the grant ended.
    pub(super) token: Option<Issued>,
    /// Counts every change of `token`, so that a late answer knows whether it is still of interest.
    pub(super) generation: u64,
    pub(super) client_secret: ClientSecret,
    pub(super) reminder: Option<Reminder>,
    pub(super) last_error: Option<LastError>,
    /// Failed renewals in a row.
    pub(super) failures: u32,
    /// Failed questions for a user code in a row.
    pub(super) failed_questions: u32,
    /// When a renewal last ended, for `status` and the pause between two.
    pub(super) renewed_at: Option<Time>,
    /// A `transient_error_if_cmd` that judges this account.
    pub(super) verdict: Option<Ticket>,
    /// The number of the last change of the tokens; what is above the last saved one is unsaved.
    pub(super) change: u64,
    /// The user was told that this provider gives no refresh token.
    pub(super) told_no_refresh_token: bool,
    pub(super) waiters: Vec<Waiter>,
}

/// An access token and what came with it.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) access_token: Secret,
    pub(super) obtained_at: Time,
    pub(super) expires_at: Time,
    /// The whole life, which may be longer than the time since `obtained_at` can tell shortly after boot.
    pub(super) life: Duration,
    /// When after it was obtained the provider wants it to be refreshed.
    pub(super) refresh_in: Option<Duration>,
    pub(super) refresh_token: Option<Secret>,
    pub(super) refresh_token_expires_at: Option<WallTime>,
    /// What the provider named; `None` where it named none.
    pub(super) scope: Option<String>,
}

impl Issued {
    /// When its life began, by the clock as it is now; it may have been wrong then.
    pub(super) fn began_at(&self, now: Now) -> WallTime {
        now.wall_at(self.expires_at) - self.life
    }

    /// Whether the access token works, as far as the clock tells.
    pub(super) fn is_usable(&self, now: Time) -> bool {
        now < self.expires_at && !self.access_token.is_empty()
    }
}

/// The authorization code grant.
#[derive(Debug)]
pub(super) enum Browser {
    /// Nobody is asked.
    Closed,
    /// The user is asked to authorise.
    Requested(Requested),
    /// The code came, and is being exchanged.
    Exchanging(Exchanging),
}

/// An authorization request that waits for its redirect.
#[derive(Debug)]
pub(super) struct Requested {
    pub(super) url: String,
    pub(super) state: Secret,
    pub(super) code_verifier: Secret,
    pub(super) redirect_uri: String,
}

/// A code that is being exchanged for tokens.
#[derive(Debug)]
pub(super) struct Exchanging {
    pub(super) request: Requested,
    pub(super) code: Secret,
    /// Browsers that wait for the outcome.
    pub(super) pages: Vec<ConnId>,
    pub(super) attempt: Attempt,
    /// When trying again ends.
    pub(super) until: Time,
}

/// One try of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The request waits for its turn or is under way.
    InFlight(Ticket),
    /// The next try is due then.
    Due(Time),
}

/// The device authorization grant.
#[derive(Debug)]
pub(super) enum Device {
    /// Nobody is asked.
    Closed,
    /// The device authorization endpoint is asked for a user code.
    Asking(Attempt),
    /// It refused for a reason that waiting does not mend; nobody but the user asks again until then.
    Held(Time),
    /// The user has a code; the token endpoint is polled.
    Polling(Polling),
}

/// A user code that waits to be entered.
#[derive(Debug)]
pub(super) struct Polling {
    pub(super) device_code: Secret,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    pub(super) verification_uri_complete: Option<String>,
    pub(super) expires_at: Time,
    pub(super) interval: Duration,
    pub(super) attempt: Attempt,
    /// Polls in a row that got no answer.
    pub(super) unanswered: u32,
}

/// What the user is asked to open.
pub(super) enum Invitation<'a> {
    /// A URL, in a browser that reaches the listener.
    Browser(&'a Requested),
    /// A verification URI, to enter a user code.
    Device(&'a Polling),
}

/// A token request that needs no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// There is nothing to renew with.
    Unable,
    /// The next one is due then.
    Due(Time),
    /// The request waits for its turn or is under way.
    InFlight(Ticket),
    /// It was refused for a reason that waiting does not mend; tried again then.
    Held(Time),
}

/// The client secret, as far as it is known.
#[derive(Debug)]
pub(super) enum ClientSecret {
    /// A public client.
    Unneeded,
    /// It was in the configuration, or the command printed it.
    Known(Secret),
    /// The command was not asked yet, or not with success.
    Unread,
    /// The command runs.
    Reading(Ticket),
}

impl ClientSecret {
    /// What `settings` tell of it.
    pub(super) fn of(settings: &config::Account) -> ClientSecret {
        match &settings.client_secret {
            config::ClientSecret::None => ClientSecret::Unneeded,
            config::ClientSecret::Text(secret) => ClientSecret::Known(secret.clone()),
            config::ClientSecret::Command(_) => ClientSecret::Unread,
        }
    }

    /// The secret itself, where it is known.
    pub(super) fn known(&self) -> Option<&Secret> {
        match self {
            ClientSecret::Known(secret) => Some(secret),
            ClientSecret::Unneeded | ClientSecret::Unread | ClientSecret::Reading(_) => None,
        }
    }
}

/// Reminding the user of an open authorization.
#[derive(Debug)]
pub(super) struct Reminder {
    /// When the user was last reminded.
    pub(super) last: Option<Time>,
    /// When the next reminder is due; `None` where no command is configured.
    pub(super) next: Option<Time>,
    /// The last notification, which may have ended by itself.
    pub(super) showing: Option<Ticket>,
}

/// The last thing that went wrong.
#[derive(Clone, Debug)]
pub(super) struct LastError {
    pub(super) message: String,
    pub(super) at: WallTime,
    pub(super) transient: bool,
}

/// A transition, for the log.
pub(super) type Transition = String;

impl Account {
    pub(super) fn new(id: AccountId, settings: Rc<config::Account>) -> Account {
        Account {
            id,
            client_secret: ClientSecret::of(&settings),
            settings,
            browser: Browser::Closed,
            device: Device::Closed,
            renewal: Renewal::Unable,
            token: None,
            generation: 0,
            reminder: None,
            last_error: None,
            failures: 0,
            failed_questions: 0,
            renewed_at: None,
            verdict: None,
            change: 0,
            told_no_refresh_token: false,
            waiters: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn browser(&self) -> &Browser {
        &self.browser
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn renewal(&self) -> Renewal {
        self.renewal
    }

    /// The pages that wait for an exchange; none in any other state.
    pub(super) fn pages_mut(&mut self) -> Option<&mut Vec<ConnId>> {
        match &mut self.browser {
            Browser::Exchanging(exchanging) => Some(&mut exchanging.pages),
            Browser::Closed | Browser::Requested(_) => None,
        }
    }

    /// Writes the state of [`Browser`] and gives back the old one.
    pub(super) fn enter_browser(&mut self, next: Browser) -> (Browser, Transition) {
        let name = |state: &Browser| match state {
            Browser::Closed => "closed",
            Browser::Requested(_) => "requested",
            Browser::Exchanging(_) => "exchanging",
        };
        let line = format!("{}: browser {} -> {}", self.name(), name(&self.browser), name(&next));
        (std::mem::replace(&mut self.browser, next), line)
    }

    /// Writes the state of [`Device`] and gives back the old one.
    pub(super) fn enter_device(&mut self, next: Device) -> (Device, Transition) {
        let name = |state: &Device| match state {
            Device::Closed => "closed",
            Device::Asking(_) => "asking",
            Device::Held(_) => "held",
            Device::Polling(_) => "polling",
        };
        let line = format!("{}: device {} -> {}", self.name(), name(&self.device), name(&next));
        (std::mem::replace(&mut self.device, next), line)
    }

    /// Writes the state of [`Renewal`].
    pub(super) fn enter_renewal(&mut self, next: Renewal) -> Transition {
        let name = |state: Renewal| match state {
            Renewal::Unable => "unable",
            Renewal::Due(_) => "due",
            Renewal::InFlight(_) => "in flight",
            Renewal::Held(_) => "held",
        };
        let line = format!("{}: renewal {} -> {}", self.name(), name(self.renewal), name(next));
        self.renewal = next;
        line
    }

    /// Whether the user has been asked, and has not answered yet.
    pub(super) fn is_authorizing(&self) -> bool {
        !matches!((&self.browser, &self.device), (Browser::Closed, Device::Closed | Device::Held(_)))
    }

    /// What to tell of an open authorization where only one thing can be told: if both are open, what the grant names.
    pub(super) fn invitation(&self) -> Option<Invitation<'_>> {
        match (&self.browser, &self.device, self.settings.grant) {
            // The user has done what was to be done.
            (Browser::Exchanging(_), _, _) => None,
            (_, Device::Polling(polling), Grant::DeviceCode) => Some(Invitation::Device(polling)),
            (Browser::Requested(request), _, _) => Some(Invitation::Browser(request)),
            (Browser::Closed, Device::Polling(polling), _) => Some(Invitation::Device(polling)),
            (Browser::Closed, Device::Closed | Device::Asking(_) | Device::Held(_), _) => None,
        }
    }

    /// Whether a machine still waits for the answer to this request.
    pub(super) fn holds(&self, purpose: &Purpose, ticket: Ticket) -> bool {
        let in_flight = Attempt::InFlight(ticket);
        match (purpose, &self.browser, &self.device) {
            (Purpose::Exchange(_), Browser::Exchanging(exchanging), _) => exchanging.attempt == in_flight,
            (Purpose::DeviceAuthorization(_), _, Device::Asking(attempt)) => *attempt == in_flight,
            (Purpose::DevicePoll(_), _, Device::Polling(polling)) => polling.attempt == in_flight,
            (Purpose::Renewal(..), _, _) => self.renewal == Renewal::InFlight(ticket),
            (
                Purpose::Exchange(_)
                | Purpose::DeviceAuthorization(_)
                | Purpose::DevicePoll(_)
                | Purpose::Revocation(_),
                _,
                _,
            ) => false,
        }
    }

    /// Whether a token request without a user is possible.
    pub(super) fn is_renewable(&self) -> bool {
        self.refresh_token().is_some() || self.settings.grant == Grant::ClientCredentials
    }

    /// Whether a refresh token is of any use: an account without user gets tokens as it got the first (RFC 6749 s4.4.3),
    /// so nothing can end that a refresh token would outlive.
    pub(super) fn keeps_refresh_tokens(&self) -> bool {
        self.settings.grant != Grant::ClientCredentials
    }

    /// The refresh token, where there is one.
    pub(super) fn refresh_token(&self) -> Option<&Secret> {
        self.token.as_ref()?.refresh_token.as_ref()
    }

    /// The access token, where it works.
    pub(super) fn usable_token(&self, now: Time) -> Option<&Issued> {
        self.token.as_ref().filter(|token| token.is_usable(now))
    }

    /// How long the last token request that needed no user is too recent for another.
    pub(super) fn paused_until(&self) -> Option<Time> {
        self.renewed_at.map(|at| at + self.pause())
    }

    /// Shortest time between two automatic token requests.
    pub(super) fn pause(&self) -> Duration {
        self.retry().min(MAX_PAUSE)
    }

    /// First pause after a transient failure.
    pub(super) fn retry(&self) -> Duration {
        self.settings.refresh_retry.max(MIN_RETRY)
    }

    /// Remembers what went wrong, for `status`.
    pub(super) fn record_error(&mut self, message: String, transient: bool, now: Now) {
        self.last_error = Some(LastError { message, at: now.wall, transient });
    }

    /// The next deadline of the account itself and what it is for; waiters and calls have their own.
    pub(super) fn deadline(&self) -> Option<(Time, &'static str)> {
        let browser = match &self.browser {
            Browser::Exchanging(Exchanging { attempt: Attempt::Due(at), .. }) => Some((*at, "code exchange")),
            Browser::Closed | Browser::Requested(_) | Browser::Exchanging(_) => None,
        };
        let device = match &self.device {
            Device::Polling(polling) => match polling.attempt {
                Attempt::Due(at) => Some((at.min(polling.expires_at), "device poll")),
                Attempt::InFlight(_) => None,
            },
            Device::Asking(Attempt::Due(at)) => Some((*at, "device authorization")),
            Device::Held(at) => Some((*at, "device authorization after a refusal")),
            Device::Closed | Device::Asking(_) => None,
        };
        let renewal = match self.renewal {
            Renewal::Due(at) => Some((at, "refresh")),
            Renewal::Held(at) => Some((at, "refresh after a refusal")),
            Renewal::Unable | Renewal::InFlight(_) => None,
        };
        let reminder = self.reminder.as_ref().and_then(|reminder| reminder.next).map(|at| (at, "reminder"));
        [browser, device, renewal, reminder].into_iter().flatten().min()
    }
}
