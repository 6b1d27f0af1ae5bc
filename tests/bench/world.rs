//! What is measured in: configurations of many accounts, and the state of their tokens, made by pizauth's own library.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pizauth::{
    config,
    engine::WallTime,
    oauth::dump::{self, SavedToken},
};

use super::support::server::{Home, Pizauth};

/// A token endpoint that is never asked.
pub const NOWHERE: &str = "https://login.example/token";

/// Length of an access token, in bytes: between those of Google and of Microsoft.
const TOKEN: usize = 1000;

/// Life of the tokens. Each is due for its refresh 90 s before.
const LIFE: Duration = Duration::from_secs(3600);

/// The name of an account.
pub fn name(number: usize) -> String {
    format!("account{number:04}")
}

/// A configuration of so many accounts, whose token endpoint is at `token_uri`.
pub fn config(accounts: usize, token_uri: &str) -> String {
    (0..accounts).map(|number| account(&name(number), token_uri, "")).collect()
}

/// A configuration's block of one account, with further `options`.
pub fn account(name: &str, token_uri: &str, options: &str) -> String {
    format!(
        "account \"{name}\" {{\n    auth_uri = \"https://login.example/authorize\";\n    token_uri = \"{token_uri}\";\n    \
         client_id = \"{name}\";\n    scopes = [\"mail\", \"calendar\"];\n    {options}\n}}\n"
    )
}

/// A token state in which every account of `config` has a token that was obtained now.
pub fn state(config: &str) -> String {
    let config = config::parse(config).expect("a good configuration");
    let now = now();
    let saved = |account: &config::Account| SavedToken {
        account: account.name.clone(),
        binding: dump::fingerprint(account),
        access_token: Some(format!("{}-{}", account.name, "x".repeat(TOKEN)).into()),
        obtained_at: now,
        expires_at: now + LIFE,
        refresh_at: None,
        refresh_token: Some(format!("refresh {}", account.name).into()),
        refresh_token_expires_at: None,
        scope: Some("mail calendar".to_owned()),
    };
    let tokens: Vec<SavedToken> = config.accounts.iter().map(saved).collect();
    dump::write(&tokens, &mut |bytes| bytes.fill(7)).expose().clone()
}

/// Bytes of the strings that an account of [`config`] has in [`state`], so that what is left is pizauth's own.
pub fn strings(config: &str) -> usize {
    let config = config::parse(config).expect("a good configuration");
    let account = &config.accounts[0];
    let own = [&account.name, &account.client_id, &account.token_uri, &account.redirect_uri].map(String::len);
    let given = account.auth_uri.iter().chain(&account.scopes).map(String::len).sum::<usize>();
    let token = account.name.len() + 1 + TOKEN + "refresh ".len() + account.name.len() + "mail calendar".len();
    own.iter().sum::<usize>() + given + token
}

/// The time on the wall.
pub fn now() -> WallTime {
    WallTime::new(SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970"))
}

/// A server with so many accounts and no token.
#[track_caller]
pub fn empty_server(accounts: usize) -> Pizauth {
    Pizauth::start_in(Home::new(&config(accounts, NOWHERE)).quiet())
}

/// A server in which so many accounts have a token.
#[track_caller]
pub fn server(accounts: usize) -> Pizauth {
    let server = empty_server(accounts);
    server.run_with_input(&["restore"], state(&config(accounts, NOWHERE)).as_bytes()).expect(0);
    server
}
