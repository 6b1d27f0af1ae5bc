//! Published metadata: the block made of it, parsed back, is one account with exactly the metadata's values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::{
    config::{self, ClientAuth, ClientSecret, Grant},
    oauth::{
        Reply,
        metadata::{self, Methods},
    },
    secret::Secret,
};
use pizauth_fuzz::check_message;

fuzz_target!(|data: &[u8]| {
    let reply = Reply { status: 200, body: Secret::new(data.to_vec()), ..Reply::default() };
    let metadata = match metadata::read("https://a.example/x", &reply) {
        Ok(metadata) => metadata,
        Err(fault) => return check_message(&fault.to_string()),
    };
    let block = metadata::account_block("a name \"\\ of any kind", &metadata);
    assert!(block.chars().all(|c| c == '\n' || !c.is_control()), "{block:?}");
    let empty = "client_id = \"\";";
    assert_eq!(block.matches(empty).count(), 1, "{block}");
    assert!(config::parse(&block).is_err(), "taken without a client_id: {block}");
    let filled = block.replace(empty, "client_id = \"x\";").replace("client_secret = \"\";", "client_secret = \"x\";");
    let config = config::parse(&filled).unwrap_or_else(|faults| panic!("{faults:?} in {filled}"));
    let [account] = config.accounts.as_slice() else { panic!("{} accounts in {filled}", config.accounts.len()) };
    assert_eq!(account.name, "a name \"\\ of any kind");
    assert_eq!(account.auth_uri, metadata.auth_uri);
    assert_eq!(account.token_uri, metadata.token_uri);
    assert_eq!(account.device_auth_uri, metadata.device_auth_uri);
    assert_eq!(account.revocation_uri, metadata.revocation_uri);
    assert_eq!(account.client_id, "x");
    let basic = metadata.client_auth == Methods::BasicOnly;
    assert_eq!(account.client_auth, if basic { ClientAuth::Basic } else { ClientAuth::Post });
    assert_eq!(account.client_secret != ClientSecret::None, basic);
    let issuer = metadata.announces_iss && metadata.auth_uri.is_some();
    assert_eq!(account.issuer.as_ref(), issuer.then_some(&metadata.issuer));
    assert_eq!(account.grant == Grant::AuthorizationCode, metadata.auth_uri.is_some());
    for uri in [&account.auth_uri, &Some(account.token_uri.clone()), &account.device_auth_uri, &account.revocation_uri]
    {
        let Some(uri) = uri else { continue };
        let parts = pizauth::oauth::uri::parse(uri).expect("a URI");
        assert!(parts.is_https() || parts.is_loopback_host(), "{uri}");
    }
    // Nothing but what was looked at above is set.
    let bare = config::parse(&format!(
        "account \"b\" {{ grant = \"client_credentials\"; token_uri = {}; client_id = \"x\"; }}",
        config::quote(&account.token_uri)
    ));
    let bare = bare.expect("a bare account");
    assert_eq!(config.token_event_cmd, bare.token_event_cmd);
    assert_eq!(config.startup_cmd, bare.startup_cmd);
    assert_eq!(config.auth_notify_cmd, bare.auth_notify_cmd);
    assert_eq!(account.scopes, bare.accounts[0].scopes);
    assert_eq!(account.redirect_uri, bare.accounts[0].redirect_uri);
    assert!(account.auth_uri_fields.is_empty() && account.token_uri_fields.is_empty());
    assert!(account.token_uri_headers.is_empty() && account.git_hosts.is_empty());
});
