//! `pizauth discover` against metadata of every kind, hostile ones above all, on the real binary. A block that comes
//! out of it is read back by the parser of the configuration and compared with what was asked for.

mod support;

use std::time::{Duration, Instant};

use pizauth::config::{self, Account, Config};
use serde_json::{Value, json};
use support::{
    provider::{Answer, Provider, Settings},
    server::{Home, Output},
    tls::{Authority, Front, Tunnel, Valid},
    tool,
};

/// Where RFC 8414 has the metadata of an issuer without a path, and where OpenID Connect has it.
const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// What an honest provider says of itself.
fn honest(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "device_authorization_endpoint": format!("{issuer}/device"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "authorization_response_iss_parameter_supported": true,
    })
}

/// The honest options of an account block for `issuer`, without those that are named.
fn options(issuer: &str, without: &[&str]) -> Vec<(&'static str, String)> {
    let options = [
        ("auth_uri", format!("{issuer}/authorize")),
        ("token_uri", format!("{issuer}/token")),
        ("device_auth_uri", format!("{issuer}/device")),
        ("revocation_uri", format!("{issuer}/revoke")),
        ("issuer", issuer.to_owned()),
    ];
    options.into_iter().filter(|(name, _)| !without.contains(name)).collect()
}

/// What the parser makes of a block that has just these options, and a client.
#[track_caller]
fn account_of(name: &str, options: &[(&str, String)]) -> Account {
    let lines: String = options.iter().map(|(option, value)| format!("{option} = \"{value}\"; ")).collect();
    let config = parse(&format!("account \"{name}\" {{ client_id = \"CLIENT\"; {lines}}}"));
    config.accounts.into_iter().next().expect("one account")
}

#[track_caller]
fn parse(text: &str) -> Config {
    config::parse(text).unwrap_or_else(|faults| panic!("{}\n{text}", faults.render("pizauth.conf")))
}

/// A provider whose metadata is what the test says.
struct Host {
    provider: Provider,
    home: Home,
}

impl Host {
    fn new() -> Host {
        Host { provider: Provider::start(Settings::default()), home: Home::new("") }
    }

    fn issuer(&self) -> String {
        self.provider.issuer()
    }

    /// The name that the block of this provider has.
    fn name(&self) -> String {
        self.issuer().replacen("http://", "", 1)
    }

    /// Serves `answer` at both places.
    fn serve(&self, answer: &Answer) {
        for path in [OAUTH, OPENID] {
            self.provider.always_answer(path, Some(answer.clone()));
        }
    }

    #[track_caller]
    fn discover(&self) -> Output {
        self.home.run(&["discover", &self.issuer()])
    }

    /// Nothing may come out, and a single line must say why.
    #[track_caller]
    fn assert_refused(&self, name: &str, part: &str) {
        let output = self.discover();
        assert_eq!((output.status, output.stdout.as_str()), (1, ""), "{name}: {}", output.stderr);
        for line in output.stderr.lines() {
            assert!(line.starts_with("pizauth: http"), "{name}: {line:?}");
            assert!(line.chars().all(|c| !c.is_control()), "{name}: {line:?}");
        }
        assert!(output.stderr.contains(part), "{name}: {}", output.stderr);
    }

    /// A block must come out that has `options`, and nothing else but comments, of which one is `comment`.
    #[track_caller]
    fn assert_block(&self, name: &str, options: &[(&str, String)], comment: Option<&str>) -> String {
        let output = self.discover().expect(0);
        let block = output.stdout;
        assert_eq!(output.stderr, "", "{name}");
        assert_is_block(name, &self.home, &block, &account_of(&self.name(), options));
        let comments: Vec<_> = block.lines().filter(|line| line.starts_with("    // ")).collect();
        match comment {
            Some(comment) => assert!(comments.iter().any(|line| line.contains(comment)), "{name}: {block}"),
            None => assert!(comments.is_empty(), "{name}: {block}"),
        }
        block
    }
}

/// `block` must be one account that `check` refuses until its client is filled in, and that is `want` then.
#[track_caller]
fn assert_is_block(name: &str, home: &Home, block: &str, want: &Account) {
    assert!(block.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{name}: {block:?}");
    home.configure(block);
    let refused = home.run(&["check"]).expect(1).stderr;
    assert!(refused.contains("client_id is empty"), "{name}: {refused}");

    let filled = block.replacen("client_id = \"\";", "client_id = \"CLIENT\";", 1);
    let filled = filled.replacen("client_secret = \"\";", "client_secret = \"SECRET\";", 1);
    home.configure(&filled);
    home.run(&["check"]).expect(0);
    let config = parse(&filled);
    // All that is no account is as in a configuration that says nothing.
    let mut nothing_else =
        parse("account \"a\" { grant = \"client_credentials\"; client_id = \"c\"; token_uri = \"https://a\"; }");
    nothing_else.accounts.clone_from(&config.accounts);
    assert_eq!(config, nothing_else, "{name}");
    assert_eq!(config.accounts.as_slice(), std::slice::from_ref(want), "{name}: {block}");
}

#[test]
fn an_honest_provider_gives_a_block() {
    let host = Host::new();
    let issuer = host.issuer();
    host.serve(&Answer::json(200, &honest(&issuer)));
    let block = host.assert_block("honest", &options(&issuer, &[]), None);
    assert!(block.contains("\n    client_id = \"\";\n"), "{block}");
}

#[test]
fn what_the_metadata_names_decides_on_the_options() {
    let host = Host::new();
    let issuer = host.issuer();
    let methods = "token_endpoint_auth_methods_supported";
    let iss = "authorization_response_iss_parameter_supported";
    let plain = |without: &[&str], with: &[(&'static str, &str)]| {
        let mut options = options(&issuer, without);
        options.extend(with.iter().map(|(name, value)| (*name, (*value).to_owned())));
        options
    };
    let basic = &[("client_auth", "basic"), ("client_secret", "SECRET")];
    for (name, field, value, want, comment) in [
        ("basic alone", methods, json!(["client_secret_basic"]), plain(&[], basic), None),
        ("a single text", methods, json!("client_secret_basic"), plain(&[], basic), None),
        ("basic or none", methods, json!(["client_secret_basic", "none"]), plain(&[], &[]), None),
        ("none named", methods, Value::Null, plain(&[], &[]), Some("does not say how clients authenticate")),
        ("unknown ones", methods, json!(["tls_client_auth"]), plain(&[], &[]), Some("names no way")),
        ("iss not announced", iss, json!(false), plain(&["issuer"], &[]), Some("issuer = ")),
        ("iss not mentioned", iss, Value::Null, plain(&["issuer"], &[]), Some("not announced")),
        ("iss as a text", iss, json!("true"), plain(&["issuer"], &[]), Some("not announced")),
        ("no device", "device_authorization_endpoint", Value::Null, plain(&["device_auth_uri"], &[]), None),
        ("no revocation", "revocation_endpoint", Value::Null, plain(&["revocation_uri"], &[]), None),
        (
            "devices alone",
            "authorization_endpoint",
            Value::Null,
            plain(&["auth_uri", "issuer"], &[("grant", "device_code")]),
            None,
        ),
    ] {
        let mut metadata = honest(&issuer);
        metadata[field] = value;
        host.serve(&Answer::json(200, &metadata));
        host.assert_block(name, &want, comment);
    }
    let mut metadata = honest(&issuer);
    metadata["authorization_endpoint"] = Value::Null;
    metadata["device_authorization_endpoint"] = Value::Null;
    host.serve(&Answer::json(200, &metadata));
    let want = plain(&["auth_uri", "issuer", "device_auth_uri"], &[("grant", "client_credentials")]);
    host.assert_block("nobody logs in", &want, None);
}

#[test]
fn no_hostile_uri_gets_into_a_block() {
    let host = Host::new();
    let issuer = host.issuer();
    for (name, uri) in [
        ("a quote that ends the string", format!("{issuer}/\"; startup_cmd = \"touch pwned")),
        ("a backslash before the quote", format!("{issuer}/\\")),
        ("a line break", format!("{issuer}/\n    startup_cmd = \"touch pwned\";")),
        ("a carriage return", format!("{issuer}/\r}}")),
        ("an escape sequence", format!("{issuer}/\u{1b}[2J")),
        ("a NUL", format!("{issuer}/\0")),
        ("a blank", format!("{issuer}/a b")),
        ("a shell's substitution", format!("{issuer}/`id`")),
        ("another scheme", "javascript:alert(1)".to_owned()),
        ("a file", "file:///etc/passwd".to_owned()),
        ("http elsewhere", "http://provider.example/x".to_owned()),
        ("no scheme", "//127.0.0.1/x".to_owned()),
        ("relative", "/x".to_owned()),
        ("a word", "x".to_owned()),
        ("an IRI", format!("{issuer}/\u{fc}ber")),
        ("a host that is no ASCII", "https://b\u{fc}cher.example/".to_owned()),
        ("a direction mark", format!("{issuer}/\u{202e}x")),
        ("a fragment", format!("{issuer}/x#y")),
        ("a user", "https://127.0.0.1@evil.example/".to_owned()),
        ("half an escape", format!("{issuer}/%2")),
        ("no host", "https:///x".to_owned()),
        ("a port beyond all", "https://provider.example:65536/".to_owned()),
        ("braces", format!("{issuer}/{{tenantid}}/x")),
        ("far too long", format!("{issuer}/{}", "x".repeat(100_000))),
    ] {
        let mut metadata = honest(&issuer);
        metadata["revocation_endpoint"] = json!(uri);
        metadata["device_authorization_endpoint"] = json!([uri]);
        host.serve(&Answer::json(200, &metadata));
        let want = options(&issuer, &["revocation_uri", "device_auth_uri"]);
        host.assert_block(name, &want, Some("revocation_uri is left out"));

        for endpoint in ["token_endpoint", "authorization_endpoint"] {
            let mut metadata = honest(&issuer);
            metadata[endpoint] = json!(uri);
            host.serve(&Answer::json(200, &metadata));
            host.assert_refused(name, &format!("names no {endpoint} that can be used"));
        }

        let mut metadata = honest(&issuer);
        metadata["issuer"] = json!(uri);
        host.serve(&Answer::json(200, &metadata));
        host.assert_refused(name, if name == "braces" { "any tenant" } else { "another issuer" });
    }
}

#[test]
fn what_is_not_asked_for_stays_out() {
    let host = Host::new();
    let issuer = host.issuer();
    let mut metadata = honest(&issuer);
    for field in ["client_id", "client_secret", "client_secret_cmd", "startup_cmd", "scopes", "redirect_uri"] {
        metadata[field] = json!("\"; startup_cmd = \"touch pwned\"; //\n");
    }
    metadata["scopes_supported"] = json!(["all\"", "\n}"]);
    metadata["token_endpoint_auth_methods_supported"] = json!(["none\"; startup_cmd = \"x", "none"]);
    metadata["x"] = json!("y".repeat(1000));
    host.serve(&Answer::json(200, &metadata));
    host.assert_block("more than is asked for", &options(&issuer, &[]), None);
}

#[test]
fn another_origin_is_pointed_out() {
    let host = Host::new();
    let issuer = host.issuer();
    for (option, field) in [
        ("auth_uri", "authorization_endpoint"),
        ("token_uri", "token_endpoint"),
        ("device_auth_uri", "device_authorization_endpoint"),
        ("revocation_uri", "revocation_endpoint"),
    ] {
        for uri in ["https://evil.example/x", "http://127.0.0.1:1/x", "http://localhost/x"] {
            let mut metadata = honest(&issuer);
            metadata[field] = json!(uri);
            host.serve(&Answer::json(200, &metadata));
            let mut want = options(&issuer, &[option]);
            want.push((option, uri.to_owned()));
            host.assert_block(uri, &want, Some(&format!("{option} is on another origin than the issuer")));
        }
    }
}

#[test]
fn the_issuer_must_be_the_one_asked_for() {
    let host = Host::new();
    let issuer = host.issuer();
    for (name, other, part) in [
        ("another host", json!("https://evil.example"), "of another issuer: https://evil.example; if that"),
        ("another port", json!("http://127.0.0.1:1"), "of another issuer"),
        ("a path more", json!(format!("{issuer}/x")), "of another issuer"),
        ("a query", json!(format!("{issuer}?x")), "of another issuer"),
        ("a name for the address", json!(issuer.replace("127.0.0.1", "localhost")), "of another issuer"),
        ("none", Value::Null, "names no issuer"),
        ("no text", json!(1), "names no issuer"),
        ("any tenant", json!(format!("{issuer}/{{tenantid}}/v2.0")), "put your tenant's ID in place of common"),
        ("control characters", json!("https://evil.example/\r\n\u{1b}[2J"), "of another issuer"),
    ] {
        let mut metadata = honest(&issuer);
        metadata["issuer"] = other;
        host.serve(&Answer::json(200, &metadata));
        host.assert_refused(name, part);
    }
    // A slash at its end is no difference; the option says it as the redirects will.
    let mut metadata = honest(&issuer);
    metadata["issuer"] = json!(format!("{issuer}/"));
    host.serve(&Answer::json(200, &metadata));
    let mut want = options(&issuer, &["issuer"]);
    want.push(("issuer", format!("{issuer}/")));
    host.assert_block("a slash at the end", &want, None);
}

#[test]
fn the_metadata_is_looked_for_where_the_standards_have_it() {
    let (with_path, behind) =
        ("/.well-known/oauth-authorization-server/realms/x", "/realms/x/.well-known/openid-configuration");
    for (name, asked, served, want, issuer) in [
        ("RFC 8414", "", OAUTH, &[OAUTH][..], ""),
        ("OpenID Connect", "", OPENID, &[OAUTH, OPENID], ""),
        ("a slash at the end", "/", OPENID, &[OAUTH, OPENID], ""),
        ("with a path", "/realms/x", with_path, &[with_path], "/realms/x"),
        ("with a path and a slash", "/realms/x/", with_path, &[with_path], "/realms/x"),
        ("behind a path", "/realms/x", behind, &[with_path, behind], "/realms/x"),
        ("the whole URL", OPENID, OPENID, &[OPENID], ""),
        ("the whole URL of RFC 8414", OAUTH, OAUTH, &[OAUTH], ""),
        ("the whole URL in front of a path", with_path, with_path, &[with_path], "/realms/x"),
        ("the whole URL behind a path", behind, behind, &[behind], "/realms/x"),
    ] {
        let host = Host::new();
        for path in [OAUTH, OPENID, with_path, behind] {
            let issuer = format!("{}{issuer}", host.issuer());
            let answer = if path == served { Answer::json(200, &honest(&issuer)) } else { Answer::html(404, "<p>No") };
            host.provider.always_answer(path, Some(answer));
        }
        let url = format!("{}{asked}", host.issuer());
        let block = host.home.run(&["discover", &url]).expect(0).stdout;
        let want_account = account_of(&host.name(), &options(&format!("{}{issuer}", host.issuer()), &[]));
        assert_is_block(name, &host.home, &block, &want_account);
        let seen: Vec<_> = host.provider.requests().into_iter().map(|request| request.path).collect();
        assert_eq!(seen, want, "{name}");
    }
}

#[test]
fn a_place_that_is_no_use_does_not_hide_the_other() {
    let host = Host::new();
    let issuer = host.issuer();
    host.provider.always_answer(OPENID, Some(Answer::json(200, &honest(&issuer))));
    let elsewhere = Answer::redirect(302, &format!("{issuer}/elsewhere"));
    for (name, answer) in [
        ("a redirect", elsewhere),
        ("a page", Answer::html(200, "<html>Welcome")),
        ("another issuer", Answer::json(200, &honest("https://evil.example"))),
        ("an error", Answer::error(500, "server_error", "")),
        ("nothing", Answer::new(200, "application/json", "")),
    ] {
        host.provider.always_answer(OAUTH, Some(answer));
        host.assert_block(name, &options(&issuer, &[]), None);
    }
    assert!(host.provider.requests().iter().all(|request| request.path != "/elsewhere"), "a redirect was followed");
}

#[test]
fn what_is_no_metadata_is_told() {
    let host = Host::new();
    let issuer = host.issuer();
    for (name, answer, part) in [
        ("not there", Answer::html(404, "<p>No"), "no metadata there (HTTP status 404)"),
        ("a redirect", Answer::redirect(302, &format!("{issuer}/elsewhere")), "no metadata there (HTTP status 302)"),
        ("a page", Answer::html(200, "<html>\u{1b}[2J"), "the answer is not a JSON object"),
        ("a list", Answer::new(200, "application/json", "[]"), "the answer is not a JSON object"),
        ("cut JSON", Answer::new(200, "application/json", "{\"issuer\":"), "the answer is not a JSON object"),
        ("no UTF-8", Answer::new(200, "application/json", [0xff; 99]), "the answer is not a JSON object"),
        ("deep nesting", Answer::new(200, "application/json", "[".repeat(500_000)), "the answer is not a JSON object"),
    ] {
        host.serve(&answer);
        host.assert_refused(name, part);
    }
    assert!(host.provider.requests().iter().all(|request| request.path != "/elsewhere"), "a redirect was followed");

    // Where one place has metadata, what is wrong with them is all that counts.
    host.provider.always_answer(OAUTH, Some(Answer::html(404, "<p>No")));
    host.provider.always_answer(OPENID, Some(Answer::json(200, &honest(&format!("{issuer}/{{tenantid}}/v2.0")))));
    host.assert_refused("Microsoft's common", "any tenant");
    assert_eq!(host.discover().stderr.lines().count(), 1);
}

#[test]
fn answers_without_end_are_cut() {
    let host = Host::new();
    let long_head = Answer::json(200, &honest(&host.issuer())).header("X", &"x".repeat(20_000));
    for (name, answer, part) in [
        ("10 MB", Answer::new(200, "application/json", " ".repeat(1 << 20)).repeated(10), "longer than 1 MiB"),
        ("a long head", long_head, "longer than 16 KiB"),
    ] {
        host.serve(&answer);
        let before = host.provider.requests().len();
        host.assert_refused(name, part);
        // The other place is on the same host, which has had its chance.
        assert_eq!(host.provider.requests().len(), before + 1, "{name}");
    }
}

#[test]
fn a_dripping_answer_is_cut_after_a_while() {
    if !tool::is_asked_for("PIZAUTH_SLOW") {
        return;
    }
    let host = Host::new();
    host.serve(&Answer::json(200, &honest(&host.issuer())).dripped(1, Duration::from_secs(1)));
    let began = Instant::now();
    host.assert_refused("a byte a second", "timed out after 30 s");
    assert!(began.elapsed() < Duration::from_secs(55));
}

#[test]
fn only_a_safe_url_is_asked() {
    let home = Home::new("");
    for (name, url) in [
        ("http elsewhere", "http://provider.example/"),
        ("another scheme", "file:///etc/passwd"),
        ("no scheme", "provider.example"),
        ("a query", "https://provider.example/?x=y"),
        ("a fragment", "https://provider.example/#x"),
        ("a user", "https://a:b@provider.example/"),
        ("an IRI", "https://provider.example/\u{fc}"),
        ("a line break", "https://provider.example/\r\nHost: x"),
        ("nothing", ""),
    ] {
        let output = home.run(&["discover", url]).expect(1);
        assert_eq!(output.stdout, "", "{name}");
        assert!(output.stderr.contains("not an https URL without query and fragment"), "{name}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{name}: {:?}", output.stderr);
    }
    let refused = home.run(&["discover", "http://127.0.0.1:1"]).expect(1);
    assert!(refused.stderr.contains("connection to 127.0.0.1:1 refused"), "{}", refused.stderr);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
}

#[test]
fn certificates_and_proxies_count_here_too() {
    let provider = Provider::start(Settings::default());
    let authority = Authority::new("an office");
    let front = Front::start(&authority.leaf("login.example", Valid::Now), &provider.issuer());
    let tunnel = Tunnel::start(front.port(), None);
    let issuer = "https://login.example";
    provider.always_answer(OAUTH, Some(Answer::json(200, &honest(issuer))));

    let home = Home::new("").env("https_proxy", format!("http://{}", tunnel.authority()));
    let refused = home.run(&["discover", issuer]).expect(1).stderr;
    let certificate = format!("certificate of login.example:443 through the proxy {} refused", tunnel.authority());
    assert!(refused.contains(&certificate), "{refused}");
    assert!(refused.contains("SSL_CERT_FILE") && !refused.contains("ca_file"), "{refused}");
    assert_eq!(refused.lines().count(), 1, "{refused}");

    let file = home.folder().write("office.pem", &authority.pem());
    let home = home.env("SSL_CERT_FILE", file);
    let block = home.run(&["discover", issuer]).expect(0).stdout;
    assert_is_block("https", &home, &block, &account_of("login.example", &options(issuer, &[])));
    assert!(tunnel.requests().iter().all(|line| line == "CONNECT login.example:443 HTTP/1.1"));
}
