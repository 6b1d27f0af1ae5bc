//! Where the control socket may lie, worked out from the environment alone.

use std::ffi::{OsStr, OsString};
use std::iter;
use std::path::{Component, Path, PathBuf};

use super::user;

/// Longest path of a socket in bytes, without the NUL that ends it.
#[cfg(target_os = "linux")]
pub const MAX_SOCKET_PATH: usize = 107;
/// Longest path of a socket in bytes, without the NUL that ends it.
#[cfg(not(target_os = "linux"))]
pub const MAX_SOCKET_PATH: usize = 103;

/// What the place of the socket depends on. Empty variables count as unset.
#[derive(Clone, Debug)]
pub struct Environment {
    /// PIZAUTH_SOCKET.
    pub pizauth_socket: Option<OsString>,
    /// XDG_RUNTIME_DIR; ignored where it is not absolute, as its specification demands.
    pub xdg_runtime_dir: Option<OsString>,
    /// TMPDIR.
    pub tmpdir: Option<OsString>,
    /// USER.
    pub user: Option<OsString>,
    /// Looks a user's name up in the password database: the dearest thing that a client could do, so it is done only
    /// where no place that needs no name will do.
    pub user_name: fn(u32) -> Option<String>,
    /// The user's own temporary folder, which macOS has.
    pub user_temporary: Option<PathBuf>,
    /// The user's number.
    pub uid: u32,
}

impl Environment {
    /// The environment of this process.
    pub fn read() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            pizauth_socket: variable("PIZAUTH_SOCKET"),
            xdg_runtime_dir: variable("XDG_RUNTIME_DIR"),
            tmpdir: variable("TMPDIR"),
            user: variable("USER"),
            user_name: user::name,
            user_temporary: user_temporary(),
            uid: user::uid(),
        }
    }

    /// The one place where a server makes its socket.
    pub fn server_place(&self) -> Place {
        if let Some(socket) = &self.pizauth_socket {
            return Place::Named { socket: socket.into() };
        }
        if let Some(runtime) = self.runtime() {
            return Place::Runtime { runtime };
        }
        let temporary = self.tmpdir.as_ref().map_or("/tmp".into(), PathBuf::from);
        let name = self.names().into_iter().next().unwrap_or_else(|| self.uid.to_string().into());
        Place::Temporary { temporary, name }
    }

    /// Every place where the user's server may have made its socket, the likeliest first: programs started by cron,
    /// launchd or ssh have other environments than the server.
    pub fn client_places(&self) -> impl Iterator<Item = Place> {
        let named = self.pizauth_socket.as_ref().map(|socket| Place::Named { socket: socket.into() });
        let is_named = named.is_some();
        let elsewhere = iter::once_with(move || if is_named { Vec::new() } else { self.unnamed_places() });
        let runtime = self.runtime().filter(|_| !is_named).map(|runtime| Place::Runtime { runtime });
        named.into_iter().chain(runtime).chain(elsewhere.flatten())
    }

    /// The places besides PIZAUTH_SOCKET and XDG_RUNTIME_DIR.
    fn unnamed_places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        let mut add = |place| {
            if !places.contains(&place) {
                places.push(place);
            }
        };
        let runtime = PathBuf::from(format!("/run/user/{}", self.uid));
        if self.runtime().as_ref() != Some(&runtime) {
            add(Place::Runtime { runtime });
        }
        let temporary = [self.tmpdir.as_ref().map(PathBuf::from), self.user_temporary.clone(), Some("/tmp".into())];
        let mut names = self.names();
        if names.is_empty() {
            names.push(self.uid.to_string().into());
        }
        for temporary in temporary.into_iter().flatten() {
            for name in &names {
                add(Place::Temporary { temporary: temporary.clone(), name: name.clone() });
            }
        }
        places
    }

    fn runtime(&self) -> Option<PathBuf> {
        self.xdg_runtime_dir.as_ref().map(PathBuf::from).filter(|runtime| runtime.is_absolute())
    }

    /// The names the user goes by: USER, then the password database's, where they can be part of a file name.
    fn names(&self) -> Vec<OsString> {
        let in_database = (self.user_name)(self.uid).map(OsString::from);
        let mut names: Vec<_> = self.user.iter().cloned().chain(in_database).collect();
        names.retain(|name| is_file_name(name));
        names.dedup();
        names
    }
}

/// A place for the control socket, and how its folders came to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The user named the socket itself.
    Named {
        /// PIZAUTH_SOCKET.
        socket: PathBuf,
    },
    /// In a runtime folder that the system or the user provides.
    Runtime {
        /// XDG_RUNTIME_DIR.
        runtime: PathBuf,
    },
    /// In a runtime folder that pizauth makes among everybody's temporary files.
    Temporary {
        /// TMPDIR.
        temporary: PathBuf,
        /// The user's name.
        name: OsString,
    },
}

impl Place {
    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        match self {
            Self::Named { socket } => socket.clone(),
            Self::Runtime { .. } | Self::Temporary { .. } => self.directory().join("pizauth.sock"),
        }
    }

    /// The folder that holds the socket, its lock, and nothing of others.
    pub fn directory(&self) -> PathBuf {
        match self {
            Self::Named { socket } => match socket.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                Some(_) | None => ".".into(),
            },
            Self::Runtime { .. } | Self::Temporary { .. } => self.runtime().join("pizauth"),
        }
    }

    /// The lock's path: beside the socket, so that two sockets in one folder are two servers.
    pub fn lock(&self) -> PathBuf {
        self.beside(".lock")
    }

    /// The path of the mark of a save that runs.
    pub fn save_mark(&self) -> PathBuf {
        self.beside(".saving")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.socket().into_os_string();
        path.push(ending);
        path.into()
    }

    /// The folder that holds [`Place::directory`].
    pub(super) fn runtime(&self) -> PathBuf {
        match self {
            Self::Named { .. } => self.directory(),
            Self::Runtime { runtime } => runtime.clone(),
            Self::Temporary { temporary, name } => {
                let mut last = OsString::from("runtime-");
                last.push(name);
                temporary.join(last)
            }
        }
    }
}

/// Whether `name` is one component of a path and stays one.
fn is_file_name(name: &OsStr) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
}

/// The user's own temporary folder, which is what TMPDIR says in a session and what cron and ssh do not know.
#[cfg(target_vendor = "apple")]
fn user_temporary() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;

    let mut buffer = vec![0_u8; 1024];
    // SAFETY: the pointer is valid for writing and the length is the buffer's.
    let length = unsafe { libc::confstr(libc::_CS_DARWIN_USER_TEMP_DIR, buffer.as_mut_ptr().cast(), buffer.len()) };
    if length == 0 || length > buffer.len() {
        return None;
    }
    buffer.truncate(length - 1);
    Some(OsString::from_vec(buffer).into())
}

/// The user's own temporary folder: only macOS has one.
#[cfg(not(target_vendor = "apple"))]
fn user_temporary() -> Option<PathBuf> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment of the user joe, 1000, with the variables PIZAUTH_SOCKET, XDG_RUNTIME_DIR, TMPDIR and USER.
    fn environment(variables: [&str; 4]) -> Environment {
        let [pizauth_socket, xdg_runtime_dir, tmpdir, user] =
            variables.map(|value| Some(OsString::from(value)).filter(|value| !value.is_empty()));
        Environment {
            pizauth_socket,
            xdg_runtime_dir,
            tmpdir,
            user,
            user_name: |_| Some("joe".into()),
            user_temporary: None,
            uid: 1000,
        }
    }

    #[test]
    fn a_server_has_one_place() {
        for (name, variables, want) in [
            ("named", ["/home/joe/p.sock", "/run/user/1000", "/var/tmp", "joe"], "/home/joe/p.sock"),
            ("runtime folder", ["", "/run/user/1000", "/var/tmp", "joe"], "/run/user/1000/pizauth/pizauth.sock"),
            ("a relative one is none", ["", "run", "", "joe"], "/tmp/runtime-joe/pizauth/pizauth.sock"),
            ("TMPDIR", ["", "", "/var/tmp", "ann"], "/var/tmp/runtime-ann/pizauth/pizauth.sock"),
            ("nothing set", ["", "", "", ""], "/tmp/runtime-joe/pizauth/pizauth.sock"),
            ("USER is a path", ["", "", "", "../ann"], "/tmp/runtime-joe/pizauth/pizauth.sock"),
            ("USER is the parent", ["", "", "", ".."], "/tmp/runtime-joe/pizauth/pizauth.sock"),
            ("USER ends in a slash", ["", "", "", "ann/"], "/tmp/runtime-joe/pizauth/pizauth.sock"),
        ] {
            assert_eq!(environment(variables).server_place().socket(), Path::new(want), "{name}");
        }
        let nameless = Environment { user_name: |_| None, ..environment([""; 4]) };
        assert_eq!(nameless.server_place().socket(), Path::new("/tmp/runtime-1000/pizauth/pizauth.sock"));
    }

    #[test]
    fn a_client_looks_wherever_the_server_can_be() {
        let run = "/run/user/1000/pizauth/pizauth.sock";
        let tmp = "/tmp/runtime-joe/pizauth/pizauth.sock";
        for (name, variables, want) in [
            ("named", ["/home/joe/p.sock", "/run/user/1000", "/var/tmp", "joe"], vec!["/home/joe/p.sock"]),
            ("a session", ["", "/run/user/1000", "", "joe"], vec![run, tmp]),
            ("cron", ["", "", "", ""], vec![run, tmp]),
            (
                "own runtime folder",
                ["", "/home/joe/run", "", "joe"],
                vec!["/home/joe/run/pizauth/pizauth.sock", run, tmp],
            ),
            (
                "another name",
                ["", "", "/var/tmp", "ann"],
                vec![
                    run,
                    "/var/tmp/runtime-ann/pizauth/pizauth.sock",
                    "/var/tmp/runtime-joe/pizauth/pizauth.sock",
                    "/tmp/runtime-ann/pizauth/pizauth.sock",
                    tmp,
                ],
            ),
        ] {
            let client = environment(variables);
            let places: Vec<Place> = client.client_places().collect();
            let sockets: Vec<_> = places.iter().map(Place::socket).collect();
            assert_eq!(sockets, want.iter().map(PathBuf::from).collect::<Vec<_>>(), "{name}");
            let server = environment(variables).server_place();
            assert!(places.contains(&server), "{name}: the client looks where its own server would be");
        }
        let macos = Environment { user_temporary: Some("/var/folders/x/T/".into()), ..environment([""; 4]) };
        let sockets: Vec<_> = macos.client_places().map(|place| place.socket()).collect();
        assert_eq!(sockets[1], Path::new("/var/folders/x/T/runtime-joe/pizauth/pizauth.sock"));
    }

    #[test]
    fn nobodys_name_is_looked_up_where_the_first_place_will_do() {
        for variables in [["/home/joe/p.sock", "", "", ""], ["", "/run/user/1000", "", ""]] {
            let environment = Environment { user_name: |_| panic!("looked up"), ..environment(variables) };
            assert!(environment.client_places().next().is_some());
            environment.server_place();
        }
    }

    #[test]
    fn the_lock_lies_beside_the_socket() {
        let place = Place::Named { socket: "work.sock".into() };
        assert_eq!((place.directory(), place.lock()), (".".into(), "work.sock.lock".into()));
        let place = Place::Runtime { runtime: "/run/user/1".into() };
        assert_eq!(place.lock(), Path::new("/run/user/1/pizauth/pizauth.sock.lock"));
    }
}
