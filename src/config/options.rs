//! The one table of what a configuration may say. The parser, the search for duplicates, `expected one of`,
//! did-you-mean and the completeness test of pizauth.conf(5) all follow from it.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::Listen;
use crate::secret::Secret;

/// One option.
#[derive(Debug)]
pub struct OptionRow {
    /// Its name as written.
    pub name: &'static str,
    /// Where it may stand.
    pub scope: Scope,
    /// What its value is.
    pub kind: Kind,
    slot: Slot,
}

/// Where an option may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside every account.
    Global,
    /// In an account block.
    Account,
    /// In both places; the account's value counts.
    Both,
}

/// What an option's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any string.
    Text,
    /// An absolute http or https URI.
    Uri,
    /// A shell command.
    Command,
    /// A shell command that may hold a secret, and is never shown.
    SecretCommand,
    /// A file name.
    File,
    /// A string that is never shown.
    Secret,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A time of at least so many seconds.
    Time {
        /// Least value, in seconds.
        least: u64,
    },
    /// `HOST:PORT` or `none`.
    Listen,
    /// A list of strings.
    List,
    /// A map from strings to strings.
    Map,
    /// A map whose values are never shown.
    SecretMap,
}

impl Kind {
    /// The value as a message names it after "expected".
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Text | Kind::Uri | Kind::Command | Kind::SecretCommand | Kind::File | Kind::Secret => {
                "a string in double quotes"
            }
            Kind::Choice(_) => "a string in double quotes",
            Kind::Time { .. } => "a time such as 90s, 15m, 2h or 1d",
            Kind::Listen => "an address such as \"127.0.0.1:0\", or none",
            Kind::List => "a list such as [\"a\", \"b\"]",
            Kind::Map | Kind::SecretMap => "a map such as {\"key\": \"value\"}",
        }
    }

    /// Whether a message and a source line may show the value.
    pub fn may_be_shown(self) -> bool {
        match self {
            Kind::Secret | Kind::SecretCommand | Kind::SecretMap => false,
            Kind::Text | Kind::Uri | Kind::Command | Kind::File | Kind::Choice(_) => true,
            Kind::Time { .. } | Kind::Listen | Kind::List | Kind::Map => true,
        }
    }
}

/// Every option, sorted by name.
pub const OPTIONS: &[OptionRow] = &[
    both("assume_expires_in", 1, |draft| &mut draft.assume_expires_in),
    global("auth_notify_cmd", Kind::Command, Slot::Text(|draft| &mut draft.auth_notify_cmd)),
    global("auth_notify_interval", TIME, Slot::Time(|draft| &mut draft.auth_notify_interval)),
    account("auth_uri", Kind::Uri, Slot::Text(|draft| &mut draft.auth_uri)),
    account("auth_uri_fields", Kind::Map, Slot::Map(|draft| &mut draft.auth_uri_fields)),
    global("ca_file", Kind::File, Slot::Text(|draft| &mut draft.ca_file)),
    account("client_auth", Kind::Choice(&["post", "basic"]), Slot::Text(|draft| &mut draft.client_auth)),
    account("client_id", Kind::Text, Slot::Text(|draft| &mut draft.client_id)),
    account("client_secret", Kind::Secret, Slot::Secret(|draft| &mut draft.client_secret)),
    account("client_secret_cmd", Kind::SecretCommand, Slot::Text(|draft| &mut draft.client_secret_cmd)),
    account("device_auth_uri", Kind::Uri, Slot::Text(|draft| &mut draft.device_auth_uri)),
    global("error_notify_cmd", Kind::Command, Slot::Text(|draft| &mut draft.error_notify_cmd)),
    account("git_hosts", Kind::List, Slot::List(|draft| &mut draft.git_hosts)),
    account("grant", Kind::Choice(GRANTS), Slot::Text(|draft| &mut draft.grant)),
    global("http_listen", Kind::Listen, Slot::Listen(|draft| &mut draft.http_listen)),
    global("https_cert", Kind::File, Slot::Text(|draft| &mut draft.https_cert)),
    global("https_key", Kind::File, Slot::Text(|draft| &mut draft.https_key)),
    global("https_listen", Kind::Listen, Slot::Listen(|draft| &mut draft.https_listen)),
    account("issuer", Kind::Uri, Slot::Text(|draft| &mut draft.issuer)),
    account("login_hint", Kind::Text, Slot::Text(|draft| &mut draft.login_hint)),
    global("persist_cmd", Kind::Command, Slot::Text(|draft| &mut draft.persist_cmd)),
    account("redirect_uri", Kind::Uri, Slot::Text(|draft| &mut draft.redirect_uri)),
    both("refresh_at_least", 0, |draft| &mut draft.refresh_at_least),
    both("refresh_before_expiry", 0, |draft| &mut draft.refresh_before_expiry),
    both("refresh_retry", 0, |draft| &mut draft.refresh_retry),
    global("restore_cmd", Kind::Command, Slot::Text(|draft| &mut draft.restore_cmd)),
    account("revocation_uri", Kind::Uri, Slot::Text(|draft| &mut draft.revocation_uri)),
    account("scopes", Kind::List, Slot::List(|draft| &mut draft.scopes)),
    global("startup_cmd", Kind::Command, Slot::Text(|draft| &mut draft.startup_cmd)),
    global("token_event_cmd", Kind::Command, Slot::Text(|draft| &mut draft.token_event_cmd)),
    account("token_uri", Kind::Uri, Slot::Text(|draft| &mut draft.token_uri)),
    account("token_uri_fields", Kind::SecretMap, Slot::SecretMap(|draft| &mut draft.token_uri_fields)),
    account("token_uri_headers", Kind::SecretMap, Slot::SecretMap(|draft| &mut draft.token_uri_headers)),
    global("transient_error_if_cmd", Kind::Command, Slot::Text(|draft| &mut draft.transient_error_if_cmd)),
    account("user", Kind::Text, Slot::Text(|draft| &mut draft.user)),
];

/// Options of earlier versions, and what they are called now.
pub(super) const RENAMED: &[(&str, &str)] = &[("auth_error_cmd", "error_notify_cmd")];

const GRANTS: &[&str] = &["authorization_code", "device_code", "client_credentials"];

const TIME: Kind = Kind::Time { least: 0 };

/// The option of that name.
pub fn find_option(name: &str) -> Option<&'static OptionRow> {
    OPTIONS.iter().find(|row| row.name == name)
}

/// The names that may stand outside every account, or in an account block, in order.
pub fn option_names(scope: Scope) -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().filter(move |row| row.scope == scope || row.scope == Scope::Both).map(|row| row.name)
}

/// The name nearest to `word` of those that may stand in `scope`, where it is near enough to be a slip.
pub(super) fn similar_name(word: &str, scope: Scope) -> Option<&'static str> {
    let extra = (scope != Scope::Account).then_some("account");
    nearest(&word.replace('-', "_"), option_names(scope).chain(extra))
}

/// The name nearest to `word`, where it is near enough to be a slip.
pub fn nearest(word: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let limit = match word.len() {
        3..=5 => 1,
        6..=9 => 2,
        10..=40 => 3,
        _ => return None,
    };
    let word = word.to_ascii_lowercase();
    names
        .map(|name| (edit_distance(&word, name), name))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// A value as the grammar has it, its strings unescaped.
#[derive(Debug)]
pub(super) enum Value {
    Text(Placed<String>),
    Time(Placed<Duration>),
    None(Range<usize>),
    List(Vec<Placed<String>>),
    Map(Vec<(Placed<String>, Placed<String>)>),
}

impl Value {
    /// The value as a message names it after "found".
    pub fn found(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Time(_) => "a time",
            Value::None(_) => "none",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// A value and the bytes of the text where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub at: Range<usize>,
    pub value: T,
}

impl<T> Placed<T> {
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Placed<U> {
        Placed { at: self.at, value: change(self.value) }
    }
}

/// What was said so far, globally or in one account block, before the rules are applied.
#[derive(Default)]
pub(super) struct Draft {
    /// Where each option was named first, even if its value was at fault.
    pub seen: BTreeMap<&'static str, usize>,
    pub assume_expires_in: Option<Placed<Duration>>,
    pub auth_notify_cmd: Option<Placed<String>>,
    pub auth_notify_interval: Option<Placed<Duration>>,
    pub auth_uri: Option<Placed<String>>,
    pub auth_uri_fields: Vec<(Placed<String>, Placed<String>)>,
    pub ca_file: Option<Placed<String>>,
    pub client_auth: Option<Placed<String>>,
    pub client_id: Option<Placed<String>>,
    pub client_secret: Option<Placed<Secret>>,
    pub client_secret_cmd: Option<Placed<String>>,
    pub device_auth_uri: Option<Placed<String>>,
    pub error_notify_cmd: Option<Placed<String>>,
    pub git_hosts: Vec<Placed<String>>,
    pub grant: Option<Placed<String>>,
    pub http_listen: Option<Placed<Listen>>,
    pub https_cert: Option<Placed<String>>,
    pub https_key: Option<Placed<String>>,
    pub https_listen: Option<Placed<Listen>>,
    pub issuer: Option<Placed<String>>,
    pub login_hint: Option<Placed<String>>,
    pub persist_cmd: Option<Placed<String>>,
    pub redirect_uri: Option<Placed<String>>,
    pub refresh_at_least: Option<Placed<Duration>>,
    pub refresh_before_expiry: Option<Placed<Duration>>,
    pub refresh_retry: Option<Placed<Duration>>,
    pub restore_cmd: Option<Placed<String>>,
    pub revocation_uri: Option<Placed<String>>,
    pub scopes: Vec<Placed<String>>,
    pub startup_cmd: Option<Placed<String>>,
    pub token_event_cmd: Option<Placed<String>>,
    pub token_uri: Option<Placed<String>>,
    pub token_uri_fields: Vec<(Placed<String>, Placed<Secret>)>,
    pub token_uri_headers: Vec<(Placed<String>, Placed<Secret>)>,
    pub transient_error_if_cmd: Option<Placed<String>>,
    pub user: Option<Placed<String>>,
}

impl OptionRow {
    /// Puts a value into its place. A value of another kind comes back.
    pub(super) fn set(&self, draft: &mut Draft, value: Value) -> Result<(), Value> {
        match (&self.slot, value) {
            (Slot::Text(place), Value::Text(text)) => *place(draft) = Some(text),
            (Slot::Secret(place), Value::Text(text)) => *place(draft) = Some(text.map(Secret::from)),
            (Slot::Time(place), Value::Time(time)) => *place(draft) = Some(time),
            (Slot::Listen(place), Value::Text(text)) => *place(draft) = Some(text.map(Listen::Address)),
            (Slot::Listen(place), Value::None(at)) => *place(draft) = Some(Placed { at, value: Listen::Off }),
            (Slot::List(place), Value::List(texts)) => *place(draft) = texts,
            (Slot::Map(place), Value::Map(pairs)) => *place(draft) = pairs,
            (Slot::SecretMap(place), Value::Map(pairs)) => {
                *place(draft) = pairs.into_iter().map(|(key, text)| (key, text.map(Secret::from))).collect();
            }
            (_, value) => return Err(value),
        }
        Ok(())
    }
}

/// Where a value goes.
#[derive(Debug)]
enum Slot {
    Text(Place<Option<Placed<String>>>),
    Secret(Place<Option<Placed<Secret>>>),
    Time(Place<Option<Placed<Duration>>>),
    Listen(Place<Option<Placed<Listen>>>),
    List(Place<Vec<Placed<String>>>),
    Map(Place<Vec<(Placed<String>, Placed<String>)>>),
    SecretMap(Place<Vec<(Placed<String>, Placed<Secret>)>>),
}

type Place<T> = fn(&mut Draft) -> &mut T;

const fn global(name: &'static str, kind: Kind, slot: Slot) -> OptionRow {
    OptionRow { name, scope: Scope::Global, kind, slot }
}

const fn account(name: &'static str, kind: Kind, slot: Slot) -> OptionRow {
    OptionRow { name, scope: Scope::Account, kind, slot }
}

/// All options that may stand in both places are times.
const fn both(name: &'static str, least: u64, place: Place<Option<Placed<Duration>>>) -> OptionRow {
    OptionRow { name, scope: Scope::Both, kind: Kind::Time { least }, slot: Slot::Time(place) }
}

/// Characters to insert, remove or replace to make one word of the other; two neighbours swapped count as one.
fn edit_distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, &a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in other.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == other[j - 1] && one[i - 1] == b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_words_counts_slips_of_the_fingers() {
        for (one, other, want) in [
            ("", "", 0),
            ("", "abc", 3),
            ("scopes", "scopes", 0),
            ("a", "b", 1),
            ("scopes", "scoopes", 1),
            ("ab", "ba", 1),
            ("xab", "xba", 1),
            ("abx", "bax", 1),
            ("xaby", "xbay", 1),
            ("aab", "aba", 1),
            ("abcd", "badc", 2),
            ("abab", "baba", 2),
            ("abc", "cab", 2),
            ("token_uri", "tokne_urii", 2),
            ("aabb", "bbaa", 3),
            ("ca", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                assert_eq!(edit_distance(one, other), want, "{one} {other}");
            }
        }
    }

    #[test]
    fn the_table_is_sorted_and_names_no_option_twice() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn every_option_has_a_place_of_its_own() {
        let mut places = std::collections::BTreeSet::new();
        for row in OPTIONS {
            let mut draft = Draft::default();
            let address = match &row.slot {
                Slot::Text(place) => std::ptr::from_mut(place(&mut draft)).addr(),
                Slot::Secret(place) => std::ptr::from_mut(place(&mut draft)).addr(),
                Slot::Time(place) => std::ptr::from_mut(place(&mut draft)).addr(),
                Slot::Listen(place) => std::ptr::from_mut(place(&mut draft)).addr(),
                Slot::List(place) => std::ptr::from_mut(place(&mut draft)).addr(),
                Slot::Map(place) => std::ptr::from_mut(place(&mut draft)).addr(),
                Slot::SecretMap(place) => std::ptr::from_mut(place(&mut draft)).addr(),
            };
            assert!(places.insert(address - std::ptr::from_mut(&mut draft).addr()), "{}", row.name);
        }
    }

    #[test]
    fn names_follow_their_scope() {
        let global: Vec<_> = option_names(Scope::Global).collect();
        let account: Vec<_> = option_names(Scope::Account).collect();
        assert_eq!((global.len(), account.len(), option_names(Scope::Both).count()), (17, 22, 4));
        assert!(global.contains(&"http_listen") && !global.contains(&"scopes") && global.contains(&"refresh_retry"));
        assert!(account.contains(&"scopes") && !account.contains(&"ca_file") && account.contains(&"refresh_retry"));
    }

    #[test]
    fn a_slip_finds_its_name() {
        for (word, scope, want) in [
            ("scope", Scope::Account, Some("scopes")),
            ("scopse", Scope::Account, Some("scopes")),
            ("auth-uri", Scope::Account, Some("auth_uri")),
            ("authuri", Scope::Account, Some("auth_uri")),
            ("token_url", Scope::Account, Some("token_uri")),
            ("Client_ID", Scope::Account, Some("client_id")),
            ("clientid", Scope::Account, Some("client_id")),
            ("redirect_url", Scope::Account, Some("redirect_uri")),
            ("acount", Scope::Global, Some("account")),
            ("acount", Scope::Account, None),
            ("auth_notify", Scope::Global, None),
            ("x", Scope::Account, None),
            ("usr", Scope::Account, Some("user")),
            ("password", Scope::Account, None),
            ("scope", Scope::Global, None),
            (&"scopes".repeat(10_000), Scope::Account, None),
        ] {
            assert_eq!(similar_name(word, scope), want, "{word:.20}");
        }
    }
}
