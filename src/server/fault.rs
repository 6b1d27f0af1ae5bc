//! What is wrong with a configuration file, a file that it names or an address, and why a server does not start or
//! stay: every message of the server but the engine's.

use std::{fmt, io, path::PathBuf};

/// A message about the start, the configuration or a reload, one line that says what to do where that is not plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NoFolder,
    NoConfiguration { path: PathBuf },
    Unreadable { path: PathBuf, reason: String },
    NotAFile { path: PathBuf },
    TooLong { path: PathBuf },
    NotText { path: PathBuf, line: usize },
    SecretShown { path: PathBuf },
    Pem { option: &'static str, path: PathBuf, fault: PemFault },
    CertificateWithoutKey,
    KeyWithoutCertificate,
    NoCertificate { reason: String },
    PortTaken { option: &'static str, setting: String },
    PortNamedTwice { option: &'static str, setting: String, by: &'static str },
    PortHeldHere { option: &'static str, setting: String, own: String },
    PortReserved { option: &'static str, setting: String },
    NoSuchAddress { option: &'static str, setting: String },
    NotBound { option: &'static str, setting: String, reason: String },
    OtherFamilyTaken { option: &'static str, setting: String, other: String },
    OtherFamilyNamed { option: &'static str, setting: String, other: String, by: &'static str },
    NotWatched { reason: String },
    NotDetached { reason: String },
    Died { status: String },
    NotStarted { reason: String },
    Stopped { reason: String },
    PlaceTaken { directory: PathBuf },
    PlaceGone { directory: PathBuf },
    Unsaved,
}

/// What is wrong with a PEM file; never its text, which may be a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PemFault {
    Unreadable(String),
    NotAFile,
    TooLong,
    NotPem,
    NoCertificate,
    NoEnd,
    BadStart,
    NotBase64,
    Nothing,
    Damaged,
    NoneUsable,
    BadCertificate,
    NoKey,
    BadKey,
    OtherKey,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Stopped { reason: error.to_string() }
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> String {
        fault.to_string()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoFolder => {
                f.write_str("neither XDG_CONFIG_HOME nor HOME is set; name the configuration file with -c")
            }
            Fault::NoConfiguration { path } => {
                write!(f, "no configuration file at {}: make one, or name one with -c", path.display())
            }
            Fault::Unreadable { path, reason } => write!(f, "{}: {reason}", path.display()),
            Fault::NotAFile { path } => write!(
                f,
                "{}: not a regular file, which cannot be read anew; stop the server and start it again",
                path.display()
            ),
            Fault::TooLong { path } => write!(f, "{}: longer than 1 MiB, which no configuration is", path.display()),
            Fault::NotText { path, line } => write!(f, "{}: line {line} is not UTF-8", path.display()),
            Fault::SecretShown { path } => {
                write!(
                    f,
                    "{0}: others can read this file and the client_secret in it; run: chmod 600 {0}",
                    path.display()
                )
            }
            Fault::Pem { option, path, fault } => write!(f, "{option} {}: {fault}", path.display()),
            Fault::CertificateWithoutKey => f.write_str("https_cert needs https_key"),
            Fault::KeyWithoutCertificate => f.write_str("https_key needs https_cert"),
            Fault::NoCertificate { reason } => {
                write!(f, "could not make a certificate: {reason}; set https_cert and https_key")
            }
            Fault::PortTaken { option, setting } => {
                write!(f, "{option} {setting}: another program holds this port; end it, or take another port")
            }
            Fault::PortNamedTwice { option, setting, by } => {
                write!(f, "{option} {setting}: {by} has this port already; take another port")
            }
            Fault::PortHeldHere { option, setting, own } => {
                write!(f, "{option} {setting}: the running server itself holds {own}; stop it and start it again")
            }
            Fault::PortReserved { option, setting } => {
                write!(f, "{option} {setting}: this port is not for ordinary users; take one above 1023")
            }
            Fault::NoSuchAddress { option, setting } => {
                write!(f, "{option} {setting}: this machine does not have this address")
            }
            Fault::NotBound { option, setting, reason } => write!(f, "{option} {setting}: {reason}"),
            Fault::OtherFamilyTaken { option, setting, other } => write!(
                f,
                "{option} {setting}: {other} is held by another program, which gets redirects that browsers send there"
            ),
            Fault::OtherFamilyNamed { option, setting, other, by } => {
                write!(f, "{option} {setting}: {other} is held for {by}, which gets redirects that browsers send there")
            }
            Fault::NotWatched { reason } => write!(f, "redirect listener: {reason}"),
            Fault::NotDetached { reason } => write!(f, "the server could not detach: {reason}; try \"server -d\""),
            Fault::Died { status } => {
                write!(f, "the server ended at once: {status}; \"pizauth server -d\" shows how far it comes")
            }
            Fault::NotStarted { reason } => write!(f, "the server could not start: {reason}"),
            Fault::Stopped { reason } => write!(f, "the server stopped: {reason}; start it again"),
            Fault::PlaceTaken { directory } => write!(
                f,
                "the server stopped without saving: {} was removed or taken over, and another server has the tokens now",
                directory.display()
            ),
            Fault::PlaceGone { directory } => write!(
                f,
                "the server stopped: lock and socket in {} were removed, and another server may have had the tokens \
                 since; start it again",
                directory.display()
            ),
            Fault::Unsaved => f.write_str("the token state could not be saved; the log says why"),
        }
    }
}

impl fmt::Display for PemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PemFault::Unreadable(reason) => return write!(f, "cannot be read: {reason}"),
            PemFault::NotAFile => "not a regular file",
            PemFault::TooLong => "longer than 4 MiB",
            PemFault::NotPem => "not a PEM file",
            PemFault::NoCertificate => "no certificate in it",
            PemFault::NoEnd => "a PEM section without its end",
            PemFault::BadStart => "a damaged -----BEGIN line",
            PemFault::NotBase64 => "a PEM section that is not base64",
            PemFault::Nothing => "nothing of that kind in it",
            PemFault::Damaged => "damaged PEM",
            PemFault::NoneUsable => "none of its certificates can be used",
            PemFault::BadCertificate => "not a certificate that can be used",
            PemFault::NoKey => "no private key in it",
            PemFault::BadKey => "not a key that can be used (RSA, ECDSA P-256 or P-384, Ed25519)",
            PemFault::OtherKey => "the certificate does not belong to the key",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/server.txt");

    /// One of every kind, each found from the one before, so that none can be left out.
    fn examples() -> Vec<Fault> {
        let path = || PathBuf::from("/home/me/.config/pizauth.conf");
        let pem = |fault| Fault::Pem { option: "https_cert", path: "/home/me/cert.pem".into(), fault };
        let (option, setting) = ("http_listen", || "127.0.0.1:12345".to_owned());
        let reason = || "No space left on device (os error 28)".to_owned();
        let mut examples = vec![Fault::NoFolder];
        while let Some(last) = examples.last() {
            let next = match last {
                Fault::NoFolder => Fault::NoConfiguration { path: path() },
                Fault::NoConfiguration { .. } => Fault::Unreadable { path: path(), reason: reason() },
                Fault::Unreadable { .. } => Fault::NotAFile { path: path() },
                Fault::NotAFile { .. } => Fault::TooLong { path: path() },
                Fault::TooLong { .. } => Fault::NotText { path: path(), line: 7 },
                Fault::NotText { .. } => Fault::SecretShown { path: path() },
                Fault::SecretShown { .. } => pem(PemFault::Unreadable(reason())),
                Fault::Pem { fault: PemFault::Unreadable(_), .. } => pem(PemFault::NotAFile),
                Fault::Pem { fault: PemFault::NotAFile, .. } => pem(PemFault::TooLong),
                Fault::Pem { fault: PemFault::TooLong, .. } => pem(PemFault::NotPem),
                Fault::Pem { fault: PemFault::NotPem, .. } => pem(PemFault::NoCertificate),
                Fault::Pem { fault: PemFault::NoCertificate, .. } => pem(PemFault::NoEnd),
                Fault::Pem { fault: PemFault::NoEnd, .. } => pem(PemFault::BadStart),
                Fault::Pem { fault: PemFault::BadStart, .. } => pem(PemFault::NotBase64),
                Fault::Pem { fault: PemFault::NotBase64, .. } => pem(PemFault::Nothing),
                Fault::Pem { fault: PemFault::Nothing, .. } => pem(PemFault::Damaged),
                Fault::Pem { fault: PemFault::Damaged, .. } => pem(PemFault::NoneUsable),
                Fault::Pem { fault: PemFault::NoneUsable, .. } => pem(PemFault::BadCertificate),
                Fault::Pem { fault: PemFault::BadCertificate, .. } => pem(PemFault::NoKey),
                Fault::Pem { fault: PemFault::NoKey, .. } => pem(PemFault::BadKey),
                Fault::Pem { fault: PemFault::BadKey, .. } => pem(PemFault::OtherKey),
                Fault::Pem { fault: PemFault::OtherKey, .. } => Fault::CertificateWithoutKey,
                Fault::CertificateWithoutKey => Fault::KeyWithoutCertificate,
                Fault::KeyWithoutCertificate => Fault::NoCertificate { reason: reason() },
                Fault::NoCertificate { .. } => Fault::PortTaken { option, setting: setting() },
                Fault::PortTaken { .. } => Fault::PortNamedTwice { option, setting: setting(), by: "https_listen" },
                Fault::PortNamedTwice { .. } => {
                    Fault::PortHeldHere { option, setting: setting(), own: "0.0.0.0:12345".to_owned() }
                }
                Fault::PortHeldHere { .. } => Fault::PortReserved { option, setting: "127.0.0.1:80".to_owned() },
                Fault::PortReserved { .. } => Fault::NoSuchAddress { option, setting: "192.0.2.1:0".to_owned() },
                Fault::NoSuchAddress { .. } => Fault::NotBound { option, setting: setting(), reason: reason() },
                Fault::NotBound { .. } => {
                    Fault::OtherFamilyTaken { option, setting: setting(), other: "[::1]:12345".to_owned() }
                }
                Fault::OtherFamilyTaken { .. } => {
                    let (other, by) = ("[::1]:12345".to_owned(), "https_listen");
                    Fault::OtherFamilyNamed { option, setting: setting(), other, by }
                }
                Fault::OtherFamilyNamed { .. } => Fault::NotWatched { reason: reason() },
                Fault::NotWatched { .. } => Fault::NotDetached { reason: reason() },
                Fault::NotDetached { .. } => Fault::Died { status: "exit status: 101".to_owned() },
                Fault::Died { .. } => Fault::NotStarted { reason: reason() },
                Fault::NotStarted { .. } => Fault::Stopped { reason: reason() },
                Fault::Stopped { .. } => Fault::PlaceTaken { directory: "/run/user/1000/pizauth".into() },
                Fault::PlaceTaken { directory } => Fault::PlaceGone { directory: directory.clone() },
                Fault::PlaceGone { .. } => Fault::Unsaved,
                Fault::Unsaved => break,
            };
            examples.push(next);
        }
        examples
    }

    #[test]
    fn every_message_is_in_the_golden_file() {
        let examples: String = examples().iter().map(|fault| format!("{fault}\n")).collect();
        assert_eq!(examples, GOLDEN, "tests/golden/server.txt");
    }
}
