//! git's side of `show -f git`: its request, and who may have a token.
//!
//! The request comes from git, but its host can come from a submodule's URL: it is hostile.

use std::io::{self, BufRead, BufReader, Read};

use super::failure::Failure;

/// Longest request that is read, in bytes: git's own are some hundred.
const MAX_REQUEST: u64 = 64 * 1024;

/// What git wants a credential for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    host: String,
}

impl Credential {
    /// Reads a request up to its empty line or the end of `input`. Refuses every protocol but https.
    pub fn read(input: impl Read) -> Result<Credential, Failure> {
        let mut text = String::new();
        let mut input = BufReader::new(input.take(MAX_REQUEST));
        loop {
            let count = input.read_line(&mut text).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Failure::GitRequest("it is not UTF-8"),
                _ => Failure::Stdin(error),
            })?;
            if text.len() as u64 == MAX_REQUEST {
                return Err(Failure::GitRequest("it is longer than 64 KiB"));
            }
            // The end, or an empty line.
            if count == 0 || text.ends_with("\n\n") || text == "\n" {
                return Credential::parse(&text);
            }
        }
    }

    fn parse(text: &str) -> Result<Credential, Failure> {
        let (mut protocol, mut host) = (None, None);
        for line in text.split('\n').take_while(|line| !line.is_empty()) {
            if line.chars().any(char::is_control) {
                return Err(Failure::GitRequest("it has control characters in it"));
            }
            let (key, value) = line.split_once('=').ok_or(Failure::GitRequest("a line has no \"=\""))?;
            let field = match key {
                "protocol" => &mut protocol,
                "host" => &mut host,
                _ => continue,
            };
            if field.replace(value).is_some() {
                return Err(Failure::GitRequest("a line is there twice"));
            }
        }
        let protocol = protocol.ok_or(Failure::GitRequest("the protocol is missing"))?;
        if !protocol.eq_ignore_ascii_case("https") {
            return Err(Failure::GitProtocol(protocol.to_owned()));
        }
        let host = host.filter(|host| !host.is_empty()).ok_or(Failure::GitRequest("the host is missing"))?;
        Ok(Credential { host: host.to_owned() })
    }

    /// Refuses a host that is not in `git_hosts` of `account`.
    ///
    /// Hosts are compared as written, but for their case; the port may be left out where it is that of https.
    pub fn check(&self, git_hosts: &[String], account: &str) -> Result<(), Failure> {
        let host = without_port(&self.host);
        if git_hosts.iter().any(|known| without_port(known).eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        Err(Failure::GitHost { host: self.host.clone(), account: account.to_owned() })
    }
}

fn without_port(host: &str) -> &str {
    host.strip_suffix(":443").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ok`, or the beginning of the message.
    fn judge(request: &[u8]) -> String {
        let hosts = ["git.example".to_owned(), "Code.Example:8443".to_owned(), "[2001:db8::1]".to_owned()];
        match Credential::read(request).and_then(|credential| credential.check(&hosts, "work")) {
            Ok(()) => "ok".to_owned(),
            Err(failure) => failure.to_string().split(';').next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn only_https_and_known_hosts_get_a_token() {
        let unknown = |host| format!("no token for git at {host:?}: the host is not in git_hosts of account \"work\"");
        let cannot = |fault| format!("cannot understand git's request: {fault}");
        let protocol =
            |name| format!("no token for git over {name:?}: use an https URL, others show the token on the way");
        for (request, want) in [
            ("protocol=https\nhost=git.example\n\n", "ok".to_owned()),
            ("protocol=https\nhost=git.example", "ok".to_owned()),
            ("capability[]=authtype\nprotocol=https\nhost=git.example\nwwwauth[]=Basic realm=\"x\"\n", "ok".to_owned()),
            ("protocol=https\nhost=GIT.Example\npath=a.git\n", "ok".to_owned()),
            ("protocol=https\nhost=git.example:443\n", "ok".to_owned()),
            ("protocol=https\nhost=code.example:8443\n", "ok".to_owned()),
            ("protocol=https\nhost=[2001:db8::1]\n", "ok".to_owned()),
            ("protocol=http\nhost=git.example\n", protocol("http")),
            ("protocol=\nhost=git.example\n", protocol("")),
            ("protocol=https \nhost=git.example\n", protocol("https ")),
            ("protocol=https\nhost=git.example:8443\n", unknown("git.example:8443")),
            ("protocol=https\nhost=code.example\n", unknown("code.example")),
            ("protocol=https\nhost=evil.example\n", unknown("evil.example")),
            ("protocol=https\nhost=evil.git.example\n", unknown("evil.git.example")),
            ("protocol=https\nhost=git.example.evil.example\n", unknown("git.example.evil.example")),
            ("protocol=https\nhost=git.example.\n", unknown("git.example.")),
            ("protocol=https\nhost=git.example@evil.example\n", unknown("git.example@evil.example")),
            ("protocol=https\nhost=git.example%2f.evil.example\n", unknown("git.example%2f.evil.example")),
            ("protocol=https\nhost=git.example/\n", unknown("git.example/")),
            ("protocol=https\nhost= git.example\n", unknown(" git.example")),
            ("protocol=https\nhost=gıt.example\n", unknown("gıt.example")),
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
            assert_eq!(judge(request.as_bytes()), want, "{request:?}");
        }
    }

    #[test]
    fn requests_that_are_no_text_or_endless_are_refused() {
        assert_eq!(judge(b"protocol=https\nhost=\xff\n"), "cannot understand git's request: it is not UTF-8");
        let endless = judge(&vec![b'a'; 65 * 1024]);
        assert_eq!(endless, "cannot understand git's request: it is longer than 64 KiB");
        let stream = Credential::read(std::io::repeat(b'a'));
        assert!(matches!(stream, Err(Failure::GitRequest(_))));
    }

    #[test]
    fn without_git_hosts_nobody_gets_a_token() {
        let credential = Credential { host: "git.example".to_owned() };
        assert!(credential.check(&[], "work").is_err());
    }
}
