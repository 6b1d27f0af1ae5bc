//! A request to the listener, as lines of target and hosts: what is taken for the redirect fulfils, by the words of
//! the request itself, all that it must.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use pizauth::oauth::authorization::{RedirectHead, Scheme, check_redirect, read_redirect};
use pizauth_fuzz::{ACCOUNT, PORTS, REDIRECT_URI};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let target = lines.next().unwrap_or_default().to_owned();
    let hosts: Vec<String> = lines.map(str::to_owned).collect();
    let Ok(redirect) = read_redirect(&target) else { return };
    for scheme in [Scheme::Http, Scheme::Https] {
        let head = RedirectHead {
            scheme,
            method: "GET".to_owned(),
            target: target.clone(),
            hosts: hosts.clone(),
            prefetch: false,
        };
        if check_redirect(&ACCOUNT, REDIRECT_URI, &head, &redirect, PORTS).is_err() {
            continue;
        }
        assert!(scheme == Scheme::Http, "over the wrong listener");
        let [host] = hosts.as_slice() else { panic!("{} hosts", hosts.len()) };
        let host = host.to_ascii_lowercase();
        let (name, port) = host.rsplit_once(':').expect("a port");
        assert_eq!(port.trim_start_matches('0'), "8080", "the listener's port, which may have zeros before it");
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
        assert!(name == "localhost" || address.is_ok_and(|address| address.is_loopback()), "{host}");
        let query = target.strip_prefix("/cb?").expect("the path as it stands");
        assert!(query.split('&').filter(|field| !field.is_empty()).count() <= 64);
        assert!(redirect.state.as_ref().is_some_and(|state| !state.is_empty()));
        assert!(redirect.code.is_some() != redirect.error.is_some());
        assert_eq!(redirect.iss.as_deref(), Some("https://a.example"));
        let own = |field: &(String, pizauth::secret::Secret)| field.0 == "own" && field.1.expose() == "1";
        assert!(redirect.parameters.iter().any(own));
    }
});
