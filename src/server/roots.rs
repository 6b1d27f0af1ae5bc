//! The certificate authorities that endpoints are believed by: those built in, and those of PEM files.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, TrustAnchor,
        pem::{self, PemObject},
    },
};
use webpki_roots::TLS_SERVER_ROOTS;

use super::fault::{Fault, PemFault};
use crate::secret::Secret;

/// Longest PEM file that is read, in bytes; a system's bundle of all authorities has a few hundred KiB.
const MAX_PEM: u64 = 4 * 1024 * 1024;

/// Trusted roots: the built-in ones, which are static data, and further ones. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    further: Arc<[TrustAnchor<'static>]>,
}

/// Reads further roots from the configuration's `ca_file` and from the file that SSL_CERT_FILE names.
///
/// The error names the option, the file and what is wrong with it. Certificates that are built in already are not
/// kept twice; a single one that cannot be used in a bundle is passed over.
pub fn load(ca_file: Option<&Path>, ssl_cert_file: Option<&Path>) -> Result<Roots, String> {
    let mut further: Vec<TrustAnchor<'static>> = Vec::new();
    for (option, file) in [("ca_file", ca_file), ("SSL_CERT_FILE", ssl_cert_file)] {
        let Some(file) = file else { continue };
        let anchors = anchors(file).map_err(|fault| Fault::Pem { option, path: file.to_owned(), fault })?;
        for anchor in anchors {
            if !TLS_SERVER_ROOTS.contains(&anchor) && !further.contains(&anchor) {
                further.push(anchor);
            }
        }
    }
    Ok(Roots { further: further.into() })
}

impl Roots {
    /// All roots as rustls wants them.
    pub fn store(&self) -> RootCertStore {
        TLS_SERVER_ROOTS.iter().chain(self.further.iter()).cloned().collect()
    }
}

fn anchors(file: &Path) -> Result<Vec<TrustAnchor<'static>>, PemFault> {
    let certificates = certificates(read_pem(file)?.expose())?;
    let mut store = RootCertStore::empty();
    match store.add_parsable_certificates(certificates) {
        (0, _) => Err(PemFault::NoneUsable),
        (_, _) => Ok(store.roots),
    }
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(pem_fault)?;
    match certificates.is_empty() {
        true if !pem.windows(11).any(|text| text == b"-----BEGIN ") => Err(PemFault::NotPem),
        true => Err(PemFault::NoCertificate),
        false => Ok(certificates),
    }
}

/// What is wrong with a PEM file.
pub(super) fn pem_fault(error: pem::Error) -> PemFault {
    match error {
        pem::Error::MissingSectionEnd { .. } => PemFault::NoEnd,
        pem::Error::IllegalSectionStart { .. } => PemFault::BadStart,
        pem::Error::Base64Decode(_) => PemFault::NotBase64,
        pem::Error::NoItemsFound => PemFault::Nothing,
        _ => PemFault::Damaged,
    }
}

/// Reads a regular file of bounded size: a pipe or device would hold everything up.
pub(super) fn read_pem(file: &Path) -> Result<Secret<Vec<u8>>, PemFault> {
    let unreadable = |error: std::io::Error| PemFault::Unreadable(super::wire::clause(&error));
    if !fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(PemFault::NotAFile);
    }
    let mut text = Vec::new();
    File::open(file).map_err(unreadable)?.take(MAX_PEM + 1).read_to_end(&mut text).map_err(unreadable)?;
    let text = Secret::new(text);
    match text.expose().len() as u64 > MAX_PEM {
        true => Err(PemFault::TooLong),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::pki::{Authority, Folder, pem};

    #[test]
    fn files_add_to_the_built_in_roots() {
        let folder = Folder::new();
        let (one, two) = (Authority::new("one"), Authority::new("two"));
        let both = folder.write("both.pem", &[one.pem(), "a comment between\n".to_owned(), two.pem()].concat());
        let first = folder.write("one.pem", &one.pem());
        let built_in = Roots::default().store().len();
        for (name, ca_file, ssl_cert_file, want) in [
            ("neither", None, None, 0),
            ("ca_file with two", Some(&both), None, 2),
            ("SSL_CERT_FILE", None, Some(&first), 1),
            ("one of them in both", Some(&both), Some(&first), 2),
        ] {
            let roots = load(ca_file.map(|file| file.as_path()), ssl_cert_file.map(|file| file.as_path())).unwrap();
            assert_eq!(roots.store().len(), built_in + want, "{name}");
        }
    }

    #[test]
    fn a_bad_file_is_named_with_its_fault() {
        let folder = Folder::new();
        let good = Authority::new("good").pem();
        let cut = &good[..good.len() - 30];
        let key = pem("PRIVATE KEY", b"hunter2 hunter2");
        for (name, text, want) in [
            ("empty", "", "not a PEM file"),
            ("binary", "0\u{3}\u{1}", "not a PEM file"),
            ("a key", key.as_str(), "no certificate in it"),
            ("cut short", cut, "a PEM section without its end"),
            ("nonsense", &pem("CERTIFICATE", b"hunter2"), "none of its certificates can be used"),
            ("no base64", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "not base64"),
            ("huge", &"#".repeat(MAX_PEM as usize + 1), "longer than 4 MiB"),
        ] {
            let file = folder.write("bad.pem", text);
            let error = load(Some(&file), None).unwrap_err();
            assert!(error.starts_with("ca_file ") && error.contains("bad.pem: "), "{name}: {error}");
            assert!(error.contains(want), "{name}: {error}");
        }
        let error = load(None, Some(&folder.path().join("missing.pem"))).unwrap_err();
        assert!(
            error.starts_with("SSL_CERT_FILE ") && error.contains("missing.pem: cannot be read: no such"),
            "{error}"
        );
        let error = load(Some(folder.path()), None).unwrap_err();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn one_unusable_certificate_does_not_spoil_a_bundle() {
        let folder = Folder::new();
        let file = folder.write("mixed.pem", &[pem("CERTIFICATE", b"junk"), Authority::new("good").pem()].concat());
        assert_eq!(load(Some(&file), None).unwrap().store().len(), TLS_SERVER_ROOTS.len() + 1);
    }
}
