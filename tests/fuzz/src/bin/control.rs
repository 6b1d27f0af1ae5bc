//! Lines of the control protocol, in both directions: what is read, written and read again is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pizauth::proto::{self, Line};

fuzz_target!(|data: &[u8]| {
    match proto::read_request(data) {
        Ok(request) => {
            let line = proto::write_request(&request);
            assert_eq!(line.expose().iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert!(proto::read_request(line.expose()) == Ok(request));
        }
        Err(fault) => assert!(fault.to_string().len() < 200),
    }
    match proto::read_line(data) {
        Ok(Line::Notice(notice)) => {
            let line = proto::write_notice(&notice);
            assert!(proto::read_line(line.expose()) == Ok(Line::Notice(notice)));
        }
        Ok(Line::Response(response)) => {
            let line = proto::write_response(&response);
            assert!(proto::read_line(line.expose()) == Ok(Line::Response(response)));
        }
        Err(fault) => assert!(fault.to_string().len() < 200),
    }
});
