//! Drop-in for pizauth 1.1.0: configurations as it knows them, each with the whole authorization URL that it must give,
//! and a login step by step as 1.1.0's users and their scripts do it.

mod support;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use pizauth::{
    config,
    oauth::{Ports, authorization::request},
};
use ring::digest::{SHA256, digest};
use support::{
    eventually, http,
    provider::{Provider, Settings},
    server::{Home, Pizauth},
};

/// Where the listeners are in the table.
const PORTS: Ports = Ports { http: Some(14_204), https: Some(14_205) };

/// A configuration of 1.1.0 and the URL that it gives; `*` stands for what every URL has up to the redirect URI, and
/// `|` for what follows it.
type Row = (&'static str, &'static str, &'static str);

const TABLE: [Row; 20] = [
    (
        "the least there can be",
        r#"account "a" { auth_uri = "https://a.example/auth"; token_uri = "https://a.example/token"; client_id = "id"; }"#,
        "https://a.example/auth?*client_id=id&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|",
    ),
    (
        "Office 365 as the manual has it",
        r#"account "officesmtp" {
            auth_uri = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize";
            token_uri = "https://login.microsoftonline.com/common/oauth2/v2.0/token";
            client_id = "9e5f94bc-e8a4-4e73-b8be-63364c29d753";
            scopes = [
              "https://outlook.office365.com/IMAP.AccessAsUser.All",
              "https://outlook.office365.com/SMTP.Send",
              "offline_access"
            ];
            // You don't have to specify login_hint
            auth_uri_fields = { "login_hint": "email@example.com" };
        }"#,
        "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?*client_id=9e5f94bc-e8a4-4e73-b8be-63364c29d753\
         &redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|\
         &scope=https%3A%2F%2Foutlook.office365.com%2FIMAP.AccessAsUser.All+\
         https%3A%2F%2Foutlook.office365.com%2FSMTP.Send+offline_access&login_hint=email%40example.com",
    ),
    (
        "Gmail with a secret, hooks and times",
        r#"auth_notify_cmd = "notify-send \"$PIZAUTH_ACCOUNT\" \"<a href=\\\"$PIZAUTH_URL\\\">x</a>\"";
        auth_notify_interval = 30m;
        error_notify_cmd = "notify-send";
        refresh_at_least = 1d;
        refresh_before_expiry = 2h;
        refresh_retry = 10s;
        startup_cmd = "touch ready";
        token_event_cmd = "pizauth dump";
        transient_error_if_cmd = "ping -c 1 example.com";
        account "gmail" {
            auth_uri = "https://accounts.google.com/o/oauth2/auth";
            token_uri = "https://oauth2.googleapis.com/token";
            client_id = "123-abc.apps.googleusercontent.com";
            client_secret = "GOCSPX-secret";
            scopes = ["https://mail.google.com/"];
            auth_uri_fields = { "prompt": "consent" };
            refresh_at_least = 90m;
            refresh_before_expiry = 90s;
            refresh_retry = 40s;
        }"#,
        "https://accounts.google.com/o/oauth2/auth?*client_id=123-abc.apps.googleusercontent.com\
         &redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|&scope=https%3A%2F%2Fmail.google.com%2F&prompt=consent",
    ),
    (
        "no scopes in an empty list",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i"; scopes = []; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|",
    ),
    (
        "fields follow the scope in order, the same one twice",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            auth_uri_fields = { "z": "1", "a": "2", "z": "3" }; scopes = ["s", "t"]; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|&scope=s+t&z=1&a=2&z=3",
    ),
    (
        "everything is form-encoded",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "a b&c=d+é~*-._";
            auth_uri_fields = { "k ey": "v\"a\\l%" }; scopes = ["a/b:c"]; }"#,
        "https://a.com/x?*client_id=a+b%26c%3Dd%2B%C3%A9%7E*-._\
         &redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|&scope=a%2Fb%3Ac&k+ey=v%22a%5Cl%25",
    ),
    (
        "an auth_uri with a query",
        r#"account "a" { auth_uri = "https://a.com/x?tenant=me"; token_uri = "https://a.com/t"; client_id = "i"; }"#,
        "https://a.com/x?tenant=me&*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|",
    ),
    (
        "an auth_uri without path",
        r#"account "a" { auth_uri = "https://a.com"; token_uri = "https://a.com/t"; client_id = "i"; }"#,
        "https://a.com/?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|",
    ),
    (
        "login_hint, deprecated",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            login_hint = "me@example.org"; scopes = ["s"]; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|&scope=s&login_hint=me%40example.org",
    ),
    (
        "a redirect_uri without path",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "http://localhost"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|",
    ),
    (
        "a redirect_uri with path",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "http://localhost/oauth/callback"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2Foauth%2Fcallback|",
    ),
    (
        "a redirect_uri with a query that must come back",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "http://localhost/cb?who=me&x=%2f"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2Fcb%3Fwho%3Dme%26x%3D%252f|",
    ),
    (
        "a port that gives way to the listener's",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "http://localhost:8080/"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|",
    ),
    (
        "127.0.0.1",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "http://127.0.0.1/"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2F127.0.0.1%3A14204%2F|",
    ),
    (
        "[::1]",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "http://[::1]/"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2F%5B%3A%3A1%5D%3A14204%2F|",
    ),
    (
        "https",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "https://localhost/"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=https%3A%2F%2Flocalhost%3A14205%2F|",
    ),
    (
        "https without http",
        r#"http_listen = none; https_listen = "127.0.0.1:0";
        account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "https://localhost"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=https%3A%2F%2Flocalhost%3A14205%2F|",
    ),
    (
        "a host elsewhere, as written",
        r#"http_listen = "0.0.0.0:8080";
        account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "https://auth.example.org/cb"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=https%3A%2F%2Fauth.example.org%2Fcb|",
    ),
    (
        "a host and port elsewhere, as written",
        r#"account "a" { auth_uri = "https://a.com/x"; token_uri = "https://a.com/t"; client_id = "i";
            redirect_uri = "http://box.example.org:8443"; }"#,
        "https://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Fbox.example.org%3A8443%2F|",
    ),
    (
        "the last of several accounts, with comments and commas at the end",
        r#"// accounts
        account "b" { auth_uri = "https://b.com/x"; token_uri = "https://b.com/t"; client_id = "j"; } // one
        account "a" { auth_uri = "http://a.com/x"; token_uri = "http://a.com/t"; client_id = "i";
            scopes = ["s",]; auth_uri_fields = {"k": "v",}; }"#,
        "http://a.com/x?*client_id=i&redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F|&scope=s&k=v",
    ),
];

/// The URL of a row with a random source that gives nothing but zeros.
fn whole(url: &str) -> String {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, "A".repeat(86).as_bytes()));
    let (base, rest) = url.split_once("?").expect("a query");
    let rest = rest
        .replacen("*client", "\u{1}client", 1)
        .replace('|', &format!("&response_type=code&state={}", "A".repeat(43)))
        .replace('\u{1}', &format!("access_type=offline&code_challenge={challenge}&code_challenge_method=S256&"));
    format!("{base}?{rest}")
}

#[test]
fn old_configurations_give_their_authorization_urls() {
    for (name, text, want) in TABLE {
        let config = config::parse(text).unwrap_or_else(|faults| panic!("{name}: {}", faults.render("pizauth.conf")));
        let account = &config.accounts[0];
        let authorization = request(account, PORTS, &mut |bytes| bytes.fill(0)).expect(name);
        assert_eq!(authorization.url, whole(want), "{name}");
        let sent = http::query(&authorization.url);
        assert_eq!(http::field(&sent, "redirect_uri"), Some(authorization.redirect_uri.as_str()), "{name}");
    }
}

#[test]
fn a_login_as_scripts_of_old_do_it() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&["startup_cmd = \"touch ready\";\n", &provider.account("work", "")].concat());
    eventually("startup_cmd in the server's folder", || server.folder().join("ready").exists());

    let shown = server.run(&["show", "work"]);
    assert_ne!(shown.status, 0);
    let words = shown.stderr.trim_end();
    let (said, url) = words.rsplit_once(' ').expect("words");
    assert!(said.ends_with("Access token unavailable until authorised with URL"), "{words}");

    let redirect = http::get(url);
    assert_eq!(redirect.status, 302);
    let location = redirect.header("location").expect("a redirect").to_owned();
    let page = http::get(&location);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("pizauth processing authentication: you can safely close this page."));
    assert_eq!(server.run(&["show", "work"]).expect(0).bytes, format!("{}\n", provider.last_access_token()).as_bytes());
    assert!(server.run(&["status"]).expect(0).stdout.starts_with("work: Active access token (obtained "));

    let dump = server.run(&["dump"]).expect(0).bytes;
    server.run(&["revoke", "work"]).expect(0);
    assert_eq!(server.run(&["status"]).expect(0).stdout, "work: No access token\n");
    server.run_with_input(&["restore"], &dump).expect(0);
    server.run(&["show", "work"]).expect(0);
    server.run(&["reload"]).expect(0);
    server.run(&["refresh", "work"]).expect(0);
    server.shutdown();
}

#[test]
fn the_redirect_uri_is_the_same_in_both_requests() {
    for redirect_uri in
        ["http://localhost", "http://127.0.0.1/a/../b", "http://[::1]/cb?who=me&x=%2f", "http://localhost:1/"]
    {
        let provider = Provider::start(Settings::default());
        let server = Pizauth::start(&provider.account("work", &format!("redirect_uri = \"{redirect_uri}\";")));
        let url = server.authorization_url("work");
        let asked = http::field(&http::query(&url), "redirect_uri").expect("a redirect_uri").to_owned();
        let page = http::browse(&url).and_then(http::Exchange::finish).expect("a page");
        assert_eq!(page.status, 200, "{redirect_uri}: {}", page.body);
        assert_eq!(provider.token_requests()[0].form("redirect_uri"), Some(asked.as_str()), "{redirect_uri}");
        server.run(&["show", "work"]).expect(0);
    }
}

#[test]
fn a_dump_of_old_is_refused_with_what_to_do() {
    let server = Pizauth::start_in(Home::new(TABLE[0].1));
    for old in [&b"pizauth\x00\x01\x02"[..], &[0x42; 2000], &[0xc3; 2000]] {
        let refused = server.run_with_input(&["restore"], old).expect(1);
        assert!(refused.stderr.contains("authorise"), "{}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}
