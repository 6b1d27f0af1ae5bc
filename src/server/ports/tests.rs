use super::*;

type Ports = [Option<Port>; 2];

/// What both options give, if these are their settings and `present` is there.
fn opened(settings: [&str; 2], present: &Ports, next: &mut usize) -> Result<Ports, Vec<String>> {
    let sockets: Vec<_> = present.iter().flatten().flat_map(Port::sockets).collect();
    let wanted = |at: usize, option| {
        let setting = Some(settings[at]).filter(|setting| *setting != "none")?;
        Some(Wanted { option, setting, present: present[at].as_ref() })
    };
    open([wanted(0, "http_listen"), wanted(1, "https_listen")], &sockets, &Found::new(), next)
}

/// A lone http port.
fn open_http(setting: &str, present: &Ports, next: &mut usize) -> Result<Port, Vec<String>> {
    opened([setting, "none"], present, next).map(|[http, _]| http.unwrap())
}

/// Two numbers that are free on every address.
fn two_free() -> [u16; 2] {
    let free = opened(["127.0.0.1:0", "127.0.0.1:0"], &[None, None], &mut 0).unwrap();
    free.map(|port| port.unwrap().number())
}

fn numbers(port: &Port) -> Vec<usize> {
    let mut numbers: Vec<usize> = port.sockets.iter().map(|socket| socket.number).collect();
    numbers.sort_unstable();
    numbers
}

/// Whether this machine has what most of these tests are about.
fn has_both_families() -> bool {
    let has_both = net::TcpListener::bind("[::1]:0").is_ok();
    if !has_both {
        println!("skipped: no ::1");
    }
    has_both
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
    let port = open_http("127.0.0.1:0", &[None, None], &mut 0).unwrap();
    assert!(port.sockets.iter().all(|socket| socket.address.port() == port.number() && port.number() != 0));
    assert_eq!((port.sockets.len() == 2, port.warning()), (has_both_families(), None));
}

#[test]
fn the_other_family_is_taken_as_soon_as_its_holder_has_left() {
    let Ok(holder) = net::TcpListener::bind("[::1]:0") else { return println!("skipped: no ::1") };
    let setting = format!("127.0.0.1:{}", holder.local_addr().unwrap().port());
    let mut next = 0;
    let Ok(port) = open_http(&setting, &[None, None], &mut next) else { return println!("skipped: no such port") };
    let first = numbers(&port);
    let port = open_http(&setting, &[Some(port), None], &mut next).unwrap();
    assert_eq!(numbers(&port), first);
    assert!(port.warning().is_some_and(|warning| warning.contains("is held by another program")));
    drop(holder);
    let port = open_http(&setting, &[Some(port), None], &mut next).unwrap();
    assert_eq!((port.sockets.len(), port.warning()), (2, None));
    assert!(numbers(&port).starts_with(&first), "the first family's socket is another one");
}

#[test]
fn a_taken_port_is_told_in_words() {
    let holder = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = holder.local_addr().unwrap().to_string();
    let told = open_http(&setting, &[None, None], &mut 0).err().unwrap();
    let want = format!("http_listen {setting}: another program holds this port; end it, or take another port");
    assert_eq!(told, [want]);
}

#[test]
fn a_port_that_is_held_already_is_kept_however_it_is_written() {
    let mut next = 0;
    let first = open_http("127.0.0.1:0", &[None, None], &mut next).unwrap();
    let (want, number) = (numbers(&first), first.number());
    let both = if first.sockets.len() == 2 { &["[::1]:N"][..] } else { &[] };
    let present = [Some(first), None];
    for setting in ["127.0.0.1:0", "127.0.0.1:N", "localhost:N", "LOCALHOST.:N"].iter().chain(both) {
        let setting = setting.replace('N', &number.to_string());
        let port = open_http(&setting, &present, &mut next).unwrap();
        assert_eq!((numbers(&port), port.number()), (want.clone(), number), "{setting}");
        assert_eq!(port.setting, setting);
    }
    let other = open_http("localhost:0", &present, &mut next).unwrap();
    assert_ne!(other.number(), number);
}

#[test]
fn a_name_has_the_first_of_its_addresses_that_is_free() {
    let holder = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, two_free()[0]));
    let name = "here.example:80";
    let open_name = |addresses: Option<Result<Vec<SocketAddr>, &str>>, present: Option<&Port>| {
        let wanted = Wanted { option: "http_listen", setting: name, present };
        let asked = wanted.unknown_name().is_some();
        let sockets: Vec<_> = present.into_iter().flat_map(Port::sockets).collect();
        let found =
            addresses.map(|addresses| (name.to_owned(), addresses.map_err(str::to_owned))).into_iter().collect();
        (asked, open([Some(wanted), None], &sockets, &found, &mut 0).map(|[port, _]| port.unwrap()))
    };
    for (addresses, want) in [
        (vec![], "http_listen here.example:80: this name has no address"),
        (
            vec![holder.local_addr().unwrap()],
            "http_listen here.example:80: another program holds this port; end it, or take another port",
        ),
    ] {
        assert_eq!(open_name(Some(Ok(addresses)), None).1.err(), Some(vec![want.to_owned()]));
    }
    let told = open_name(Some(Err("no such name")), None).1.err();
    assert_eq!(told, Some(vec!["http_listen here.example:80: no such name".to_owned()]));
    let (asked, port) = open_name(Some(Ok(vec![holder.local_addr().unwrap(), free])), None);
    let port = port.unwrap();
    assert!(asked);
    assert_eq!(port.sockets.iter().map(|socket| socket.address).collect::<Vec<_>>(), [free]);
    // What is there is kept without a look-up.
    let (asked, kept) = open_name(None, Some(&port));
    assert_eq!((asked, numbers(&kept.unwrap())), (false, numbers(&port)));
}

#[test]
fn only_names_are_looked_up() {
    for (setting, is_looked_up) in [
        ("127.0.0.1:0", false),
        ("[::1]:80", false),
        ("0.0.0.0:80", false),
        ("192.0.2.1:80", false),
        ("localhost:80", false),
        ("LocalHost.:80", false),
        ("here.example:80", true),
    ] {
        let wanted = Wanted { option: "http_listen", setting, present: None };
        assert_eq!(wanted.unknown_name(), is_looked_up.then_some(setting), "{setting}");
    }
}

/// Linux, where 127.0.0.2 is there without being asked for, and where no port is shared with one of every address.
#[cfg(target_os = "linux")]
#[test]
fn own_sockets_are_taken_over_and_never_called_anothers() {
    if !has_both_families() {
        return;
    }
    let lacks = |option, address, other, by| {
        format!("{option} {address}: {other} is held for {by}, which gets redirects that browsers send there")
    };
    let holds = |address, own| {
        Err(format!("http_listen {address}: the running server itself holds {own}; stop it and start it again"))
    };
    let named_twice =
        |address| Err(format!("https_listen {address}: http_listen has this port already; take another port"));
    let both = |http: &str, https: &str| Ok([http, https].map(str::to_owned));
    for (name, before, after, want) in [
        ("another loopback address", ["127.0.0.1:P", "none"], ["127.0.0.2:P", "none"], both("127.0.0.2:P [::1]:P", "")),
        (
            "swapped",
            ["127.0.0.1:P", "127.0.0.1:Q"],
            ["127.0.0.1:Q", "127.0.0.1:P"],
            both("127.0.0.1:Q [::1]:Q", "127.0.0.1:P [::1]:P"),
        ),
        ("the other's", ["127.0.0.1:P", "none"], ["none", "[::1]:P"], both("", "[::1]:P 127.0.0.1:P")),
        (
            "another's other family",
            ["none", "127.0.0.1:P"],
            ["[::1]:P", "127.0.0.1:P"],
            both(
                &format!("[::1]:P {}", lacks("http_listen", "[::1]:P", "127.0.0.1:P", "https_listen")),
                &format!("127.0.0.1:P {}", lacks("https_listen", "127.0.0.1:P", "[::1]:P", "http_listen")),
            ),
        ),
        (
            "both on one family",
            ["none", "none"],
            ["127.0.0.1:P", "127.0.0.2:P"],
            both(
                "127.0.0.1:P [::1]:P",
                &format!("127.0.0.2:P {}", lacks("https_listen", "127.0.0.2:P", "[::1]:P", "http_listen")),
            ),
        ),
        ("every address", ["127.0.0.1:P", "none"], ["0.0.0.0:P", "none"], holds("0.0.0.0:P", "127.0.0.1:P")),
        ("one of every address", ["0.0.0.0:P", "none"], ["127.0.0.1:P", "none"], holds("127.0.0.1:P", "0.0.0.0:P")),
        ("one port", ["none", "none"], ["127.0.0.1:P", "localhost:P"], named_twice("localhost:P")),
        ("one port of every", ["none", "none"], ["0.0.0.0:P", "127.0.0.1:P"], named_twice("127.0.0.1:P")),
    ] {
        let [p, q] = two_free();
        let (p, q) = (p.to_string(), q.to_string());
        let number = |setting: &str| setting.replace('P', &p).replace('Q', &q);
        let (before, after) = (before.map(number), after.map(number));
        let mut next = 0;
        let present = opened(before.each_ref().map(String::as_str), &[None, None], &mut next).unwrap();
        let result = opened(after.each_ref().map(String::as_str), &present, &mut next);
        let shown = |port: Option<Port>| {
            let Some(port) = port else { return String::new() };
            let addresses = port.sockets.iter().map(|socket| socket.address.to_string());
            addresses.chain(port.warning.clone()).collect::<Vec<_>>().join(" ")
        };
        let told = result.map(|ports| ports.map(shown)).map_err(|errors| errors.join("\n"));
        assert_eq!(told, want.map(|ports| ports.map(|port| number(&port))).map_err(|error| number(&error)), "{name}");
    }
}

#[test]
fn a_port_that_cannot_be_had_changes_nothing() {
    let holder = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let mut next = 0;
    let present = opened(["127.0.0.1:0", "none"], &[None, None], &mut next).unwrap();
    let address = present[0].as_ref().unwrap().sockets[0].address;
    // The running port was taken over for https before http was refused.
    assert!(opened([&taken, &address.to_string()], &present, &mut next).is_err());
    let port = present[0].as_ref().unwrap();
    assert!(port.sockets.iter().all(|socket| Rc::strong_count(&socket.listener) == 1));
    assert!(net::TcpStream::connect(address).is_ok());
}
