//! Answers of the device authorization endpoint and to polls: what goes to the user's browser and notifier is fit for
//! them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::oauth::{
    device::{self, PollFailure},
    token::Asked,
};
use pizauth_fuzz::{ACCOUNT, CENTURY, MASK, NOW, check_message, reply};

fuzz_target!(|data: &[u8]| {
    let Some(reply) = reply(data) else { return };
    let asked = Asked { account: &ACCOUNT, redirect_uri: None, mask: &MASK };
    match device::read_answer(&asked, &reply, NOW) {
        Ok(device) => {
            assert!(!device.device_code.is_empty());
            assert!((1..=64).contains(&device.user_code.len()));
            assert!(device.user_code.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{:?}", device.user_code);
            for uri in [Some(&device.verification_uri), device.verification_uri_complete.as_ref()].into_iter().flatten()
            {
                let lower = uri.to_ascii_lowercase();
                assert!(lower.starts_with("https://") || lower.starts_with("http://"), "{uri:?}");
                assert!(
                    uri.bytes().all(|byte| byte.is_ascii_graphic()) && !uri.contains(['"', '<', '>', '\\']),
                    "{uri:?}"
                );
            }
            assert!(device.interval <= CENTURY && device.expires_in <= CENTURY);
        }
        Err(failure) => check_message(&failure.message),
    }
    if let Err(PollFailure::Failed(failure)) = device::read_poll(&asked, &reply, NOW) {
        check_message(&failure.message);
    }
});
