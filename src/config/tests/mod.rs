//! Whole configurations: what is accepted, and what it means.

mod mistakes;

use std::{path::PathBuf, time::Duration};

use super::*;

/// An account block that is complete, with more options in it.
fn with(options: &str) -> String {
    format!(
        "account \"x\" {{\nauth_uri = \"https://a.example/auth\";\ntoken_uri = \"https://a.example/token\";\n\
         client_id = \"id\";\n{options}\n}}\n"
    )
}

fn account(options: &str) -> Account {
    parse(&with(options)).unwrap().accounts.remove(0)
}

/// `LINE:COL: message` of everything that is wrong.
fn faults(text: &str) -> Vec<String> {
    let Err(Diagnostics(diagnostics)) = parse(text) else { return Vec::new() };
    assert!(!diagnostics.is_empty());
    assert!(diagnostics.is_sorted_by_key(|diagnostic| (diagnostic.line, diagnostic.column)));
    diagnostics.iter().map(|one| format!("{}:{}: {}", one.line, one.column, one.message)).collect()
}

#[test]
fn the_least_configuration_has_every_default() {
    let config = parse(&with("")).unwrap();
    let want = Account {
        name: "x".to_owned(),
        assume_expires_in: Duration::from_secs(3600),
        auth_uri: Some("https://a.example/auth".to_owned()),
        auth_uri_fields: vec![],
        client_auth: ClientAuth::Post,
        client_id: "id".to_owned(),
        client_secret: ClientSecret::None,
        device_auth_uri: None,
        git_hosts: vec![],
        grant: Grant::AuthorizationCode,
        issuer: None,
        login_hint: None,
        redirect_uri: "http://localhost/".to_owned(),
        refresh_at_least: Duration::from_secs(90 * 60),
        refresh_before_expiry: Duration::from_secs(90),
        refresh_retry: Duration::from_secs(40),
        revocation_uri: None,
        scopes: vec![],
        token_uri: "https://a.example/token".to_owned(),
        token_uri_fields: vec![],
        token_uri_headers: vec![],
        user: None,
    };
    let want = Config {
        accounts: vec![want],
        auth_notify_cmd: None,
        auth_notify_interval: Duration::from_secs(15 * 60),
        ca_file: None,
        error_notify_cmd: None,
        http_listen: Listen::Default,
        https_cert: None,
        https_key: None,
        https_listen: Listen::Default,
        persist_cmd: None,
        restore_cmd: None,
        startup_cmd: None,
        token_event_cmd: None,
        transient_error_if_cmd: None,
    };
    assert_eq!(config, want);
}

#[test]
fn every_option_arrives_where_it_belongs() {
    let text = r#"
        assume_expires_in = 1s; auth_notify_cmd = "a"; auth_notify_interval = 2m; ca_file = "b"; error_notify_cmd = "c";
        http_listen = "127.0.0.1:1"; https_cert = "d"; https_key = "e"; https_listen = "[::1]:2"; persist_cmd = "f";
        refresh_at_least = 3h; refresh_before_expiry = 4d; refresh_retry = 5s; restore_cmd = "g"; startup_cmd = "h";
        token_event_cmd = "i"; transient_error_if_cmd = "j";
        account "z" {
            assume_expires_in = 6s; auth_uri = "https://k"; auth_uri_fields = {"l": "m", "n": "o", "l": "p"};
            client_auth = "basic"; client_id = "q"; client_secret = "r"; device_auth_uri = "https://s";
            git_hosts = ["t", "u:1"]; grant = "device_code"; issuer = "https://v"; login_hint = "w";
            redirect_uri = "https://x:1"; refresh_at_least = 7s; refresh_before_expiry = 8s; refresh_retry = 9s;
            revocation_uri = "https://y"; scopes = ["z", "A"]; token_uri = "https://B"; token_uri_fields = {"C": "D"};
            token_uri_headers = {"Origin": "F"}; user = "G";
        }
        account "a" { client_id = "q"; client_secret_cmd = "H"; grant = "client_credentials"; token_uri = "http://I"; }
    "#;
    let config = parse(text).unwrap();
    let owned = |text: &str| text.to_owned();
    let some = |text: &str| Some(text.to_owned());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(config.accounts.iter().map(|account| &account.name).collect::<Vec<_>>(), ["a", "z"]);
    let (a, z) = (config.account("a").unwrap(), config.account("z").unwrap());
    assert_eq!(config.account("b"), None);
    assert_eq!(a.client_secret, ClientSecret::Command(owned("H")));
    assert_eq!(a.grant, Grant::ClientCredentials);
    assert_eq!(a.assume_expires_in, Duration::from_secs(1));
    assert_eq!(a.refresh_at_least, Duration::from_secs(3 * 3600));
    assert_eq!(a.refresh_before_expiry, Duration::from_secs(4 * 86400));
    assert_eq!(a.refresh_retry, Duration::from_secs(5));
    let want = Account {
        name: owned("z"),
        assume_expires_in: Duration::from_secs(6),
        auth_uri: some("https://k"),
        auth_uri_fields: vec![pair("l", "m"), pair("n", "o"), pair("l", "p")],
        client_auth: ClientAuth::Basic,
        client_id: owned("q"),
        client_secret: ClientSecret::Text("r".into()),
        device_auth_uri: some("https://s"),
        git_hosts: vec![owned("t"), owned("u:1")],
        grant: Grant::DeviceCode,
        issuer: some("https://v"),
        login_hint: some("w"),
        redirect_uri: owned("https://x:1"),
        refresh_at_least: Duration::from_secs(7),
        refresh_before_expiry: Duration::from_secs(8),
        refresh_retry: Duration::from_secs(9),
        revocation_uri: some("https://y"),
        scopes: vec![owned("z"), owned("A")],
        token_uri: owned("https://B"),
        token_uri_fields: vec![(owned("C"), "D".into())],
        token_uri_headers: vec![(owned("Origin"), "F".into())],
        user: some("G"),
    };
    assert_eq!(z, &want);
    let want = Config {
        accounts: config.accounts.clone(),
        auth_notify_cmd: some("a"),
        auth_notify_interval: Duration::from_secs(120),
        ca_file: Some(PathBuf::from("b")),
        error_notify_cmd: some("c"),
        http_listen: Listen::Address(owned("127.0.0.1:1")),
        https_cert: Some(PathBuf::from("d")),
        https_key: Some(PathBuf::from("e")),
        https_listen: Listen::Address(owned("[::1]:2")),
        persist_cmd: some("f"),
        restore_cmd: some("g"),
        startup_cmd: some("h"),
        token_event_cmd: some("i"),
        transient_error_if_cmd: some("j"),
    };
    assert_eq!(config, want);
}

#[test]
fn what_pizauth_1_accepted_means_the_same() {
    for (name, text) in [
        ("no blanks", "account\"x\"{auth_uri=\"http://a\";token_uri=\"http://b\";client_id=\"c\";}".to_owned()),
        ("line ends", with("scopes\r\n=\t[\r\"a\"\n]\r\n;")),
        ("comments", format!("// \"a\n{}// end", with("scopes = [ // \"\n\"a\" // ]\n]; // }"))),
        ("comment without line end", format!("{}//", with(""))),
        ("empty list and map", with("scopes = []; auth_uri_fields = {};")),
        ("comma before the first", with("scopes = [, \"a\"]; auth_uri_fields = {, \"a\": \"b\"};")),
        ("no seconds", with("refresh_at_least = 0s; refresh_before_expiry = 0m; refresh_retry = 0d;")),
        ("leading zeros", with("refresh_retry = 0040s;")),
        ("options after accounts", format!("{}http_listen = \"127.0.0.1:0\";", with(""))),
        ("any ports", format!("http_listen = \"[::1]:0\"; https_listen = \"[::1]:0\"; {}", with(""))),
        ("two addresses", format!("http_listen = \"[::1]:80\"; https_listen = \"127.0.0.1:80\"; {}", with(""))),
        ("listeners", format!("https_listen = none; http_listen = \"localhost:8080\";{}", with(""))),
        (
            "only HTTPS, and a proxy before it",
            format!(
                "http_listen = none; https_listen = \"127.0.0.1:0\"; {}",
                with("redirect_uri = \"http://proxy.example/\";")
            ),
        ),
        (
            "only HTTPS, for a proxy",
            format!("http_listen = none; {}", with("redirect_uri = \"https://proxy.example/\";")),
        ),
        ("only HTTPS", format!("http_listen = none; {}", with("redirect_uri = \"https://localhost/\";"))),
        (
            "only HTTPS, which another account has run",
            format!(
                "http_listen = none; {}{}",
                with("redirect_uri = \"http://proxy.example/\";"),
                with("redirect_uri = \"https://localhost/\";").replace("\"x\"", "\"y\"")
            ),
        ),
        ("empty strings", format!("auth_notify_cmd = \"\"; {}", with("client_secret = \"\"; login_hint = \"\";"))),
        ("upper case", with("redirect_uri = \"HTTP://LocalHost:8080/Path\";")),
        ("no path", with("redirect_uri = \"http://127.0.0.1\";")),
        ("query", with("redirect_uri = \"http://127.0.0.1/?a=b\";")),
        ("other host", with("redirect_uri = \"https://pizauth.example.com:8443/back\";")),
        (
            "account named like a mail address",
            "account \"me@example.com\" {auth_uri = \"http://a.com\"; \
          auth_uri_fields = {\"login_hint\": \"i\"}; client_id = \"b\"; token_uri = \"http://f.com\";}"
                .to_owned(),
        ),
    ] {
        assert_eq!(faults(&text), Vec::<String>::new(), "{name}");
    }
    let hinted = account("login_hint = \"a \\\"b\\\" \\\\ // c\nd\"; client_secret = \"\";");
    assert_eq!(hinted.login_hint.as_deref(), Some("a \"b\" \\ // c\nd"));
    assert_eq!(hinted.client_secret, ClientSecret::None);
    assert_eq!(account("redirect_uri = \"HTTP://LocalHost\";").redirect_uri, "HTTP://LocalHost");
}

#[test]
fn a_comma_may_follow_the_last() {
    let account = account("scopes = [\"a\", \"b\",]; auth_uri_fields = {\"c\": \"d\",};");
    assert_eq!(account.scopes, ["a", "b"]);
    assert_eq!(account.auth_uri_fields.len(), 1);
}

#[test]
fn a_byte_order_mark_changes_nothing() {
    assert_eq!(parse(&format!("\u{feff}{}", with(""))), parse(&with("")));
    assert_eq!(faults("\u{feff}}"), ["1:1: unexpected \"}\""]);
}

#[test]
fn the_example_configuration_is_accepted_without_warning() {
    let config = parse(include_str!("../../../conf/pizauth.conf")).unwrap();
    assert_eq!(warnings(&config), Vec::<String>::new());
    assert_eq!(config.accounts.len(), 2);
}

#[test]
fn warnings_name_the_account_and_the_matter() {
    let microsoft = "account \"m\" { auth_uri = \"https://Login.MicrosoftOnline.com/a\"; client_id = \"b\"; \
                     token_uri = \"https://login.microsoftonline.com/c\";";
    let lacking = "account \"m\": scopes lack \"offline_access\", without which Microsoft gives no refresh token";
    for (text, want) in [
        (with(""), vec![]),
        (
            "account \"p\" { auth_uri = \"http://a\"; token_uri = \"HTTP://b\"; client_id = \"c\"; }".to_owned(),
            vec![
                "account \"p\": auth_uri is plain http: tokens can be read on the way",
                "account \"p\": token_uri is plain http: tokens can be read on the way",
            ],
        ),
        (
            "account \"p\" { auth_uri = \"http://localhost\"; token_uri = \"http://[::1]:8\"; client_id = \"c\"; }"
                .into(),
            vec![],
        ),
        (format!("{microsoft} }}"), vec![lacking]),
        (format!("{microsoft} scopes = [\"a\"]; }}"), vec![lacking]),
        (format!("{microsoft} scopes = [\"a offline_access\"]; }}"), vec![]),
        (format!("{microsoft} scopes = [\"a\", \"offline_access\"]; }}"), vec![]),
        (format!("{microsoft} grant = \"client_credentials\"; }}"), vec![]),
    ] {
        assert_eq!(warnings(&parse(&text).unwrap()), want, "{text}");
    }
}

#[test]
fn listeners_run_where_they_are_needed() {
    for (globals, options, http, https) in [
        ("", "", true, false),
        ("https_listen = \"127.0.0.1:0\";", "", true, true),
        ("", "redirect_uri = \"https://127.0.0.1/\";", true, true),
        ("http_listen = \"127.0.0.1:0\";", "redirect_uri = \"https://127.0.0.1/\";", true, true),
        ("http_listen = none;", "redirect_uri = \"https://127.0.0.1/\";", false, true),
        ("https_listen = none;", "", true, false),
        ("", "redirect_uri = \"https://proxy.example/\";", true, true),
        ("https_listen = none;", "redirect_uri = \"https://proxy.example/\";", true, false),
        ("http_listen = none; https_listen = none;", "grant = \"client_credentials\";", false, false),
        ("", "grant = \"client_credentials\"; redirect_uri = \"https://a\";", true, false),
        ("", "grant = \"device_code\"; device_auth_uri = \"https://a\";", true, false),
    ] {
        let config = parse(&format!("{globals}{}", with(options))).unwrap();
        assert_eq!((config.wants_http(), config.wants_https()), (http, https), "{globals} {options}");
    }
}

#[test]
fn an_account_knows_its_redirect_and_its_user() {
    let plain = account("");
    assert!(plain.needs_http() && !plain.needs_https());
    let other = account("redirect_uri = \"https://[::1]:8/a?b=c\";");
    assert!(!other.needs_http() && other.needs_https());
    let want = RedirectTarget { is_https: true, host: "[::1]", is_loopback: true, path: "/a", query: Some("b=c") };
    assert_eq!(other.redirect(), Some(want));
    assert_eq!(account("redirect_uri = \"http://a\";").redirect().unwrap().path, "/");
    for (options, want) in [
        ("", None),
        ("auth_uri_fields = {\"a\": \"b\", \"login_hint\": \"c\"};", Some("c")),
        ("login_hint = \"d\";", Some("d")),
        ("login_hint = \"d\"; user = \"e\";", Some("e")),
    ] {
        assert_eq!(account(options).user(), want, "{options}");
    }
}

#[test]
fn git_may_send_the_token_to_its_hosts_alone() {
    let account = account("git_hosts = [\"git.example\", \"Code.Example:8443\", \"[2001:db8::1]\"];");
    for (host, want) in [
        ("git.example", true),
        ("GIT.Example", true),
        ("git.example:443", true),
        ("code.example:8443", true),
        ("[2001:db8::1]", true),
        ("git.example:8443", false),
        ("code.example", false),
        ("evil.example", false),
        ("evil.git.example", false),
        ("git.example.evil.example", false),
        ("git.example.", false),
        ("git.example@evil.example", false),
        ("git.example%2f.evil.example", false),
        ("git.example/", false),
        (" git.example", false),
        ("gıt.example", false),
        ("", false),
    ] {
        assert_eq!(account.honours_git_host(host), want, "{host:?}");
    }
    assert!(!self::account("").honours_git_host("git.example"));
}

#[test]
fn a_time_is_digits_and_a_unit() {
    for (text, want) in [
        ("0s", Some(0)),
        ("90s", Some(90)),
        ("15m", Some(900)),
        ("2h", Some(7200)),
        ("1d", Some(86400)),
        ("36600d", Some(3_162_240_000)),
        ("36601d", Some(3_162_240_000)),
        ("18446744073709551615s", Some(LONGEST_TIME)),
        ("99999999999999999999999d", Some(LONGEST_TIME)),
        ("9223372036854775808m", Some(LONGEST_TIME)),
        ("", None),
        ("s", None),
        ("5", None),
        ("+5s", None),
        ("5 s", None),
        ("5S", None),
        ("5w", None),
        ("-1s", None),
        ("1é", None),
        ("५s", None),
    ] {
        assert_eq!(parse_time(text), want.map(Duration::from_secs), "{text}");
    }
}

#[test]
fn what_is_quoted_reads_back_as_it_was() {
    for text in ["", "a", "\"", "\\", "\\\"", "a\nb", "// é \u{1b}", "\"; client_id = \"b"] {
        assert_eq!(account(&format!("user = {};", quote(text))).user.as_deref(), Some(text));
    }
}
