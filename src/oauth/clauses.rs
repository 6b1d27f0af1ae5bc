//! Every reason that messages of the engine and of `discover` can carry, as the golden file shows them.

use std::fmt::Display;

use super::{dump::DumpFault, metadata::Fault, paste::PasteFault, redirect::RedirectFault, uri::UriFault};

const GOLDEN: &str = include_str!("../../tests/golden/reasons.txt");

/// The clauses from `first` on, each found from the one before, so that none can be left out.
fn chain<F: Display>(first: F, next: impl Fn(&F) -> Option<F>) -> String {
    let faults = std::iter::successors(Some(first), next);
    faults.map(|fault| format!("{fault}\n")).collect()
}

fn dump() -> String {
    chain(DumpFault::Empty, |last| {
        Some(match last {
            DumpFault::Empty => DumpFault::TooLong,
            DumpFault::TooLong => DumpFault::NotADump,
            DumpFault::NotADump => DumpFault::Version,
            DumpFault::Version => DumpFault::Damaged,
            DumpFault::Damaged => return None,
        })
    })
}

fn paste() -> String {
    chain(PasteFault::Empty, |last| {
        Some(match last {
            PasteFault::Empty => PasteFault::TooLong,
            PasteFault::TooLong => PasteFault::NoUrl,
            PasteFault::NoUrl => PasteFault::AuthorizationUrl,
            PasteFault::AuthorizationUrl => PasteFault::CutShort,
            PasteFault::CutShort => PasteFault::NoCode,
            PasteFault::NoCode => PasteFault::NoState,
            // What else can be wrong is that of a request.
            PasteFault::NoState | PasteFault::Redirect(_) => return None,
        })
    })
}

fn redirect() -> String {
    chain(RedirectFault::Method, |last| {
        Some(match last {
            RedirectFault::Method => RedirectFault::Prefetch,
            RedirectFault::Prefetch => RedirectFault::TooLong,
            RedirectFault::TooLong => RedirectFault::NotAPath,
            RedirectFault::NotAPath => RedirectFault::TooManyParameters,
            RedirectFault::TooManyParameters => RedirectFault::Repeated("state"),
            RedirectFault::Repeated(_) => RedirectFault::NoHost,
            RedirectFault::NoHost => RedirectFault::RepeatedHost,
            RedirectFault::RepeatedHost => RedirectFault::BadHost,
            RedirectFault::BadHost => RedirectFault::WrongHost,
            RedirectFault::WrongHost => RedirectFault::WrongScheme,
            RedirectFault::WrongScheme => RedirectFault::WrongPath,
            RedirectFault::WrongPath => RedirectFault::WrongQuery,
            RedirectFault::WrongQuery => RedirectFault::NoState,
            RedirectFault::NoState => RedirectFault::UnknownState,
            RedirectFault::UnknownState => RedirectFault::NoCode,
            RedirectFault::NoCode => RedirectFault::CodeAndError,
            RedirectFault::CodeAndError => RedirectFault::NoIssuer,
            RedirectFault::NoIssuer => RedirectFault::WrongIssuer,
            RedirectFault::WrongIssuer => return None,
        })
    })
}

fn uri() -> String {
    chain(UriFault::Scheme, |last| {
        Some(match last {
            UriFault::Scheme => UriFault::Character(' '),
            UriFault::Character(' ') => UriFault::Character('\u{1b}'),
            UriFault::Character('\u{1b}') => UriFault::Character('\u{e9}'),
            UriFault::Character('\u{e9}') => UriFault::Character('|'),
            UriFault::Character(_) => UriFault::Fragment,
            UriFault::Fragment => UriFault::UserInfo,
            UriFault::UserInfo => UriFault::NoHost,
            UriFault::NoHost => UriFault::Host,
            UriFault::Host => UriFault::Port,
            UriFault::Port => return None,
        })
    })
}

fn metadata() -> String {
    chain(Fault::Url, |last| {
        Some(match last {
            Fault::Url => Fault::Status(404),
            Fault::Status(_) => Fault::NotMetadata,
            Fault::NotMetadata => Fault::NoIssuer,
            Fault::NoIssuer => Fault::Tenant,
            Fault::Tenant => Fault::OtherIssuer("https://evil.example".to_owned()),
            Fault::OtherIssuer(_) => Fault::Endpoint("token_endpoint"),
            Fault::Endpoint(_) => return None,
        })
    })
}

#[test]
fn every_reason_is_in_the_golden_file() {
    let rooms = [("dump", dump()), ("paste", paste()), ("redirect", redirect()), ("uri", uri())];
    let rooms = rooms.into_iter().chain([("metadata", metadata())]);
    let reasons: Vec<String> = rooms.map(|(room, clauses)| format!("[{room}]\n{clauses}")).collect();
    assert_eq!(reasons.join("\n"), GOLDEN, "tests/golden/reasons.txt");
}
