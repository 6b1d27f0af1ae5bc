//! Servers and clients that belong to other users than the one who runs the tests, who has to be root for that.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use super::{PATIENCE, folder::Folder, process::signal, tool, within};

/// A user that nobody is.
pub const OWNER: u32 = 61_234;

/// Another one.
pub const OTHER: u32 = 61_235;

/// Whether the tests run as root, who can be anybody; where not, says that the test is skipped.
pub fn can_be_anybody() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        tool::skip("not root");
    }
    is_root
}

/// A server of [`OWNER`] in a folder of its own, to which others can come.
pub struct Server {
    folder: Folder,
    child: Child,
}

impl Server {
    /// Starts a server with `config` in the foreground and waits for its socket.
    #[track_caller]
    pub fn start(config: &str) -> Server {
        // What TMPDIR names may be closed to other users, and so may the folder of the build.
        let folder = Folder::new_in(Path::new("/tmp"));
        for (name, program) in [
            ("pizauth", PathBuf::from(env!("CARGO_BIN_EXE_pizauth"))),
            ("tests", std::env::current_exe().expect("a path")),
        ] {
            fs::copy(program, folder.join(name)).expect("a copy");
            set_mode(&folder.join(name), 0o755);
        }
        folder.write("pizauth.conf", config);
        folder.make("run");
        for path in [folder.path().to_owned(), folder.join("pizauth.conf"), folder.join("run")] {
            chown(path, Some(OWNER), Some(OWNER)).expect("root may do this");
        }
        set_mode(folder.path(), 0o755);
        let log = fs::File::create(folder.join("log")).expect("a log file");
        let mut command = command_as(OWNER, &folder, "pizauth");
        command.args(["server", "-d", "-vvvv", "-c", "pizauth.conf"]).stdout(Stdio::null()).stderr(log);
        let child = command.process_group(0).spawn().expect("the copy runs");
        let server = Server { folder, child };
        let is_up = within(PATIENCE, || server.socket().exists().then_some(()));
        assert!(is_up.is_some(), "pizauth server does not start: {}", server.log());
        server
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The server's folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its socket, in a folder of mode 0700.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/sock")
    }

    /// What the server has written to stderr.
    pub fn log(&self) -> String {
        self.folder.read("log")
    }

    /// Lets everybody come to the socket, as no mode that pizauth sets does.
    pub fn open_to_all(&self) {
        set_mode(&self.folder.join("run"), 0o755);
        set_mode(&self.socket(), 0o666);
    }

    /// Runs `program`, `pizauth` or a program of the system, as the user `uid`.
    #[track_caller]
    pub fn run_as(&self, uid: u32, program: &str, arguments: &[&str]) -> Output {
        self.command_as(uid, program).args(arguments).output().expect("it runs")
    }

    /// `program` as the user `uid`, to be started as the caller likes.
    pub fn command_as(&self, uid: u32, program: &str) -> Command {
        command_as(uid, &self.folder, program)
    }

    /// Runs one test of this test program as the user `uid`; it finds the socket in `PIZAUTH_SOCKET`.
    #[track_caller]
    pub fn play_as(&self, uid: u32, test: &str) -> Output {
        let mut command = command_as(uid, &self.folder, "tests");
        command.args(["--exact", test, "--nocapture"]).env("PIZAUTH_TEST_STRANGER", "1").output().expect("it runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        signal("TERM", self.pid().into());
        if within(PATIENCE, || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the log of pizauth server:\n{}", self.log());
        }
    }
}

/// Whether this test was started by [`Server::play_as`].
pub fn is_playing() -> bool {
    std::env::var_os("PIZAUTH_TEST_STRANGER").is_some()
}

fn command_as(uid: u32, folder: &Folder, program: &str) -> Command {
    let copy = folder.join(program);
    let mut command = if copy.exists() { Command::new(copy) } else { Command::new(program) };
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", folder.path()).env("PIZAUTH_SOCKET", folder.join("run/sock")).env("SHELL", "/bin/sh");
    command.current_dir(folder.path()).stdin(Stdio::null()).uid(uid).gid(uid);
    command
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root may do this");
}
