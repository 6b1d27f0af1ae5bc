//! Every message of the engine that a user can meet, each one line that names the account and says what to do next.

use std::fmt;

use super::WallTime;
use crate::proto::{Reason, Response};

/// A message to a client, a hook or the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    UnknownAccount { account: String },
    ForeignGitHost { account: String, host: String },
    AuthorizeInBrowser { account: String, url: String },
    AuthorizeOnDevice { account: String, verification_uri: String, user_code: String },
    AuthorizeSomewhere { account: String },
    AskingForUserCode { account: String },
    NoUserCode { account: String, reason: String, again: Option<WallTime> },
    BeingExchanged { account: String },
    NotRefreshed { account: String, has: Has, again: Option<WallTime>, error: Option<String> },
    ProviderAsksToWait { account: String, until: WallTime },
    Refused { account: String, reason: String },
    GrantEnded { account: String, reason: String },
    AuthorizationFailed { account: String, reason: String },
    WrongPaste { account: String, reason: String },
    NoRefreshToken { account: String },
    NotRevoked { account: String, reason: String },
    Revoked { account: String },
    AccountChanged { account: String },
    Restoring { account: String },
    Sealed { account: String, reason: String },
    StoreSealed { reason: String },
    NotSaved { reason: String },
    NotRestored { reason: String },
    LeftUnsaved { accounts: Vec<String>, reason: String },
    ShuttingDown,
}

/// What an account has that was not refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    Nothing,
    ExpiredToken,
    UsableToken,
}

impl Message {
    /// The message as the failure of a request.
    pub(super) fn into_response(self, reason: Reason) -> Response {
        Response::Failed { reason, messages: vec![self.to_string()] }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::UnknownAccount { account } => {
                write!(f, "No account '{account}': \"pizauth status\" lists the configured ones")
            }
            Message::ForeignGitHost { account, host } => write!(
                f,
                "{account}: no token for git at {host:?}: the host is not in git_hosts; add it there if it may have the \
                 token"
            ),
            Message::AuthorizeInBrowser { account, url } => {
                write!(f, "{account}: Access token unavailable until authorised with URL {url}")
            }
            Message::AuthorizeOnDevice { account, verification_uri, user_code } => write!(
                f,
                "{account}: Access token unavailable until authorised: enter code {user_code} at {verification_uri}"
            ),
            Message::AuthorizeSomewhere { account } => {
                write!(f, "{account}: Access token unavailable until authorised: run \"pizauth auth {account}\"")
            }
            Message::AskingForUserCode { account } => {
                write!(f, "{account}: the provider is being asked for a user code; try again in a moment")
            }
            Message::NoUserCode { account, reason, again } => {
                write!(f, "{account}: the provider gave no user code: {reason}; try again ")?;
                match again {
                    Some(again) => write!(f, "after {again}, or now with \"pizauth auth {account}\""),
                    None => f.write_str("later"),
                }
            }
            Message::BeingExchanged { account } => {
                write!(f, "{account}: the authorization is being exchanged for a token; try again in a moment")
            }
            Message::NotRefreshed { account, has, again, error } => {
                f.write_str(account)?;
                f.write_str(match has {
                    Has::Nothing => ": Access token not yet obtained",
                    Has::ExpiredToken => ": Access token has expired and refreshing has not yet succeeded",
                    Has::UsableToken => ": Access token is still valid but refreshing it has not yet succeeded",
                })?;
                match again {
                    Some(again) => write!(f, "; next try at {again}, or now with \"pizauth refresh {account}\"")?,
                    None => write!(f, "; a request is under way, try again in a moment")?,
                }
                error.iter().try_for_each(|error| write!(f, ": {error}"))
            }
            Message::ProviderAsksToWait { account, until } => {
                write!(f, "{account}: not refreshed: the provider asks to wait until {until}; try again after that")
            }
            Message::Refused { account, reason } => write!(
                f,
                "{account}: the provider refuses to give a token: {reason}; when that is mended, run \"pizauth refresh \
                 {account}\""
            ),
            Message::GrantEnded { account, reason } => {
                write!(f, "{account}: the authorization has ended: {reason}; run \"pizauth auth {account}\"")
            }
            Message::AuthorizationFailed { account, reason } => {
                write!(f, "{account}: not authorised: {reason}; to try again, run \"pizauth auth {account}\"")
            }
            Message::WrongPaste { account, reason } => {
                write!(f, "{account}: what was pasted cannot be used: {reason}; still waiting")
            }
            Message::NoRefreshToken { account } => write!(
                f,
                "{account}: the provider gave no refresh token, so you must authorise again when the access token \
                 ends; Google wants auth_uri_fields = {{\"prompt\": \"consent\"}}, Microsoft and others the scope \
                 offline_access"
            ),
            Message::NotRevoked { account, reason } => write!(
                f,
                "{account}: the token is forgotten here, but not revoked at the provider: {reason}; revoke it on the \
                 provider's page"
            ),
            Message::Revoked { account } => {
                write!(f, "{account}: the token was revoked; run \"pizauth auth {account}\" for a new one")
            }
            Message::AccountChanged { account } => {
                write!(f, "{account}: its configuration was changed or removed meanwhile; ask once more")
            }
            Message::Restoring { account } => {
                write!(f, "{account}: saved tokens are still being restored; try again in a moment")
            }
            Message::Sealed { account, reason } => write!(
                f,
                "{account}: saved tokens could not be restored: {reason}; mend that and try again, or run \"pizauth \
                 auth {account}\""
            ),
            Message::StoreSealed { reason } => write!(
                f,
                "saved tokens could not be restored: {reason}; until they are, nothing is saved over them (\"pizauth \
                 restore </dev/null\" gives them up)"
            ),
            Message::NotSaved { reason } => write!(f, "token state not saved: {reason}; it will be tried again"),
            Message::NotRestored { reason } => {
                write!(f, "token state not restored: {reason}; nothing was changed, try another dump")
            }
            Message::LeftUnsaved { accounts, reason } => {
                f.write_str("stopped without saving ")?;
                match accounts.as_slice() {
                    [] => f.write_str("the token state")?,
                    accounts => write!(f, "the tokens of {}", accounts.join(", "))?,
                }
                write!(f, ": {reason}; mend that before the next start, and run \"pizauth auth\" where it asks you to")
            }
            Message::ShuttingDown => f.write_str("the server is shutting down; start it again with \"pizauth server\""),
        }
    }
}

#[cfg(test)]
impl Message {
    /// One message of every kind, for the golden file that shows them all.
    pub(super) fn examples() -> Vec<Message> {
        let account = || "work".to_owned();
        let reason = || "connection to login.example.com:443 refused".to_owned();
        let again = WallTime::from_secs(1_795_424_700);
        let first = Message::UnknownAccount { account: "wrok".to_owned() };
        let mut examples = vec![first];
        while let Some(last) = examples.last() {
            // A chain through all variants: the compiler asks for a link when one is added.
            let next = match last {
                Message::UnknownAccount { .. } => {
                    Message::ForeignGitHost { account: account(), host: "evil.example".to_owned() }
                }
                Message::ForeignGitHost { .. } => {
                    Message::AuthorizeInBrowser { account: account(), url: "https://login.example.com/?a=b".to_owned() }
                }
                Message::AuthorizeInBrowser { .. } => Message::AuthorizeOnDevice {
                    account: account(),
                    verification_uri: "https://login.example.com/device".to_owned(),
                    user_code: "WDJB-MJHT".to_owned(),
                },
                Message::AuthorizeOnDevice { .. } => Message::AuthorizeSomewhere { account: account() },
                Message::AuthorizeSomewhere { .. } => Message::AskingForUserCode { account: account() },
                Message::AskingForUserCode { .. } => {
                    Message::NoUserCode { account: account(), reason: reason(), again: Some(again) }
                }
                Message::NoUserCode { .. } => Message::BeingExchanged { account: account() },
                Message::BeingExchanged { .. } => {
                    let (has, error) = (Has::ExpiredToken, Some(reason()));
                    Message::NotRefreshed { account: account(), has, again: Some(again), error }
                }
                Message::NotRefreshed { has: Has::ExpiredToken, .. } => {
                    let (has, error) = (Has::UsableToken, Some(reason()));
                    Message::NotRefreshed { account: account(), has, again: Some(again), error }
                }
                Message::NotRefreshed { has: Has::UsableToken, .. } => {
                    Message::NotRefreshed { account: account(), has: Has::Nothing, again: None, error: None }
                }
                Message::NotRefreshed { has: Has::Nothing, .. } => {
                    Message::ProviderAsksToWait { account: account(), until: again }
                }
                Message::ProviderAsksToWait { .. } => Message::Refused { account: account(), reason: reason() },
                Message::Refused { .. } => Message::GrantEnded { account: account(), reason: reason() },
                Message::GrantEnded { .. } => Message::AuthorizationFailed { account: account(), reason: reason() },
                Message::AuthorizationFailed { .. } => Message::WrongPaste {
                    account: account(),
                    reason: "it is cut short; paste the whole URL".to_owned(),
                },
                Message::WrongPaste { .. } => Message::NoRefreshToken { account: account() },
                Message::NoRefreshToken { .. } => Message::NotRevoked { account: account(), reason: reason() },
                Message::NotRevoked { .. } => Message::Revoked { account: account() },
                Message::Revoked { .. } => Message::AccountChanged { account: account() },
                Message::AccountChanged { .. } => Message::Restoring { account: account() },
                Message::Restoring { .. } => {
                    Message::Sealed { account: account(), reason: "restore_cmd ended with exit status 2".to_owned() }
                }
                Message::Sealed { .. } => {
                    Message::StoreSealed { reason: "restore_cmd ended with exit status 2".to_owned() }
                }
                Message::StoreSealed { .. } => {
                    Message::NotSaved { reason: "persist_cmd ended with exit status 1".to_owned() }
                }
                Message::NotSaved { .. } => Message::NotRestored { reason: "it is damaged".to_owned() },
                Message::NotRestored { .. } => Message::LeftUnsaved {
                    accounts: vec![account(), "home".to_owned()],
                    reason: "persist_cmd ended with exit status 1".to_owned(),
                },
                Message::LeftUnsaved { .. } => Message::ShuttingDown,
                Message::ShuttingDown => break,
            };
            examples.push(next);
        }
        examples
    }
}
