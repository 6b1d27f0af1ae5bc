//! What the server keeps to itself: its memory, its socket, its descriptors, limits and secrets. The figures are
//! Linux's; other users are played by root.

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream, process::ExitStatusExt},
    process::Command,
};

use support::{
    PATIENCE, eventually,
    http::{self, Exchange},
    provider::{Answer, Approval, Provider, Settings},
    server::{Home, Pizauth},
    stranger::{self, OTHER, OWNER, Server},
};

/// An account that nobody logs in to.
const ACCOUNT: &str = "account \"work\" {\n    auth_uri = \"https://login.example.com/authorize\";\n    \
                       token_uri = \"https://login.example.com/token\";\n    client_id = \"id\";\n}\n";

#[test]
fn the_memory_is_closed_to_other_processes_of_the_same_user() {
    if !stranger::can_be_anybody() {
        return;
    }
    let server = Server::start(ACCOUNT);
    let readable = |pid: u32, name: &str| {
        let script = format!("exec head -c 1 /proc/{pid}/{name}");
        server.run_as(OWNER, "sh", &["-c", &script]).stdout.len() == 1
    };
    let mut other = server.command_as(OWNER, "sleep").arg("1000").spawn().expect("it runs");
    eventually("another process of the same user", || readable(other.id(), "environ"));
    for name in ["environ", "maps", "mem", "stack", "syscall", "io"] {
        assert!(!readable(server.pid(), name), "{name} can be read");
    }
    let _ = other.kill();
    let _ = other.wait();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("a running process");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn a_crash_leaves_no_core_file() {
    let home = Home::new(ACCOUNT).limited("-S -c 1000");
    let mut control = Command::new("/bin/sh");
    control.args(["-c", "ulimit -S -c 1000 && kill -ABRT $$"]).current_dir(home.folder().path());
    if !control.status().expect("no /bin/sh").core_dumped() {
        return println!("skipped: no core files here");
    }
    let server = Pizauth::start_in(home);
    server.signal("ABRT");
    let (status, _) = server.wait();
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(!status.core_dumped(), "{status}");
}

/// Not a test by itself: the client of another user, started by the next one.
#[test]
fn a_client_of_whatever_user() {
    if !stranger::is_playing() {
        return;
    }
    let socket = std::env::var_os("PIZAUTH_SOCKET").expect("the socket");
    let mut stream = UnixStream::connect(socket).expect("the socket is open to all");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let _ = stream.write_all(b"{\"version\":1,\"request\":\"status\"}\n");
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    println!("<{}>", answer.trim());
}

#[test]
fn clients_of_other_users_are_refused_and_root_is_not() {
    if !stranger::can_be_anybody() {
        return;
    }
    let server = Server::start(ACCOUNT);
    server.open_to_all();
    let ask = |uid| {
        let output = server.play_as(uid, "a_client_of_whatever_user");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(stdout.contains('<'), "{stdout} {}", String::from_utf8_lossy(&output.stderr));
        stdout
    };
    for (uid, is_answered) in [(OWNER, true), (OTHER, false), (0, true)] {
        let answer = ask(uid);
        assert_eq!(answer.contains("\"answer\":\"status\""), is_answered, "{uid}: {answer}");
        assert_eq!(answer.contains("work"), is_answered, "{uid}: {answer}");
    }
    let client = server.run_as(OTHER, "pizauth", &["status"]);
    assert_ne!(client.status.code(), Some(0), "the client speaks to another user's server");
    assert!(client.stdout.is_empty());
}

#[test]
fn root_may_ask_another_users_server() {
    if !stranger::can_be_anybody() {
        return;
    }
    let server = Server::start(ACCOUNT);
    let client = server.run_as(0, "pizauth", &["status"]);
    assert_eq!(client.status.code(), Some(0), "{}", String::from_utf8_lossy(&client.stderr));
    assert_eq!(client.stdout, b"work: No access token\n");
}

#[test]
fn hooks_get_what_the_server_came_with_and_nothing_of_its_own() {
    let provider = Provider::start(Settings::default());
    // In the end it is no shell any more, which has descriptors of its own.
    let hook = "(umask; ulimit -S -n; ulimit -S -c) > limits; env > env; echo $$ > hook; exec sleep 1000";
    let home = Home::new(&format!("token_event_cmd = \"{hook}\";\n{}", provider.account("work", "")));
    let nobody = home.folder().join("nobody");
    let home = home
        .env("NOTIFY_SOCKET", nobody)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "x")
        .limited("-S -n 300 && ulimit -S -c 100 && umask 027 && exec 7</dev/null 9>&2 && true");
    let server = Pizauth::start_in(home);
    server.authorize("work");
    let read = |name: &str| server.folder().read(name);
    let is_sleeping = |pid: &str| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"));
    let has_proc = fs::metadata("/proc/self/fd").is_ok();
    eventually("the hook", || !read("hook").is_empty() && (!has_proc || is_sleeping(read("hook").trim())));
    assert_eq!(read("limits").split_whitespace().collect::<Vec<_>>(), ["0027", "300", "100"]);
    for name in ["NOTIFY_SOCKET", "LISTEN_"] {
        assert!(!read("env").contains(name), "{name} reaches hooks");
    }
    if !has_proc {
        return;
    }
    let process = format!("/proc/{}", read("hook").trim());
    let files = fs::read_dir(format!("{process}/fd")).expect("the hook runs").flatten();
    let mut files: Vec<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    assert_eq!(files, ["0", "1", "2"]);
    let status = fs::read_to_string(format!("{process}/status")).expect("the hook runs");
    for line in status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn")) {
        let signals = line.split_whitespace().nth(1).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        // Those from 32 on are the C library's.
        assert_eq!(signals.expect("a mask") & 0x7fff_ffff, 0, "{line}");
    }
}

#[test]
fn no_secret_is_in_logs_arguments_environments_or_messages() {
    let provider = Provider::start(Settings::default());
    let secret = "demo secret &=+/%";
    let hooks = ["token_event_cmd", "error_notify_cmd", "persist_cmd", "auth_notify_cmd", "startup_cmd"]
        .map(|hook| format!("{hook} = \"env | grep -v ^PIZAUTH_URL= >> env; cat > /dev/null\";\n"));
    let options = format!(
        "revocation_uri = \"{}\"; token_uri_fields = {{\"resource\": \"hidden-field-value\"}}; \
         token_uri_headers = {{\"X-Key\": \"hidden-header-value\"}};",
        provider.url("/revoke")
    );
    let home = Home::new(&format!("{}{}", hooks.concat(), provider.account("work", &options)));
    let server = Pizauth::start_in(home.env("http_proxy", "http://name:hidden-proxy-word@127.0.0.1:1"));
    let mut said = String::new();
    let mut secrets: Vec<String> =
        [secret, "demo+secret+%26%3D%2B%2F%25", "hidden-field-value", "hidden-header-value", "hidden-proxy-word"]
            .map(str::to_owned)
            .to_vec();
    let mut arguments = String::new();
    let mut look = || {
        let lines = support::process::living_in(server.folder().path());
        arguments.extend(lines.into_iter().map(|(_, line)| line + "\n"));
    };

    let url = server.authorization_url("work");
    secrets.push(http::field(&http::query(&url), "state").expect("a state").to_owned());
    let paste =
        server.spawn(&["auth", "-u", "-w", "1s", "work"], b"http://localhost/?code=hidden-pasted-code&state=wrong\n");
    look();
    said.push_str(&paste.finish().stderr);
    secrets.push("hidden-pasted-code".to_owned());
    server.authorize("work");
    server.token("work");
    look();
    server.run(&["refresh", "-w", "1m", "work"]).expect(0);
    let echo = provider.current_refresh_token("work").expect("a refresh token");
    for status in [400, 503] {
        let error = if status == 400 { "invalid_client" } else { "server_error" };
        let description = format!("you sent {echo} and {secret} and hidden-field-value and hidden-header-value");
        provider.next_token_answer(Answer::error(status, error, &description));
        said.push_str(&server.run(&["refresh", "-w", "1m", "work"]).stderr);
        said.push_str(&server.run(&["status", "-u"]).expect(0).stdout);
    }
    assert!(said.contains("you sent *** and ***"), "the control: {said}");
    said.push_str(&server.run(&["revoke", "work"]).expect(0).stderr);
    for issued in provider.issued() {
        secrets.push(issued.access_token);
        secrets.extend(issued.refresh_token);
    }
    for request in provider.token_requests() {
        secrets.extend(["code", "code_verifier"].iter().filter_map(|name| request.form(name).map(str::to_owned)));
    }
    look();
    let environments = server.folder().read("env");
    assert!(environments.contains("PIZAUTH_EVENT=token_revoked") || environments.contains("PIZAUTH_EVENT=token_new"));
    let home = server.shutdown();
    assert!(secrets.len() >= 12, "{}", secrets.len());
    // The proxy's address is in the environment that everybody came with.
    let environments: String =
        home.folder().read("env").lines().filter(|line| !line.starts_with("http_proxy=")).collect();
    for (name, text) in
        [("the log", home.log()), ("an argument", arguments), ("an environment", environments), ("a message", said)]
    {
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} is in {name}: {text}");
        }
    }
}

#[test]
fn what_a_redirect_says_splits_no_answer_and_is_no_markup() {
    let provider = Provider::start(Settings { approval: Approval::Page, ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", ""));
    let url = server.authorization_url("work");
    let query = http::query(&url);
    let [state, redirect_uri] = ["state", "redirect_uri"].map(|name| http::field(&query, name).expect("a field"));
    let authority = redirect_uri.trim_start_matches("http://").trim_end_matches('/');
    let evil = "%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a%3Cscript%3Ealert(1)%3C/script%3E%22%27%3E";
    let head = format!(
        "GET /?state={state}&error=access_denied{evil}&error_description={evil}&error_uri={evil} HTTP/1.1\r\n\
         Host: {authority}\r\n\r\nGET /?second=request HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    );
    let answer = Exchange::send(authority, head.as_bytes()).and_then(Exchange::finish).expect("a page");
    let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), answer.headers.len(), "a header field came twice: {:?}", answer.headers);
    assert!(answer.header("set-cookie").is_none(), "{:?}", answer.headers);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(!answer.body.contains("<script") && !answer.body.contains("HTTP/1.1"), "{}", answer.body);
    assert!(answer.body.contains("&lt;script&gt;"), "{}", answer.body);
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let location = http::get(&server.authorization_url("work")).header("location").expect("a redirect").to_owned();
    let (authority, target) = location.trim_start_matches("http://").split_once('/').expect("a path");
    let other_port = "localhost:1";
    let port = authority.rsplit_once(':').expect("a port").1;
    for (name, line, fields) in [
        ("a body", "GET /{} HTTP/1.1", format!("Host: {authority}\r\nContent-Length: 5")),
        ("two lengths", "GET /{} HTTP/1.1", format!("Host: {authority}\r\nContent-Length: 0\r\nContent-Length: 5")),
        ("chunks", "GET /{} HTTP/1.1", format!("Host: {authority}\r\nTransfer-Encoding: chunked")),
        ("both", "GET /{} HTTP/1.1", format!("Host: {authority}\r\nContent-Length: 0\r\nTransfer-Encoding: chunked")),
        ("a folded field", "GET /{} HTTP/1.1", format!("Host: {authority}\r\n a")),
        ("a blank before the colon", "GET /{} HTTP/1.1", format!("Host : {authority}")),
        ("another port", "GET /{} HTTP/1.1", format!("Host: {other_port}")),
        ("a user in Host", "GET /{} HTTP/1.1", format!("Host: evil@{authority}")),
        ("a path in Host", "GET /{} HTTP/1.1", format!("Host: {authority}/x")),
        ("a list in Host", "GET /{} HTTP/1.1", format!("Host: {authority}, {authority}")),
        ("a name that begins alike", "GET /{} HTTP/1.1", format!("Host: localhost.evil.example:{port}")),
        ("no name", "GET /{} HTTP/1.1", format!("Host: :{port}")),
        ("a whole URL", "GET http://evil.example/{} HTTP/1.1", format!("Host: {authority}")),
        ("two slashes", "GET //{} HTTP/1.1", format!("Host: {authority}")),
        ("a dot", "GET /./{} HTTP/1.1", format!("Host: {authority}")),
        ("an escaped slash", "GET /%2f{} HTTP/1.1", format!("Host: {authority}")),
        ("a backslash", "GET /\\{} HTTP/1.1", format!("Host: {authority}")),
        ("HTTP/2", "GET /{} HTTP/2.0", format!("Host: {authority}")),
    ] {
        let request = format!("{}\r\n{fields}\r\n\r\n", line.replace("{}", target));
        let answer = Exchange::send(authority, request.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!((400..=505).contains(&answer.status), "{name}: {}", answer.status);
        assert_eq!(provider.token_requests().len(), 0, "{name} used up the login");
    }
    assert_eq!(http::get(&location).status, 200, "the control");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn files_that_the_server_makes_are_its_users_alone() {
    let home = Home::new(ACCOUNT).limited("-c 0 && umask 000 && true");
    let server = Pizauth::start_in(home);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o077;
    for entry in fs::read_dir(server.folder().join("run/pizauth")).expect("the runtime directory").flatten() {
        assert_eq!(mode(&entry.path()), 0, "{}", entry.path().display());
    }
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap_or_default();
    assert!(!status.contains("Umask:") || status.contains("Umask:\t0077"), "{status}");
}
