//! A pasted redirect URL or query: what is taken passes the same checks as a request to the listener.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::oauth::authorization::{check_redirect, read_paste, read_redirect};
use pizauth_fuzz::{ACCOUNT, PORTS, REDIRECT_URI, check_message};

fuzz_target!(|text: &str| {
    let head = match read_paste(text) {
        Ok(paste) => paste.into_head(REDIRECT_URI),
        Err(fault) => return check_message(&fault.to_string()),
    };
    assert_eq!(head.method, "GET");
    assert_eq!(head.hosts.len(), 1);
    assert!(
        head.target.starts_with('/') && head.target.bytes().all(|byte| byte.is_ascii_graphic()),
        "{:?}",
        head.target
    );
    let Ok(redirect) = read_redirect(&head.target) else { return };
    if check_redirect(&ACCOUNT, REDIRECT_URI, &head, &redirect, PORTS).is_ok() {
        assert_eq!(redirect.path, "/cb");
        assert!(redirect.state.is_some() && redirect.iss.as_deref() == Some("https://a.example"));
    }
});
