//! The control protocol: one JSON request a line; zero or more notices, then one answer line.
//!
//! Both directions stand here side by side, with their limits; who carries the lines is not this file's business.
//! pizauth(1) documents it for other programs, so fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::{engine::WallTime, secret::Secret};

/// Version of the protocol, in every line of both directions.
pub const VERSION: u32 = 1;

/// Longest request line, in bytes: ample for any account name and pasted URL.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Longest `restore` request line, in bytes: some ten thousand accounts.
pub const MAX_RESTORE: usize = 64 * 1024 * 1024;

/// How every `restore` line starts that this program writes; only such a line may be longer than [`MAX_REQUEST`].
pub const RESTORE_PREFIX: &[u8] = br#"{"version":1,"request":"restore","#;

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// An access token.
    Show(Show),
    /// A refresh now, or the start of an authorization.
    Refresh {
        /// The account's name.
        account: String,
        /// Seconds to wait for the outcome; absent: the answer comes at once.
        #[serde(default)]
        wait: Option<u64>,
        /// Whether messages may carry authorization URLs.
        #[serde(default = "yes")]
        urls: bool,
    },
    /// An authorization now, whatever token there is.
    Auth {
        /// The account's name.
        account: String,
        /// Seconds to wait for the token; absent: the answer comes at once.
        #[serde(default)]
        wait: Option<u64>,
        /// Whether messages may carry authorization URLs; notices always do.
        #[serde(default = "yes")]
        urls: bool,
    },
    /// The redirect that a browser could not deliver.
    Paste {
        /// The account's name.
        account: String,
        /// The redirect URL, or its query.
        text: Secret,
    },
    /// Forget an account's token.
    Revoke {
        /// The account's name.
        account: String,
        /// Whether to leave the provider unasked.
        #[serde(default)]
        local: bool,
    },
    /// The state of accounts; of all of them where none is named.
    Status {
        /// Names of accounts.
        #[serde(default)]
        accounts: Vec<String>,
        /// Whether the answer may carry authorization URLs.
        #[serde(default = "yes")]
        urls: bool,
    },
    /// Ports and fingerprints.
    Info,
    /// Read the configuration anew.
    Reload,
    /// The token state, obscured.
    Dump,
    /// Take over a dumped token state.
    Restore {
        /// What `dump` gave; empty: nothing was saved.
        dump: Secret,
    },
    /// Save and stop.
    Shutdown,
}

/// A request for an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// The account's name.
    pub account: String,
    /// Seconds to wait for a usable token; absent: the answer comes at once.
    #[serde(default)]
    pub wait: Option<u64>,
    /// Seconds that the token should have left.
    #[serde(default)]
    pub min_life: Option<u64>,
    /// Whether messages may carry authorization URLs.
    #[serde(default = "yes")]
    pub urls: bool,
    /// Host to which git wants to send the token; refused where it is none of the account's `git_hosts`.
    #[serde(default)]
    pub git_host: Option<String>,
}

/// What a client is told while its request goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// Open this URL in a browser.
    Authorize {
        /// The authorization request.
        url: String,
    },
    /// Open this URL on any device and enter the code.
    Device {
        /// Where to go.
        verification_uri: String,
        /// The same with the code in it.
        verification_uri_complete: Option<String>,
        /// What to enter there.
        user_code: String,
    },
    /// Anything else worth a line.
    Message {
        /// One line of text.
        text: String,
    },
}

/// The last line of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Done {
        /// What the user should know besides, a line each.
        #[serde(default)]
        messages: Vec<String>,
    },
    /// A usable access token.
    Token(Box<Token>),
    /// Not done.
    Failed {
        /// What kind of failure it is.
        reason: Reason,
        /// Why, and what to do; a configuration error may have its source line as a second line.
        messages: Vec<String>,
    },
    /// The state of accounts.
    Status(Status),
    /// Ports and fingerprints.
    Info(Info),
    /// The token state.
    Dump {
        /// Text for a later `restore`.
        dump: Secret,
    },
}

/// Why a request was not done; each is an exit status of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Wrong, unknown or refused: exit 1.
    Error,
    /// The user must authorise first: exit 3.
    Authorize,
    /// It may work later: exit 4.
    Temporary,
    /// The server stops: exit 5.
    Unavailable,
}

/// An access token and what the formats of `show` need besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The account's name.
    pub account: String,
    /// The token itself.
    pub access_token: Secret,
    /// Always `Bearer`.
    pub token_type: String,
    /// When it ends.
    pub expires_at: WallTime,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// Its scope, or the requested one where the provider named none.
    pub scope: Option<String>,
    /// Login name for SASL and git.
    pub user: Option<String>,
}

/// The answer to `status`; `status -j` prints it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this object's shape.
    pub status_format_version: u32,
    /// Sorted by name.
    pub accounts: Vec<AccountStatus>,
    /// Where the token state is kept.
    pub persistence: PersistenceStatus,
}

/// One account in `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// The account's name.
    pub name: String,
    /// What it has.
    pub state: AccountState,
    /// When the access token was obtained.
    pub obtained_at: Option<WallTime>,
    /// When the access token ends.
    pub expires_at: Option<WallTime>,
    /// When it will be refreshed.
    pub next_refresh_at: Option<WallTime>,
    /// When a refresh was last tried.
    pub last_refresh_attempt_at: Option<WallTime>,
    /// When the user was last reminded of the pending authorization.
    pub last_notification_at: Option<WallTime>,
    /// Whether there is a refresh token.
    pub refreshable: bool,
    /// When the refresh token ends.
    pub refresh_token_expires_at: Option<WallTime>,
    /// Scope of the access token.
    pub scope: Option<String>,
    /// The last thing that went wrong, until something goes right.
    pub last_error: Option<ErrorStatus>,
    /// Why the last change is not saved.
    pub not_saved: Option<String>,
    /// Where to authorise; null without a pending authorization, or where URLs were not asked for.
    pub authorization_url: Option<String>,
}

/// What an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// No token, and nobody asked for one.
    Empty,
    /// No token; the user has to authorise.
    Pending,
    /// No token yet; the code is being exchanged.
    Exchanging,
    /// A usable token.
    Active,
    /// A token that has ended.
    Expired,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorStatus {
    /// One line.
    pub message: String,
    /// When.
    pub at: WallTime,
    /// Whether it may pass by itself.
    pub transient: bool,
}

/// Where the token state is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistenceStatus {
    /// How it stands.
    pub state: PersistenceState,
    /// Why the last save or restore failed.
    pub last_error: Option<String>,
}

/// How persistence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersistenceState {
    /// Neither command is configured.
    Off,
    /// Nothing is unsaved.
    Saved,
    /// A change waits to be saved.
    Unsaved,
    /// The store could not be read, so it is not written either.
    Sealed,
}

/// The answer to `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Port of the HTTP listener, or `none`.
    pub http_port: String,
    /// Port of the HTTPS listener, or `none`.
    pub https_port: String,
    /// Public key of the HTTPS listener in colon hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_pub_key: Option<String>,
    /// SHA-256 of the HTTPS listener's certificate in colon hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_cert_sha256: Option<String>,
    /// What is not as it should be, a line each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One line from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// More will come.
    Notice(Notice),
    /// The end of the exchange.
    Response(Response),
}

/// A line that is not of this protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It speaks another version.
    Version(u32),
    /// It is no JSON object of a known shape; the text says where, without its content.
    Shape(String),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Version(version) => {
                write!(
                    f,
                    "protocol version {version} is not spoken here, only {VERSION}; another pizauth may be installed"
                )
            }
            Malformed::Shape(place) => write!(f, "malformed line: {place}"),
        }
    }
}

/// Writes a request as a line with its newline.
pub fn write_request(request: &Request) -> Secret<Vec<u8>> {
    write_line(request)
}

/// Reads a request line, with or without its newline.
pub fn read_request(line: &[u8]) -> Result<Request, Malformed> {
    read_version(line)?;
    read_shape(line)
}

/// Writes a notice as a line with its newline.
pub fn write_notice(notice: &Notice) -> Secret<Vec<u8>> {
    write_line(notice)
}

/// Writes an answer as a line with its newline.
pub fn write_response(response: &Response) -> Secret<Vec<u8>> {
    write_line(response)
}

/// Reads a line that a server sent.
pub fn read_line(line: &[u8]) -> Result<Line, Malformed> {
    read_version(line)?;
    let kind: Kind = read_shape(line)?;
    if kind.notice.is_some() { read_shape(line).map(Line::Notice) } else { read_shape(line).map(Line::Response) }
}

#[derive(Deserialize)]
struct Kind {
    notice: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u32,
    #[serde(flatten)]
    content: &'a T,
}

fn yes() -> bool {
    true
}

fn write_line(content: &impl Serialize) -> Secret<Vec<u8>> {
    let mut line = serde_json::to_vec(&Versioned { version: VERSION, content })
        .expect("strings, numbers and lists always have a JSON form");
    line.push(b'\n');
    Secret::new(line)
}

fn read_version(line: &[u8]) -> Result<(), Malformed> {
    let Version { version } = read_shape(line)?;
    if version == VERSION { Ok(()) } else { Err(Malformed::Version(version)) }
}

fn read_shape<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(line).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is missing or of the wrong type",
            serde_json::error::Category::Syntax => "not JSON",
            serde_json::error::Category::Eof => "cut short",
            serde_json::error::Category::Io => "not readable",
        };
        Malformed::Shape(format!("{what} at column {}", error.column()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_way_there_and_back() {
        let account = || "work".to_owned();
        for request in [
            Request::Show(Show {
                account: account(),
                wait: Some(60),
                min_life: None,
                urls: false,
                git_host: Some("a".to_owned()),
            }),
            Request::Refresh { account: account(), wait: None, urls: true },
            Request::Auth { account: account(), wait: Some(600), urls: true },
            Request::Paste { account: account(), text: Secret::from("http://localhost:1/?code=a&state=b") },
            Request::Revoke { account: account(), local: true },
            Request::Status { accounts: vec![account()], urls: true },
            Request::Info,
            Request::Reload,
            Request::Dump,
            Request::Restore { dump: Secret::from("pizauth-dump 1\n") },
            Request::Shutdown,
        ] {
            assert_eq!(read_request(write_request(&request).expose()), Ok(request));
        }
    }

    #[test]
    fn a_request_may_leave_out_what_has_a_default() {
        let line = br#"{"request":"show","account":"work","version":1}"#;
        let want = Show { account: "work".to_owned(), wait: None, min_life: None, urls: true, git_host: None };
        assert_eq!(read_request(line), Ok(Request::Show(want)));
    }

    #[test]
    fn a_restore_line_is_known_by_its_start() {
        let line = write_request(&Request::Restore { dump: Secret::default() });
        assert!(line.expose().starts_with(RESTORE_PREFIX));
    }

    #[test]
    fn answers_and_notices_are_told_apart() {
        let notice = Notice::Authorize { url: "https://a.example/".to_owned() };
        assert_eq!(read_line(write_notice(&notice).expose()), Ok(Line::Notice(notice)));
        let response = Response::Failed { reason: Reason::Temporary, messages: vec!["later".to_owned()] };
        assert_eq!(read_line(write_response(&response).expose()), Ok(Line::Response(response)));
    }

    #[test]
    fn what_is_not_of_the_protocol_is_told_without_its_content() {
        for (name, line, want) in [
            ("not JSON", "show hunter2", "malformed line: not JSON at column 1"),
            (
                "no version",
                r#"{"request":"info"}"#,
                "malformed line: a field is missing or of the wrong type at column 18",
            ),
            (
                "another version",
                r#"{"version":2,"request":"info"}"#,
                "protocol version 2 is not spoken here, only 1; another pizauth may be installed",
            ),
            (
                "no such request",
                r#"{"version":1,"request":"hunter2"}"#,
                "malformed line: a field is missing or of the wrong type at column 32",
            ),
            ("cut short", r#"{"version":1"#, "malformed line: cut short at column 12"),
        ] {
            assert_eq!(read_request(line.as_bytes()).unwrap_err().to_string(), want, "{name}");
        }
    }
}
