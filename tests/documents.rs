//! What the documents say is what the program knows: commands, options, hooks and examples are compared with its
//! tables, in both directions.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pizauth::{
    cli::{
        Failure,
        command::{self, COMMANDS, COMMON, Opt, synopsis},
    },
    config::{self, Scope, option_names},
    proto::{Info, Reason},
};
use support::document::{displays, fences, path, read, section};

/// Stands in for the accounts of an example that has none.
const ACCOUNT: &str = r#"
account "example" {
    auth_uri = "https://provider.example/authorize";
    token_uri = "https://provider.example/token";
    client_id = "CLIENT_ID";
}
"#;

#[test]
fn manuals_are_free_of_warnings() {
    for page in ["man/pizauth.1", "man/pizauth.conf.5"] {
        let Some((is_success, output)) = run("mandoc", &["-Tlint", "-Wwarning", &path(page)], "") else { return };
        assert!(is_success, "{page}: {output}");
    }
}

#[test]
fn manuals_have_the_sections_that_are_looked_for() {
    for page in ["man/pizauth.1", "man/pizauth.conf.5"] {
        let text = read(page);
        for section in ["NAME", "DESCRIPTION", "FILES", "EXAMPLES", "STANDARDS", "CAVEATS"] {
            assert!(text.contains(&format!("\n.Sh {section}\n")), "{page} has no {section}");
        }
    }
}

#[test]
fn every_option_of_the_configuration_is_documented_where_it_may_stand() {
    let page = read("man/pizauth.conf.5");
    for (section, scope) in [("Global options", Scope::Global), ("Account options", Scope::Account)] {
        let documented: Vec<_> = subsection(&page, section).filter_map(documented_option).collect();
        let mut known: Vec<_> = option_names(scope).collect();
        known.sort_unstable();
        assert_eq!(documented, known, "{section}");
    }
}

#[test]
fn every_command_of_the_configuration_is_among_the_hooks() {
    let page = read("man/pizauth.conf.5");
    let documented: Vec<_> = subsection(&page, "Hooks").filter_map(|line| line.strip_prefix(".It Cm ")).collect();
    let known: BTreeSet<_> =
        option_names(Scope::Global).chain(option_names(Scope::Account)).filter(|name| name.ends_with("_cmd")).collect();
    assert_eq!(documented, known.into_iter().collect::<Vec<_>>());
}

#[test]
fn the_synopsis_of_the_manual_is_the_usage_text() {
    let page = read("man/pizauth.1");
    let documented: Vec<_> = section(&page, "SYNOPSIS")
        .split(".Nm\n")
        .skip(1)
        .map(|block| format!("pizauth {}", block.lines().map(plain_synopsis).collect::<Vec<_>>().join(" ")))
        .collect();
    let known: Vec<_> = COMMANDS.iter().map(synopsis).collect();
    assert_eq!(documented.get(..known.len()), Some(&known[..]));
}

#[test]
fn every_command_is_documented_with_each_of_its_options() {
    let page = read("man/pizauth.1");
    let lines: Vec<_> = subsection(&page, "Commands").collect();
    let (own, rest) = split(&lines, "Every command also takes");
    let (common, bare) = split(rest, "Without a command there are");

    let documented = commands(own);
    let known: Vec<_> = COMMANDS.iter().map(|known| (known.name.to_owned(), flags(known.options))).collect();
    assert_eq!(documented, known);
    assert_eq!(common.iter().flat_map(|line| documented_flags(line)).collect::<BTreeSet<_>>(), flags(COMMON));
    let bare: BTreeSet<_> = bare.iter().flat_map(|line| documented_flags(line)).collect();
    assert_eq!(bare, ["-help", "-version", "V", "h"].map(str::to_owned).into());
}

#[test]
fn every_field_that_info_has_of_a_server_is_documented() {
    let page = read("man/pizauth.1");
    let documented: BTreeSet<_> = subsection(&page, "Commands")
        .skip_while(|line| *line != ".Li server_info ,")
        .skip(1)
        .take_while(|line| *line != ".El")
        .filter_map(|line| line.strip_prefix(".Li "))
        .map(|name| name.trim_end_matches(" ,").to_owned())
        .collect();
    let text = || Some("AA:BB".to_owned());
    let info = Info { https_pub_key: text(), https_cert_sha256: text(), ..Info::default() };
    let json = serde_json::to_value(info).expect("an object");
    assert_eq!(documented, json.as_object().expect("an object").keys().cloned().collect());
}

#[test]
fn every_documented_format_is_known() {
    let page = read("man/pizauth.1");
    let formats: Vec<_> = subsection(&page, "Commands")
        .skip_while(|line| !line.contains("-width oauthbearer"))
        .take_while(|line| *line != ".El")
        .filter_map(|line| line.strip_prefix(".It Cm "))
        .collect();
    assert_eq!(formats.len(), 6, "{formats:?}");
    for format in formats {
        let line = ["show", "-f", format, "work"].map(Into::into);
        assert!(command::parse(&line).is_ok(), "{format}");
    }
}

#[test]
fn the_documented_exit_statuses_are_those_that_commands_end_with() {
    let answered = [Reason::Error, Reason::Authorize, Reason::Temporary, Reason::Unavailable]
        .map(|reason| Failure::Answered { reason, messages: Vec::new() }.status().to_string());
    // Each reason of a command's own stands in this file, after its status; a reason of the server's has none.
    let own = read("tests/golden/commands.txt");
    let own = own.lines().filter_map(|line| line.split_once(' ')).map(|(status, _)| status.to_owned());
    let known: BTreeSet<_> = own.filter(|status| status != "-").chain(answered).chain(["0".to_owned()]).collect();

    let page = read("man/pizauth.1");
    let documented: BTreeSet<_> =
        section(&page, "EXIT STATUS").lines().filter_map(|line| line.strip_prefix(".It ")).collect();
    assert_eq!(documented, known.iter().map(String::as_str).collect());
    let rows: BTreeSet<_> = table(&read("README.md"), "exit status").into_iter().collect();
    assert_eq!(rows, known);
}

/// Limits: where each is stated, its declaration there, and what pizauth(1) says of it.
#[rustfmt::skip]
const LIMITS: &[(&str, &str, &str)] = &[
    ("server/mod.rs", "MAX_CLIENTS: usize = 1024;", "1024 clients"),
    ("proto.rs", "MAX_REQUEST: usize = 64 * 1024;", "64 KiB for a request line"),
    ("proto.rs", "MAX_RESTORE: usize = 64 * 1024 * 1024;", "64 MiB for one that restores"),
    ("server/control.rs", "LINE_LIMIT: Duration = Duration::from_secs(10);", "10 seconds from a line's first byte"),
    ("server/control.rs", "WRITE_LIMIT: Duration = Duration::from_secs(10);", "10 seconds in which something of an answer"),
    ("server/mod.rs", "MAX_BROWSERS: usize = 64;", "64 browsers"),
    ("server/request_head.rs", "MAX_HEAD: usize = 16 * 1024;", "16 KiB and 100 fields for a request's head"),
    ("server/request_head.rs", "MAX_FIELDS: usize = 100;", "16 KiB and 100 fields for a request's head"),
    ("oauth/redirect.rs", "MAX_PARAMETERS: usize = 64;", "64 parameters in its query"),
    ("server/browser.rs", "IDLE_LIMIT: Duration = Duration::from_secs(120);", "120 seconds to the first byte"),
    ("server/browser.rs", "HEAD_LIMIT: Duration = Duration::from_secs(10);", "10 seconds from there to the end of the head"),
    ("engine/redirects.rs", "MAX_KEPT: usize = 64;", "outcomes of 64 redirects are kept for 10 minutes"),
    ("engine/redirects.rs", "KEPT: Duration = Duration::from_secs(600);", "outcomes of 64 redirects are kept for 10 minutes"),
    ("server/endpoint.rs", "LIMIT: Duration = Duration::from_secs(30);", "30 seconds in all"),
    ("server/endpoint.rs", "MAX_HEAD: usize = 16 * 1024;", "16 KiB for the head of an answer"),
    ("oauth/mod.rs", "MAX_BODY: usize = 1024 * 1024;", "1 MiB for its body"),
    ("engine/calls.rs", "MAX_CALLS: usize = 32;", "32 at once"),
    ("engine/authorizations.rs", "(Duration::from_secs(60), Duration::from_secs(5));", "tried again for 60 seconds"),
    ("engine/authorizations.rs", "LONGEST_SILENCE: Duration = Duration::from_secs(60);", "minute between those"),
    ("engine/renewals.rs", "MAX_BACKOFF: Duration = Duration::from_secs(30 * 60);", "to 30 minutes"),
    ("oauth/retry_after.rs", "MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);", "counts up to an hour"),
    ("oauth/device.rs", "MAX_USER_CODE: usize = 64;", "64 characters for a user code"),
    ("oauth/device.rs", "MAX_URI: usize = 2048;", "2048 bytes for a verification URI"),
    ("oauth/device.rs", "MAX_INTERVAL: Duration = Duration::from_secs(3600);", "an hour between two polls"),
    ("server/paths.rs", "MAX_SIZE: u64 = 1024 * 1024;", "configuration: 1 MiB"),
    ("server/roots.rs", "MAX_PEM: u64 = 4 * 1024 * 1024;", "PEM files: 4 MiB"),
    ("engine/hooks.rs", "MAX_SECRET: usize = 16 * 1024;", "from a command: 16 KiB"),
    ("engine/hooks.rs", "MAX_EVENTS: usize = 4096;", "token_event_cmd : 4096"),
    ("sys/log.rs", "MAX_LINE: usize = 2048;", "a line of the log: 2048 bytes"),
    ("engine/account.rs", "MAX_PAUSE: Duration = Duration::from_secs(5);", "at least 5 seconds apart"),
    ("oauth/text.rs", "MAX_SHOWN: usize = 500;", "500 characters each"),
    ("cli/client.rs", "LIMIT: Duration = Duration::from_secs(10);", "an answer within 10 seconds beyond"),
    ("cli/simple.rs", "SHUTDOWN: Duration = Duration::from_secs(20);", "20 seconds for shutdown ;"),
    ("cli/simple.rs", "REVOCATION: Duration = Duration::from_secs(130);", "revoke waits up to 140 seconds"),
    ("cli/simple.rs", "RELOAD: Duration = Duration::from_secs(10);", "reload up to 20 seconds"),
    ("engine/shutdown.rs", "FOR_CALLS: Duration = Duration::from_secs(5);", "5 seconds for requests under way"),
    ("engine/shutdown.rs", "FOR_SAVE: Duration = Duration::from_secs(10);", "10 seconds for persist_cmd"),
];

#[test]
fn the_limits_in_the_manual_are_those_of_the_sources() {
    let page = read("man/pizauth.1");
    let lines = subsection(&page, "Limits").filter(|line| *line != ".It");
    let manual = lines.map(|line| line.trim_start_matches(".Cm ")).collect::<Vec<_>>().join(" ");
    for (file, declaration, said) in LIMITS {
        assert!(read(&format!("src/{file}")).contains(declaration), "{file}: {declaration}");
        assert!(manual.contains(said), "{said:?} is not in {manual}");
    }
}

#[test]
fn every_threat_is_met_by_tests_that_exist() {
    let page = read("SECURITY.md");
    let threats = page.lines().skip_while(|line| !line.starts_with("| who |")).skip(2);
    let threats: Vec<&str> = threats.take_while(|line| line.starts_with('|')).collect();
    assert!(threats.len() >= 20, "{}", threats.len());
    for threat in threats {
        let tests = threat.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let tests: Vec<_> = tests.split(", ").map(|test| test.trim_matches('`').split_once("::")).collect();
        for test in tests {
            let (file, name) = test.unwrap_or_else(|| panic!("no test: {threat}"));
            let source = read(file);
            let mut lines = source.lines().map(str::trim);
            let is_there = lines.any(|line| line == "#[test]") && lines.any(|line| line == format!("fn {name}() {{"));
            assert!(is_there, "{file} has no test {name}");
        }
    }
}

#[test]
fn examples_of_configurations_are_accepted() {
    let mut examples = Vec::new();
    for (index, text) in displays(&read("man/pizauth.conf.5")).into_iter().enumerate() {
        examples.push((format!("pizauth.conf(5), display {}", index + 1), text));
    }
    for (index, text) in fences(&read("README.md"), "conf").into_iter().enumerate() {
        examples.push((format!("README.md, block {}", index + 1), text));
    }
    for file in files("conf", "conf") {
        if !file.starts_with(path("conf/service")) && !file.starts_with(path("conf/providers")) {
            examples.push((file.display().to_string(), fs::read_to_string(&file).unwrap()));
        }
    }
    assert!(examples.len() > 10);
    for (name, text) in examples {
        let mut text = text;
        if !text.lines().any(|line| line.starts_with("account ")) {
            text.push_str(ACCOUNT);
        }
        if let Err(faults) = config::parse(&text) {
            panic!("{name}: {}", faults.render("pizauth.conf"));
        }
    }
}

#[test]
fn shell_text_is_valid() {
    let mut scripts: Vec<_> = fences(&read("README.md"), "sh");
    assert!(!scripts.is_empty());
    let (bash, recipes) = ("bash", fences(&read("README.md"), "bash"));
    assert!(!recipes.is_empty());
    for recipe in recipes {
        let (is_success, output) = run(bash, &["-n"], &recipe).unwrap_or((true, String::new()));
        assert!(is_success, "{output}\n{recipe}");
        assert!(recipe.starts_with("set -euo pipefail\numask 077\n"), "{recipe}");
    }
    scripts.extend(files("conf", "sh").iter().map(|file| fs::read_to_string(file).unwrap()));
    for script in scripts {
        let (is_success, output) = run("sh", &["-n"], &script).expect("a shell");
        assert!(is_success, "{output}\n{script}");
    }
}

#[test]
fn recipes_put_no_token_into_arguments() {
    let pages = ["README.md", "man/pizauth.1", "man/pizauth.conf.5"].map(read);
    for line in pages.iter().flat_map(|page| page.lines()).filter(|line| line.contains("pizauth show")) {
        // What fdm runs by itself becomes no argument; a shell's substitution does.
        let is_of_fdm = line.trim_start().starts_with("pass $(");
        assert!(is_of_fdm || !line.contains("$(pizauth show"), "{line}");
    }
}

/// A command that saves must not let half a state replace a whole one: the scripts do not, which tests of their own
/// hold.
#[test]
fn every_recipe_that_saves_is_one_of_the_scripts() {
    let mut documents = vec![path("README.md").into(), path("man/pizauth.1").into(), path("man/pizauth.conf.5").into()];
    documents.extend(["conf", "sh"].iter().flat_map(|extension| files("conf", extension)));
    let mut recipes = 0;
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document");
        for (option, operation) in [("persist_cmd", "persist"), ("restore_cmd", "restore")] {
            let begin = format!("{option} = \"");
            for command in text.lines().filter_map(|line| line.split_once(&begin)?.1.strip_suffix("\";")) {
                let script = command.strip_prefix("$HOME/.config/pizauth/").and_then(|rest| rest.split_once(' '));
                let is_script = script.is_some_and(|(name, word)| {
                    word == operation && Path::new(&path("conf/examples")).join(name).exists()
                });
                assert!(is_script, "{}: {command}", document.display());
                recipes += 1;
            }
        }
    }
    assert!(recipes >= 16, "{recipes}");
}

/// cron has /usr/bin and /bin only in its PATH, and `make install` puts pizauth elsewhere.
#[test]
fn recipes_for_cron_find_pizauth() {
    const SETTING: &str = "PATH=/usr/local/bin:/usr/bin:/bin";
    assert!(read("Makefile").contains("PREFIX ?= /usr/local\nBINDIR ?= ${PREFIX}/bin\n"));
    let readme = read("README.md");
    let mut recipes = fences(&readme, "crontab");
    recipes.extend(displays(&read("man/pizauth.1")).into_iter().filter(|text| text.contains(" * * * ")));
    assert_eq!(recipes.len(), 2);
    for recipe in recipes {
        assert!(recipe.starts_with(&format!("{SETTING}\n")), "{recipe}");
    }
    let at_boot: Vec<&str> = readme.lines().filter(|line| line.contains("@reboot")).collect();
    assert!(!at_boot.is_empty() && at_boot.iter().all(|line| line.contains(&format!("`{SETTING}`"))), "{at_boot:?}");
}

#[test]
fn documents_link_to_files_that_are_there() {
    for document in ["README.md", "CHANGES.md", "SECURITY.md", "HACKING.md"] {
        for link in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            assert!(link.starts_with("https://") || Path::new(&path(file)).exists(), "{document}: {link}");
            assert!(heading.is_empty() || has_heading(&read(file), heading), "{document}: {link}");
        }
    }
}

/// The lines of a subsection of an mdoc page, up to the next heading.
fn subsection<'a>(page: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let heading = format!(".Ss {name}");
    page.lines()
        .skip_while(move |line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with(".Ss ") && !line.starts_with(".Sh "))
}

/// The option that an item such as `.It Cm scopes = Ar list ;` is about.
fn documented_option(line: &str) -> Option<&str> {
    line.strip_prefix(".It Cm ")?.split_once(" = ").map(|(name, _)| name)
}

/// `.Op Fl w Ar time` as `[-w TIME]`, and the like.
fn plain_synopsis(line: &str) -> String {
    let (mut words, mut plain) = (line.split_whitespace(), String::new());
    let is_optional = line.starts_with(".Op ");
    while let Some(word) = words.next() {
        match word.trim_start_matches('.') {
            "Fl" => plain += &format!("-{} ", words.next().unwrap_or_default()),
            "Ar" => plain += &format!("{} ", words.next().unwrap_or_default().to_uppercase()),
            "Op" | "Cm" => {}
            "" => plain = plain.trim_end().to_owned() + "... ",
            other => plain += &format!("{other} "),
        }
    }
    let plain = plain.trim_end();
    if is_optional { format!("[{plain}]") } else { plain.to_owned() }
}

/// The commands of a list with their options, which stand in a list of their own.
fn commands(lines: &[&str]) -> Vec<(String, BTreeSet<String>)> {
    let (mut commands, mut depth): (Vec<(String, BTreeSet<String>)>, _) = (Vec::new(), 0);
    for (index, line) in lines.iter().enumerate() {
        match (depth, *line) {
            (_, line) if line.starts_with(".Bl ") => depth += 1,
            (_, ".El") => depth -= 1,
            (1, line) if line.starts_with(".It ") => {
                let line = if line == ".It Xo" { lines[index + 1] } else { line };
                let name = line.split_whitespace().skip_while(|word| !word.ends_with("Cm")).nth(1);
                commands.push((name.expect("a command").to_owned(), BTreeSet::new()));
            }
            (2, line) => {
                let (_, flags) = commands.last_mut().expect("options follow their command");
                flags.extend(documented_flags(line));
            }
            _ => {}
        }
    }
    commands
}

/// The options that an item such as `.It Fl h , Fl -help` is about.
fn documented_flags(line: &str) -> Vec<String> {
    let Some(item) = line.strip_prefix(".It ") else { return Vec::new() };
    let words: Vec<_> = item.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "Fl").map(|pair| pair[1].to_owned()).collect()
}

fn flags(options: &[Opt]) -> BTreeSet<String> {
    let names = options.iter().flat_map(|option| [option.short.to_owned(), format!("-{}", option.long)]);
    names.filter(|name| !name.is_empty() && name != "-").collect()
}

/// What stands before and after a line.
fn split<'a>(lines: &'a [&'a str], at: &str) -> (&'a [&'a str], &'a [&'a str]) {
    let index = lines.iter().position(|line| *line == at).expect(at);
    lines.split_at(index)
}

/// Whether a Markdown page has a heading with this anchor.
fn has_heading(page: &str, anchor: &str) -> bool {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-")).any(|own| own == anchor)
}

/// The first column of the table of a Markdown page whose heading begins with `heading`.
fn table(page: &str, heading: &str) -> Vec<String> {
    let rows = page.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |"))).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1)).map(|cell| cell.trim().to_owned()).collect()
}

/// The files below a folder whose name has an extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(path(folder))]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let file = entry.expect("a folder's entry").path();
            if file.is_dir() {
                folders.push(file);
            } else if file.extension().is_some_and(|own| own == extension) {
                found.push(file);
            }
        }
    }
    found.sort();
    found
}

/// Runs a tool; `None`, and a word about it, where it is not installed.
fn run(tool: &str, arguments: &[&str], stdin: &str) -> Option<(bool, String)> {
    let child =
        Command::new(tool).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!is_ci, "no {tool}, and with CI=true nothing is skipped");
            println!("skipped: no {tool}");
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    let mut pipe = child.stdin.take().expect("a pipe");
    // One that reads nothing may be gone already.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("its output");
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
