//! The accounts in `conf/providers`, which people copy: each says where its facts are from, is refused until it is
//! filled in and accepted then, and has what its grant needs.

mod support;

use std::{fs, path::Path};

use pizauth::config::{self, Account, Config, Grant, Listen};
use support::server::Home;

/// Providers that must not be missing.
const WANTED: [&str; 8] =
    ["github", "gitlab", "google", "keycloak", "microsoft-personal", "microsoft-work", "openid-connect", "yahoo"];

/// Every file's name, without its ending, and text.
fn blocks() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/providers");
    let files = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut blocks: Vec<_> = files
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a text");
            let name = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".conf"));
            (name.unwrap_or_else(|| panic!("{}", file.display())).to_owned(), text)
        })
        .collect();
    blocks.sort();
    for name in WANTED {
        assert!(blocks.iter().any(|(other, _)| other == name), "{name} is missing");
    }
    blocks
}

/// The block as somebody has it who registered a client.
fn filled(text: &str) -> String {
    text.replace("client_id = \"\";", "client_id = \"CLIENT_ID\";")
        .replace("client_secret = \"\";", "client_secret = \"CLIENT_SECRET\";")
}

/// The block with the options taken in that stand behind `//` between others.
fn with_alternatives(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let option = line.strip_prefix("    // ").filter(|rest| rest.contains(" = ") && rest.ends_with(';'));
        out += &option.map_or(line.to_owned(), |option| format!("    {option}"));
        out.push('\n');
    }
    out
}

#[track_caller]
fn parse(name: &str, text: &str) -> Config {
    config::parse(text).unwrap_or_else(|faults| panic!("{name}: {}", faults.render("pizauth.conf")))
}

/// The paragraph of the comment that begins with `title`.
#[track_caller]
fn paragraph<'a>(name: &str, text: &'a str, title: &str) -> &'a str {
    let at = text.find(&format!("\n// {title}: ")).unwrap_or_else(|| panic!("{name} has no paragraph {title}"));
    let rest = &text[at + 1..];
    let end = rest.find("\n//\n").into_iter().chain(rest.find("\n\n")).min();
    &rest[..end.unwrap_or(rest.len())]
}

#[test]
fn each_is_refused_until_its_client_is_filled_in() {
    for (name, text) in blocks() {
        let home = Home::new(&text);
        let told = home.run(&["check"]).expect(1).stderr;
        assert!(told.contains("client_id is empty"), "{name}: {told}");
        for line in told.lines().filter(|line| line.starts_with("pizauth: ")) {
            assert!(line.contains("client_"), "{name}: {line}");
        }

        let filled = filled(&text);
        for text in [&filled, &with_alternatives(&filled)] {
            home.configure(text);
            assert_eq!(home.run(&["check"]).expect(0).stderr, "", "{name}");
        }
    }
}

#[test]
fn each_says_where_its_facts_and_its_client_come_from() {
    for (name, text) in blocks() {
        let sources: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("// Source: ")).collect();
        assert!(!sources.is_empty(), "{name} names no source");
        for source in sources {
            assert!(source.starts_with("https://"), "{name}: {source}");
        }
        paragraph(&name, &text, "Client ID");
        assert!(text.contains("\n// Good to know:\n// - "), "{name}");
        for option in ["client_id", "client_secret"] {
            for line in text.lines().filter(|line| line.trim_start().starts_with(&format!("{option} ="))) {
                assert_eq!(line, format!("    {option} = \"\";"), "{name}");
            }
        }
    }
}

#[test]
fn each_has_what_its_grant_needs() {
    for (name, text) in blocks() {
        for text in [filled(&text), with_alternatives(&filled(&text))] {
            let config = parse(&name, &text);
            let [account] = config.accounts.as_slice() else { panic!("{name}: not one account") };
            assert_eq!(account.name, name);
            for uri in uris(account) {
                assert!(uri.starts_with("https://"), "{name}: {uri}");
            }
            match account.grant {
                Grant::AuthorizationCode => assert!(account.auth_uri.is_some(), "{name}"),
                Grant::DeviceCode => assert!(account.device_auth_uri.is_some(), "{name}"),
                Grant::ClientCredentials => panic!("{name}: who logs in?"),
            }
            // For git, a password alone is not enough.
            assert_eq!(account.git_hosts.is_empty(), account.user.is_none(), "{name}");
        }
    }
    let github = blocks().into_iter().find(|(name, _)| name == "github").expect("GitHub");
    assert_eq!(parse("github", &filled(&github.1)).accounts[0].grant, Grant::DeviceCode);
}

fn uris(account: &Account) -> impl Iterator<Item = &String> {
    [&account.auth_uri, &account.device_auth_uri, &account.revocation_uri, &account.issuer]
        .into_iter()
        .flatten()
        .chain([&account.token_uri])
}

#[test]
fn each_names_the_redirect_uri_to_register() {
    for (name, text) in blocks() {
        let config = parse(&name, &filled(&text));
        let account = &config.accounts[0];
        let told = paragraph(&name, &text, "Redirect URI");
        if told.starts_with("// Redirect URI: none") {
            assert!(!text.contains("\n    redirect_uri = "), "{name}");
            continue;
        }
        assert!(told.contains(account.redirect_uri.trim_end_matches('/')), "{name}: {}", account.redirect_uri);
        // A port in it is one that a listener has.
        let authority = account.redirect_uri.split('/').nth(2).unwrap_or_default();
        let port = authority.split_once(':').map(|(_, port)| port);
        let listen =
            if account.redirect_uri.starts_with("https:") { &config.https_listen } else { &config.http_listen };
        let fixed = match listen {
            Listen::Address(address) => address.rsplit_once(':').map(|(_, port)| port),
            Listen::Default | Listen::Off => None,
        };
        assert_eq!(port, fixed, "{name}");
    }
}

#[test]
fn documents_point_to_them() {
    let read = |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a document");
    assert!(read("README.md").contains("](conf/providers)"));
    assert!(read("man/pizauth.conf.5").contains("/examples/pizauth/providers/"));
}
