//! TLS on the redirect listener: the server's certificate, and connections that the loop reads and writes.
//!
//! A connection is made by [`TlsAcceptor::accept`] and speaks for itself: whoever sends plain HTTP to it is answered
//! in plain HTTP, so that a wrong scheme in a `redirect_uri` gets an explanation instead of a reset.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mio::net::TcpStream;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use ring::digest;
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{NoServerSessionStorage, ParsedCertificate},
};

use super::{
    fault::{Fault, PemFault},
    roots::{certificates, pem_fault, read_pem},
};

/// Life of a self-signed certificate: ten years.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How far a self-signed certificate is dated back, for a browser on a machine whose clock is behind.
const DATED_BACK: Duration = Duration::from_secs(24 * 60 * 60);

/// The listener's certificate and key; makes connections.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

impl TlsAcceptor {
    /// Makes a self-signed certificate for loopback and for `host_name`; its key exists in memory only.
    pub fn self_signed(host_name: Option<&str>) -> Result<TlsAcceptor, String> {
        let fault = |error: rcgen::Error| String::from(Fault::NoCertificate { reason: error.to_string() });
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)?;
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(1970, 1, 1) + since_epoch.saturating_sub(DATED_BACK);
        params.not_after = date_time_ymd(1970, 1, 1) + since_epoch + LIFE;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "pizauth");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let names = ["localhost"].into_iter().chain(host_name.filter(|name| !name.is_empty() && *name != "localhost"));
        params.subject_alt_names =
            // A host name that is no DNS name cannot be in a certificate, and no browser can ask for it.
            names.filter_map(|name| name.try_into().ok().map(SanType::DnsName)).collect();
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        let certificate = params.self_signed(&key).map_err(fault)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Self::new(vec![certificate.into()], key)
            .map_err(|fault| Fault::NoCertificate { reason: fault.to_string() }.into())
    }

    /// Reads a certificate, with those that lead to its root, and its key from PEM files.
    ///
    /// The error names the option, the file and what is wrong with it.
    pub fn from_pem(https_cert: &Path, https_key: &Path) -> Result<TlsAcceptor, String> {
        let named = |option, path: &Path, fault| String::from(Fault::Pem { option, path: path.to_owned(), fault });
        let in_cert = |fault| named("https_cert", https_cert, fault);
        let in_key = |fault| named("https_key", https_key, fault);
        let chain = read_pem(https_cert).and_then(|pem| certificates(pem.expose())).map_err(in_cert)?;
        let key = read_pem(https_key).map_err(in_key)?;
        let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => in_key(PemFault::NoKey),
            error => in_key(pem_fault(error)),
        })?;
        default_provider().key_provider.load_private_key(key.clone_key()).map_err(|_| in_key(PemFault::BadKey))?;
        Self::new(chain, key).map_err(in_cert)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, PemFault> {
        let Some(certificate) = chain.first().cloned() else { return Err(PemFault::NoCertificate) };
        ParsedCertificate::try_from(&certificate).map_err(|_| PemFault::BadCertificate)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the algorithms of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|_| PemFault::OtherKey)?;
        // A browser comes once: nothing is kept for it to come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor { config: Arc::new(config), certificate })
    }

    /// Takes over an accepted connection.
    pub fn accept(&self, tcp: TcpStream) -> TlsStream {
        TlsStream { tcp, speech: Speech::Unheard(self.config.clone()) }
    }

    /// The public key's bytes, without its algorithm, in colon hex.
    pub fn public_key_hex(&self) -> String {
        let Ok(parsed) = ParsedCertificate::try_from(&self.certificate) else { return String::new() };
        colon_hex(public_key(&parsed.subject_public_key_info()).unwrap_or_default())
    }

    /// The certificate's SHA-256 fingerprint in colon hex, as browsers show it.
    pub fn cert_sha256_hex(&self) -> String {
        colon_hex(digest::digest(&digest::SHA256, &self.certificate).as_ref())
    }
}

fn colon_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// The key itself in a SubjectPublicKeyInfo (RFC 5280 s4.1): what follows the algorithm, without the count of unused
/// bits, which is 0.
fn public_key(info: &[u8]) -> Option<&[u8]> {
    let (fields, _) = der_value(info)?;
    let (_algorithm, after) = der_value(fields)?;
    let (bits, _) = der_value(after)?;
    bits.get(1..)
}

/// Contents of the first DER element, and what follows it.
fn der_value(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A connection to the HTTPS listener: `Read` and `Write` of plaintext that never block.
///
/// `WouldBlock` means what it means on a socket, with one rule more, since the two directions of TLS depend on each
/// other: on every readiness, [`Write::flush`] and then read until `WouldBlock`. A read of 0 is the end.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    speech: Speech,
}

#[derive(Debug)]
enum Speech {
    /// Nothing has come yet.
    Unheard(Arc<ServerConfig>),
    Tls(Box<ServerConnection>),
    Plain,
}

impl TlsStream {
    /// Whether the other side speaks plain HTTP; then this is a plain connection, for a page that says so.
    pub fn is_plain(&self) -> bool {
        match self.speech {
            Speech::Plain => true,
            Speech::Unheard(_) | Speech::Tls(_) => false,
        }
    }

    /// Whether the other side has begun to speak TLS.
    pub fn has_greeted(&self) -> bool {
        match &self.speech {
            Speech::Tls(_) => true,
            Speech::Unheard(_) | Speech::Plain => false,
        }
    }

    /// Ends what is written: the other side can tell the end from a cut. Flush it, then shut the socket down.
    pub fn close_notify(&mut self) {
        match &mut self.speech {
            Speech::Tls(connection) => connection.send_close_notify(),
            Speech::Unheard(_) | Speech::Plain => {}
        }
    }

    /// The socket, to register it and to shut it down.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// Finds out from the first byte what is spoken: a method is in capitals, a TLS record begins with 22.
    /// False where the connection ended before it.
    fn hear(&mut self) -> io::Result<bool> {
        let Speech::Unheard(config) = &self.speech else { return Ok(true) };
        let mut first = [0];
        if retried(|| self.tcp.peek(&mut first))? == 0 {
            return Ok(false);
        }
        self.speech = match first[0].is_ascii_uppercase() {
            true => Speech::Plain,
            false => Speech::Tls(Box::new(ServerConnection::new(config.clone()).map_err(io::Error::other)?)),
        };
        Ok(true)
    }
}

impl Read for TlsStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.hear()? {
            return Ok(0);
        }
        match &mut self.speech {
            Speech::Unheard(_) => Err(ErrorKind::WouldBlock.into()),
            Speech::Plain => retried(|| self.tcp.read(buf)),
            Speech::Tls(connection) => read_tls(connection, &mut self.tcp, buf),
        }
    }
}

impl Write for TlsStream {
    /// Takes what fits into the buffer of rustls (64 KiB), and writes as much as the socket takes.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.speech {
            Speech::Unheard(_) => Err(ErrorKind::WouldBlock.into()),
            Speech::Plain => retried(|| self.tcp.write(buf)),
            Speech::Tls(connection) => {
                write_tls(connection, &mut self.tcp)?;
                let taken = connection.writer().write(buf)?;
                write_tls(connection, &mut self.tcp)?;
                match taken {
                    0 if !buf.is_empty() => Err(ErrorKind::WouldBlock.into()),
                    taken => Ok(taken),
                }
            }
        }
    }

    /// Writes what waits in rustls; `WouldBlock` where the socket does not take all of it.
    fn flush(&mut self) -> io::Result<()> {
        let Speech::Tls(connection) = &mut self.speech else { return Ok(()) };
        write_tls(connection, &mut self.tcp)?;
        match connection.wants_write() {
            true => Err(ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }
}

fn read_tls(connection: &mut ServerConnection, tcp: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        // Plaintext first: it can wait inside rustls with no further readiness.
        match connection.reader().read(buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // A request's end does not depend on it, and browsers do it.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
            result => return result,
        }
        let read = retried(|| connection.read_tls(tcp));
        let processed = connection.process_new_packets();
        // Also after an error: it is the alert.
        let written = write_tls(connection, tcp);
        if let Err(error) = processed {
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        if read? == 0 && connection.is_handshaking() {
            return Ok(0);
        }
        written?;
    }
}

/// Writes what rustls has until the socket takes no more.
fn write_tls(connection: &mut ServerConnection, tcp: &mut TcpStream) -> io::Result<()> {
    while connection.wants_write() {
        match retried(|| connection.write_tls(tcp)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Does it again where a signal interrupted it.
fn retried<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net, thread};

    use mio::{Events, Interest, Poll, Token, net::TcpListener};
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
        pki_types::{ServerName, UnixTime},
    };

    use super::*;
    use crate::server::pki::{Authority, Folder, Valid, pem};

    /// Longest wait of a test for something that must happen.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

    /// A listener's connection after `client` has connected to it from a thread of its own.
    fn accepted(
        acceptor: &TlsAcceptor,
        client: impl FnOnce(net::TcpStream) + Send + 'static,
    ) -> (TlsStream, Poll, thread::JoinHandle<()>) {
        let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || client(net::TcpStream::connect(address).unwrap()));
        let mut poll = Poll::new().unwrap();
        poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
        wait(&mut poll);
        let mut stream = acceptor.accept(listener.accept().unwrap().0);
        poll.registry().register(stream.socket(), Token(1), Interest::READABLE | Interest::WRITABLE).unwrap();
        (stream, poll, client)
    }

    fn wait(poll: &mut Poll) {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, PATIENCE).unwrap();
        assert!(!events.is_empty(), "nothing happened");
    }

    /// Repeats `operation` at each readiness until it gives something else than `WouldBlock`.
    fn until<T>(
        poll: &mut Poll,
        stream: &mut TlsStream,
        mut operation: impl FnMut(&mut TlsStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match operation(stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait(poll),
                result => return result,
            }
        }
    }

    fn read_exactly(poll: &mut Poll, stream: &mut TlsStream, count: usize) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < count {
            // One byte at a time: the rest waits inside rustls.
            let mut byte = [0];
            assert_eq!(until(poll, stream, |stream| stream.read(&mut byte)).unwrap(), 1);
            text.push(byte[0]);
        }
        text
    }

    fn client_config(trusted: &CertificateDer<'_>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone().into_owned()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    #[test]
    fn a_browser_is_answered_within_tls() {
        let acceptor = TlsAcceptor::self_signed(None).unwrap();
        let config = client_config(&acceptor.certificate);
        let page = "a page \n".repeat(30_000);
        let want = page.clone();
        let (mut stream, mut poll, client) = accepted(&acceptor, move |tcp| {
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = StreamOwned::new(ClientConnection::new(config, name).unwrap(), tcp);
            tls.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut page = String::new();
            tls.read_to_string(&mut page).unwrap();
            assert_eq!(page, want);
        });
        assert!(!stream.has_greeted());
        until(&mut poll, &mut stream, |stream| stream.hear()).unwrap();
        assert!(stream.has_greeted());
        let request = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(read_exactly(&mut poll, &mut stream, request.len()), request);
        assert!(stream.has_greeted() && !stream.is_plain(), "also when the handshake is over");
        let mut rest = page.as_bytes();
        while !rest.is_empty() {
            let written = until(&mut poll, &mut stream, |stream| stream.write(rest)).unwrap();
            rest = &rest[written..];
        }
        stream.close_notify();
        until(&mut poll, &mut stream, |stream| stream.flush()).unwrap();
        client.join().unwrap();
        assert_eq!(until(&mut poll, &mut stream, |stream| stream.read(&mut [0; 9])).unwrap(), 0);
    }

    #[test]
    fn plain_http_is_noticed_and_answered_plainly() {
        let acceptor = TlsAcceptor::self_signed(None).unwrap();
        let (mut stream, mut poll, client) = accepted(&acceptor, |mut tcp| {
            tcp.write_all(b"GET /").unwrap();
            let mut page = String::new();
            tcp.read_to_string(&mut page).unwrap();
            assert_eq!(page, "https, please");
        });
        assert_eq!(read_exactly(&mut poll, &mut stream, 5), b"GET /");
        assert!(stream.is_plain() && !stream.has_greeted());
        assert_eq!(stream.write(b"https, please").unwrap(), 13);
        drop(stream);
        client.join().unwrap();
    }

    #[test]
    fn what_is_neither_ends_the_connection_alone() {
        let acceptor = TlsAcceptor::self_signed(None).unwrap();
        for (name, bytes, want) in [
            ("nothing", &b""[..], Ok(0)),
            ("a cut handshake", b"\x16\x03\x01", Ok(0)),
            ("noise", b"\x00\x01\x02\x03\x04\x05\x06\x07", Err(ErrorKind::InvalidData)),
            ("an alert", b"\x15\x03\x01\x00\x02\x02\x28", Err(ErrorKind::InvalidData)),
        ] {
            let (mut stream, mut poll, client) = accepted(&acceptor, move |mut tcp| {
                tcp.write_all(bytes).unwrap();
                tcp.shutdown(net::Shutdown::Write).unwrap();
                // The alert, where there is one.
                let _ = tcp.read_to_end(&mut Vec::new());
            });
            let read = until(&mut poll, &mut stream, |stream| stream.read(&mut [0; 99]));
            assert_eq!(read.map_err(|error| error.kind()), want, "{name}");
            drop(stream);
            client.join().unwrap();
        }
    }

    #[test]
    fn the_self_signed_certificate_is_for_loopback_for_ten_years() {
        let acceptor = TlsAcceptor::self_signed(Some("laptop.example")).unwrap();
        let parsed = ParsedCertificate::try_from(&acceptor.certificate).unwrap();
        for (name, want) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("laptop.example", true),
            ("127.0.0.2", false),
            ("other.example", false),
        ] {
            let valid = verify_server_name(&parsed, &ServerName::try_from(name).unwrap()).is_ok();
            assert_eq!(valid, want, "{name}");
        }
        let mut roots = RootCertStore::empty();
        roots.add(acceptor.certificate.clone()).unwrap();
        let algorithms = default_provider().signature_verification_algorithms.all;
        let day = 24 * 60 * 60;
        for (days, want) in [(-2, false), (0, true), (3649, true), (3651, false)] {
            let seconds = UnixTime::now().as_secs() as i64 + days * day;
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds as u64));
            let valid = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], time, algorithms).is_ok();
            assert_eq!(valid, want, "after {days} days");
        }
    }

    #[test]
    fn any_host_name_gives_a_certificate() {
        for name in [None, Some(""), Some("localhost"), Some("under_score"), Some("m\u{fc}ller"), Some("a b\n")] {
            assert!(TlsAcceptor::self_signed(name).is_ok(), "{name:?}");
        }
        let (one, two) = (TlsAcceptor::self_signed(None).unwrap(), TlsAcceptor::self_signed(None).unwrap());
        assert_ne!(one.public_key_hex(), two.public_key_hex());
        assert_ne!(one.cert_sha256_hex(), two.cert_sha256_hex());
    }

    #[test]
    fn certificate_and_key_come_from_files() {
        let (folder, authority) = (Folder::new(), Authority::new("own"));
        let leaf = authority.leaf("laptop.example", Valid::Now);
        let cert = folder.write("cert.pem", &(leaf.certificate_pem() + &authority.pem()));
        let key = folder.write("key.pem", &leaf.key_pem());
        let acceptor = TlsAcceptor::from_pem(&cert, &key).unwrap();
        assert_eq!(acceptor.public_key_hex(), colon_hex(leaf.public_key()));
        assert_eq!(acceptor.cert_sha256_hex().len(), 95);
        assert!(acceptor.public_key_hex().starts_with("04:"), "an uncompressed point");
    }

    #[test]
    fn a_bad_file_is_named_with_its_fault() {
        let (folder, authority) = (Folder::new(), Authority::new("own"));
        let (leaf, other) = (authority.leaf("a.example", Valid::Now), authority.leaf("a.example", Valid::Now));
        let (cert, key) = (leaf.certificate_pem(), leaf.key_pem());
        for (name, cert_text, key_text, file, want) in [
            ("no certificate", key.as_str(), key.as_str(), "https_cert", "no certificate in it"),
            ("no key", &cert, &cert, "https_key", "no private key in it"),
            ("another's key", &cert, &other.key_pem(), "https_cert", "does not belong to the key"),
            ("a broken key", &cert, &pem("PRIVATE KEY", b"hunter2"), "https_key", "not a key that can be used"),
            ("a broken certificate", &pem("CERTIFICATE", b"x"), &key, "https_cert", "not a certificate"),
        ] {
            let (cert, key) = (folder.write("cert.pem", cert_text), folder.write("key.pem", key_text));
            let error = TlsAcceptor::from_pem(&cert, &key).unwrap_err();
            assert!(error.starts_with(&format!("{file} /")) && error.contains(want), "{name}: {error}");
        }
    }

    #[test]
    fn a_key_is_found_in_its_der() {
        for (der, want) in [
            (&[0x30, 6, 0x30, 0, 0x03, 2, 0, 7][..], Some(&[7][..])),
            (&[0x30, 0x81, 6, 0x30, 0, 0x03, 2, 0, 7], Some(&[7])),
            (&[0x30, 7, 0x30, 0, 0x03, 2, 0, 7], None),
            (&[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], None),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], None),
            (&[0x30, 0x80, 0, 0], None),
            (&[0x30], None),
            (&[], None),
        ] {
            assert_eq!(public_key(der), want, "{der:?}");
        }
    }
}
