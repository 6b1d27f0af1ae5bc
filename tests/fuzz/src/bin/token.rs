//! An answer of the token endpoint: a token that is taken can stand in a header field, every time is bounded, and
//! messages are one short line without secrets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::oauth::token::{self, Asked};
use pizauth_fuzz::{ACCOUNT, CENTURY, MASK, NOW, REDIRECT_URI, check_message, reply};

fuzz_target!(|data: &[u8]| {
    let Some(reply) = reply(data) else { return };
    let asked = Asked { account: &ACCOUNT, redirect_uri: Some(REDIRECT_URI), mask: &MASK };
    match token::read_answer(&asked, &reply, NOW) {
        Ok(tokens) => {
            assert!((200..300).contains(&reply.status));
            let token = tokens.access_token.expose();
            assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?}");
            assert!(tokens.refresh_token.is_none_or(|token| !token.is_empty()));
            for time in [tokens.expires_in, tokens.refresh_in, tokens.refresh_token_expires_in] {
                assert!(time.is_none_or(|time| !time.is_zero() && time <= CENTURY), "{time:?}");
            }
        }
        Err(failure) => check_message(&failure.message),
    }
});
