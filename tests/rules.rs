//! The rules of the architecture, read off the sources: the pure rooms stay pure, data goes one way, `unsafe` stays in
//! its room, and the users' crates are counted.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Most crates that the program may consist of, itself included.
const MAX_CRATES: usize = 46;

/// The rooms without sockets, clocks, threads, processes, files or environment.
const PURE: [&str; 5] = ["src/engine", "src/oauth", "src/config", "src/proto.rs", "src/secret.rs"];

/// What a pure room may not name: modules of std, and crates and rooms that do I/O.
const IMPURE_STD: [&str; 5] = ["net", "fs", "thread", "process", "env"];
const IMPURE_WORDS: [&str; 8] = ["Instant", "SystemTime", "mio", "ureq", "libc", "sys", "server", "cli"];

#[test]
fn the_pure_rooms_know_nothing_of_the_outside() {
    let mut found = Vec::new();
    for file in PURE.iter().flat_map(|room| sources(room)) {
        let code = production_code(&fs::read_to_string(&file).unwrap());
        found.extend(impurities(&code).into_iter().map(|what| format!("{}: {what}", file.display())));
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_impure_line_would_be_found() {
    for (code, want) in [
        ("use std::{fs, io};", "std::fs"),
        ("use std::{collections::VecDeque, net::{Ipv4Addr, TcpStream}};", "std::net"),
        ("let now = std::time::Instant::now();", "Instant"),
        ("use std::env;", "std::env"),
        ("use crate::{config::Config, sys::clock};", "sys"),
        ("crate::server::run();", "server"),
        ("fn f(x: mio::Token) {}", "mio"),
        ("unsafe { libc::getpid() };", "libc"),
    ] {
        assert_eq!(impurities(code), [want], "{code}");
    }
    for code in ["use core::net::IpAddr;", "let server = 1; server.cli();", "use std::{fmt, time::Duration};"] {
        assert_eq!(impurities(code), Vec::<String>::new(), "{code}");
    }
}

/// An effect returns nothing: the engine gets no trait object and no callback but its randomness, and only the loop
/// feeds it.
#[test]
fn data_goes_one_way() {
    for file in sources("src/engine") {
        let code = production_code(&fs::read_to_string(&file).unwrap());
        let callbacks = code.lines().filter(|line| line.contains("dyn ") && !line.contains("dyn FnMut(&mut [u8])"));
        assert_eq!(callbacks.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", file.display());
    }
    for file in sources("src").into_iter().filter(|file| !file.starts_with("src/engine")) {
        let code = production_code(&fs::read_to_string(&file).unwrap());
        let feeds = ["handle_event(", "handle_timeout(", "poll_effect("].iter().any(|call| code.contains(call));
        assert_eq!(feeds, file.ends_with("src/server/event_loop.rs"), "{}", file.display());
    }
}

#[test]
fn unsafe_stays_in_its_room_and_gives_its_reason() {
    for file in sources("src") {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !words(code).any(|word| word == "unsafe") {
                continue;
            }
            let place = format!("{}:{}", file.display(), number + 1);
            assert!(file.starts_with("src/sys") || file.ends_with("src/sys.rs"), "{place}: unsafe outside sys");
            if code.contains("unsafe {") || code.contains("unsafe impl") {
                assert!(gives_a_reason(&lines[..number]), "{place}: no SAFETY comment");
            }
        }
    }
}

/// Licences of the crates: each lets anybody use and pass on the program, with no more than its text kept.
const LICENCES: [&str; 10] = [
    "(MIT OR Apache-2.0) AND Unicode-3.0",
    "Apache-2.0 AND ISC",
    "Apache-2.0 OR ISC OR MIT",
    "Apache-2.0 OR MIT",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT OR Apache-2.0",
    "Unlicense OR MIT",
];

#[test]
fn every_crate_has_a_known_licence() {
    let Some(lines) = crates("{p}: {l}") else { return };
    assert!(lines.len() > 30, "{lines:?}");
    for line in lines {
        let (name, licence) = line.rsplit_once(": ").unwrap_or((&line, "none"));
        assert!(LICENCES.contains(&licence.replace('/', " OR ").as_str()), "{name}: {licence}");
    }
}

/// Conditions with `let` joined by `&&` came with Rust 1.88; Cargo.toml promises less.
#[test]
fn no_condition_needs_a_newer_rust() {
    for room in ["src", "src/config/tests", "src/engine/tests", "tests"] {
        for file in sources(room) {
            let text = fs::read_to_string(root().join(&file)).unwrap();
            assert_eq!(let_chains(&text), Vec::<usize>::new(), "{}", file.display());
        }
    }
}

#[test]
fn a_newer_condition_would_be_found() {
    for text in [
        "if a ANDAND let Some(b) = c {",
        "if let Some(b) = c\n    ANDAND b\n{",
        "while let (Some(b), d) = c\nANDAND d {",
    ] {
        // Put together here, so that this file is free of them.
        let text = text.replace("AND", "&");
        assert_eq!(let_chains(&text).len(), 1, "{text}");
    }
    for text in ["if let Some(b) = c.filter(|_| a && d) {", "if a\n    && b {", "let a = b\n    && c;"] {
        assert_eq!(let_chains(text), Vec::<usize>::new(), "{text}");
    }
}

#[test]
fn the_program_consists_of_few_crates() {
    let Some(crates) = crates("{p}") else { return };
    println!("{} crates", crates.len());
    assert!((2..=MAX_CRATES).contains(&crates.len()), "{crates:?}");
}

/// The crates of the program, itself included, each once and told as cargo's `format` says.
fn crates(format: &str) -> Option<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let arguments = ["tree", "--locked", "--offline", "-e", "normal", "--prefix", "none", "--no-dedupe", "-f", format];
    let Ok(output) = Command::new(cargo).args(arguments).current_dir(root()).output() else {
        println!("skipped: no cargo");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The source files of a room, relative to the top, without those that only tests have.
fn sources(room: &str) -> Vec<PathBuf> {
    let path = root().join(room);
    if path.is_file() {
        return vec![PathBuf::from(room)];
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{room}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true if name.ends_with("/tests") => {}
            true => files.extend(sources(&name)),
            false if name.ends_with(".rs") => files.push(PathBuf::from(name)),
            false => {}
        }
    }
    files
}

/// The lines, counted from 0, on which a condition joins a `let` to something else.
fn let_chains(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let joins_let = concat!("&", "& let ");
    let begins = |line: &str| line.starts_with("if let ") || line.starts_with("while let ");
    let is_joined = |at: usize| lines[at].starts_with("&& ") && at > 0 && begins(lines[at - 1]);
    (0..lines.len()).filter(|&at| lines[at].contains(joins_let) || is_joined(at)).collect()
}

/// A file without its comments, and without the tests that stand at its end.
fn production_code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

/// The forbidden names in `code`, each once. A name of a crate or room counts where a path begins or goes on with it.
fn impurities(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("std::") {
        let path = code[start + 5..].split(';').next().unwrap_or_default();
        let names = if path.starts_with('{') { group(path) } else { words(path).take(1).map(str::to_owned).collect() };
        found.extend(names.into_iter().filter(|name| IMPURE_STD.contains(&name.as_str())).map(|n| format!("std::{n}")));
    }
    for word in IMPURE_WORDS {
        let is_path = |at: usize| {
            let (before, after) = (&code[..at], &code[at + word.len()..]);
            let whole = !before.ends_with(is_word) && !after.starts_with(is_word);
            let std_type = word.starts_with(char::is_uppercase);
            whole && (std_type || after.starts_with("::") || before.ends_with("crate::"))
        };
        if code.match_indices(word).any(|(at, _)| is_path(at)) {
            found.push(word.to_owned());
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The first names of each path in a `use` group: those at its first level of braces.
fn group(text: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), false);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match first {
            '{' => (depth, fresh) = (depth + 1, depth == 0),
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' => fresh = depth == 1,
            _ if is_word(first) => {
                length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                if fresh {
                    names.push(rest[..length].to_owned());
                    fresh = false;
                }
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    names
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the comment right above the last line says why the call is sound; attributes may stand between, and one
/// statement may hold several lines.
fn gives_a_reason(before: &[&str]) -> bool {
    let near = before.iter().rev().take(6);
    near.take_while(|line| !line.trim().is_empty()).any(|line| line.contains("// SAFETY:"))
}
