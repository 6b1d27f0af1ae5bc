//! The ports of the redirect listeners: the sockets of each, new, or taken over from the ports that are there.
//!
//! A loopback port has a socket for each IP family. Every option gets the address that it names before any gets that of
//! the other family, so that none takes from another what is named there. Nothing that is there changes.
//!
//! Host names are looked up before, where the loop need not wait for it.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    rc::Rc,
};

use mio::{Interest, Registry, net::TcpListener};

use super::{fault::Fault, source::Source};

/// How many free ports are tried until one is free for both IP families: hardly ever more than one.
const TRIES: usize = 32;

/// One listener: a port, on one address or on both loopback addresses.
#[derive(Clone)]
pub(super) struct Port {
    /// What was asked for.
    setting: String,
    /// The one for the address that was asked for, then that of the other family.
    sockets: Vec<Socket>,
    /// Why there is no other family.
    warning: Option<String>,
}

/// A socket that listens. A copy is the same socket.
#[derive(Clone)]
pub(super) struct Socket {
    /// Its running number.
    pub(super) number: usize,
    /// The socket itself.
    pub(super) listener: Rc<TcpListener>,
    address: SocketAddr,
}

/// What an option asks for.
pub(super) struct Wanted<'a> {
    /// The option.
    pub(super) option: &'static str,
    /// Its `HOST:PORT`.
    pub(super) setting: &'a str,
    /// The port that it has.
    pub(super) present: Option<&'a Port>,
}

/// The addresses of a `HOST:PORT` with a host name, or why there are none.
pub(super) type Found = HashMap<String, Result<Vec<SocketAddr>, String>>;

/// Looks every `HOST:PORT` up; this may take as long as the system's resolver likes.
pub(super) fn look_up(names: Vec<String>) -> Found {
    let found = names.into_iter().map(|name| {
        let addresses = name.to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string());
        (name, addresses)
    });
    found.collect()
}

/// Opens what is `wanted`, with names as they were `found`. What is in `present` is taken over where it fits, whoever
/// has it; `next` is the running number of the next new socket.
///
/// Each error is a line for the user.
pub(super) fn open(
    wanted: [Option<Wanted<'_>>; 2],
    present: &[&Socket],
    found: &Found,
    next: &mut usize,
) -> Result<[Option<Port>; 2], Vec<String>> {
    let mut order: Vec<_> = wanted.iter().enumerate().filter_map(|(at, wanted)| Some((at, wanted.as_ref()?))).collect();
    // A free port is looked for last, so that it is none that another option names.
    order.sort_by_key(|(_, wanted)| (wanted.unchanged().is_none(), wanted.setting.ends_with(":0")));
    let mut opening = Opening { present, found, taken: Vec::new(), next };
    let (mut ports, mut errors) = ([None, None], Vec::new());
    for (at, wanted) in &order {
        match opening.open(wanted) {
            Ok(port) => ports[*at] = Some(port),
            Err(error) => errors.push(error),
        }
    }
    for (at, wanted) in &order {
        let Some(port) = &mut ports[*at] else { continue };
        errors.extend(opening.add_other_family(port, wanted).err());
    }
    if errors.is_empty() { Ok(ports) } else { Err(errors) }
}

impl Port {
    /// Its number.
    pub(super) fn number(&self) -> u16 {
        self.sockets.first().map_or(0, |socket| socket.address.port())
    }

    /// Its sockets.
    pub(super) fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    /// Why redirects may go astray.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Has the poll tell of every socket that it does not know yet.
    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for Socket { number, listener, address: _ } in &mut self.sockets {
            // One that is shared was taken over, and is known.
            let Some(listener) = Rc::get_mut(listener) else { continue };
            registry.register(listener, Source::RedirectListener(*number).token(), Interest::READABLE)?;
        }
        Ok(())
    }
}

impl Wanted<'_> {
    /// Its `HOST:PORT`, if that must be looked up: it is neither an address nor there already.
    pub(super) fn unknown_name(&self) -> Option<&str> {
        let is_known = self.unchanged().is_some()
            || loopback(self.setting).is_some()
            || self.setting.parse::<SocketAddr>().is_ok();
        (!is_known).then_some(self.setting)
    }

    /// The first socket of the port that the option has, where it asks for that once more.
    fn unchanged(&self) -> Option<&Socket> {
        self.present.filter(|present| present.setting == self.setting).and_then(|present| present.sockets.first())
    }

    /// The message about `refusal`.
    fn fault(&self, refusal: Refusal) -> String {
        let (option, setting) = (self.option, self.setting.to_owned());
        let fault = match refusal {
            Refusal::Option(by) => Fault::PortNamedTwice { option, setting, by },
            Refusal::Own(own) => Fault::PortHeldHere { option, setting, own: own.to_string() },
            Refusal::System(error) => match error.kind() {
                ErrorKind::AddrInUse => Fault::PortTaken { option, setting },
                ErrorKind::PermissionDenied => Fault::PortReserved { option, setting },
                ErrorKind::AddrNotAvailable => Fault::NoSuchAddress { option, setting },
                _ => Fault::NotBound { option, setting, reason: error.to_string() },
            },
        };
        fault.into()
    }
}

/// The ports that are being opened.
struct Opening<'a> {
    present: &'a [&'a Socket],
    found: &'a Found,
    /// The options' addresses so far.
    taken: Vec<(&'static str, SocketAddr)>,
    next: &'a mut usize,
}

/// Why there is no socket for an address.
enum Refusal {
    /// It is this option's by now.
    Option(&'static str),
    /// It cannot be bound beside this one, which the server has until the new ports are opened.
    Own(SocketAddr),
    System(io::Error),
}

impl Opening<'_> {
    /// The port with the address that is asked for; a free one with both families, where there are two.
    fn open(&mut self, wanted: &Wanted<'_>) -> Result<Port, String> {
        let option = wanted.option;
        let sockets = match (wanted.unchanged(), loopback(wanted.setting)) {
            (Some(socket), _) => self.take(option, socket.address).map(|socket| vec![socket]),
            (None, Some(address)) if address.port() == 0 => self.take_free(option, address.ip()),
            (None, Some(address)) => self.take(option, address).map(|socket| vec![socket]),
            (None, None) => self.take_any(option, wanted.setting).map(|socket| vec![socket]),
        };
        let sockets = sockets.map_err(|refusal| wanted.fault(refusal))?;
        Ok(Port { setting: wanted.setting.to_owned(), sockets, warning: None })
    }

    /// Adds the other family's socket to a loopback port that does not have it, or the reason why not.
    fn add_other_family(&mut self, port: &mut Port, wanted: &Wanted<'_>) -> Result<(), String> {
        let (Some(_), [only]) = (loopback(wanted.setting), &*port.sockets) else { return Ok(()) };
        let other = SocketAddr::new(other_family(only.address.ip()), only.address.port());
        let (option, setting) = (wanted.option, wanted.setting.to_owned());
        let fault = match self.take(option, other) {
            Ok(socket) => {
                port.sockets.push(socket);
                return Ok(());
            }
            Err(Refusal::Option(by)) => Fault::OtherFamilyNamed { option, setting, other: other.to_string(), by },
            Err(refusal @ Refusal::Own(_)) => return Err(wanted.fault(refusal)),
            Err(Refusal::System(error)) if error.kind() == ErrorKind::AddrInUse => {
                Fault::OtherFamilyTaken { option, setting, other: other.to_string() }
            }
            // A machine with one IP family only.
            Err(Refusal::System(_)) => return Ok(()),
        };
        port.warning = Some(fault.into());
        Ok(())
    }

    /// A socket at the first address of `setting` that can be had.
    fn take_any(&mut self, option: &'static str, setting: &str) -> Result<Socket, Refusal> {
        let other = |reason: &str| Refusal::System(io::Error::other(reason.to_owned()));
        let addresses = match (setting.parse(), self.found.get(setting)) {
            (Ok(address), _) => vec![address],
            (Err(_), Some(Ok(addresses))) => addresses.clone(),
            (Err(_), Some(Err(reason))) => return Err(other(reason)),
            (Err(_), None) => return Err(other("this name was not looked up")),
        };
        let mut refusal = other("this name has no address");
        for address in addresses {
            match self.take(option, address) {
                Ok(socket) => return Ok(socket),
                Err(last) => refusal = last,
            }
        }
        Err(refusal)
    }

    /// Sockets at a port that is free on `ip` and on the other family's loopback address; on `ip` alone where no such
    /// port is found.
    fn take_free(&mut self, option: &'static str, ip: IpAddr) -> Result<Vec<Socket>, Refusal> {
        // Those that did not fit are held, so that the next try gets another port.
        let mut unfit = Vec::new();
        loop {
            let first = self.bind(SocketAddr::new(ip, 0))?;
            let sockets = match self.bind(SocketAddr::new(other_family(ip), first.address.port())) {
                Ok(other) => vec![first, other],
                Err(refusal) if refusal.is_in_use() && unfit.len() < TRIES => {
                    unfit.push(first);
                    continue;
                }
                Err(_) => vec![first],
            };
            self.taken.extend(sockets.iter().map(|socket| (option, socket.address)));
            return Ok(sockets);
        }
    }

    /// The socket at `address`, be it there or new.
    fn take(&mut self, option: &'static str, address: SocketAddr) -> Result<Socket, Refusal> {
        if let Some((by, _)) = self.taken.iter().find(|(_, taken)| *taken == address) {
            return Err(Refusal::Option(by));
        }
        let socket = match self.present.iter().find(|present| present.address == address) {
            Some(present) => Socket::clone(present),
            None => self.bind(address)?,
        };
        self.taken.push((option, socket.address));
        Ok(socket)
    }

    fn bind(&mut self, address: SocketAddr) -> Result<Socket, Refusal> {
        let bound = net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        let (address, listener) = bound.map_err(|error| self.refusal(address, error))?;
        let socket = Socket { number: *self.next, listener: Rc::new(TcpListener::from_std(listener)), address };
        *self.next += 1;
        Ok(socket)
    }

    /// What it means that `address` could not be bound.
    fn refusal(&self, address: SocketAddr, error: io::Error) -> Refusal {
        // An equal address is taken over, so what is in the way has every address, or is wanted with every other.
        let is_in_the_way = |held: &SocketAddr| {
            held.port() == address.port() && (held.ip().is_unspecified() || address.ip().is_unspecified())
        };
        if error.kind() != ErrorKind::AddrInUse {
            return Refusal::System(error);
        }
        if let Some((by, _)) = self.taken.iter().find(|(_, taken)| is_in_the_way(taken)) {
            return Refusal::Option(by);
        }
        let own = self.present.iter().map(|present| present.address).find(is_in_the_way);
        own.map_or(Refusal::System(error), Refusal::Own)
    }
}

impl Refusal {
    fn is_in_use(&self) -> bool {
        match self {
            Refusal::Option(_) | Refusal::Own(_) => true,
            Refusal::System(error) => error.kind() == ErrorKind::AddrInUse,
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

/// The loopback address of the other family.
fn other_family(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

#[cfg(test)]
mod tests;
