//! A login through a real `ssh -L`: the browser is on one machine, pizauth on another. Here both are one, so the near
//! end of the tunnel is at 127.0.0.2, at the same port as the listener at 127.0.0.1.

mod support;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use support::{
    eventually, eventually_some,
    folder::Folder,
    http::{self, Exchange},
    process::signal,
    provider::{Provider, Settings},
    server::Pizauth,
    tool, within,
};

const PROCESSING: &str = "pizauth processing authentication: you can safely close this page.";

/// How often another port is tried when somebody else was quicker to take the one just found free.
const TRIES: usize = 5;

#[test]
fn a_login_arrives_through_a_tunnel_that_closes_at_once() {
    let Some(ssh) = Ssh::start() else { return };
    let provider = Provider::start(Settings::default());
    let port = free_port();
    let config = format!("http_listen = \"127.0.0.1:{port}\";\n{}", provider.account("work", ""));
    let server = Pizauth::start(&config);
    let near_end = format!("127.0.0.2:{port}");
    let tunnel = ssh.tunnel(&near_end, &format!("127.0.0.1:{port}"));

    let url = server.authorization_url("work");
    let waiting = server.spawn(&["show", "-w", "10m", "work"], b"");
    let redirect = http::get(&url);
    let location = redirect.header("location").expect("a redirect");
    let target = location.strip_prefix(&format!("http://localhost:{port}")).expect("the redirect_uri's fixed port");
    provider.hold();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: keep-alive\r\n\r\n");
    let mut page = Exchange::send(&near_end, request.as_bytes()).expect("an answer through the tunnel");
    assert_eq!(page.status, 200);
    page.read_until(PROCESSING);

    drop(tunnel);
    assert!(TcpStream::connect(&near_end).is_err(), "the tunnel is still open");
    provider.wait_for_token_requests(1);
    provider.release();
    let token = waiting.finish().expect(0).stdout;
    assert_eq!(token.trim_end(), provider.last_access_token());
    assert_eq!(provider.counters().codes_redeemed, 1);
}

/// A running ssh server of the present user, with keys of its own; dropping it stops it.
struct Ssh {
    client: PathBuf,
    server: Child,
    port: u16,
    folder: Folder,
}

/// A running `ssh -L`; dropping it closes the tunnel.
struct Tunnel(Child);

impl Ssh {
    /// `None`, and a line that says so, where OpenSSH is not installed.
    fn start() -> Option<Ssh> {
        let (daemon, client, keygen) = (tool::find("sshd")?, tool::find("ssh")?, tool::find("ssh-keygen")?);
        let folder = Folder::new();
        // What sshd wants of root's machine; an ordinary user's does without.
        let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        for name in ["host", "user"] {
            let mut command = Command::new(&keygen);
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name)).stdin(Stdio::null());
            assert!(command.status().expect("ssh-keygen runs").success(), "no key");
        }
        folder.write("authorized_keys", &folder.read("user.pub"));
        for _ in 0..TRIES {
            let port = free_port();
            let mut server = start_daemon(&daemon, &folder, port);
            let is_up = eventually_some("sshd", || match server.try_wait().expect("a child can be waited for") {
                Some(_) => Some(false),
                None => TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true),
            });
            if is_up {
                return Some(Ssh { client, server, port, folder });
            }
        }
        panic!("sshd does not run: {}", folder.read("sshd.log"));
    }

    /// Opens a tunnel and waits until it lets through.
    fn tunnel(&self, near_end: &str, far_end: &str) -> Tunnel {
        let user = Command::new("id").arg("-un").output().expect("id runs").stdout;
        let user = String::from_utf8_lossy(&user).trim().to_owned();
        let log = fs::File::create(self.folder.join("ssh.log")).expect("a log file");
        let mut command = Command::new(&self.client);
        command.args(["-N", "-F", "none", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(self.folder.join("user"));
        command.args(["-L", &format!("{near_end}:{far_end}"), "-p", &self.port.to_string()]);
        command.arg(format!("{user}@127.0.0.1")).env_remove("SSH_AUTH_SOCK");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut tunnel = Tunnel(command.spawn().expect("ssh runs"));
        let is_open = within(support::PATIENCE, || match tunnel.0.try_wait().expect("a child can be waited for") {
            Some(_) => Some(false),
            None => TcpStream::connect(near_end).is_ok().then_some(true),
        });
        let logs = || format!("{}{}", self.folder.read("ssh.log"), self.folder.read("sshd.log"));
        assert_eq!(is_open, Some(true), "no tunnel: {}", logs());
        tunnel
    }
}

fn start_daemon(daemon: &Path, folder: &Folder, port: u16) -> Child {
    let path = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
        path("host"),
        path("authorized_keys")
    );
    let config = folder.write("sshd_config", &config);
    let mut command = Command::new(daemon);
    command.args(["-D", "-f"]).arg(config).arg("-E").arg(folder.join("sshd.log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("sshd runs")
}

impl Drop for Ssh {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn end(child: &mut Child) {
    signal("TERM", child.id().into());
    if within(support::PATIENCE / 4, || child.try_wait().ok().flatten()).is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A port that was free on both loopback families a moment ago.
fn free_port() -> u16 {
    let mut port = 0;
    eventually("a free port", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no loopback port");
        port = listener.local_addr().expect("a bound listener has an address").port();
        TcpListener::bind(("127.0.0.2", port)).is_ok()
            && (TcpListener::bind(("::1", port)).is_ok() || TcpListener::bind("[::1]:0").is_err())
    });
    port
}
