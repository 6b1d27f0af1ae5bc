//! The token state as text, for `dump`, `restore`, persist_cmd and restore_cmd.
//!
//! A header line, then base64 lines of a nonce and of JSON sealed with ChaCha20-Poly1305, then a line that says that
//! this is all. The key is no secret: it keeps tokens from a casual search and lets damage be seen. Whoever has the
//! text has the tokens.

use std::{collections::BTreeSet, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

use super::digest;
use crate::{config::Account, engine::WallTime, secret::Secret};

/// First line of a dump; authenticated with what follows it.
const HEADER: &str = "pizauth-dump 1";

/// What the header of every version begins with.
const HEADER_START: &str = "pizauth-dump ";

/// Last line of a dump. Whoever stores one can see by it, without the key, that the writer did not die half-way.
const FOOTER: &str = "pizauth-dump end";

/// Public by design.
const KEY: &[u8; 32] = b"pizauth-dump 1: this is not safe";

/// Longest dump that is read, in bytes: more than ten thousand accounts with long tokens.
pub const MAX_DUMP: usize = 64 * 1024 * 1024;

/// Length of a base64 line, in characters.
const LINE: usize = 76;

/// One account's tokens, as they are stored. Times are kept in whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedToken {
    /// The account's name.
    pub account: String,
    /// [`fingerprint`] of the account for which the tokens were given.
    #[serde(serialize_with = "write_binding", deserialize_with = "read_binding")]
    pub binding: [u8; 32],
    /// `None` where only the refresh token is good.
    pub access_token: Option<Secret>,
    /// When the access token came.
    pub obtained_at: WallTime,
    /// When the access token ends.
    pub expires_at: WallTime,
    /// When the provider wants it to be refreshed, where it says so.
    #[serde(default)]
    pub refresh_at: Option<WallTime>,
    /// The refresh token, where there is one.
    #[serde(default)]
    pub refresh_token: Option<Secret>,
    /// When the refresh token ends, where the provider says so.
    #[serde(default)]
    pub refresh_token_expires_at: Option<WallTime>,
    /// What was granted, where the provider says so.
    #[serde(default)]
    pub scope: Option<String>,
}

/// Why a dump cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpFault {
    /// Nothing at all: nothing was saved yet.
    Empty,
    /// Over [`MAX_DUMP`] bytes.
    TooLong,
    /// Not of this format, like a dump of pizauth 1.
    NotADump,
    /// Of a later version of this format.
    Version,
    /// Changed or cut since it was written.
    Damaged,
}

impl fmt::Display for DumpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DumpFault::Empty => "the dump is empty",
            DumpFault::TooLong => "the dump is longer than 64 MiB",
            DumpFault::NotADump => {
                "this is no dump of this pizauth; one of pizauth 1 cannot be restored: authorise once more"
            }
            DumpFault::Version => "the dump was written by a later pizauth",
            DumpFault::Damaged => "the dump is damaged",
        })
    }
}

/// Identifies everything in an account that a token depends on: where this differs, the token is not the account's.
pub fn fingerprint(account: &Account) -> [u8; 32] {
    digest(account.binding().expose())
}

/// Writes a dump. `random` fills a buffer with unpredictable bytes.
pub fn write(tokens: &[SavedToken], random: &mut dyn FnMut(&mut [u8])) -> Secret {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce);
    let mut sealed = serde_json::to_vec(tokens).expect("texts and times can always be written as JSON");
    key()
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(HEADER), &mut sealed)
        .expect("a dump is shorter than the cipher's limit of 256 GiB");
    sealed.splice(0..0, nonce);
    let body = Secret::new(BASE64_STANDARD.encode(&sealed));
    let lines = body.expose().len() / LINE * (LINE + 1) + LINE;
    let mut text = String::with_capacity(HEADER.len() + lines + FOOTER.len() + 3);
    text.push_str(HEADER);
    text.push('\n');
    for (place, c) in body.expose().chars().enumerate() {
        text.push(c);
        if place % LINE == LINE - 1 {
            text.push('\n');
        }
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(FOOTER);
    text.push('\n');
    Secret::new(text)
}

/// Reads a dump, whole or not at all. Line breaks may have been rewritten, and blank lines added at its end.
pub fn read(dump: &[u8]) -> Result<Vec<SavedToken>, DumpFault> {
    if dump.len() > MAX_DUMP {
        return Err(DumpFault::TooLong);
    }
    if dump.iter().all(u8::is_ascii_whitespace) {
        return Err(DumpFault::Empty);
    }
    let end = dump.iter().position(|&byte| byte == b'\n').unwrap_or(dump.len());
    let (header, body) = dump.split_at(end);
    match header.trim_ascii_end() {
        header if header == HEADER.as_bytes() => (),
        header if is_version(header) => return Err(DumpFault::Version),
        _ => return Err(DumpFault::NotADump),
    }
    let body = body.trim_ascii_end().strip_suffix(FOOTER.as_bytes()).ok_or(DumpFault::Damaged)?;
    let body: Vec<u8> = body.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let sealed = Zeroizing::new(BASE64_STANDARD.decode(body).map_err(|_| DumpFault::Damaged)?);
    let tokens = open(sealed).ok_or(DumpFault::Damaged)?;
    // The key is public, so what is inside is as hostile as any input: a token goes to a terminal and into headers.
    let mut names = BTreeSet::new();
    let sound = tokens.iter().all(|saved| {
        let token = saved.access_token.iter().all(|token| token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        let scope = saved.scope.iter().all(|scope| super::text::is_plain(scope));
        token && scope && names.insert(&saved.account)
    });
    if sound { Ok(tokens) } else { Err(DumpFault::Damaged) }
}

fn open(mut sealed: Zeroizing<Vec<u8>>) -> Option<Vec<SavedToken>> {
    let (nonce, body) = sealed.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let json = key().open_in_place(nonce, Aad::from(HEADER), body).ok()?;
    serde_json::from_slice(json).ok()
}

fn is_version(header: &[u8]) -> bool {
    let number = header.strip_prefix(HEADER_START.as_bytes()).unwrap_or_default();
    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, KEY).expect("the key is as long as the cipher wants it"))
}

fn write_binding<S: Serializer>(binding: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(binding))
}

fn read_binding<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let bytes = BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
    bytes.try_into().map_err(|_| D::Error::custom("not 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientAuth, ClientSecret, Grant};
    use crate::oauth::testing::{account, mutations};

    fn saved(name: &str) -> SavedToken {
        SavedToken {
            account: name.to_owned(),
            binding: fingerprint(&account()),
            access_token: Some(Secret::from("access-token-in-the-dump")),
            obtained_at: WallTime::from_secs(1_767_225_600),
            expires_at: WallTime::from_secs(1_767_229_200),
            refresh_at: None,
            refresh_token: Some(Secret::from("refresh-token-in-the-dump")),
            refresh_token_expires_at: Some(WallTime::from_secs(1_800_000_000)),
            scope: Some("a b".to_owned()),
        }
    }

    fn text(tokens: &[SavedToken]) -> String {
        let mut next = 0;
        write(tokens, &mut |bytes| bytes.fill_with(|| (next += 1, next).1)).expose().clone()
    }

    #[test]
    fn what_is_written_is_read() {
        let bare = SavedToken {
            access_token: None,
            refresh_token: None,
            refresh_token_expires_at: None,
            scope: None,
            refresh_at: Some(WallTime::from_secs(1)),
            ..saved("\"b\\\n\u{e9}")
        };
        for (name, tokens) in
            [("none", vec![]), ("one", vec![saved("a")]), ("two", vec![saved("a"), bare.clone()]), ("bare", vec![bare])]
        {
            let text = text(&tokens);
            assert!(text.starts_with("pizauth-dump 1\n") && text.ends_with("\npizauth-dump end\n"), "{name}");
            let body: Vec<&str> = text.lines().skip(1).filter(|line| *line != FOOTER).collect();
            let (last, full) = body.split_last().unwrap();
            assert!(full.iter().all(|line| line.len() == LINE) && last.len() <= LINE, "{name}");
            assert!(!text.contains("in-the-dump"), "{name}");
            assert_eq!(read(text.as_bytes()), Ok(tokens.clone()), "{name}");
            assert_eq!(read(text.replace('\n', "\r\n").as_bytes()), Ok(tokens.clone()), "{name}");
            assert_eq!(read(format!("{}\n\n", text.trim_end()).as_bytes()), Ok(tokens), "{name}");
        }
    }

    #[test]
    fn the_tokens_of_many_accounts_are_read() {
        let long =
            |number| SavedToken { access_token: Some("a".repeat(64 * 1024).into()), ..saved(&format!("a{number}")) };
        let tokens: Vec<SavedToken> = (0..24).map(long).collect();
        assert_eq!(read(text(&tokens).as_bytes()), Ok(tokens));
    }

    #[test]
    fn what_is_no_sound_dump_is_refused_whole() {
        let good = text(&[saved("a")]);
        let whole = good.strip_suffix("pizauth-dump end\n").unwrap();
        let ended = |body: &str| format!("{body}pizauth-dump end\n");
        let cut = whole.get(..whole.len() - 9).unwrap();
        for (name, dump, want) in [
            ("nothing", "", DumpFault::Empty),
            ("blanks", " \r\n", DumpFault::Empty),
            ("another file", "hello\n", DumpFault::NotADump),
            ("a dump of pizauth 1", "\u{1}\u{2}\u{3}\u{fffd}", DumpFault::NotADump),
            ("no number", "pizauth-dump \nAAAA", DumpFault::NotADump),
            ("a later version", &good.replacen('1', "2", 1), DumpFault::Version),
            ("only the header", "pizauth-dump 1\n", DumpFault::Damaged),
            ("header and end", &ended("pizauth-dump 1\n"), DumpFault::Damaged),
            ("only a nonce", &ended("pizauth-dump 1\nAAAAAAAAAAAAAAAA\n"), DumpFault::Damaged),
            ("cut", cut, DumpFault::Damaged),
            ("cut, with its end", &ended(cut), DumpFault::Damaged),
            ("without its end", whole, DumpFault::Damaged),
            ("cut within its end", good.get(..good.len() - 4).unwrap(), DumpFault::Damaged),
            ("no base64", &ended(&format!("{whole}*")), DumpFault::Damaged),
            ("something more in it", &ended(&format!("{whole}AAAA")), DumpFault::Damaged),
            ("something behind it", &format!("{good}AAAA"), DumpFault::Damaged),
        ] {
            assert_eq!(read(dump.as_bytes()), Err(want), "{name}");
        }
        assert_eq!(read(&vec![b'a'; MAX_DUMP + 1]), Err(DumpFault::TooLong));
    }

    #[test]
    fn contents_are_not_trusted() {
        let with = |access_token: &str| SavedToken { access_token: Some(Secret::from(access_token)), ..saved("a") };
        for (name, tokens) in [
            ("a control character", vec![with("a\u{1b}b")]),
            ("a line break", vec![with("a\nb")]),
            ("an account twice", vec![saved("a"), saved("a")]),
            ("a scope with a line break", vec![SavedToken { scope: Some("a\nb".to_owned()), ..saved("a") }]),
        ] {
            assert_eq!(read(text(&tokens).as_bytes()), Err(DumpFault::Damaged), "{name}");
        }
    }

    #[test]
    fn any_changed_bit_is_seen() {
        let good = text(&[saved("a")]).into_bytes();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert_ne!(read(&bad).ok(), Some(vec![saved("a")]), "{place}");
        }
    }

    #[test]
    fn no_dump_makes_the_reader_panic() {
        let good = text(&[saved("a")]);
        let short = "pizauth-dump 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\npizauth-dump end\n";
        mutations(&[&good, short], |bytes| {
            let _ = read(bytes);
        });
    }

    #[test]
    fn the_fingerprint_follows_what_binds_a_token_and_nothing_else() {
        let base = account();
        let own = |text: &str| Some(text.to_owned());
        let field = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let secret_field = |name: &str, value: &str| vec![(name.to_owned(), Secret::from(value))];
        let changed = [
            Account { auth_uri: own("https://b.example/"), ..base.clone() },
            Account { auth_uri: None, ..base.clone() },
            Account { token_uri: "https://b.example/".to_owned(), ..base.clone() },
            Account { device_auth_uri: own("https://b.example/"), ..base.clone() },
            Account { client_id: "b".to_owned(), ..base.clone() },
            Account { client_secret: ClientSecret::Text(Secret::from("b")), ..base.clone() },
            Account { client_secret: ClientSecret::Command("b".to_owned()), ..base.clone() },
            Account { client_auth: ClientAuth::Basic, ..base.clone() },
            Account { scopes: vec!["b".to_owned(), "c".to_owned()], ..base.clone() },
            Account { scopes: vec!["bc".to_owned()], ..base.clone() },
            Account { redirect_uri: "http://localhost/b".to_owned(), ..base.clone() },
            Account { auth_uri_fields: field("b", "c"), ..base.clone() },
            Account { auth_uri_fields: field("bc", ""), ..base.clone() },
            Account { login_hint: own("b"), ..base.clone() },
            Account { grant: Grant::DeviceCode, ..base.clone() },
            Account { issuer: own("b"), ..base.clone() },
            Account { token_uri_fields: secret_field("b", "c"), ..base.clone() },
            Account { token_uri_headers: secret_field("b", "c"), ..base.clone() },
        ];
        let mut seen: BTreeSet<_> = changed.iter().map(fingerprint).collect();
        seen.insert(fingerprint(&base));
        assert_eq!(seen.len(), changed.len() + 1);

        let same = Account {
            name: "b".to_owned(),
            user: own("b"),
            git_hosts: vec!["b".to_owned()],
            revocation_uri: None,
            refresh_retry: std::time::Duration::ZERO,
            ..base.clone()
        };
        assert_eq!(fingerprint(&same), fingerprint(&base));
    }
}
