//! `status`: the state of accounts, as lines for people or as JSON.

use std::time::{Duration, SystemTime};

use super::{
    advice::Advice,
    client::{LIMIT, ask},
    command::Arguments,
    failure::{Failure, printable},
    output,
};
use crate::{
    engine::WallTime,
    proto::{AccountState, AccountStatus, PersistenceState, Request, Response, Status},
    sys::local_time,
};

/// How long before its end a refresh token's expiry is shown: time enough to authorise anew.
const REFRESH_TOKEN_NOTICE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Prints the state of the accounts named, or of all.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let json = arguments.given("j");
    let request = Request::Status { accounts: arguments.operands().to_vec(), urls: json && !arguments.given("u") };
    let Response::Status(status) = ask(&request, LIMIT, |_| {})? else {
        return Err(Failure::Unexpected);
    };
    if json {
        return output::print(as_json(&status).as_bytes());
    }
    if status.persistence.state == PersistenceState::Sealed {
        let reason = status.persistence.last_error.clone().unwrap_or_default();
        output::tell(&Advice::StoreSealed { reason }.to_string());
    }
    output::print(as_lines(&status).as_bytes())
}

fn as_json(status: &Status) -> String {
    serde_json::to_string(status).expect("strings, numbers and lists always have a JSON form") + "\n"
}

fn as_lines(status: &Status) -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = WallTime::new(since_epoch);
    status.accounts.iter().map(|account| line(account, now, local_time::rfc2822) + "\n").collect()
}

/// One account's line. `date` writes a time as people read it.
fn line(account: &AccountStatus, now: WallTime, date: impl Fn(WallTime) -> String) -> String {
    let date = |time: Option<WallTime>| time.map_or_else(|| "never".to_owned(), &date);
    let state = match account.state {
        AccountState::Empty => "No access token".to_owned(),
        AccountState::Pending => pending(&date(account.last_notification_at)),
        AccountState::Exchanging => pending(&date(account.last_notification_at)) + " [authorised, token requested]",
        AccountState::Active => {
            format!(
                "Active access token (obtained {}; expires {})",
                date(account.obtained_at),
                date(account.expires_at)
            )
        }
        AccountState::Expired => {
            format!("Access token expired (last refresh attempt {})", date(account.last_refresh_attempt_at))
        }
    };
    let mut line = format!("{}: {state}", account.name);
    if let Some(error) = &account.last_error {
        line += &format!(" [last error: {}; {}]", error.message, date(Some(error.at)));
    }
    if let Some(reason) = &account.not_saved {
        line += &format!(" [not saved: {reason}]");
    }
    if let Some(end) = account.refresh_token_expires_at.filter(|end| *end <= now + REFRESH_TOKEN_NOTICE) {
        line += &format!(" [refresh token expires {}]", date(Some(end)));
    }
    printable(&line).replace('\n', " ")
}

fn pending(last_notification: &str) -> String {
    format!("Access token pending authentication (last notification {last_notification})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ErrorStatus, PersistenceStatus};

    fn account(state: AccountState) -> AccountStatus {
        AccountStatus {
            name: "work".to_owned(),
            state,
            obtained_at: None,
            expires_at: None,
            next_refresh_at: None,
            last_refresh_attempt_at: None,
            last_notification_at: None,
            refreshable: true,
            refresh_token_expires_at: None,
            scope: None,
            last_error: None,
            not_saved: None,
            authorization_url: None,
        }
    }

    fn at(seconds: u64) -> Option<WallTime> {
        Some(WallTime::from_secs(seconds))
    }

    fn error(message: &str) -> Option<ErrorStatus> {
        Some(ErrorStatus { message: message.to_owned(), at: WallTime::from_secs(5), transient: true })
    }

    #[test]
    fn lines_are_those_of_the_manual() {
        let week = 7 * 24 * 3600;
        for (want, status) in [
            ("work: No access token", account(AccountState::Empty)),
            ("work: Access token pending authentication (last notification never)", account(AccountState::Pending)),
            (
                "work: Access token pending authentication (last notification @7)",
                AccountStatus { last_notification_at: at(7), ..account(AccountState::Pending) },
            ),
            (
                "work: Access token pending authentication (last notification @7) [authorised, token requested]",
                AccountStatus { last_notification_at: at(7), ..account(AccountState::Exchanging) },
            ),
            (
                "work: Active access token (obtained @1; expires @2)",
                AccountStatus { obtained_at: at(1), expires_at: at(2), ..account(AccountState::Active) },
            ),
            ("work: Access token expired (last refresh attempt never)", account(AccountState::Expired)),
            (
                "work: Access token expired (last refresh attempt @3) [last error: work: HTTP 503 x; @5]",
                AccountStatus {
                    last_refresh_attempt_at: at(3),
                    last_error: error("work: HTTP 503\nx"),
                    ..account(AccountState::Expired)
                },
            ),
            (
                "work: No access token [not saved: exit status 2] [refresh token expires @604900]",
                AccountStatus {
                    not_saved: Some("exit status 2".to_owned()),
                    refresh_token_expires_at: at(100 + week),
                    ..account(AccountState::Empty)
                },
            ),
            (
                "work: No access token",
                AccountStatus { refresh_token_expires_at: at(101 + week), ..account(AccountState::Empty) },
            ),
        ] {
            let date = |time: WallTime| format!("@{}", time.as_secs());
            assert_eq!(line(&status, WallTime::from_secs(100), date), want);
        }
    }

    #[test]
    fn json_has_every_key_and_null_for_what_is_unknown() {
        let persistence = PersistenceStatus { state: PersistenceState::Sealed, last_error: None };
        let status = Status { status_format_version: 1, accounts: vec![account(AccountState::Pending)], persistence };
        let json: serde_json::Value = serde_json::from_str(&as_json(&status)).unwrap();
        assert_eq!(json["accounts"][0]["state"], "pending");
        assert_eq!(json["persistence"]["state"], "sealed");
        for key in ["obtained_at", "expires_at", "next_refresh_at", "refresh_token_expires_at", "scope"] {
            assert!(json["accounts"][0].get(key).is_some_and(serde_json::Value::is_null), "{key}");
        }
    }
}
