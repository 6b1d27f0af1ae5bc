//! A token endpoint behind TLS: private authorities, bad certificates, and the way through a proxy.

mod support;

use support::{
    eventually,
    http::{self, visible_text},
    provider::{Provider, Settings},
    server::{Home, Output, Pizauth},
    tls::{Authority, Front, Tunnel, Valid},
};

/// A name that only the proxy can reach.
const ELSEWHERE: &str = "login.example";

/// The provider's account with the token endpoint at `token_uri`, after `global` options.
fn config(provider: &Provider, token_uri: &str, global: &str) -> String {
    let account = provider.account("work", "");
    let plain = provider.url("/token");
    assert!(account.contains(&plain), "{account}");
    format!("{global}\n{}", account.replace(&plain, token_uri))
}

/// Logs in while `pizauth auth` waits, and returns how that ended, and what the browser shows.
#[track_caller]
fn authorize(server: &Pizauth) -> (Output, String) {
    let url = server.authorization_url("work");
    // Earlier logins of this home are in the log too.
    let waits = || server.log().matches("a client's wait").count();
    let before = waits();
    let waiting = server.spawn(&["auth", "-w", "5m", "work"], b"");
    eventually("auth waits", || waits() > before);
    let page = http::browse(&url).and_then(http::Exchange::finish).expect("a page");
    (waiting.finish(), visible_text(&page.body))
}

/// The login must fail, and every place where the user looks must say the `parts`.
#[track_caller]
fn assert_refused(name: &str, server: &Pizauth, provider: &Provider, parts: &[&str]) {
    let (ended, page) = authorize(server);
    assert_eq!(ended.status, 1, "{name}: {}", ended.stderr);
    let status = server.run(&["status"]).expect(0).stdout;
    for (place, text) in [("stderr", &ended.stderr), ("page", &page), ("status", &status), ("log", &server.log())] {
        for part in parts {
            assert!(text.contains(part), "{name}: no {part:?} on {place}: {text}");
        }
    }
    assert!(ended.stderr.starts_with("pizauth: ") && ended.stderr.lines().count() == 1, "{name}: {}", ended.stderr);
    assert_eq!(provider.token_requests().len(), 0, "{name}");
}

#[track_caller]
fn assert_accepted(name: &str, server: &Pizauth, provider: &Provider) {
    let (ended, page) = authorize(server);
    assert_eq!(ended.status, 0, "{name}: {} {page}", ended.stderr);
    assert_eq!(server.token("work"), provider.last_access_token(), "{name}");
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named() {
    let provider = Provider::start(Settings::default());
    let authority = Authority::new("an office");
    let front = Front::start(&authority.leaf("localhost", Valid::Now), &provider.issuer());
    let token_uri = format!("https://localhost:{}/token", front.port());

    let server = Pizauth::start(&config(&provider, &token_uri, ""));
    let unknown = format!("certificate of localhost:{} refused", front.port());
    assert_refused("unknown", &server, &provider, &[&unknown, "ca_file"]);

    // The very same server takes it once the file is named.
    server.folder().write("home/.config/office.pem", &authority.pem());
    server.configure(&config(&provider, &token_uri, "ca_file = \"office.pem\";"));
    server.run(&["reload"]).expect(0);
    assert_accepted("ca_file", &server, &provider);
    server.run(&["refresh", "-w", "60s", "work"]).expect(0);
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn ssl_cert_file_names_an_authority_too() {
    let provider = Provider::start(Settings::default());
    let (authority, other) = (Authority::new("an office"), Authority::new("another"));
    let front = Front::start(&authority.leaf("localhost", Valid::Now), &provider.issuer());
    let token_uri = format!("https://localhost:{}/token", front.port());
    let home = Home::new(&config(&provider, &token_uri, ""));
    let file = home.folder().write("other.pem", &other.pem());
    let server = Pizauth::start_in(home.env("SSL_CERT_FILE", file));
    assert_refused("another authority", &server, &provider, &["ca_file"]);

    let home = server.shutdown();
    let file = home.folder().write("office.pem", &authority.pem());
    let server = Pizauth::start_in(home.env("SSL_CERT_FILE", file));
    assert_accepted("SSL_CERT_FILE", &server, &provider);

    let home = server.shutdown().env("SSL_CERT_FILE", "/nonexistent/ca.pem");
    let refused = home.run(&["server", "-d"]).expect(1).stderr;
    assert!(refused.contains("SSL_CERT_FILE /nonexistent/ca.pem"), "{refused}");
}

#[test]
fn each_bad_certificate_has_its_own_advice() {
    let authority = Authority::new("an office");
    for (name, host, valid, parts) in [
        ("expired", "localhost", Valid::Formerly, ["expired", "clock"]),
        ("another's", "login.example.org", Valid::Now, ["refused", "pizauth.conf"]),
    ] {
        let provider = Provider::start(Settings::default());
        let front = Front::start(&authority.leaf(host, valid), &provider.issuer());
        let token_uri = format!("https://localhost:{}/token", front.port());
        let home = Home::new(&config(&provider, &token_uri, "ca_file = \"office.pem\";"));
        home.folder().write("home/.config/office.pem", &authority.pem());
        assert_refused(name, &Pizauth::start_in(home), &provider, &parts);
    }
}

#[test]
fn a_private_authority_behind_a_proxy_is_trusted_when_it_is_named() {
    let provider = Provider::start(Settings::default());
    let authority = Authority::new("an office");
    let front = Front::start(&authority.leaf(ELSEWHERE, Valid::Now), &provider.issuer());
    let tunnel = Tunnel::start(front.port(), None);
    let token_uri = format!("https://{ELSEWHERE}/token");
    let home = Home::new(&config(&provider, &token_uri, ""));
    let server = Pizauth::start_in(home.env("https_proxy", format!("http://{}", tunnel.authority())));
    let unknown = format!("certificate of {ELSEWHERE}:443 through the proxy {} refused", tunnel.authority());
    assert_refused("unknown", &server, &provider, &[&unknown, "ca_file"]);

    server.folder().write("home/.config/office.pem", &authority.pem());
    server.configure(&config(&provider, &token_uri, "ca_file = \"office.pem\";"));
    server.run(&["reload"]).expect(0);
    assert_accepted("ca_file", &server, &provider);
    assert!(tunnel.requests().iter().all(|line| line == "CONNECT login.example:443 HTTP/1.1"));
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_and_its_password_stays_secret() {
    let (user, password) = ("robin", "opensesame %:@");
    let escaped = "opensesame%20%25%3A%40";
    let provider = Provider::start(Settings::default());
    let authority = Authority::new("an office");
    let front = Front::start(&authority.leaf(ELSEWHERE, Valid::Now), &provider.issuer());
    let tunnel = Tunnel::start(front.port(), Some(&format!("{user}:{password}")));
    let token_uri = format!("https://{ELSEWHERE}/token");
    let secrets = |text: &str| ["opensesame", "b3BlbnNlc2FtZ", "cm9iaW46b3Bl"].into_iter().any(|it| text.contains(it));

    for (name, variable, value, want) in [
        ("right", "https_proxy", format!("http://{user}:{escaped}@{}", tunnel.authority()), None),
        ("right for all", "ALL_PROXY", format!("http://{user}:{escaped}@{}", tunnel.authority()), None),
        ("wrong password", "HTTPS_PROXY", format!("http://{user}:opensesame@{}", tunnel.authority()), Some("407")),
        ("no password", "https_proxy", format!("http://{}", tunnel.authority()), Some("407")),
        ("unusable", "https_proxy", format!("socks5://{user}:{escaped}@{}", tunnel.authority()), Some("https_proxy")),
        ("nobody there", "https_proxy", format!("http://{user}:{escaped}@127.0.0.1:1"), Some("the proxy 127.0.0.1:1")),
    ] {
        let home = Home::new(&config(&provider, &token_uri, "ca_file = \"office.pem\";"));
        home.folder().write("home/.config/office.pem", &authority.pem());
        let server = Pizauth::start_in(home.env(variable, value));
        match want {
            None => {
                assert_accepted(name, &server, &provider);
                assert_eq!(tunnel.requests().last().map(String::as_str), Some("CONNECT login.example:443 HTTP/1.1"));
            }
            Some(part) => {
                let url = http::open(&server.authorization_url("work")).expect("a redirect");
                http::open(url.header("location").expect("a location")).expect("a page").read_until("processing");
                server.wait_for_log(part);
            }
        }
        let told = [server.log(), server.run(&["status", "-j"]).stdout, server.run(&["show", "work"]).stderr].concat();
        assert!(!secrets(&told), "{name}: {told}");
    }
}
