//! Whole configurations with mistakes in them: what is told, where, and what is never shown.

use super::{faults, with};
use crate::config::{Diagnostics, Scope, option_names, parse};

#[test]
fn every_mistake_is_told_with_its_place() {
    let names = |scope, end| format!("{}{end}", option_names(scope).collect::<Vec<_>>().join(", "));
    let global = &names(Scope::Global, "");
    let inside = &names(Scope::Account, ", or \"}\"");
    let device = "grant = \"device_code\"; device_auth_uri = \"https://a\";";
    let browser = with("").replace("\"x\"", "\"y\"");
    for (text, want) in [
        ("", "1:1: at least one account must be specified"),
        ("http_listen = none;", "1:1: at least one account must be specified"),
        // Grammar.
        ("= 1s;", &format!("1:1: expected one of account, {global}, found \"=\"")),
        ("hunter2;", &format!("1:1: expected one of account, {global}")),
        ("ü = 1s;", &format!("1:1: expected one of account, {global}, found something else")),
        ("}", "1:1: unexpected \"}\""),
        ("http_listen none;", "1:13: expected \"=\", found \"none\""),
        ("http_listen = ;", "1:15: expected an address such as \"127.0.0.1:0\", or none, found \";\""),
        ("http_listen = 5s;", "1:15: expected an address such as \"127.0.0.1:0\", or none, found a time"),
        ("refresh_retry = \"5s\";", "1:17: expected a time such as 90s, 15m, 2h or 1d, found a string"),
        ("refresh_retry = 5;", "1:17: expected a time such as 90s, 15m, 2h or 1d, found a number without unit"),
        ("refresh_retry = 5x;", "1:17: expected a time such as 90s, 15m, 2h or 1d, found a number without unit"),
        ("startup_cmd = none;", "1:15: expected a string in double quotes, found none"),
        ("startup_cmd = run;", "1:15: expected a string in double quotes, found a word without quotes"),
        ("startup_cmd = [\"a\"];", "1:15: expected a string in double quotes, found a list"),
        ("startup_cmd = {};", "1:15: expected a string in double quotes, found a map"),
        (
            "startup_cmd = \"é\\n\";",
            "1:17: only \\\" and \\\\ may follow a backslash in a string; a backslash itself is \\\\",
        ),
        ("startup_cmd = \"a;", "1:15: the closing quote of this string seems to be missing"),
        ("startup_cmd = \"a\"", "1:18: expected \";\""),
        ("startup_cmd = \"a\" \"b\";", "1:19: expected \";\", found a string"),
        ("account x {}", "1:9: expected the account's name in double quotes, found a word without quotes"),
        ("account {}", "1:9: expected the account's name in double quotes, found \"{\""),
        ("account \"x\" client_id = \"a\"; }", "1:13: expected \"{\", found \"client_id\""),
        ("account \"a\nb\" {}", "1:9: an account's name must not contain control characters"),
        (&with("scopes = \"a\";"), "5:10: expected a list such as [\"a\", \"b\"], found a string"),
        (&with("scopes = [\"a\" \"b\"];"), "5:15: expected \",\" or \"]\", found a string"),
        (&with("scopes = [a];"), "5:11: expected a string in double quotes or \"]\", found a word without quotes"),
        (&with("scopes = [\"a\",, \"b\"];"), "5:15: expected a string in double quotes or \"]\", found \",\""),
        (&with("auth_uri_fields = [\"a\"];"), "5:19: expected a map such as {\"key\": \"value\"}, found a list"),
        (&with("auth_uri_fields = {\"a\"};"), "5:23: expected \":\", found \"}\""),
        (&with("auth_uri_fields = {\"a\" = \"b\"};"), "5:24: expected \":\", found \"=\""),
        (
            &with("auth_uri_fields = {\"a\": b};"),
            "5:25: expected a string in double quotes, found a word without quotes",
        ),
        (&with(";"), &format!("5:1: expected one of {inside}, found \";\"")),
        (&with("scopes = [\"a\"]"), "5:15: expected \";\""),
        (with("").trim_end_matches("}\n"), "1:1: the closing \"}\" of this account is missing"),
        // Names.
        (&with("scope = [\"a\"];"), "5:1: unknown option \"scope\"; did you mean \"scopes\"?"),
        (&with("  ünknown = 1s;"), &format!("5:3: expected one of {inside}, found something else")),
        (&with("password = \"a\";"), &format!("5:1: unknown option \"password\"; expected one of {inside}")),
        ("acount = \"x\";", "1:1: unknown option \"acount\"; did you mean \"account\"?"),
        ("auth_error_cmd = \"a\";", "1:1: auth_error_cmd has been renamed to error_notify_cmd"),
        ("scopes = [];", "1:1: scopes is an account option: it belongs in an account block"),
        (&with("ca_file = \"a\";"), "5:1: ca_file is a global option: it belongs outside the account blocks"),
        (&with("user = \"a\";\n user = \"b\";"), "6:2: user is given twice: first at line 5, column 1"),
        (&with("user = none;"), "5:8: expected a string in double quotes, found none"),
        (&(with("") + &with("")), "7:9: the account \"x\" is given twice: first at line 1, column 9"),
        // Values.
        (&with("redirect_uri = \"blah\";"), "5:16: invalid URI: it must begin with http:// or https://"),
        (&with("issuer = \"https://a/#b\";"), "5:10: invalid URI: it must not have a fragment ('#')"),
        (&with("revocation_uri = \"https://a b/\";"), "5:18: invalid URI: it must not contain blanks"),
        (
            &with("grant = \"password\";"),
            "5:9: expected one of \"authorization_code\", \"device_code\", \"client_credentials\"",
        ),
        (&with("client_auth = \"jwt\";"), "5:15: expected one of \"post\", \"basic\""),
        (&with("client_auth = \"basic\";"), "5:15: client_auth \"basic\" needs a client_secret or a client_secret_cmd"),
        (
            &with("client_auth = \"basic\"; client_secret = \"\";"),
            "5:15: client_auth \"basic\" needs a client_secret or a client_secret_cmd",
        ),
        (
            &with("client_secret = \"a\"; client_secret_cmd = \"b\";"),
            "5:42: client_secret and client_secret_cmd must not stand in one account",
        ),
        (&with("client_secret_cmd = \"\";"), "5:21: this must not be empty"),
        (&with("assume_expires_in = 0s;"), "5:21: this time must be at least 1s"),
        (&with("device_auth_uri = \"a\";"), "5:19: invalid URI: it must begin with http:// or https://"),
        (&with("grant = \"device_code\";"), "1:9: device_auth_uri is missing in the account \"x\""),
        (&with("git_hosts = [\"a\", \"https://b\"];"), "5:19: expected a host name, or HOST:PORT"),
        (&with("auth_uri_fields = {\"a\": \"b\", \"scope\": \"c\"};"), "5:30: pizauth sets \"scope\" itself"),
        (
            &with("login_hint = \"a\"; auth_uri_fields = {\"login_hint\": \"a\"};"),
            "5:14: login_hint is in auth_uri_fields as well; remove this one, which is deprecated",
        ),
        (&with("token_uri_fields = {\"code\": \"a\"};"), "5:21: \"code\" must not stand in token_uri_fields"),
        (&with("token_uri_headers = {\"hOst\": \"a\"};"), "5:22: \"hOst\" must not stand in token_uri_headers"),
        (&with("token_uri_headers = {\"a b\": \"c\"};"), "5:22: this is no name of a header field"),
        (&with("token_uri_headers = {\"\": \"c\"};"), "5:22: this is no name of a header field"),
        (
            &with("token_uri_headers = {\"a\": \"b\nc: d\"};"),
            "5:27: a header field may hold printable ASCII characters only",
        ),
        (
            "account \"x\" { auth_uri = \"https://a\"; token_uri = \"https://a\"; client_id = \"\"; }",
            "1:76: client_id is empty: fill in what the provider gave you",
        ),
        (
            &format!("http_listen = \"a\";{}", with("")),
            "1:15: the port is missing: expected HOST:PORT, such as \"127.0.0.1:0\"",
        ),
        (
            &format!("http_listen = \":80\";{}", with("")),
            "1:15: expected HOST:PORT, such as \"127.0.0.1:0\", \"localhost:8080\" or \"[::1]:0\"",
        ),
        (&format!("ca_file = \"\";{}", with("")), "1:11: this must not be empty"),
        (&format!("ca_file = \"a\0b\";{}", with("")), "1:11: a NUL character cannot stand here"),
        (&format!("persist_cmd = \"a\0b\";{}", with("")), "1:15: a NUL character cannot stand here"),
        (&with("client_secret_cmd = \"a\0b\";"), "5:21: a NUL character cannot stand here"),
        (&format!("https_cert = \"a\";{}", with("")), "1:14: https_cert needs https_key"),
        (&format!("https_key = \"a\";{}", with("")), "1:13: https_key needs https_cert"),
        // Listeners.
        (
            &format!("http_listen = none;\nhttps_listen = none;\n{}", with("")),
            "2:16: http_listen and https_listen are both none, but the account \"x\" needs one",
        ),
        (
            &format!("https_listen = none;\nhttp_listen = none;\n{}", with("")),
            "2:15: http_listen and https_listen are both none, but the account \"x\" needs one",
        ),
        (
            &format!("http_listen = none;\nhttps_listen = none;\n{}{browser}", with(device)),
            "2:16: http_listen and https_listen are both none, but the account \"y\" needs one",
        ),
        (
            &format!("http_listen = none; {}{browser}", with(device)),
            "1:15: the account \"y\" has an http redirect_uri, but http_listen is none",
        ),
        (
            &format!("http_listen = none; {}", with("redirect_uri = \"http://localhost/\";")),
            "5:16: the account \"x\" has an http redirect_uri, but http_listen is none",
        ),
        (
            &format!("http_listen = none; {}", with("")),
            "1:15: the account \"x\" has an http redirect_uri, but http_listen is none",
        ),
        (
            &format!("https_listen = none; {}", with("redirect_uri = \"https://localhost/\";")),
            "5:16: the account \"x\" has an https redirect_uri, but https_listen is none",
        ),
        (
            &format!("http_listen = none; {}", with("redirect_uri = \"http://proxy.example/\";")),
            "1:15: the account \"x\" has no listener: http_listen is none, https_listen not set",
        ),
        (
            &format!(
                "http_listen = none; {}{}",
                with("redirect_uri = \"http://proxy.example/\";"),
                with("grant = \"client_credentials\"; redirect_uri = \"https://a\";").replace("\"x\"", "\"y\"")
            ),
            "1:15: the account \"x\" has no listener: http_listen is none, https_listen not set",
        ),
        (
            &format!("http_listen = \"localhost:80\";\nhttps_listen = \"LocalHost:80\";\n{}", with("")),
            "2:16: http_listen has this port already; take another port",
        ),
        (
            &format!("https_listen = \"[::1]:80\";\nhttp_listen = \"[::1]:80\";\n{}", with("")),
            "2:15: https_listen has this port already; take another port",
        ),
        // What is not understood may be what makes a listener run.
        (
            &format!("http_listen = none; {}", with("redirect_uri = \"localhost\";")),
            "5:16: invalid URI: it must begin with http:// or https://",
        ),
        (
            &format!(
                "http_listen = none; account \"y\" {{ redirect_uri = \"https://localhost/\"; client_id = \"a\"; \
                 auth_uri = \"https://a\"; }}\n{}",
                with("redirect_uri = \"http://proxy.example/\";")
            ),
            "1:29: token_uri is missing in the account \"y\"",
        ),
    ] {
        // A text that is about something global has no account, and nothing else is wrong with it.
        assert_eq!(faults(text), [want], "{text}");
    }
}

#[test]
fn a_missing_mandatory_option_is_named() {
    for (options, want) in [
        ("", vec!["auth_uri", "client_id", "token_uri"]),
        ("client_id = \"a\"; auth_uri = \"b\";", vec!["token_uri"]),
        ("client_id = 5s; auth_uri = 5s; token_uri = \"https://a\";", vec![]),
        ("grant = \"device_code\";", vec!["device_auth_uri", "client_id", "token_uri"]),
        ("grant = \"client_credentials\";", vec!["client_id", "token_uri"]),
    ] {
        let missing: Vec<_> = faults(&format!("account \"work\" {{ {options} }}"))
            .iter()
            .filter_map(|fault| fault.strip_prefix("1:9: ")?.strip_suffix(" is missing in the account \"work\""))
            .map(str::to_owned)
            .collect();
        assert_eq!(missing, want, "{options}");
    }
}

#[test]
fn keys_that_pizauth_sets_itself_are_refused() {
    for (option, keys) in [
        (
            "auth_uri_fields",
            &[
                "access_type",
                "client_id",
                "code_challenge",
                "code_challenge_method",
                "redirect_uri",
                "response_type",
                "scope",
                "state",
            ][..],
        ),
        (
            "token_uri_fields",
            &["grant_type", "code", "code_verifier", "redirect_uri", "refresh_token", "client_secret", "device_code"],
        ),
        ("token_uri_headers", &["Host", "Content-Length", "AUTHORIZATION", "transfer-encoding", "Connection"]),
    ] {
        for key in keys {
            assert_eq!(faults(&with(&format!("{option} = {{\"{key}\": \"a\"}};"))).len(), 1, "{option} {key}");
        }
        assert_eq!(faults(&with(&format!("{option} = {{\"Origin\": \"https://a\"}};"))), Vec::<String>::new());
    }
}

#[test]
fn all_errors_are_found_and_none_twice() {
    for (name, text, want) in [
        (
            "one on each line",
            with("scope = [];\nuser = 5s;\nrefresh_retry 5s;\nlogin_hint = \"a\"\nissuer = \"a\";"),
            vec![5, 6, 7, 8, 9],
        ),
        (
            "lost quote",
            with("user = \"a;\nclient_secret = \"hunter2\";\nscopes = [\"b\"];\ngrant = \"x\";"),
            vec![5, 8],
        ),
        ("lost quote in a list", with("scopes = [\n\"a\",\n\"b,\n\"c\"\n];\ngrant = \"x\";"), vec![7, 10]),
        ("quote too many", with("client_secret = \"hun\"ter2\";\nuser = \"b\";\ngrant = \"x\";"), vec![5, 7]),
        ("lost quote at the end", with("user = \"a;"), vec![5]),
        ("map at fault", with("auth_uri_fields = {\"a\" \"b\"};\ngrant = \"x\";"), vec![5, 6]),
        ("map over lines", with("auth_uri_fields = {\n\"a\" \"b\",\n\"c\": \"d\"\n};\ngrant = \"x\";"), vec![6, 9]),
        ("name without quotes", "account x {\nscope = [];\n}\nca_file = 5s;".to_owned(), vec![1, 2, 4]),
        (
            "name with one quote",
            "account \"x {\nscope = [];\nuser = \"a\";\n}\nca_file = 5s;".to_owned(),
            vec![1, 2, 5],
        ),
        (
            "block not closed",
            format!("{}{}", with("").trim_end_matches("}\n"), with("grant = \"x\";").replacen("\"x\"", "\"y\"", 1)),
            vec![6, 10],
        ),
        ("statements on one line", "ca_file 5s; startup_cmd = 5s; https_key = 5s;".to_owned(), vec![1, 1, 1]),
        ("on one line with strings", "account \"x\" { user \"a\"; }\nca_file = 5s;".to_owned(), vec![1, 1, 1, 1, 2]),
        ("two accounts", "account \"x\" {}\naccount \"y\" {}".to_owned(), vec![1, 1, 1, 2, 2, 2]),
    ] {
        let Err(Diagnostics(found)) = parse(&text) else { panic!("{name}") };
        assert_eq!(found.iter().map(|one| one.line).collect::<Vec<_>>(), want, "{name}: {found:#?}");
    }
}

#[test]
fn beyond_two_hundred_errors_the_rest_is_not_shown() {
    let text: String = (0..100).map(|number| format!("account \"a{number}\" {{}}\n")).collect();
    let Err(Diagnostics(found)) = parse(&text) else { panic!("accounts without options") };
    let ends: Vec<bool> = found.iter().map(|one| one.message.starts_with("too many errors")).collect();
    assert_eq!(ends.len(), 200);
    assert!(ends[199] && !ends[198], "{:?}", found[199]);
}

#[test]
fn a_hostile_text_costs_little() {
    for (name, text) in [
        ("statements", "x=y;\n".repeat(200_000)),
        ("signs", ";".repeat(1_000_000)),
        ("quotes", "\"\n".repeat(500_000)),
        ("escaped quotes", "\"\\\"\n".repeat(250_000)),
        ("escaped quotes and an end", "\"\\\"\n".repeat(250_000) + "\""),
        ("stray", "ü ".repeat(300_000)),
        ("comments", "//\n".repeat(300_000)),
        ("braces", "account \"x\" {".repeat(50_000)),
        ("brackets", format!("{};", "a=[".repeat(300_000))),
        ("one word", "a".repeat(1_000_000) + "=1s;"),
        ("one time", "account \"x\" {refresh_retry=".to_owned() + &"9".repeat(1_000_000) + "s;}"),
        ("one line of faults", "scopes=[];".repeat(100_000)),
        ("nested comments in a list", "a=[".to_owned() + &"//\n".repeat(300_000)),
    ] {
        let Err(diagnostics) = parse(&text) else { panic!("{name}") };
        assert!(diagnostics.0.len() <= 200, "{name}");
        assert!(diagnostics.render("f").len() < 500_000, "{name}");
    }
}

#[test]
fn a_mutated_text_never_panics_nor_shows_a_secret() {
    let base = |secrets: &str| {
        let options = format!("{secrets}\nscopes = [\"a\", \"b\"];\nrefresh_retry = 5s;");
        let globals = "persist_cmd = \"a\nb\"; // note\nhttp_listen = none;\nhttps_listen = \"127.0.0.1:0\";";
        format!("{globals}\n{}", with(&options))
    };
    let bases = [
        base("client_secret = \"QQQQQQQQ\";\ntoken_uri_fields = {\"a\": \"QQQQQQQQ\"};"),
        base("client_secret =\nQQQQQQQQ==;\ntoken_uri_fields = {\n\"a\":\nQQQQQQQQ=\n};"),
    ];
    let pieces = [
        "\"", "\\", "\n", ";", "{", "}", "[", "]", "=", ":", ",", "//", "é", "\0", "account ", "none", "9", "s", "\r",
        " ",
    ];
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % bound as u64).unwrap()
    };
    for number in 0..10_000 {
        let mut text: Vec<char> = bases[number % bases.len()].chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len());
            let end = (at + random(3)).min(text.len());
            text.splice(at..end, pieces[random(pieces.len())].chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(diagnostics) = parse(&text) {
            let shown = diagnostics.render("f");
            assert!(!shown.contains("QQQ"), "{text}\n{shown}");
            assert!(diagnostics.0.iter().all(|one| one.line > 0 && one.column > 0), "{text}");
        }
    }
}

#[test]
fn a_secret_that_lost_its_quotes_is_not_repeated() {
    for (name, options) in [
        ("on its line", "client_secret = QQQQ==;"),
        ("on the next line", "client_secret =\nQQQQ==;"),
        ("behind a comment", "client_secret = // the secret\n\n  QQQQ=;"),
        ("behind the name alone", "client_secret\nQQQQ==;"),
        ("behind a colon", "client_secret:\nQQQQ==;"),
        ("behind a misspelt name", "client_sekret =\nQQQQ==;"),
        ("without a name", "QQQQ==;"),
        ("without a name, behind an option", "user = \"a\"\nQQQQ==;"),
        ("without a name, at the end", "QQQQ="),
        ("before another option", "client_secret =\nQQQQ=\nuser = \"a\";"),
        ("over several lines", "client_secret =\nabcd\n+efg\nQQQQ==;"),
        ("with a semicolon", "client_secret = ab;QQQQ=c;"),
        ("with a semicolon and a string", "client_secret = ab;QQQQ=\"c\";"),
        ("with a semicolon at the end of a line", "client_secret =\nab;\nQQQQ==;"),
        ("without its first quote", "client_secret =\nQQQQ==\";\nuser = \"a\";"),
        ("without its last quote", "client_secret = \"abcd\nQQQQ==;\nuser = \"a\";"),
        ("before a string", "client_secret =\nQQQQ= \"a\";"),
        ("before a time", "client_secret =\nQQQQ = 5s;"),
        ("a field", "token_uri_fields = {\"a\":\nQQQQ==};"),
        ("a field's end", "token_uri_fields = {\"a\": \"b\",\nQQQQ=\"c\"};"),
        ("a field without braces", "token_uri_fields =\nQQQQ==;"),
        ("a header", "token_uri_headers = {\n\"A\":\nQQQQ==,\n\"B\": \"c\"\n};"),
        ("a command", "client_secret_cmd =\nQQQQ=a;"),
    ] {
        let Err(diagnostics) = parse(&with(options)) else { panic!("{name}") };
        let shown = diagnostics.render("f");
        assert!(!shown.contains("QQQ"), "{name}:\n{shown}");
    }
}

#[test]
fn a_source_line_shows_only_what_is_no_secret() {
    for (name, text, want) in [
        ("the name at fault", with("scope = [\"a\"];"), "scope = [\"***\"];"),
        ("a renamed option", with("auth_error_cmd = \"a\";"), "auth_error_cmd = \"***\";"),
        ("the string at fault", with("user = \"a\"; issuer = \"b\";"), "user = \"***\"; issuer = \"b\";"),
        ("a string in a list", with("git_hosts = [\"a\", \"/b\"];"), "git_hosts = [\"***\", \"/b\"];"),
        ("an unknown option's value", with("client_sekret = \"a\";"), "client_sekret = \"***\";"),
        ("a secret at fault", with("client_secret = \"a\\b\";"), "client_secret = \"***\";"),
        ("a secret without quotes", with("client_secret = GOCSPX-ab+c/d;"), "client_secret = ***;"),
        ("a secret with quotes inside", with("client_secret = \"a\"b\"c\";"), "client_secret = \"***\"***\"***\";"),
        ("a secret that is a time", with("client_secret = 12345s;"), "client_secret = ***;"),
        ("a time", with("refresh_retry = 5s; user = 7s;"), "refresh_retry = 5s; user = 7s;"),
        ("a time of no meaning", with("user = \"a\" 7s;"), "user = \"***\" ***;"),
        ("a field", with("token_uri_fields = {\"code\": \"a\"};"), "token_uri_fields = {\"code\": \"***\"};"),
        ("a header", with("token_uri_headers = {\"A\": \"é\"};"), "token_uri_headers = {\"***\": \"***\"};"),
        ("a secret command", with("client_secret_cmd = \"a\\b\";"), "client_secret_cmd = \"***\";"),
        ("another command", with("user = \"a\\b\";"), "user = \"a\\b\";"),
        ("a password in a URI", with("issuer = \"https://me:secret@a/\";"), "issuer = \"***\";"),
        ("a backslash in a URI", with("issuer = \"https://a\\b/\";"), "issuer = \"https://a\\b/\";"),
        ("a backslash in an address", with("user = \"me@a\\b\";"), "user = \"me@a\\b\";"),
        ("one with a backslash", with("issuer = \"https://me:sec\\ret@a/\";"), "issuer = \"***\";"),
        ("a comment", with("user = 5; // client_secret = \"a\""), "user = ***; // ***"),
        ("the begin of a string", with("scope = \"a\nb\";"), "scope = \"***"),
        ("the end of a string", with("client_secret = \"a\nb\\c\";"), "***\";"),
        ("the middle of a string", with("client_secret = \"a\nb\\c\nd\";"), "***"),
        ("a string without end", with("client_secret = \"a;"), "client_secret = \"***"),
        ("none where it may not stand", with("user = none;"), "user = none;"),
        ("a block in a block", with("account \"b\" {"), "account \"***\" {"),
        ("control characters", with("user = \"\u{1b}[31m\\x\";"), "user = \"\u{fffd}[31m\\x\";"),
        ("what turns the line", with("user = \"a\u{200f}\u{2066}b\\x\";"), "user = \"a\u{fffd}\u{fffd}b\\x\";"),
        ("a tab", with("\tscope\t= \"a\";"), " scope = \"***\";"),
    ] {
        let Err(Diagnostics(diagnostics)) = parse(&text) else { panic!("{name}") };
        assert_eq!(diagnostics[0].source_line.as_deref(), Some(want), "{name}");
    }
    let long = parse(&with(&format!("scope = [{}];", "\"a\", ".repeat(1000)))).unwrap_err();
    assert_eq!(long.0[0].source_line.as_ref().unwrap().chars().count(), 203);
}

#[test]
fn diagnostics_are_rendered_for_people_and_editors() {
    let text = with("scope = [\"a\"];\r\n  client_secret = \"\\s\";");
    let want = "pizauth.conf:5:1: unknown option \"scope\"; did you mean \"scopes\"?\nscope = [\"***\"];\n\
                pizauth.conf:6:20: only \\\" and \\\\ may follow a backslash in a string; a backslash itself is \\\\\n  \
                client_secret = \"***\";";
    assert_eq!(parse(&text).unwrap_err().render("pizauth.conf"), want);
    let empty = parse("").unwrap_err();
    assert_eq!(empty.render("a.conf"), "a.conf:1:1: at least one account must be specified");
    assert_eq!(empty.render("a\nb.conf"), "a\u{fffd}b.conf:1:1: at least one account must be specified");
}

#[test]
fn after_a_mistake_the_rest_is_looked_through() {
    for (text, want) in [
        ("account foo { scope = 5; }", "1:9 1:15 1:23"),
        ("account { scope = 5; }", "1:9 1:11 1:19"),
        ("account 5s \"a\" { scope = 5; }", "1:9 1:18 1:26"),
        ("account\nscope = 5;", "1:1 2:1 2:1 2:9"),
        ("account foo", "1:9"),
        ("account", "1:8"),
        ("ca_file = \"a\"\nhttp_listen = 5;", "1:14 2:15"),
        ("ca_file = \"a\"\n\"b\";\nhttp_listen = 5;", "2:1 3:15"),
        ("ca_file = \"a\"\nfoo bar;\nhttp_listen = 5;", "2:1 3:15"),
        ("ca_file = \"a\"\nfoo \"b\";\nhttp_listen = 5;", "2:1 3:15"),
        ("ca_file = \"a\"\naccount foo;\nhttp_listen = 5;", "2:1 3:15"),
        ("ca_file = \"a\"\naccount \"b\" { scope = 5; }", "1:14 2:9 2:9 2:9 2:15 2:23"),
        ("ca_file = = \"a\"\nhttp_listen = 5;", "1:11 2:15"),
        ("ca_file = \"a\" b;\nfoo = 5;", "1:15 2:1"),
        ("ca_file = b; http_listen = 5;", "1:11 1:28"),
        // A string may end where its writer did not mean it to: what follows on the line may still be of it.
        ("ca_file = \"a\" http_listen = 5;", "1:15"),
        ("ca_file = \"a\" b; http_listen = 5;", "1:15"),
        ("= ca_file = 5;\nhttp_listen = 5;", "1:1 2:15"),
        ("; ca_file = 5;", "1:1 1:13"),
        ("{ ca_file = 5; }", "1:1 1:16"),
    ] {
        let places = faults(text).into_iter().map(|fault| fault.split(": ").next().unwrap_or_default().to_owned());
        assert_eq!(places.collect::<Vec<_>>().join(" "), want, "{text}");
    }
}

#[test]
fn an_unknown_word_is_repeated_only_as_the_name_of_an_option() {
    for (text, is_repeated) in [
        ("frobnicate = none;", true),
        ("frobnicate = \"a\";", true),
        ("frobnicate = 5s;", true),
        ("frobnicate = bar;", false),
        ("frobnicate = ;", false),
        ("frobnicate bar;", false),
    ] {
        assert_eq!(faults(text)[0].contains("frobnicate"), is_repeated, "{text}");
    }
}

#[test]
fn the_line_of_the_last_mistake_is_shown_whole() {
    let text = "frobnicate = 5; ca_file = \"a\";\n".repeat(2 * parse::MAX_FAULTS);
    let Err(Diagnostics(diagnostics)) = parse(&text) else { panic!("accepted") };
    let lines: std::collections::BTreeSet<_> = diagnostics.iter().filter_map(|one| one.source_line.clone()).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
}
