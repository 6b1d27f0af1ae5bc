//! pizauth.conf: any text is read or refused with messages, and a quoted string reads back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::config;

fuzz_target!(|text: &str| {
    match config::parse(text) {
        Ok(config) => {
            config::warnings(&config);
            for account in &config.accounts {
                assert_eq!(config.account(&account.name).map(|found| &found.name), Some(&account.name));
                assert!(!account.client_id.is_empty() && !account.token_uri.is_empty());
                account.redirect().expect("a redirect_uri that was checked");
            }
        }
        Err(diagnostics) => {
            assert!(!diagnostics.0.is_empty(), "refused without a reason");
            for diagnostic in &diagnostics.0 {
                let shown = diagnostic.render("pizauth.conf");
                assert!(shown.starts_with("pizauth.conf:"), "{shown}");
                assert!(shown.lines().count() <= 2, "{shown}");
            }
        }
    }
    let quoted = config::quote(text);
    let account =
        format!("account \"a\" {{ auth_uri = \"http://a/\"; token_uri = \"http://a/\"; client_id = {quoted}; }}");
    if let Ok(config) = config::parse(&account) {
        let [account] = config.accounts.as_slice() else { panic!("{} accounts", config.accounts.len()) };
        assert_eq!(account.client_id, text);
    }
});
