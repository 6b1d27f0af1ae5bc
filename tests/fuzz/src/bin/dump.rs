//! A dump: the text itself, or, since its key is no secret, whatever somebody sealed with it.
#![no_main]

use base64::{Engine as _, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;
use pizauth::oauth::dump;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const HEADER: &str = "pizauth-dump 1";
const KEY: &[u8; 32] = b"pizauth-dump 1: this is not safe";

fuzz_target!(|data: &[u8]| {
    let Some((&choice, content)) = data.split_first() else { return };
    let text = if choice % 2 == 0 { content.to_vec() } else { seal(content) };
    let Ok(tokens) = dump::read(&text) else { return };
    for token in &tokens {
        let token = token.access_token.iter();
        assert!(token.into_iter().all(|token| token.expose().bytes().all(|byte| byte.is_ascii_graphic())));
    }
    let written = dump::write(&tokens, &mut |nonce| nonce.fill(1));
    assert!(dump::read(written.expose().as_bytes()) == Ok(tokens), "reads back as something else");
    let mut damaged = written.expose().clone().into_bytes();
    let at = HEADER.len() + 1 + usize::from(choice) % (damaged.len() - HEADER.len() - 2);
    damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
    assert!(dump::read(&damaged).is_err(), "damage at {at} is not seen");
});

fn seal(content: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, KEY).expect("a key of 32 bytes"));
    let nonce = [7; NONCE_LEN];
    let mut sealed = content.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(HEADER), &mut sealed)
        .expect("it is short");
    sealed.splice(0..0, nonce);
    format!("{HEADER}\n{}\n", BASE64_STANDARD.encode(sealed)).into_bytes()
}
