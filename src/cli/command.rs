//! The one table of commands and their options. Parsing, usage and help texts follow from it; the tests hold
//! pizauth(1) and the shell completions to it.

use std::{ffi::OsString, fmt::Write, time::Duration};

use super::{
    auth, check, discover, failure::Failure, format::Format, info, server, show, simple, status, usage::UsageFault,
};
use crate::config::parse_time;

/// What the user asked for, as far as the command line tells.
#[derive(Debug)]
pub enum Invocation {
    /// Run a command.
    Run(Arguments),
    /// Print the help of a command, or of the program.
    Help(Option<&'static Command>),
    /// Print the version.
    Version,
}

/// A row of the table.
#[derive(Debug)]
pub struct Command {
    /// The word that names it.
    pub name: &'static str,
    /// What stands after the options.
    pub operands: Operands,
    /// Its own options, in the order of the usage text; those of [`COMMON`] come besides.
    pub options: &'static [Opt],
    /// What it does, in one clause.
    pub summary: &'static str,
    /// Does it.
    pub run: fn(&Arguments) -> Result<(), Failure>,
}

/// What stands after the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// Nothing.
    None,
    /// One account's name.
    Account,
    /// Any number of accounts' names.
    Accounts,
    /// One account's name and, with `-f git`, the operation that git appends.
    AccountOperation,
    /// One URL.
    Url,
}

/// An option of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// Its letter.
    pub short: &'static str,
    /// Its long name, or nothing.
    pub long: &'static str,
    /// What follows it.
    pub value: Value,
    /// What it does, in one clause.
    pub summary: &'static str,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    None,
    /// Nothing; it may be repeated.
    Repeated,
    /// A time, as in `30s`, `10m`, `2h` or `1d`.
    Time,
    /// A name that `Format` knows.
    Format,
    /// A user's name.
    User,
    /// A file's name; without one the option means nothing.
    File,
}

impl Value {
    /// How usage texts name it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Value::None | Value::Repeated => None,
            Value::Time => Some("TIME"),
            Value::Format => Some("FORMAT"),
            Value::User => Some("USER"),
            Value::File => Some("FILE"),
        }
    }
}

const fn option(short: &'static str, value: Value, summary: &'static str) -> Opt {
    Opt { short, long: "", value, summary }
}

const CONFIG: Opt = Opt {
    short: "c",
    long: "config",
    value: Value::File,
    summary: "the configuration file to use instead of the default",
};
const NO_URLS: Opt = option("u", Value::None, "leave authorization URLs out of messages");
const JSON: Opt = option("j", Value::None, "print JSON");

/// Options that every command takes. `-v` does nothing where a command does not list it.
pub const COMMON: &[Opt] = &[
    Opt { short: "h", long: "help", value: Value::None, summary: "print this help" },
    Opt { short: "v", long: "verbose", value: Value::Repeated, summary: "log more; up to four times" },
];

/// Every command, sorted by name.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "auth",
        operands: Operands::Account,
        options: &[
            option("n", Value::None, "do not wait for the token"),
            NO_URLS,
            option("w", Value::Time, "wait so long for the token (10m)"),
        ],
        summary: "authorise an account now: print the URL, take the redirect or a pasted URL",
        run: auth::run,
    },
    Command {
        name: "check",
        operands: Operands::None,
        options: &[CONFIG],
        summary: "check a configuration without running it",
        run: check::run,
    },
    Command {
        name: "discover",
        operands: Operands::Url,
        options: &[],
        summary: "print an account block from a provider's published metadata",
        run: discover::run,
    },
    Command {
        name: "dump",
        operands: Operands::None,
        options: &[],
        summary: "write the token state to standard output",
        run: simple::dump,
    },
    Command {
        name: "info",
        operands: Operands::None,
        options: &[CONFIG, JSON],
        summary: "print paths, ports and version, and whether the server runs",
        run: info::run,
    },
    Command {
        name: "refresh",
        operands: Operands::Account,
        options: &[NO_URLS, option("w", Value::Time, "wait so long for the outcome")],
        summary: "refresh a token now, or start an authorization",
        run: simple::refresh,
    },
    Command {
        name: "reload",
        operands: Operands::None,
        options: &[],
        summary: "have the server read its configuration again",
        run: simple::reload,
    },
    Command {
        name: "restore",
        operands: Operands::None,
        options: &[],
        summary: "read a dumped token state from standard input",
        run: simple::restore,
    },
    Command {
        name: "revoke",
        operands: Operands::Account,
        options: &[option("l", Value::None, "only forget the token here, without asking the provider")],
        summary: "forget an account's token, and revoke it where the provider can",
        run: simple::revoke,
    },
    Command {
        name: "server",
        operands: Operands::None,
        options: &[
            CONFIG,
            option("d", Value::None, "stay in the foreground and log to standard error"),
            Opt { short: "v", long: "verbose", value: Value::Repeated, summary: "log more; up to four times" },
        ],
        summary: "start the server",
        run: server::run,
    },
    Command {
        name: "show",
        operands: Operands::AccountOperation,
        options: &[
            NO_URLS,
            option("f", Value::Format, "print the token as token, json, header, xoauth2, oauthbearer or git"),
            option("t", Value::Time, "ask for a token that lives at least so long"),
            option("w", Value::Time, "wait so long for a token"),
            option("U", Value::User, "the user of xoauth2, oauthbearer and git"),
        ],
        summary: "print an access token",
        run: show::run,
    },
    Command {
        name: "shutdown",
        operands: Operands::None,
        options: &[],
        summary: "stop the server and return when it is gone",
        run: simple::shutdown,
    },
    Command {
        name: "status",
        operands: Operands::Accounts,
        options: &[JSON, NO_URLS],
        summary: "print the state of accounts",
        run: status::run,
    },
];

/// A command's options and operands, checked against its row.
#[derive(Debug)]
pub struct Arguments {
    /// The row.
    pub command: &'static Command,
    matches: getopts::Matches,
}

impl Arguments {
    /// Whether an option without a value was given. The letter must be one of the command's.
    pub fn given(&self, short: &str) -> bool {
        self.matches.opt_present(short)
    }

    /// How often an option was given. The letter must be one of the command's.
    pub fn count(&self, short: &str) -> usize {
        self.matches.opt_count(short)
    }

    /// The value of an option, where it was given with one. The letter must be one of the command's.
    pub fn value(&self, short: &str) -> Option<String> {
        self.matches.opt_str(short)
    }

    /// The value of an option that takes a time. The letter must be one of the command's.
    pub fn time(&self, short: &str) -> Option<Duration> {
        self.value(short).as_deref().and_then(parse_time)
    }

    /// The value of `-f`.
    pub fn format(&self) -> Format {
        self.value("f").as_deref().and_then(Format::parse).unwrap_or_default()
    }

    /// What stands after the options.
    pub fn operands(&self) -> &[String] {
        &self.matches.free
    }

    /// The first operand: the account, or the URL.
    pub fn operand(&self) -> String {
        self.matches.free.first().cloned().unwrap_or_default()
    }
}

/// Reads a command line, without the program's name.
pub fn parse(line: &[OsString]) -> Result<Invocation, Failure> {
    let usage = |command, fault| Err(Failure::Usage { command, fault: Some(fault) });
    let mut words = Vec::with_capacity(line.len());
    for argument in line {
        match argument.to_str() {
            Some(word) => words.push(word),
            None => return usage(None, UsageFault::NotText(format!("{argument:?}"))),
        }
    }
    let Some((&first, rest)) = words.split_first() else {
        return Err(Failure::Usage { command: None, fault: None });
    };
    match first {
        "-h" | "--help" => return Ok(Invocation::Help(None)),
        "-V" | "--version" => return Ok(Invocation::Version),
        _ => {}
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == first) else {
        let unknown = if first.starts_with('-') { UsageFault::UnknownOption } else { UsageFault::UnknownCommand };
        return usage(None, unknown(first.to_owned()));
    };
    let matches = match options(command).parse(rest) {
        Ok(matches) => matches,
        Err(fault) => return usage(Some(command), fault.into()),
    };
    if matches.opt_present("h") {
        return Ok(Invocation::Help(Some(command)));
    }
    let arguments = Arguments { command, matches };
    match check(&arguments) {
        Ok(()) => Ok(Invocation::Run(arguments)),
        Err(fault) => usage(Some(command), fault),
    }
}

/// The usage lines of a command, or of all.
pub fn usage_text(command: Option<&Command>) -> String {
    match command {
        Some(command) => format!("Usage: {}\n", synopsis(command)),
        None => COMMANDS.iter().fold("Usage:\n".to_owned(), |text, command| text + "  " + &synopsis(command) + "\n"),
    }
}

/// What `-h` prints.
pub fn help_text(command: Option<&Command>) -> String {
    let mut text = usage_text(command);
    text.push('\n');
    match command {
        Some(command) => {
            let _ = writeln!(text, "{}.\n", capitalised(command.summary));
            let own = command.options.iter();
            let common =
                COMMON.iter().take(1).filter(|common| command.options.iter().all(|own| own.short != common.short));
            for option in own.chain(common) {
                let left = match option.value.name() {
                    Some(value) => format!("-{} {value}", option.short),
                    None => format!("-{}", option.short),
                };
                let _ = writeln!(text, "  {left:<10} {}", option.summary);
            }
        }
        None => {
            for command in COMMANDS {
                let _ = writeln!(text, "  {:<9} {}", command.name, command.summary);
            }
            text.push_str("\nTIME is a number and s, m, h or d. \"pizauth COMMAND -h\" tells more.\n");
        }
    }
    text
}

/// A command as usage texts show it, as in `pizauth info [-c FILE] [-j]`.
pub fn synopsis(command: &Command) -> String {
    let mut text = format!("pizauth {}", command.name);
    let mut flags = String::new();
    for option in command.options {
        match option.value.name() {
            None => flags.push_str(option.short),
            Some(value) => {
                push_flags(&mut text, &mut flags);
                let _ = write!(text, " [-{} {value}]", option.short);
            }
        }
    }
    push_flags(&mut text, &mut flags);
    text.push_str(match command.operands {
        Operands::None => "",
        Operands::Account | Operands::AccountOperation => " ACCOUNT",
        Operands::Accounts => " [ACCOUNT...]",
        Operands::Url => " URL",
    });
    text
}

fn push_flags(text: &mut String, flags: &mut String) {
    if !flags.is_empty() {
        let _ = write!(text, " [-{flags}]");
        flags.clear();
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn options(command: &Command) -> getopts::Options {
    let mut options = getopts::Options::new();
    let common = COMMON.iter().filter(|common| command.options.iter().all(|own| own.short != common.short));
    for option in command.options.iter().chain(common) {
        let name = option.value.name().unwrap_or_default();
        match option.value {
            Value::None => options.optflag(option.short, option.long, ""),
            Value::Repeated => options.optflagmulti(option.short, option.long, ""),
            Value::Time | Value::Format | Value::User => options.optopt(option.short, option.long, "", name),
            Value::File => options.optflagopt(option.short, option.long, "", name),
        };
    }
    options
}

/// Checks what getopts does not: values and the number of operands.
fn check(arguments: &Arguments) -> Result<(), UsageFault> {
    for Opt { short: option, value: kind, .. } in arguments.command.options {
        let Some(value) = arguments.value(option) else { continue };
        match kind {
            Value::Time if parse_time(&value).is_none() => return Err(UsageFault::NoTime { option, value }),
            Value::Format if Format::parse(&value).is_none() => return Err(UsageFault::NoFormat { option, value }),
            Value::None | Value::Repeated | Value::Time | Value::Format | Value::User | Value::File => {}
        }
    }
    let (least, most) = match arguments.command.operands {
        Operands::None => (0, 0),
        Operands::Account => (1, 1),
        Operands::Accounts => (0, usize::MAX),
        Operands::AccountOperation => (1, if arguments.format() == Format::Git { 2 } else { 1 }),
        Operands::Url => (1, 1),
    };
    let is_url = arguments.command.operands == Operands::Url;
    match arguments.operands().get(most.min(arguments.operands().len())) {
        Some(extra) => Err(UsageFault::Unexpected(extra.clone())),
        None if arguments.operands().len() < least && is_url => Err(UsageFault::UrlMissing),
        None if arguments.operands().len() < least => Err(UsageFault::AccountMissing),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    /// What a line was understood as, on one line.
    fn told(line: &[OsString]) -> String {
        match parse(line) {
            Ok(Invocation::Help(command)) => format!("help {}", command.map_or("all", |command| command.name)),
            Ok(Invocation::Version) => "version".to_owned(),
            Ok(Invocation::Run(arguments)) => {
                let mut text = arguments.command.name.to_owned();
                for option in arguments.command.options {
                    for _ in 0..arguments.count(option.short) {
                        let _ = write!(text, " -{}", option.short);
                    }
                    if let Some(value) = arguments.value(option.short) {
                        let _ = write!(text, "={value}");
                    }
                }
                arguments.operands().iter().fold(text, |text, operand| text + " " + operand)
            }
            Err(Failure::Usage { fault, .. }) => {
                format!("usage: {}", fault.map_or_else(String::new, |fault| fault.to_string()))
            }
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn every_command_line_of_the_first_version_still_works() {
        for (line, want) in [
            ("dump", "dump"),
            ("dump -v", "dump"),
            ("info", "info"),
            ("info -j", "info -j"),
            ("info -c a.conf -j", "info -c=a.conf -j"),
            ("info -ca.conf", "info -c=a.conf"),
            ("info -j --config=a.conf -vv", "info -c=a.conf -j"),
            ("refresh work", "refresh work"),
            ("refresh -u work", "refresh -u work"),
            ("refresh work -u --verbose", "refresh -u work"),
            ("restore", "restore"),
            ("reload", "reload"),
            ("reload -v -v", "reload"),
            ("revoke work", "revoke work"),
            ("server", "server"),
            ("server -c", "server -c"),
            ("server -c -d", "server -c -d"),
            ("server -c a.conf -dvvvv", "server -c=a.conf -d -v -v -v -v"),
            ("server --verbose --config=a.conf", "server -c=a.conf -v"),
            ("server -dv", "server -d -v"),
            ("show work", "show work"),
            ("show -u work", "show -u work"),
            ("show -vu work", "show -u work"),
            ("show work -u", "show -u work"),
            ("show -- -work", "show -work"),
            ("shutdown", "shutdown"),
            ("status", "status"),
        ] {
            assert_eq!(told(&words(line)), want, "{line}");
        }
    }

    #[test]
    fn new_options_stand_before_or_after_operands() {
        for (line, want) in [
            ("auth work", "auth work"),
            ("auth -nu work -w 5m", "auth -n -u -w=5m work"),
            ("check -c a.conf", "check -c=a.conf"),
            ("discover https://a.example", "discover https://a.example"),
            ("refresh -w10s work", "refresh -w=10s work"),
            ("revoke work -l", "revoke -l work"),
            ("show work -f json -t 10m -w 1h -U me", "show -f=json -t=10m -w=1h -U=me work"),
            ("show -f git work get", "show -f=git work get"),
            ("show work store -f git", "show -f=git work store"),
            ("status -ju a b", "status -j -u a b"),
            ("-h", "help all"),
            ("--help", "help all"),
            ("-V", "version"),
            ("--version", "version"),
            ("show -h", "help show"),
            ("server --help -d", "help server"),
        ] {
            assert_eq!(told(&words(line)), want, "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_told() {
        for (line, want) in [
            ("", "usage: "),
            ("shwo work", "usage: unknown command \"shwo\"; did you mean \"show\"?"),
            ("hello", "usage: unknown command \"hello\""),
            ("-x", "usage: unknown option -x"),
            ("show", "usage: the account is missing"),
            ("show a b", "usage: unexpected argument \"b\""),
            ("show -f json a get", "usage: unexpected argument \"get\""),
            ("show -f git a get now", "usage: unexpected argument \"now\""),
            ("show -f yaml a", "usage: -f: \"yaml\" is none of token, json, header, xoauth2, oauthbearer, git"),
            ("show -w 10 a", "usage: -w: \"10\" is not a time such as 30s, 10m, 2h or 1d"),
            ("show -x a", "usage: unknown option -x"),
            ("show --url a", "usage: unknown option --url"),
            ("show a -w", "usage: option -w needs a value"),
            ("show -u -u a", "usage: option -u is given twice"),
            ("show --help=yes a", "usage: option --help takes no value"),
            ("dump a", "usage: unexpected argument \"a\""),
            ("discover", "usage: the URL is missing"),
        ] {
            assert_eq!(told(&words(line)), want, "{line}");
        }
    }

    #[test]
    fn an_argument_that_is_not_utf_8_is_wrong_usage() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = || OsString::from_vec(vec![b'a', 0xff]);
        for line in [vec![bytes()], vec!["show".into(), bytes()], vec!["show".into(), "-f".into(), bytes()]] {
            assert_eq!(told(&line), "usage: the argument \"a\\xFF\" is not UTF-8");
        }
    }

    #[test]
    fn usage_texts_are_those_of_the_manual() {
        let want = [
            "pizauth auth [-nu] [-w TIME] ACCOUNT",
            "pizauth check [-c FILE]",
            "pizauth discover URL",
            "pizauth dump",
            "pizauth info [-c FILE] [-j]",
            "pizauth refresh [-u] [-w TIME] ACCOUNT",
            "pizauth reload",
            "pizauth restore",
            "pizauth revoke [-l] ACCOUNT",
            "pizauth server [-c FILE] [-dv]",
            "pizauth show [-u] [-f FORMAT] [-t TIME] [-w TIME] [-U USER] ACCOUNT",
            "pizauth shutdown",
            "pizauth status [-ju] [ACCOUNT...]",
        ];
        assert_eq!(COMMANDS.iter().map(synopsis).collect::<Vec<_>>(), want);
    }

    #[test]
    fn help_fits_a_terminal_and_names_every_option() {
        for command in COMMANDS {
            let text = help_text(Some(command));
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
            for option in command.options {
                assert!(text.contains(&format!("\n  -{} ", option.short)), "{text}");
            }
        }
        assert!(help_text(None).lines().all(|line| line.len() <= 90));
    }
}
