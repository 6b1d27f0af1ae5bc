//! The redirect listeners: which of them run, at which ports, and with which certificate.
//!
//! Everything that can fail when the configuration changes happens here and in [`super::ports`], beside the listeners that run; taking the new ones is then an assignment.

use std::{io, path::Path, rc::Rc};

use mio::{Registry, net::TcpListener};

use super::{
    fault::Fault,
    ports::{self, Found, Port, Socket, Wanted},
    tls::TlsAcceptor,
};
use crate::{
    config::{Config, Listen},
    engine::Bound,
    oauth::Ports,
    sys::user,
};

/// Where a listener is that the configuration says nothing of.
const DEFAULT: &str = "127.0.0.1:0";

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

impl Listeners {
    /// Binds what `config` asks for, except where `present` has it already, with the names of [`Self::unknown_names`]
    /// as they were `found`. Files are relative to `folder`.
    ///
    /// Each error is a line for the user.
    pub(super) fn open(
        config: &Config,
        folder: &Path,
        present: &Listeners,
        found: &Found,
    ) -> Result<Listeners, Vec<String>> {
        let mut next = present.next;
        let wanted = present.wanted(config);
        let has_https = wanted[1].is_some();
        let sockets: Vec<_> = present.sockets().collect();
        let ports = ports::open(wanted, &sockets, found, &mut next);
        let tls = has_https.then(|| acceptor(config, folder, present.https.as_ref())).transpose();
        match (ports, tls) {
            (Ok([http, https]), Ok(tls)) => {
                let https = https.zip(tls).map(|(port, (tls, self_signed))| Https { port, tls, self_signed });
                Ok(Listeners { http, https, next })
            }
            (ports, tls) => Err(ports.err().into_iter().flatten().chain(tls.err()).collect()),
        }
    }

    /// Each `HOST:PORT` of `config` that must be looked up, since it is not there already.
    pub(super) fn unknown_names(&self, config: &Config) -> Vec<String> {
        self.wanted(config).iter().flatten().filter_map(Wanted::unknown_name).map(str::to_owned).collect()
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
        let mut sockets = http.chain(https).flat_map(|(port, tls)| port.sockets().iter().map(move |own| (own, tls)));
        sockets.find(|(socket, _)| socket.number == number).map(|(socket, tls)| (socket.listener.clone(), tls))
    }

    /// The running numbers of all sockets.
    pub(super) fn numbers(&self) -> Vec<usize> {
        self.sockets().map(|socket| socket.number).collect()
    }

    /// What the engine and `info` are told of them.
    pub(super) fn bound(&self) -> Bound {
        let [http, https] = self.ports();
        let tls = self.https.as_ref().map(|https| &https.tls);
        Bound {
            ports: Ports { http: http.map(Port::number), https: https.map(Port::number) },
            https_pub_key: tls.map(TlsAcceptor::public_key_hex),
            https_cert_sha256: tls.map(TlsAcceptor::cert_sha256_hex),
            warnings: [http, https].into_iter().flatten().filter_map(Port::warning).map(str::to_owned).collect(),
        }
    }

    fn wanted<'a>(&'a self, config: &'a Config) -> [Option<Wanted<'a>>; 2] {
        let [http, https] = self.ports();
        let http = setting(&config.http_listen, config.wants_http()).map(|setting| Wanted {
            option: "http_listen",
            setting,
            present: http,
        });
        let https = setting(&config.https_listen, config.wants_https()).map(|setting| Wanted {
            option: "https_listen",
            setting,
            present: https,
        });
        [http, https]
    }

    fn ports(&self) -> [Option<&Port>; 2] {
        [self.http.as_ref(), self.https.as_ref().map(|https| &https.port)]
    }

    fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.ports().into_iter().flatten().flat_map(Port::sockets)
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
