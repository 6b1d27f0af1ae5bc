//! A pizauth of its own for each test: the built binary in a temporary home, its server, and its clients.

use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io::Write,
    ops::Deref,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    PATIENCE,
    control::Control,
    eventually_some,
    folder::Folder,
    http::{self, Response},
    process::{living_in, signal},
    within,
};

/// How long one client may run, waits that it was asked for included.
const CLIENT_LIMIT: Duration = Duration::from_secs(3 * PATIENCE.as_secs());

/// Variables of a service manager that must never reach a server under test.
const NEVER_INHERITED: [&str; 6] =
    ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES", "XDG_CONFIG_HOME"];

/// How a client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit status, or the negative number of the signal that ended it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    /// stdout to the byte.
    pub bytes: Vec<u8>,
}

impl Output {
    /// The output of a client that must have exited with `status`; panics with everything it said.
    #[track_caller]
    pub fn expect(self, status: i32) -> Output {
        assert_eq!(self.status, status, "stdout: {:?}, stderr: {:?}", self.stdout, self.stderr);
        self
    }
}

/// A temporary home: a configuration, a runtime directory, and an environment that has nothing else in it but PATH.
///
/// Clones share the folder, which goes with the last of them.
#[derive(Clone)]
pub struct Home {
    folder: Arc<Folder>,
    environment: Vec<(OsString, OsString)>,
    is_inheriting: bool,
    limits: Option<String>,
    is_quiet: bool,
}

impl Home {
    /// A home with `config` as its pizauth.conf.
    pub fn new(config: &str) -> Home {
        let folder = Folder::new();
        folder.make("home/.config");
        folder.make("run/pizauth");
        let path = |name: &str| folder.join(name).into_os_string();
        // Without PIZAUTH_SOCKET a client could find the server that the person who runs the tests uses.
        let environment = vec![
            ("HOME".into(), path("home")),
            ("XDG_RUNTIME_DIR".into(), path("run")),
            ("PIZAUTH_SOCKET".into(), path("run/pizauth/pizauth.sock")),
            ("SHELL".into(), "/bin/sh".into()),
        ];
        let (is_inheriting, is_quiet) = (false, false);
        let home = Home { folder: Arc::new(folder), environment, is_inheriting, limits: None, is_quiet };
        home.configure(config);
        home
    }

    /// Lets commands inherit the caller's environment and process group.
    pub fn inheriting(self) -> Home {
        Home { is_inheriting: true, ..self }
    }

    /// Lets commands run under limits, as `ulimit` of the shell takes them.
    pub fn limited(self, limits: &str) -> Home {
        Home { limits: Some(limits.to_owned()), ..self }
    }

    /// Lets servers log no more than they do without being asked to.
    pub fn quiet(self) -> Home {
        Home { is_quiet: true, ..self }
    }

    /// Sets an environment variable of every command from now on.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Home {
        self.environment.retain(|(key, _)| key != name);
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// Takes an environment variable away from every command from now on.
    pub fn without_env(mut self, name: &str) -> Home {
        self.environment.retain(|(key, _)| key != name);
        self
    }

    /// Replaces the configuration.
    pub fn configure(&self, config: &str) {
        self.folder.write("home/.config/pizauth.conf", config);
    }

    /// Where the configuration is.
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("home/.config/pizauth.conf")
    }

    /// Where the control socket is, or will be.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/pizauth/pizauth.sock")
    }

    /// The temporary folder, free for a test's own files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What every server of this home has written to stderr so far.
    pub fn log(&self) -> String {
        self.folder.read("log")
    }

    /// Waits until the log contains `text`; panics with the log after [`PATIENCE`].
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let found = within(PATIENCE, || self.log().contains(text).then_some(()));
        assert!(found.is_some(), "{text:?} never came in the log:\n{}", self.log());
    }

    /// pizauth with this home's environment, to be started as the caller likes.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_pizauth");
        let mut command = match &self.limits {
            None => Command::new(program),
            Some(limits) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", &format!("ulimit {limits} && exec \"$@\""), "sh", program]);
                command
            }
        };
        if self.is_inheriting {
            NEVER_INHERITED.iter().for_each(|name| _ = command.env_remove(name));
        } else {
            command.env_clear();
            std::env::var_os("PATH").into_iter().for_each(|path| _ = command.env("PATH", path));
        }
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.args(arguments).envs(environment).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs a client to its end, with nothing on stdin.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, b"")
    }

    /// Runs a client to its end, with `input` on stdin.
    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        self.spawn(arguments, input).finish()
    }

    /// Starts a client that the caller collects later.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str], input: &[u8]) -> Client {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("pizauth {arguments:?}: {error}"));
        let (pid, name) = (child.id(), format!("pizauth {}", arguments.join(" ")));
        let (sender, output) = mpsc::channel();
        let input = input.to_owned();
        let stdin = child.stdin.take();
        // A client may end without reading all of its input.
        thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        thread::spawn(move || sender.send(child.wait_with_output().expect("a child can be waited for")));
        Client { name, pid, output }
    }
}

/// A client that is running.
pub struct Client {
    name: String,
    pid: u32,
    output: mpsc::Receiver<std::process::Output>,
}

impl Client {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    pub fn output_if_ended(&self) -> Option<Output> {
        self.output.try_recv().ok().map(output)
    }

    /// Waits until it ends; panics where it does not.
    #[track_caller]
    pub fn finish(self) -> Output {
        match self.output.recv_timeout(CLIENT_LIMIT) {
            Ok(ended) => output(ended),
            Err(_) => {
                signal("KILL", self.pid.into());
                panic!("{} hangs", self.name)
            }
        }
    }
}

/// A running server and its home. Dropping it stops it, and panics where it does not exit with 0 or leaves a process
/// behind. A panic prints its log.
pub struct Pizauth {
    home: Home,
    child: Option<Child>,
}

impl Pizauth {
    /// Starts a server in a home of its own.
    #[track_caller]
    pub fn start(config: &str) -> Pizauth {
        Pizauth::start_in(Home::new(config))
    }

    /// Starts a server in the foreground and waits until its socket answers; panics where it ends before.
    #[track_caller]
    pub fn start_in(home: Home) -> Pizauth {
        let path = home.folder.join("log");
        let log = OpenOptions::new().create(true).append(true).open(path).expect("a log file");
        let mut command = home.command(if home.is_quiet { &["server", "-d"] } else { &["server", "-d", "-vvvv"] });
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        if !home.is_inheriting {
            command.process_group(0);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("pizauth server: {error}"));
        let mut server = Pizauth { home, child: Some(child) };
        let is_up = within(PATIENCE, || match server.ended() {
            Some(status) => Some(Err(status)),
            None => Control::is_answered(&server.socket()).then_some(Ok(())),
        });
        match is_up {
            Some(Ok(())) => server,
            Some(Err(status)) => panic!("pizauth server: {status}"),
            None => panic!("pizauth server does not answer"),
        }
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends a signal, named as for kill(1), to the server.
    pub fn signal(&self, name: &str) {
        assert!(signal(name, self.pid().into()), "no server to send {name} to");
    }

    /// Waits until the server ends by itself, and returns its exit status and its home.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, Home) {
        let status = eventually_some("the end of the server", || self.ended());
        self.child = None;
        (status, self.home.clone())
    }

    /// Shuts the server down by `pizauth shutdown`, and returns its home, in which another can be started.
    #[track_caller]
    pub fn shutdown(self) -> Home {
        self.run(&["shutdown"]).expect(0);
        let (status, home) = self.wait();
        assert!(status.success(), "pizauth server: {status}; its log:\n{}", home.log());
        home
    }

    /// Ends the server by SIGKILL, and returns its home, in which another can be started.
    #[track_caller]
    pub fn kill(self) -> Home {
        self.signal("KILL");
        self.wait().1
    }

    /// Starts an authorization by `pizauth show` and returns its URL.
    #[track_caller]
    pub fn authorization_url(&self, account: &str) -> String {
        let shown = self.run(&["show", account]).expect(3);
        let url = shown.stderr.split_once("until authorised with URL ").map(|(_, rest)| rest.split_whitespace().next());
        url.flatten().unwrap_or_else(|| panic!("no URL in {:?}", shown.stderr)).to_owned()
    }

    /// Logs in like a browser, and returns the page where it ends, read to its end.
    #[track_caller]
    pub fn authorize(&self, account: &str) -> Response {
        let url = self.authorization_url(account);
        let page = http::browse(&url).and_then(http::Exchange::finish);
        page.unwrap_or_else(|error| panic!("{error} at {url}; the log:\n{}", self.log()))
    }

    /// The token that `pizauth show` prints; panics where it prints none.
    #[track_caller]
    pub fn token(&self, account: &str) -> String {
        let shown = self.run(&["show", account]).expect(0);
        shown.stdout.strip_suffix('\n').expect("a token and a newline").to_owned()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child can be waited for")
    }

    /// Ends the server by SIGTERM, and tells what is wrong with its end.
    fn stop(&mut self) -> Result<(), String> {
        let group = self.pid();
        self.signal("TERM");
        let Some(status) = within(PATIENCE, || self.ended()) else { return Err("ignores SIGTERM".to_owned()) };
        self.child = None;
        if !status.success() {
            return Err(format!("{status} after SIGTERM"));
        }
        let is_alone = || {
            let has_group = !self.is_inheriting && signal("0", -i64::from(group));
            (!has_group && living_in(self.folder.path()).is_empty()).then_some(())
        };
        within(PATIENCE, is_alone).ok_or_else(|| format!("leaves {:?} behind", living_in(self.folder.path())))
    }
}

impl Deref for Pizauth {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Drop for Pizauth {
    fn drop(&mut self) {
        let is_failing = thread::panicking();
        let end = if self.child.is_some() && !is_failing { self.stop() } else { Ok(()) };
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !is_failing && end.is_ok() {
            return;
        }
        living_in(self.folder.path()).into_iter().for_each(|(pid, _)| _ = signal("KILL", pid.into()));
        eprintln!("the log of pizauth server:\n{}", self.log());
        if let Err(problem) = end {
            panic!("pizauth server: {problem}");
        }
    }
}

fn output(ended: std::process::Output) -> Output {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = ended.status.code().or_else(|| ended.status.signal().map(|number| -number));
    let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
    Output { status: status.unwrap_or(i32::MIN), stdout, stderr, bytes: ended.stdout }
}
