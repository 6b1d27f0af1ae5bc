//! The redirect listeners: which of them run, on which addresses, and what is kept when the configuration changes.
//!
//! Everything that can fail happens here, beside the listeners that run; taking the new ones is then an assignment.

use std::{
    io::{self, ErrorKind},
    net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    rc::Rc,
};

use mio::{Interest, Registry, net::TcpListener};

use super::{fault::Fault, source::Source, tls::TlsAcceptor};
use crate::{
    config::{Config, Listen},
    engine::Bound,
    oauth::Ports,
    sys::user,
};

/// Where a listener is that the configuration says nothing of.
const DEFAULT: &str = "127.0.0.1:0";

/// How many free ports are tried until one is free for both IP families: hardly ever more than one.
const TRIES: usize = 32;

/// The redirect listeners. A copy shares its sockets with the original.
#[derive(Clone, Default)]
pub(super) struct Listeners {
    http: Option<Port>,
    https: Option<Https>,
    /// The running number of the next socket.
    next: usize,
}

#[derive(Clone)]
struct Https {
    port: Port,
    tls: TlsAcceptor,
    self_signed: bool,
}

/// One listener: a port, on one address or on both loopback addresses.
#[derive(Clone)]
struct Port {
    /// What was asked for.
    setting: String,
    number: u16,
    sockets: Vec<(usize, Rc<TcpListener>)>,
    warning: Option<String>,
    /// The poll knows it.
    registered: bool,
}

impl Listeners {
    /// Binds what `config` asks for, except where `present` has it already. Files are relative to `folder`.
    ///
    /// Each error is a line for the user.
    pub(super) fn open(config: &Config, folder: &Path, present: &Listeners) -> Result<Listeners, Vec<String>> {
        let mut next = present.next;
        let http = match setting(&config.http_listen, config.wants_http()) {
            None => Ok(None),
            Some(setting) => Port::open("http_listen", setting, present.http.as_ref(), &mut next).map(Some),
        };
        let https = match setting(&config.https_listen, config.wants_https()) {
            None => Ok(None),
            Some(setting) => {
                let old = present.https.as_ref();
                let port = Port::open("https_listen", setting, old.map(|https| &https.port), &mut next);
                let tls = acceptor(config, folder, old);
                match (port, tls) {
                    (Ok(port), Ok((tls, self_signed))) => Ok(Some(Https { port, tls, self_signed })),
                    (Err(port), Err(tls)) => Err(vec![port, tls]),
                    (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(vec![error]),
                }
            }
        };
        match (http, https) {
            (Ok(http), Ok(https)) => Ok(Listeners { http, https, next }),
            (http, https) => Err(http.err().into_iter().chain(https.err().into_iter().flatten()).collect()),
        }
    }

    /// Has the poll tell of every socket that it does not know yet.
    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let https = self.https.as_mut().map(|https| &mut https.port);
        self.http.iter_mut().chain(https).try_for_each(|port| port.register(registry))
    }

    /// The socket of that running number, with its certificate if it speaks TLS.
    pub(super) fn of(&self, number: usize) -> Option<(Rc<TcpListener>, Option<&TlsAcceptor>)> {
        let http = self.http.iter().map(|port| (port, None));
        let https = self.https.iter().map(|https| (&https.port, Some(&https.tls)));
        let mut sockets = http.chain(https).flat_map(|(port, tls)| port.sockets.iter().map(move |own| (own, tls)));
        sockets.find(|((own, _), _)| *own == number).map(|((_, socket), tls)| (socket.clone(), tls))
    }

    /// The running numbers of all sockets.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let https = self.https.iter().map(|https| &https.port);
        self.http.iter().chain(https).flat_map(|port| port.sockets.iter().map(|(number, _)| *number)).collect()
    }

    /// What the engine and `info` are told of them.
    pub(super) fn bound(&self) -> Bound {
        let https = self.https.as_ref();
        let ports = [self.http.as_ref(), https.map(|https| &https.port)];
        Bound {
            ports: Ports {
                http: self.http.as_ref().map(|port| port.number),
                https: https.map(|https| https.port.number),
            },
            https_pub_key: https.map(|https| https.tls.public_key_hex()),
            https_cert_sha256: https.map(|https| https.tls.cert_sha256_hex()),
            warnings: ports.into_iter().flatten().filter_map(|port| port.warning.clone()).collect(),
        }
    }
}

impl Port {
    fn open(option: &'static str, setting: &str, present: Option<&Port>, next: &mut usize) -> Result<Port, String> {
        if let Some(present) = present.filter(|present| present.is_at(setting)) {
            return Ok(Port { setting: setting.to_owned(), ..present.clone() });
        }
        let (sockets, other) = bind(setting).map_err(|error| fault(option, setting, &error))?;
        let number = sockets.first().and_then(|socket| socket.local_addr().ok()).map_or(0, |address| address.port());
        let mut numbered = Vec::with_capacity(sockets.len());
        for socket in sockets {
            socket.set_nonblocking(true).map_err(|error| fault(option, setting, &error))?;
            numbered.push((*next, Rc::new(TcpListener::from_std(socket))));
            *next += 1;
        }
        let warning = other.map(|other| {
            Fault::OtherFamilyTaken { option, setting: setting.to_owned(), other: other.to_string() }.into()
        });
        Ok(Port { setting: setting.to_owned(), number, sockets: numbered, warning, registered: false })
    }

    /// Whether this is what `setting` asks for, written as before or not.
    fn is_at(&self, setting: &str) -> bool {
        let wanted = loopback(setting).or_else(|| setting.parse().ok());
        let mut held = self.sockets.iter().filter_map(|(_, socket)| socket.local_addr().ok());
        self.setting == setting || held.any(|held| Some(held) == wanted)
    }

    fn register(&mut self, registry: &Registry) -> io::Result<()> {
        if self.registered {
            return Ok(());
        }
        for (number, socket) in &mut self.sockets {
            // Not shared before it is registered.
            let Some(socket) = Rc::get_mut(socket) else { continue };
            registry.register(socket, Source::RedirectListener(*number).token(), Interest::READABLE)?;
        }
        self.registered = true;
        Ok(())
    }
}

/// The address to listen on; `wanted` says whether an account needs the listener.
fn setting(listen: &Listen, wanted: bool) -> Option<&str> {
    match listen {
        Listen::Default => wanted.then_some(DEFAULT),
        Listen::Off => None,
        Listen::Address(address) => Some(address),
    }
}

/// The certificate of the configuration, or a self-signed one, made once. True where it is self-signed.
fn acceptor(config: &Config, folder: &Path, present: Option<&Https>) -> Result<(TlsAcceptor, bool), String> {
    match (&config.https_cert, &config.https_key) {
        (Some(cert), Some(key)) => TlsAcceptor::from_pem(&folder.join(cert), &folder.join(key)).map(|tls| (tls, false)),
        (None, None) => match present.filter(|https| https.self_signed) {
            Some(https) => Ok((https.tls.clone(), true)),
            None => TlsAcceptor::self_signed(user::host_name().as_deref()).map(|tls| (tls, true)),
        },
        (Some(_), None) => Err(Fault::CertificateWithoutKey.into()),
        (None, Some(_)) => Err(Fault::KeyWithoutCertificate.into()),
    }
}

/// Listens at `HOST:PORT`, with a loopback host on both IP families where there are two; and the address of the other
/// family, where another program holds it.
fn bind(setting: &str) -> io::Result<(Vec<net::TcpListener>, Option<SocketAddr>)> {
    let Some(first) = loopback(setting) else { return Ok((vec![net::TcpListener::bind(setting)?], None)) };
    let second = match first.ip() {
        IpAddr::V4(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    // Those that did not fit are held, so that the next try gets another port.
    let mut unfit = Vec::new();
    loop {
        let socket = net::TcpListener::bind(first)?;
        let port = socket.local_addr()?.port();
        match net::TcpListener::bind(SocketAddr::new(second, port)) {
            Ok(other) => return Ok((vec![socket, other], None)),
            Err(error) if error.kind() == ErrorKind::AddrInUse && first.port() == 0 && unfit.len() < TRIES => {
                unfit.push(socket);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Ok((vec![socket], Some(SocketAddr::new(second, port))));
            }
            // A machine with one IP family only.
            Err(_) => return Ok((vec![socket], None)),
        }
    }
}

/// The address of a `HOST:PORT` whose host is a loopback one.
fn loopback(setting: &str) -> Option<SocketAddr> {
    let address = match setting.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => {
            let (host, port) = setting.rsplit_once(':')?;
            let host = host.trim_end_matches('.');
            let ip = host.eq_ignore_ascii_case("localhost").then_some(Ipv4Addr::LOCALHOST)?;
            SocketAddr::new(ip.into(), port.parse().ok()?)
        }
    };
    address.ip().is_loopback().then_some(address)
}

fn fault(option: &'static str, setting: &str, error: &io::Error) -> String {
    let setting = setting.to_owned();
    let fault = match error.kind() {
        ErrorKind::AddrInUse => Fault::PortTaken { option, setting },
        ErrorKind::PermissionDenied => Fault::PortReserved { option, setting },
        ErrorKind::AddrNotAvailable => Fault::NoSuchAddress { option, setting },
        _ => Fault::NotBound { option, setting, reason: error.to_string() },
    };
    fault.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(sockets: &[net::TcpListener]) -> u16 {
        sockets[0].local_addr().unwrap().port()
    }

    #[test]
    fn loopback_hosts_are_known() {
        for (setting, want) in [
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("127.1.2.3:80", Some("127.1.2.3:80")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("localhost:1", Some("127.0.0.1:1")),
            ("LOCALHOST.:1", Some("127.0.0.1:1")),
            ("192.0.2.1:80", None),
            ("0.0.0.0:80", None),
            ("example.org:80", None),
            ("localhost", None),
            ("localhost:no", None),
        ] {
            assert_eq!(loopback(setting), want.map(|want| want.parse().unwrap()), "{setting}");
        }
    }

    #[test]
    fn a_free_port_is_the_same_on_both_families() {
        let (sockets, warning) = bind("127.0.0.1:0").unwrap();
        let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
        assert_eq!(warning, None);
    }

    #[test]
    fn a_fixed_port_held_on_the_other_family_is_a_warning() {
        let Ok(holder) = net::TcpListener::bind("[::1]:0") else { return };
        let port = holder.local_addr().unwrap().port();
        let Ok((sockets, other)) = bind(&format!("127.0.0.1:{port}")) else { return };
        assert_eq!((sockets.len(), port_of(&sockets)), (1, port));
        assert_eq!(other, Some(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)));
    }

    #[test]
    fn a_taken_port_is_told_in_words() {
        let (sockets, _) = bind("127.0.0.1:0").unwrap();
        let error = bind(&format!("127.0.0.1:{}", port_of(&sockets))).unwrap_err();
        let told = fault("http_listen", "localhost:1", &error);
        assert_eq!(told, "http_listen localhost:1: another program holds this port; end it, or take another port");
    }

    #[test]
    fn a_port_that_is_held_already_is_kept_however_it_is_written() {
        let mut next = 0;
        let numbers = |port: &Port| port.sockets.iter().map(|(number, _)| *number).collect::<Vec<_>>();
        let present = Port::open("http_listen", "127.0.0.1:0", None, &mut next).unwrap();
        let written = ["127.0.0.1:0", "127.0.0.1:N", "localhost:N", "LOCALHOST.:N"];
        let both = if present.sockets.len() == 2 { &["[::1]:N"][..] } else { &[] };
        for setting in written.iter().chain(both) {
            let setting = setting.replace('N', &present.number.to_string());
            let port = Port::open("http_listen", &setting, Some(&present), &mut next).unwrap();
            assert_eq!((numbers(&port), port.number), (numbers(&present), present.number), "{setting}");
            assert_eq!(port.setting, setting);
        }
        let other = Port::open("http_listen", "localhost:0", Some(&present), &mut next).unwrap();
        assert_ne!(other.number, present.number);
    }
}
