//! The head of a request to a redirect listener: the same however it is cut, and nothing but a target and hosts of
//! one line each comes out of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::{
    oauth::authorization::{Scheme, check_head},
    server::request_head::{HeadReader, MAX_HEAD, Progress},
};

fuzz_target!(|data: &[u8]| {
    let Some((&step, bytes)) = data.split_first() else { return };
    let whole = HeadReader::default().take(Scheme::Http, bytes);
    let mut reader = HeadReader::default();
    let mut progress = Progress::Partial;
    for chunk in bytes.chunks(usize::from(step).max(1)) {
        if progress != Progress::Partial {
            break;
        }
        progress = reader.take(Scheme::Http, chunk);
    }
    assert!(progress == whole, "cut by {step}: {progress:?}, whole: {whole:?}");
    match whole {
        Progress::Partial => assert!(bytes.len() < MAX_HEAD),
        Progress::Refused(fault) => assert!((400..=599).contains(&fault.status())),
        Progress::Whole(head) => {
            assert_eq!(head.method, "GET");
            assert!(head.target.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{:?}", head.target);
            assert!(head.hosts.iter().all(|host| !host.contains(['\r', '\n', '\0'])), "{:?}", head.hosts);
            assert!(check_head(&head).is_err() || head.hosts.len() == 1);
        }
    }
});
