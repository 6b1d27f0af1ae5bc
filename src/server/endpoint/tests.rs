use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    panic,
    sync::mpsc,
    thread::JoinHandle,
};

use rustls::{ServerConnection, StreamOwned};

use super::*;
use crate::{
    oauth::CertificateFault,
    server::{
        pki::{Authority, Folder, Leaf, Valid},
        roots,
    },
};

/// Longest wait of a test for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Limit of calls that are meant to reach it.
const SHORT: Duration = Duration::from_millis(300);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// A server on loopback for one connection.
fn serve<T: Send + 'static>(handler: impl FnOnce(TcpStream) -> T + Send + 'static) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || handler(listener.accept().unwrap().0)))
}

/// A server that takes one request, gives `answer` and closes; it returns the request.
fn answering(answer: impl Into<Vec<u8>>) -> (SocketAddr, JoinHandle<String>) {
    let answer = answer.into();
    serve(move |mut stream| {
        let request = read_request(&mut stream);
        // A client that has had enough closes.
        let _ = stream.write_all(&answer);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        request
    })
}

fn within_tls(leaf: &Leaf, stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(leaf.server_config()).unwrap(), stream)
}

/// A head, and the body that its Content-Length announces; what came where the connection ends before.
fn read_request(stream: &mut impl Read) -> String {
    let mut text = String::new();
    let mut byte = [0];
    loop {
        let (head, body) = text.split_once("\r\n\r\n").map_or((None, ""), |(head, body)| (Some(head), body));
        let length = head.map(|head| field(head, "content-length").map_or(0, |value| value.parse().unwrap()));
        if length == Some(body.len()) || !matches!(stream.read(&mut byte), Ok(1)) {
            return text;
        }
        text.push(byte[0].into());
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(": ")?;
        field.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn post(uri: String) -> Call {
    Call { uri, headers: Vec::new(), body: Some(Secret::from("grant_type=refresh_token&refresh_token=hunter2")) }
}

fn direct() -> Endpoint {
    Endpoint::new(ProxySettings::default(), Roots::default())
}

fn through(proxy: String, roots: Roots) -> Endpoint {
    let proxies = ProxySettings::from_lookup(|name| (name == "all_proxy").then(|| proxy.clone()));
    Endpoint::new(proxies, roots)
}

fn trusting(authority: &Authority) -> Roots {
    let folder = Folder::new();
    roots::load(Some(&folder.write("ca.pem", &authority.pem())), None).unwrap()
}

#[track_caller]
fn assert_broken(result: Result<Reply, Broken>, stage: Stage, detail: &str) {
    let broken = result.unwrap_err();
    assert_eq!(broken.stage, stage, "{}", broken.detail);
    assert!(broken.detail.contains(detail), "{:?} should contain {detail:?}", broken.detail);
    for secret in ["hunter2", "opensesame", "query", "code=", "b3BlbnNlc2FtZ"] {
        assert!(!broken.detail.contains(secret), "{:?} tells {secret}", broken.detail);
    }
}

#[test]
fn a_form_is_posted_with_its_headers() {
    let (address, server) = answering(OK);
    let mut call = post(format!("http://{address}/token?query=1"));
    call.headers.push(("Origin".to_owned(), Secret::from("https://app.example")));
    let reply = direct().send_blocking(&call).unwrap();
    assert_eq!((reply.status, reply.content_type.as_deref()), (200, Some("application/json")));
    assert_eq!(reply.body.expose(), b"{}");
    let request = server.join().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token?query=1 HTTP/1.1\r\n"), "{head}");
    let agent = concat!("pizauth/", env!("CARGO_PKG_VERSION"));
    for (name, want) in [
        ("Host", Some(address.to_string().as_str())),
        ("Accept", Some("application/json")),
        ("Content-Type", Some("application/x-www-form-urlencoded")),
        ("Content-Length", Some("46")),
        ("Connection", Some("close")),
        ("User-Agent", Some(agent)),
        ("Origin", Some("https://app.example")),
        ("Accept-Encoding", None),
        ("Expect", None),
        ("Transfer-Encoding", None),
    ] {
        assert_eq!(field(head, name), want, "{name}");
    }
    assert_eq!(body, call.body.unwrap().expose());
}

#[test]
fn without_a_body_it_is_a_get() {
    let (address, server) = answering(OK);
    let call = Call { body: None, ..post(format!("http://{address}")) };
    assert_eq!(direct().send_blocking(&call).unwrap().status, 200);
    let request = server.join().unwrap();
    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    assert_eq!((field(&request, "Content-Type"), field(&request, "Content-Length")), (None, None));
}

#[test]
fn every_status_is_an_answer() {
    for (name, answer, status, body, retry_after, location) in [
        ("refused", "400 Bad Request\r\nContent-Length: 3\r\n\r\nbad", 400, "bad", None, None),
        ("busy", "503 x\r\nRetry-After: 120\r\n\r\nuntil closed", 503, "until closed", Some("120"), None),
        ("moved", "302 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 302, "", None, Some("/elsewhere")),
        ("moved, kept method", "307 x\r\nLocation: //h/\r\n\r\nbody", 307, "body", None, Some("//h/")),
        ("nothing", "204 No Content\r\n\r\n", 204, "", None, None),
        ("chunks", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, "abc", None, None),
        ("interim", "100 Continue\r\n\r\nHTTP/1.1 401 x\r\nContent-Length: 1\r\n\r\nx", 401, "x", None, None),
    ] {
        let (address, server) = answering(format!("HTTP/1.1 {answer}"));
        let reply = direct().send_blocking(&post(format!("http://{address}/"))).expect(name);
        assert_eq!(reply.status, status, "{name}");
        assert_eq!(reply.body.expose(), body.as_bytes(), "{name}");
        assert_eq!(reply.retry_after.as_deref(), retry_after, "{name}");
        assert_eq!(reply.location.as_deref(), location, "{name}");
        server.join().unwrap();
    }
}

#[test]
fn an_answer_is_read_up_to_its_limits() {
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let body = |length: usize| "x".repeat(length);
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", body(MAX_HEAD));
    for (name, answer, want) in [
        ("longest", head(MAX_BODY) + &body(MAX_BODY), Ok(MAX_BODY)),
        ("too long", head(MAX_BODY + 1) + &body(MAX_BODY + 1), Err("longer than 1 MiB")),
        ("until closed", format!("HTTP/1.1 200 OK\r\n\r\n{}", body(MAX_BODY + 1)), Err("longer than 1 MiB")),
        ("huge if true", head(usize::MAX) + "x", Err("no whole answer")),
        ("cut short", head(10) + "x", Err("no whole answer")),
        ("long head", long_head, Err("longer than 16 KiB")),
        ("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n".to_owned(), Err("it is not HTTP")),
        ("nothing", String::new(), Err("connection closed")),
    ] {
        let (address, server) = answering(answer);
        let result = direct().send_blocking(&post(format!("http://{address}/")));
        match want {
            Ok(length) => assert_eq!(result.expect(name).body.expose().len(), length, "{name}"),
            Err(detail) => assert_broken(result, Stage::Sent, detail),
        }
        server.join().unwrap();
    }
}

#[test]
fn answers_are_read_as_servers_write_them() {
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n{{}}", "X: y\r\n".repeat(100));
    for (name, answer) in [
        ("in chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n"),
        ("up to the end", "HTTP/1.1 200 OK\r\n\r\n{}"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n{}"),
        ("bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}"),
        ("no reason phrase", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}"),
        ("the length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
        ("no ASCII in a header", "HTTP/1.1 200 OK\r\nServer: \u{e9}\r\nContent-Length: 2\r\n\r\n{}"),
        ("100 before it", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        (
            "103 before it",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        ),
        ("many headers", &many),
        ("more behind it", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 400 Bad Request\r\n\r\n"),
    ] {
        let (address, server) = answering(answer);
        let reply = direct().send_blocking(&post(format!("http://{address}/"))).expect(name);
        assert_eq!((reply.status, reply.body.expose().as_slice()), (200, &b"{}"[..]), "{name}");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_does_not_close_is_not_waited_for() {
    let (address, server) = serve(|mut stream| {
        read_request(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        // The client closes; until then this waits.
        stream.read_to_end(&mut Vec::new()).unwrap()
    });
    assert_eq!(direct().send_blocking(&post(format!("http://{address}/"))).unwrap().status, 200);
    assert_eq!(server.join().unwrap(), 0);
}

#[test]
fn a_slow_answer_is_cut_at_the_limit() {
    for (name, head) in [("no answer", ""), ("a dripping head", "HTTP/1.1 200 OK\r\nX: "), ("a dripping body", OK)] {
        let head = head.replace("Content-Length: 2", "Content-Length: 999999");
        let (address, server) = serve(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(head.as_bytes()).unwrap();
            while head.is_empty() || stream.write_all(b"x").is_ok() {
                if head.is_empty() && stream.read(&mut [0]).unwrap_or(0) == 0 {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let endpoint = Endpoint::with_limit(ProxySettings::default(), Roots::default(), SHORT);
        let result = endpoint.send_blocking(&post(format!("http://{address}/")));
        assert!(result.is_err(), "{name}");
        assert_broken(result, Stage::Sent, "timed out after");
        server.join().unwrap();
    }
}

#[test]
fn a_request_that_does_not_arrive_was_not_sent() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let long = "x".repeat(MAX_REQUEST);
    for (uri, headers, stage, detail) in [
        (format!("http://{refused}/?query=1"), vec![], Stage::Connect, format!("connection to {refused} refused")),
        (format!("https://{refused}/"), vec![], Stage::Connect, format!("connection to {refused} refused")),
        (
            "https://nonexistent.invalid/?query=1".to_owned(),
            vec![],
            Stage::Resolve,
            "could not resolve nonexistent.invalid: ".to_owned(),
        ),
        ("ftp://idp.example/".to_owned(), vec![], Stage::NotStarted, "not an absolute http or https URI".to_owned()),
        ("/token?code=x".to_owned(), vec![], Stage::NotStarted, "not an absolute http or https URI".to_owned()),
        ("http://h\u{f6}st/".to_owned(), vec![], Stage::NotStarted, "not an absolute http or https URI".to_owned()),
        ("https://idp.example/".to_owned(), vec![("X", "a\r\nb")], Stage::NotStarted, "cannot be built".to_owned()),
        ("https://idp.example/".to_owned(), vec![("X", &long)], Stage::NotStarted, "cannot be built".to_owned()),
        ("https://idp.example/".to_owned(), vec![("X Y", "a")], Stage::NotStarted, "cannot be built".to_owned()),
    ] {
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), Secret::from(value))).collect();
        assert_broken(direct().send_blocking(&Call { headers, ..post(uri) }), stage, &detail);
    }
}

#[test]
fn certificates_are_judged_by_root_name_and_time() {
    let (known, unknown) = (Authority::new("known"), Authority::new("unknown"));
    let roots = trusting(&known);
    for (name, leaf, want) in [
        ("known", known.leaf("127.0.0.1", Valid::Now), None),
        ("unknown issuer", unknown.leaf("127.0.0.1", Valid::Now), Some(CertificateFault::UnknownIssuer)),
        ("expired", known.leaf("127.0.0.1", Valid::Formerly), Some(CertificateFault::Expired)),
        ("not yet", known.leaf("127.0.0.1", Valid::Later), Some(CertificateFault::Expired)),
        ("wrong name", known.leaf("idp.example", Valid::Now), Some(CertificateFault::WrongName)),
    ] {
        let (address, server) = serve(move |stream| {
            let mut stream = within_tls(&leaf, stream);
            let request = read_request(&mut stream);
            let _ = stream.write_all(OK.as_bytes());
            request
        });
        let endpoint = Endpoint::new(ProxySettings::default(), roots.clone());
        let result = endpoint.send_blocking(&post(format!("https://{address}/")));
        match want {
            None => assert_eq!(result.expect(name).status, 200),
            Some(fault) => assert_broken(result, Stage::Certificate(fault), &format!("certificate of {address}")),
        }
        assert_eq!(server.join().unwrap().is_empty(), want.is_some(), "{name}");
        assert_eq!(endpoint.0.tls.lock().unwrap().strong_count(), 0, "{name}: TLS settings stay after the call");
    }
}

#[test]
fn a_cut_handshake_was_not_sent() {
    for (name, answer, detail) in [
        ("closed at once", &b""[..], "connection "),
        ("an alert", b"\x15\x03\x03\x00\x02\x02\x28", "alert HandshakeFailure"),
        ("plain HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
    ] {
        let (address, server) = serve(move |mut stream| {
            assert!(stream.read(&mut [0; 5]).unwrap() > 0, "{name}");
            stream.write_all(answer).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let want = format!("TLS handshake with {address} failed: ");
        let result = direct().send_blocking(&post(format!("https://{address}/")));
        assert_broken(result.clone(), Stage::Tls, &want);
        assert_broken(result, Stage::Tls, detail);
        server.join().unwrap();
    }
    let (address, server) = serve(|mut stream| stream.read_to_end(&mut Vec::new()).unwrap());
    let endpoint = Endpoint::with_limit(ProxySettings::default(), Roots::default(), SHORT);
    assert_broken(endpoint.send_blocking(&post(format!("https://{address}/"))), Stage::Tls, "timed out after");
    assert!(server.join().unwrap() > 0);
}

#[test]
fn a_request_within_tls_that_is_not_answered_was_sent() {
    let authority = Authority::new("known");
    let leaf = authority.leaf("127.0.0.1", Valid::Now);
    let (address, server) = serve(move |stream| read_request(&mut within_tls(&leaf, stream)));
    let endpoint = Endpoint::new(ProxySettings::default(), trusting(&authority));
    let result = endpoint.send_blocking(&post(format!("https://{address}/?query")));
    assert_broken(result, Stage::Sent, &format!("no whole answer from {address}: connection "));
    assert!(server.join().unwrap().contains("hunter2"));
}

#[test]
fn https_goes_through_a_tunnel_that_alone_sees_the_credentials() {
    let authority = Authority::new("known");
    let leaf = authority.leaf("idp.example", Valid::Now);
    let (address, server) = serve(move |mut stream| {
        let tunnel = read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").unwrap();
        let mut stream = within_tls(&leaf, stream);
        let request = read_request(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        (tunnel, request)
    });
    let endpoint = through(format!("http://aladdin:opensesame@{address}/"), trusting(&authority));
    assert_eq!(endpoint.send_blocking(&post("https://idp.example/token".to_owned())).unwrap().status, 200);
    let (tunnel, request) = server.join().unwrap();
    assert!(tunnel.starts_with("CONNECT idp.example:443 HTTP/1.1\r\nHost: idp.example:443\r\n"), "{tunnel}");
    assert_eq!(field(&tunnel, "Proxy-Authorization"), Some("Basic YWxhZGRpbjpvcGVuc2VzYW1l"));
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert_eq!((field(&request, "Host"), field(&request, "Proxy-Authorization")), (Some("idp.example"), None));
}

#[test]
fn http_is_forwarded_in_absolute_form() {
    let (address, server) = answering(OK);
    let endpoint = through(format!("aladdin:opensesame@{address}"), Roots::default());
    let reply = endpoint.send_blocking(&post("http://idp.example:8080/token?query=1".to_owned())).unwrap();
    assert_eq!((reply.status, reply.body.expose().as_slice()), (200, &b"{}"[..]));
    let request = server.join().unwrap();
    assert!(request.starts_with("POST http://idp.example:8080/token?query=1 HTTP/1.1\r\n"), "{request}");
    assert_eq!(field(&request, "Host"), Some("idp.example:8080"));
    assert_eq!(field(&request, "Proxy-Authorization"), Some("Basic YWxhZGRpbjpvcGVuc2VzYW1l"));
    assert!(request.ends_with("hunter2"), "{request}");
}

#[test]
fn a_proxy_that_makes_no_connection_is_named() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000));
    for (scheme, answer, detail) in [
        ("https", "HTTP/1.1 407 opensesame\r\n\r\n", "it refused user and password (status 407)"),
        ("https", "HTTP/1.1 502 opensesame\r\nContent-Length: 4\r\n\r\noops", "it answered with status 502"),
        ("https", "HTTP/1.1 200 OK\r\n\r\n220 smtp.example ESMTP\r\n", "its answer is no tunnel"),
        ("https", "SSH-2.0-OpenSSH\r\n", "its answer is not HTTP"),
        ("https", "", "connection closed"),
        ("https", "HTTP/1.1 200 O", "connection closed"),
        ("https", &endless, "its answer is too long"),
        ("http", "HTTP/1.1 407 opensesame\r\n\r\n", "did not forward the request: status 407"),
    ] {
        let (address, server) = answering(answer);
        let endpoint = through(format!("http://aladdin:opensesame@{address}"), Roots::default());
        let result = endpoint.send_blocking(&post(format!("{scheme}://idp.example/token?query=1")));
        // Without a tunnel the proxy got the request itself, code and all.
        let stage = if scheme == "https" { Stage::Proxy } else { Stage::Sent };
        assert_broken(result.clone(), stage, &format!("the proxy {address} "));
        assert_broken(result, stage, detail);
        server.join().unwrap();
    }
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = through(format!("http://aladdin:opensesame@{refused}"), Roots::default());
    let result = endpoint.send_blocking(&post("https://idp.example/".to_owned()));
    assert_broken(result, Stage::Connect, &format!("connection to the proxy {refused} refused"));
    let endpoint = through("http://aladdin:opensesame@nonexistent.invalid:1".to_owned(), Roots::default());
    let result = endpoint.send_blocking(&post("https://idp.example/".to_owned()));
    assert_broken(result, Stage::Resolve, "could not resolve the proxy nonexistent.invalid: ");
    let endpoint = through("socks5://aladdin:opensesame@127.0.0.1:1".to_owned(), Roots::default());
    let result = endpoint.send_blocking(&post("https://idp.example/".to_owned()));
    assert_broken(result, Stage::ProxySetting, "all_proxy cannot be used: SOCKS proxies are not supported");
}

#[test]
fn many_calls_run_beside_each_other_in_threads() {
    let authority = Authority::new("known");
    let leaf = Arc::new(authority.leaf("127.0.0.1", Valid::Now));
    let endpoint = Endpoint::new(ProxySettings::default(), trusting(&authority));
    let (sender, receiver) = mpsc::channel();
    // Every server waits for its request before any answers: the calls must be under way together.
    let all_there = Arc::new(std::sync::Barrier::new(32));
    for _ in 0..32 {
        let (leaf, all_there, sender) = (leaf.clone(), all_there.clone(), sender.clone());
        let (address, _server) = serve(move |stream| {
            let mut stream = within_tls(&leaf, stream);
            read_request(&mut stream);
            all_there.wait();
            stream.write_all(OK.as_bytes()).unwrap();
        });
        endpoint.send(post(format!("https://{address}/")), move |result| sender.send(result).unwrap());
    }
    for _ in 0..32 {
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap().unwrap().status, 200);
    }
}

#[test]
fn a_call_without_a_thread_is_answered_at_once() {
    let (sender, receiver) = mpsc::channel();
    let more_than_memory = 1 << 46;
    let call = post("http://127.0.0.1:1/".to_owned());
    direct()
        .send_with_stack(more_than_memory, call, move |result| sender.send((thread::current().id(), result)).unwrap());
    let (by, result) = receiver.try_recv().expect("an answer already");
    assert_eq!(by, thread::current().id());
    assert_broken(result, Stage::NotStarted, "no thread could be started");
}

#[test]
fn a_call_is_answered_once_whatever_becomes_of_its_thread() {
    for (name, sent, stage) in [("before", false, Stage::NotStarted), ("after", true, Stage::Sent)] {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut answer = Answer {
                done: Some(move |result| sender.send(result).unwrap()),
                sent: Arc::new(AtomicBool::new(sent)),
                broke: "no thread",
            };
            answer.broke = "broke down";
            // Without the panic hook's output.
            panic::resume_unwind(Box::new(name));
        });
        assert!(thread.join().is_err());
        let results: Vec<_> = receiver.iter().collect();
        assert_eq!(results.len(), 1, "{name}");
        assert_broken(results.into_iter().next().unwrap(), stage, "broke down");
    }
    let mut count = 0;
    let done = |_: Result<Reply, Broken>| count += 1;
    Answer { done: Some(done), sent: Arc::default(), broke: "" }.give(Ok(Reply::default()));
    assert_eq!(count, 1);
}
