//! The HTTPS redirect listener: in a real browser with the self-signed and with a trusted certificate, and with
//! clients that break off, speak plain HTTP, or come in numbers.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use ring::digest;
use serde_json::Value;
use support::{
    chromium::{Browser, Tab},
    eventually_some, http,
    http::visible_text,
    provider::{Approval, Provider, Settings},
    server::{Home, Pizauth},
    tls::{self, Authority, Valid},
    tool,
};

const REDIRECT_URI: &str = "redirect_uri = \"https://localhost/\";";

const DONE: &str = "work is authorised";

/// Enough to be more than any backlog, and a tenth of what all browsers of a house could open.
const HALF_OPEN: usize = 200;

/// The start of a TLS record: a handshake of 512 bytes, of which none come.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01";

fn asking_provider() -> Provider {
    Provider::start(Settings { approval: Approval::Page, ..Settings::default() })
}

/// What `info -j` says of the running server.
#[track_caller]
fn server_info(server: &Pizauth) -> Value {
    let info = server.run(&["info", "-j"]).expect(0).stdout;
    let mut info: Value = serde_json::from_str(&info).expect("JSON");
    info["server_info"].take()
}

#[track_caller]
fn port(info: &Value, name: &str) -> u16 {
    info[name].as_str().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
}

/// Where the provider sends the browser.
#[track_caller]
fn location(url: &str) -> String {
    http::get(url).header("location").expect("a redirect").to_owned()
}

/// Logs in by clicks, and looks at the page that comes within TLS.
#[track_caller]
fn log_in(tab: &mut Tab, server: &Pizauth) {
    tab.go(&server.authorization_url("work"));
    tab.click("button[value=allow]");
    tab.wait_for_text(DONE);
    assert_eq!(tab.evaluate("location.protocol"), "https:");
}

#[test]
fn a_browser_takes_the_self_signed_certificate() {
    let Some(mut browser) = Browser::start_with(&["--ignore-certificate-errors"], |_| ()) else { return };
    let provider = asking_provider();
    let server = Pizauth::start(&provider.account("work", REDIRECT_URI));
    log_in(&mut browser.open_tab(), &server);
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn a_browser_trusts_a_certificate_of_an_authority_that_it_knows() {
    let authority = Authority::new("an office");
    let leaf = authority.leaf("localhost", Valid::Now);
    let Some(certutil) = tool::find("certutil") else { return };
    let trust = |home: &Path| {
        let store = home.join(".pki/nssdb");
        std::fs::create_dir_all(&store).expect("a folder");
        let file = home.join("office.pem");
        std::fs::write(&file, authority.pem()).expect("a file");
        let database = format!("sql:{}", store.display());
        let file = file.display().to_string();
        for arguments in [&["-N", "--empty-password"][..], &["-A", "-n", "an office", "-t", "C,,", "-i", &file]] {
            let mut certutil = Command::new(&certutil);
            certutil.args(["-d", &database]).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
            assert!(certutil.status().expect("certutil").success(), "{arguments:?}");
        }
    };
    let Some(mut browser) = Browser::start_with(&[], trust) else { return };
    let provider = asking_provider();
    let home = Home::new(&format!(
        "https_cert = \"cert.pem\";\nhttps_key = \"key.pem\";\n{}",
        provider.account("work", REDIRECT_URI)
    ));
    home.folder().write("home/.config/cert.pem", &leaf.certificate_pem());
    home.folder().write("home/.config/key.pem", &leaf.key_pem());
    let server = Pizauth::start_in(home);
    log_in(&mut browser.open_tab(), &server);
    assert_eq!(server.token("work"), provider.last_access_token());

    // It really looks: the certificate that pizauth makes for itself is nobody's that it knows.
    let stranger = Pizauth::start(&provider.account("work", REDIRECT_URI));
    let https_port = port(&server_info(&stranger), "https_port");
    let fault = browser.open_tab().try_to_go(&format!("https://localhost:{https_port}/"));
    assert_eq!(fault.as_deref(), Some("net::ERR_CERT_AUTHORITY_INVALID"));
}

#[test]
fn info_tells_the_certificate_that_is_served() {
    let provider = Provider::start(Settings::default());
    let authority = Authority::new("an office");
    let leaf = authority.leaf("localhost", Valid::Now);
    let own = Home::new(&format!(
        "https_cert = \"cert.pem\";\nhttps_key = \"key.pem\";\n{}",
        provider.account("work", REDIRECT_URI)
    ));
    own.folder().write("home/.config/cert.pem", &leaf.certificate_pem());
    own.folder().write("home/.config/key.pem", &leaf.key_pem());
    for (name, home) in [("self-signed", Home::new(&provider.account("work", REDIRECT_URI))), ("own", own)] {
        let server = Pizauth::start_in(home);
        let info = server_info(&server);
        let (_, certificate) = tls::get(&format!("https://localhost:{}/", port(&info, "https_port")));
        assert_eq!(name == "own", certificate == leaf.der(), "{name}");
        let fingerprint = colon_hex(digest::digest(&digest::SHA256, &certificate).as_ref());
        assert_eq!(info["https_cert_sha256"], fingerprint.as_str(), "{name}");
        let key = info["https_pub_key"].as_str().expect("a key");
        assert!(key.len() > 100 && colon_hex(&certificate).contains(key), "{name}: {key}");
        let text = server.run(&["info"]).expect(0).stdout;
        assert!(text.contains(key), "{name}: {text}");
    }
    // Without an account that needs it there is no HTTPS listener.
    let info = server_info(&Pizauth::start(&provider.account("work", "")));
    assert_eq!((&info["https_port"], info["http_port"] != "none"), (&Value::from("none"), true));
}

fn colon_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[test]
fn half_open_handshakes_hold_nobody_up() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", REDIRECT_URI));
    let https_port = port(&server_info(&server), "https_port");
    let location = location(&server.authorization_url("work"));
    let half_open: Vec<_> = (0..HALF_OPEN)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", https_port)).expect("a connection");
            stream.write_all(&HALF_A_HELLO[..number % (HALF_A_HELLO.len() + 1)]).expect("room for some bytes");
            stream
        })
        .collect();
    server.run(&["status"]).expect(0);
    let (page, _) = tls::get(&location);
    assert!(visible_text(&page).contains(DONE), "{page}");
    // They were all there meanwhile, for their time is not over yet; those that said nothing may go first.
    let is_open = |stream: &&TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        let mut stream: &TcpStream = stream;
        matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let open = half_open.iter().filter(is_open).count();
    assert!(open > 0, "all {HALF_OPEN} were closed before the page came");
    assert_eq!(server.token("work"), provider.last_access_token());

    // In the end they are closed. A browser may open a connection ahead and say nothing for long, so not those.
    let begun = half_open.into_iter().enumerate().filter(|(number, _)| number % (HALF_A_HELLO.len() + 1) > 0);
    for (_, mut stream) in begun {
        stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(support::PATIENCE)))
            .expect("a socket");
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "a half-open handshake stays for ever");
        }
    }
}

#[test]
fn plain_http_to_the_https_port_gets_a_page_that_says_so() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", REDIRECT_URI));
    let location = location(&server.authorization_url("work"));
    let page = http::get(&location.replace("https://", "http://"));
    assert!((400..500).contains(&page.status), "{}", page.status);
    let text = visible_text(&page.body);
    assert!(text.contains("https"), "{text}");
    assert_eq!(provider.token_requests().len(), 0);

    // The authorization is still open.
    let (page, _) = tls::get(&location);
    assert!(visible_text(&page).contains(DONE), "{page}");
}

#[test]
fn tls_to_the_http_port_does_no_harm() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let location = location(&server.authorization_url("work"));
    let http_port = port(&server_info(&server), "http_port");
    for _ in 0..3 {
        let spoken = tls::exchange(http_port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(spoken.is_err(), "{spoken:?}");
    }
    assert_eq!(provider.token_requests().len(), 0);
    let page = http::get(&location);
    assert!(visible_text(&page.body).contains(DONE), "{}", page.body);
}

#[test]
fn each_account_gets_the_listener_of_its_scheme() {
    let provider = Provider::start(Settings::default());
    let config = [provider.account("work", REDIRECT_URI), provider.account("home", "")].concat();
    let server = Pizauth::start(&config);
    let info = server_info(&server);
    for (account, scheme, name) in [("work", "https", "https_port"), ("home", "http", "http_port")] {
        let location = location(&server.authorization_url(account));
        assert!(location.starts_with(&format!("{scheme}://localhost:{}/?", port(&info, name))), "{location}");
        if scheme == "https" {
            tls::get(&location);
        } else {
            http::get(&location);
        }
        eventually_some("a token", || (server.run(&["show", account]).status == 0).then_some(()));
    }
}
