//! pizauth.conf: any text is read or refused with messages, in which no secret stands; and a quoted string reads back as
//! it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::config;

/// A secret, as far as base64 has no signs in it.
const SECRET: &str = "Zm9vYmFyUXV4";

/// What somebody may write between the name of the option and the secret.
const BEFORE_SECRET: &[&str] = &[" = ", " =\n", "\n", " ", ":\n", " = // the secret\n", " = \"", " = \"\" ", " = ab;"];

fuzz_target!(|text: &str| {
    show_no_secret(text);
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

/// Has a secret that may lack its quotes stand in the middle of `text`, outside of other strings.
fn show_no_secret(text: &str) {
    let middle = (text.len() / 2..).find(|at| text.is_char_boundary(*at)).expect("the end is a boundary");
    let (before, after) = text.split_at(middle);
    if before.contains('"') || text.contains(SECRET) {
        return;
    }
    let sign = BEFORE_SECRET[text.len() % BEFORE_SECRET.len()];
    let text = format!("account \"a\" {{\n{before}\nclient_secret{sign}{SECRET}{after}");
    if let Err(diagnostics) = config::parse(&text) {
        let shown = diagnostics.render("pizauth.conf");
        assert!(!shown.contains(SECRET), "{text}\n{shown}");
    }
}
