//! git's side of `show -f git`: what it wants a credential for.
//!
//! The request comes from git, but its host can come from a submodule's URL: it is hostile.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
};

use super::failure::Failure;

/// Why a request is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitFault {
    /// It is not UTF-8.
    NotText,
    /// It is longer than any of git's.
    TooLong,
    /// It has control characters in it.
    Control,
    /// A line has no `=`.
    NoEquals,
    /// Protocol or host are there twice.
    Twice,
    /// The protocol is missing.
    NoProtocol,
    /// The host is missing.
    NoHost,
}

impl fmt::Display for GitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GitFault::NotText => "it is not UTF-8",
            GitFault::TooLong => "it is longer than 64 KiB",
            GitFault::Control => "it has control characters in it",
            GitFault::NoEquals => "a line has no \"=\"",
            GitFault::Twice => "a line is there twice",
            GitFault::NoProtocol => "the protocol is missing",
            GitFault::NoHost => "the host is missing",
        })
    }
}

/// Longest request that is read, in bytes: git's own are some hundred.
const MAX_REQUEST: u64 = 64 * 1024;

/// Reads a request up to its empty line or the end of `input`, and returns its host. Refuses every protocol but https.
pub fn read_host(input: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let mut input = BufReader::new(input.take(MAX_REQUEST));
    loop {
        let count = input.read_line(&mut text).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Failure::GitRequest(GitFault::NotText),
            _ => Failure::Stdin(error),
        })?;
        if text.len() as u64 == MAX_REQUEST {
            return Err(Failure::GitRequest(GitFault::TooLong));
        }
        // The end, or an empty line.
        if count == 0 || text.ends_with("\n\n") || text == "\n" {
            return host_of(&text);
        }
    }
}

fn host_of(request: &str) -> Result<String, Failure> {
    let (mut protocol, mut host) = (None, None);
    for line in request.split('\n').take_while(|line| !line.is_empty()) {
        if line.chars().any(char::is_control) {
            return Err(Failure::GitRequest(GitFault::Control));
        }
        let (key, value) = line.split_once('=').ok_or(Failure::GitRequest(GitFault::NoEquals))?;
        let field = match key {
            "protocol" => &mut protocol,
            "host" => &mut host,
            _ => continue,
        };
        if field.replace(value).is_some() {
            return Err(Failure::GitRequest(GitFault::Twice));
        }
    }
    let protocol = protocol.ok_or(Failure::GitRequest(GitFault::NoProtocol))?;
    if !protocol.eq_ignore_ascii_case("https") {
        return Err(Failure::GitProtocol(protocol.to_owned()));
    }
    let host = host.filter(|host| !host.is_empty()).ok_or(Failure::GitRequest(GitFault::NoHost))?;
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host, or the beginning of the message.
    fn read(request: &[u8]) -> Result<String, String> {
        let told = |failure: Failure| failure.to_string().split(';').next().unwrap_or_default().to_owned();
        read_host(request).map_err(told)
    }

    #[test]
    fn only_whole_requests_over_https_have_a_host() {
        let ok = |host: &str| Ok(host.to_owned());
        let cannot = |fault| Err(format!("cannot understand git's request: {fault}"));
        let protocol =
            |name| Err(format!("no token for git over {name:?}: use an https URL, others show the token on the way"));
        for (request, want) in [
            ("protocol=https\nhost=git.example\n\n", ok("git.example")),
            ("protocol=https\nhost=git.example", ok("git.example")),
            (
                "capability[]=authtype\nprotocol=https\nhost=git.example\nwwwauth[]=Basic realm=\"x\"\n",
                ok("git.example"),
            ),
            ("protocol=HTTPS\nhost=GIT.Example:443\npath=a.git\n", ok("GIT.Example:443")),
            ("protocol=https\nhost= git.example\n", ok(" git.example")),
            ("protocol=http\nhost=git.example\n", protocol("http")),
            ("protocol=\nhost=git.example\n", protocol("")),
            ("protocol=https \nhost=git.example\n", protocol("https ")),
            ("protocol=https\nhost=git.example\nhost=evil.example\n", cannot("a line is there twice")),
            ("protocol=https\nprotocol=http\nhost=git.example\n", cannot("a line is there twice")),
            ("protocol=https\nhost=git.example\r\n", cannot("it has control characters in it")),
            ("protocol=https\nhost=git.example\0.evil.example\n", cannot("it has control characters in it")),
            ("protocol=https\nhost\n", cannot("a line has no \"=\"")),
            ("protocol=https\nhost=\n", cannot("the host is missing")),
            ("protocol=https\n\nhost=git.example\n", cannot("the host is missing")),
            ("host=git.example\n", cannot("the protocol is missing")),
            ("", cannot("the protocol is missing")),
        ] {
            assert_eq!(read(request.as_bytes()), want, "{request:?}");
        }
    }

    #[test]
    fn requests_that_are_no_text_or_endless_are_refused() {
        let told = |request: &[u8]| read(request).unwrap_err();
        assert_eq!(told(b"protocol=https\nhost=\xff\n"), "cannot understand git's request: it is not UTF-8");
        let endless = told(&vec![b'a'; 65 * 1024]);
        assert_eq!(endless, "cannot understand git's request: it is longer than 64 KiB");
        assert!(matches!(read_host(io::repeat(b'a')), Err(Failure::GitRequest(_))));
    }
}
