//! TLS for tests: certificate authorities made on the spot, a TLS front before the demo provider, a proxy that makes
//! tunnels, and a client that shows the certificate it was given.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
    StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};

use super::{PATIENCE, read_once};

/// A certificate authority of one's own.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

/// A server's certificate and its key.
pub struct Leaf {
    certificate: Certificate,
    key: KeyPair,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    Now,
    Formerly,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Authority { certificate: params.self_signed(&key).expect("a certificate"), key }
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.certificate.der())
    }

    /// A certificate for `host`.
    pub fn leaf(&self, host: &str, valid: Valid) -> Leaf {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host name");
        (params.not_before, params.not_after) = match valid {
            Valid::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1)),
            Valid::Formerly => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
        };
        let key = KeyPair::generate().expect("a key");
        Leaf { certificate: params.signed_by(&key, &self.certificate, &self.key).expect("a certificate"), key }
    }
}

impl Leaf {
    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", self.certificate.der())
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key.serialize_der())
    }

    /// The certificate's bytes.
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the algorithms of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key);
        Arc::new(config.expect("a certificate and its key"))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A listener on a free port of 127.0.0.1 with a thread for each connection; dropping it stops it.
struct Listener {
    address: SocketAddr,
    is_stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let is_stopping = Arc::new(AtomicBool::new(false));
        let acceptor = thread::spawn({
            let (is_stopping, serve) = (is_stopping.clone(), Arc::new(serve));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if is_stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    let serve = serve.clone();
                    thread::spawn(move || {
                        let _ = stream.set_read_timeout(Some(PATIENCE));
                        // Whatever breaks, ends this connection only.
                        let _ = serve(stream);
                    });
                }
            }
        });
        Listener { address, is_stopping, acceptor: Some(acceptor) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        self.acceptor.take().map(JoinHandle::join);
    }
}

/// TLS in front of a server that speaks plain HTTP, one request a connection.
pub struct Front(Listener);

impl Front {
    /// Shows `leaf` to whoever comes, and hands the request on to the server at `behind`, as `http://host:port`.
    pub fn start(leaf: &Leaf, behind: &str) -> Front {
        let (config, behind) = (leaf.server_config(), behind.trim_start_matches("http://").to_owned());
        Front(Listener::start(move |stream| {
            let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            let mut tls = StreamOwned::new(connection, stream);
            let request = read_request(&mut tls)?;
            let mut server = TcpStream::connect(&behind)?;
            server.write_all(&request)?;
            let mut answer = Vec::new();
            server.read_to_end(&mut answer)?;
            tls.write_all(&answer)?;
            tls.conn.send_close_notify();
            tls.flush()
        }))
    }

    pub fn port(&self) -> u16 {
        self.0.address.port()
    }
}

/// A proxy that connects everybody who has the right credentials to one and the same place.
pub struct Tunnel {
    listener: Listener,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// A proxy to `port` of 127.0.0.1; `credentials`, `user:password`, are asked for where there are any.
    pub fn start(port: u16, credentials: Option<&str>) -> Tunnel {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let wanted = credentials.map(|text| format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(text)));
        let listener = Listener::start({
            let requests = requests.clone();
            move |mut stream| {
                let head = String::from_utf8_lossy(&read_request(&mut stream)?).into_owned();
                let line = head.lines().next().unwrap_or_default().to_owned();
                requests.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                if wanted.as_ref().is_some_and(|wanted| !head.contains(wanted)) {
                    return stream
                        .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
                }
                let server = TcpStream::connect(("127.0.0.1", port))?;
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
                let (from, to) = (stream.try_clone()?, server.try_clone()?);
                thread::spawn(move || pump(from, to));
                pump(server, stream);
                Ok(())
            }
        });
        Tunnel { listener, requests }
    }

    /// Where it listens, as `host:port`.
    pub fn authority(&self) -> String {
        self.listener.address.to_string()
    }

    /// The first line of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// A head, and the body that its Content-Length announces.
fn read_request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if request.len() >= end + 4 + length.unwrap_or(0) {
                return Ok(request);
            }
        }
        let mut chunk = [0; 4096];
        match read_once(stream, &mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => request.extend(&chunk[..length]),
        }
    }
}

/// Begins TLS with a loopback port, whatever its certificate will be: the first message is sent, nothing read.
pub fn greet(port: u16) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the algorithms of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    connection.write_tls(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Sends `request` within TLS to a loopback port whatever its certificate is; the answer, and the certificate.
pub fn exchange(port: u16, request: &str) -> io::Result<(String, Vec<u8>)> {
    let mut tls = greet(port)?;
    tls.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer)?;
    let certificate = tls.conn.peer_certificates().and_then(<[_]>::first).map(|der| der.to_vec());
    Ok((String::from_utf8_lossy(&answer).into_owned(), certificate.unwrap_or_default()))
}

/// GETs an https URL of a loopback host, whatever its certificate is; the whole answer, and the certificate.
#[track_caller]
pub fn get(url: &str) -> (String, Vec<u8>) {
    let rest = url.strip_prefix("https://").unwrap_or_else(|| panic!("no https URL: {url}"));
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    exchange(port, &request).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Takes every certificate for good.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
