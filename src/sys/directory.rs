//! The folders around the control socket: made where they are missing, refused where others could get in between.
//!
//! A folder is opened first and judged by its descriptor, so that nobody can change it between look and use.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::check;
use super::place::Place;

const ANYBODY_ELSE: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why a folder is not used.
#[derive(Debug)]
pub enum DirectoryError {
    /// It is a symbolic link.
    Link(PathBuf),
    /// It is something else than a folder.
    NotDirectory(PathBuf),
    /// It belongs to this other user.
    Foreign(PathBuf, u32),
    /// Its mode lets others do something in a folder that is for one user.
    Open(PathBuf, u32),
    /// Its mode lets others replace what is in it.
    Writable(PathBuf, u32),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => write!(f, "{} is a symbolic link; remove it", path.display()),
            Self::NotDirectory(path) => write!(f, "{} is no directory; remove it", path.display()),
            Self::Foreign(path, owner) => write!(
                f,
                "{} belongs to user {owner}, so it cannot be trusted; remove it or set XDG_RUNTIME_DIR",
                path.display()
            ),
            Self::Open(path, mode) => {
                write!(f, "{0} has mode {mode:04o}, so others can use it; run: chmod 700 {0}", path.display())
            }
            Self::Writable(path, mode) => {
                write!(f, "{0} has mode {mode:04o}, so others can write to it; run: chmod go-w {0}", path.display())
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DirectoryError {}

impl DirectoryError {
    /// Whether it is only that there is no such folder.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Io(_, error) => error.kind() == io::ErrorKind::NotFound,
            Self::Link(_) | Self::NotDirectory(_) | Self::Foreign(..) | Self::Open(..) | Self::Writable(..) => false,
        }
    }
}

/// Who asks for a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The server of this user: missing folders are made.
    Server(u32),
    /// A client of this user: nothing is made. Root is also shown the folders of others.
    Client(u32),
}

/// The folder of a socket, held open.
#[derive(Debug)]
pub struct Directory {
    file: File,
    /// Whose it is, and so whose server may answer there.
    pub owner: u32,
    mode: u32,
}

impl Directory {
    /// Opens the folder of `place`, or refuses it.
    pub fn open(place: &Place, asker: Asker) -> Result<Self, DirectoryError> {
        if let (Asker::Server(_), Place::Named { .. } | Place::Runtime { .. }) = (asker, place) {
            make(&place.runtime())?;
        }
        match place {
            Place::Named { .. } => {
                let directory = Self::at(&place.directory())?;
                directory.judge(&place.directory(), asker, OTHERS_WRITE)?;
                Ok(directory)
            }
            Place::Runtime { .. } => {
                let runtime = Self::at(&place.runtime())?;
                runtime.judge_parent(&place.runtime(), asker)?;
                runtime.enter(&place.directory(), asker)
            }
            Place::Temporary { temporary, .. } => {
                let parent = Self::at(temporary)?;
                parent.judge_parent(temporary, asker)?;
                let runtime = parent.below(&place.runtime(), asker)?;
                runtime.judge_parent(&place.runtime(), asker)?;
                runtime.enter(&place.directory(), asker)
            }
        }
    }

    /// The folder itself, whatever becomes of its path.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn new(file: File, path: &Path) -> Result<Self, DirectoryError> {
        let metadata = file.metadata().map_err(|error| DirectoryError::Io(path.into(), error))?;
        Ok(Self { file, owner: metadata.uid(), mode: metadata.mode() & 0o7777 })
    }

    /// Opens `path`, links and all.
    fn at(path: &Path) -> Result<Self, DirectoryError> {
        match OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path) {
            Ok(file) => Self::new(file, path),
            Err(error) => Err(match fs::metadata(path) {
                Ok(found) if !found.is_dir() => DirectoryError::NotDirectory(path.into()),
                Ok(_) | Err(_) => DirectoryError::Io(path.into(), error),
            }),
        }
    }

    /// Opens the last component of `path`, which lies in this folder and must be no link; a server makes it where it
    /// is missing.
    fn below(&self, path: &Path, asker: Asker) -> Result<Self, DirectoryError> {
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let name = super::c_string(name.as_bytes()).map_err(|error| DirectoryError::Io(path.into(), error))?;
        if let Asker::Server(_) = asker {
            // SAFETY: the name ends in a NUL and lives until the call returns.
            match check(unsafe { libc::mkdirat(self.file.as_raw_fd(), name.as_ptr(), 0o700) }) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(DirectoryError::Io(path.into(), error));
                }
                Ok(_) | Err(_) => {}
            }
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: as above; a descriptor that is returned is new and nobody else's.
        let opened = check(unsafe { libc::openat(self.file.as_raw_fd(), name.as_ptr(), flags) })
            .map(|file| unsafe { File::from_raw_fd(file) });
        match opened {
            Ok(file) => Self::new(file, path),
            // Which error a link gives differs from system to system. This look decides on the message alone.
            Err(error) => Err(match fs::symlink_metadata(path) {
                Ok(found) if found.is_symlink() => DirectoryError::Link(path.into()),
                Ok(found) if !found.is_dir() => DirectoryError::NotDirectory(path.into()),
                Ok(_) | Err(_) => DirectoryError::Io(path.into(), error),
            }),
        }
    }

    /// Opens `path` in this folder as the user's own `pizauth` folder.
    fn enter(&self, path: &Path, asker: Asker) -> Result<Self, DirectoryError> {
        let directory = self.below(path, asker)?;
        directory.judge(path, asker, ANYBODY_ELSE)?;
        Ok(directory)
    }

    /// Refuses a folder that is not the asker's own, or whose mode has one of the bits `forbidden`.
    fn judge(&self, path: &Path, asker: Asker, forbidden: u32) -> Result<(), DirectoryError> {
        let mode = self.mode;
        if !may_own(self.owner, asker) {
            return Err(DirectoryError::Foreign(path.into(), self.owner));
        }
        if mode & forbidden == 0 {
            return Ok(());
        }
        Err(match forbidden {
            ANYBODY_ELSE => DirectoryError::Open(path.into(), mode),
            _ => DirectoryError::Writable(path.into(), mode),
        })
    }

    /// Refuses a folder in which others could replace the user's.
    fn judge_parent(&self, path: &Path, asker: Asker) -> Result<(), DirectoryError> {
        let mode = self.mode;
        if self.owner != 0 && !may_own(self.owner, asker) {
            return Err(DirectoryError::Foreign(path.into(), self.owner));
        }
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return Err(DirectoryError::Writable(path.into(), mode));
        }
        Ok(())
    }
}

/// Whether a folder of `owner` can be the asker's.
fn may_own(owner: u32, asker: Asker) -> bool {
    match asker {
        Asker::Server(uid) => owner == uid,
        Asker::Client(uid) => owner == uid || uid == 0,
    }
}

/// Makes `path` and what is missing above it, for the user alone.
fn make(path: &Path) -> Result<(), DirectoryError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(DirectoryError::Io(path.into(), error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::testing::Scratch;
    use super::super::user;
    use super::*;

    const STRANGER: u32 = 4_242;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_server_makes_what_is_missing_for_the_user_alone() {
        let scratch = Scratch::new();
        let own = Asker::Server(user::uid());
        for (name, place) in [
            ("runtime", Place::Runtime { runtime: scratch.path().join("a/b") }),
            ("temporary", Place::Temporary { temporary: scratch.path().into(), name: "joe".into() }),
            ("named", Place::Named { socket: scratch.path().join("c/d/p.sock") }),
        ] {
            assert!(Directory::open(&place, Asker::Client(user::uid())).unwrap_err().is_missing(), "{name}");
            assert!(!place.directory().exists(), "{name}: a client makes nothing");
            let directory = Directory::open(&place, own).unwrap();
            assert_eq!(directory.owner, user::uid(), "{name}");
            assert_eq!((mode(&place.runtime()), mode(&place.directory())), (0o700, 0o700), "{name}");
            Directory::open(&place, Asker::Client(user::uid())).unwrap();
        }
    }

    #[test]
    fn a_folder_that_others_can_use_is_refused() {
        let scratch = Scratch::new();
        let (runtime, own) = (scratch.path().join("run"), Asker::Server(user::uid()));
        let place = Place::Runtime { runtime: runtime.clone() };
        Directory::open(&place, own).unwrap();
        for (name, runtime_mode, mode, want) in [
            ("both private", 0o700, 0o700, ""),
            ("runtime readable", 0o755, 0o700, ""),
            ("runtime for all, sticky", 0o1777, 0o700, ""),
            ("runtime for all", 0o777, 0o700, "run has mode 0777, so others can write to it; run: chmod go-w "),
            ("runtime for the group", 0o770, 0o700, "run has mode 0770, so others can write to it"),
            ("readable by others", 0o700, 0o704, "pizauth has mode 0704, so others can use it; run: chmod 700 "),
            ("searched by the group", 0o700, 0o710, "pizauth has mode 0710, so others can use it"),
        ] {
            allow(&runtime, runtime_mode);
            allow(&place.directory(), mode);
            for asker in [own, Asker::Client(user::uid())] {
                let got = Directory::open(&place, asker).map_or_else(|error| error.to_string(), |_| String::new());
                assert!(got.contains(want) && got.is_empty() == want.is_empty(), "{name}: {got}");
            }
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let scratch = Scratch::new();
        let place = Place::Runtime { runtime: scratch.path().into() };
        Directory::open(&place, Asker::Server(user::uid())).unwrap();
        for asker in [Asker::Server(STRANGER), Asker::Client(STRANGER)] {
            assert!(matches!(Directory::open(&place, asker), Err(DirectoryError::Foreign(..))), "{asker:?}");
        }
        let named = Place::Named { socket: scratch.path().join("p.sock") };
        assert!(matches!(Directory::open(&named, Asker::Server(STRANGER)), Err(DirectoryError::Foreign(..))));
    }

    #[test]
    fn root_may_own_anything_and_look_everywhere() {
        for (name, owner, asker, want) in [
            ("own server", 1000, Asker::Server(1000), true),
            ("another's server", 1001, Asker::Server(1000), false),
            ("root's server in a user's folder", 1000, Asker::Server(0), false),
            ("own client", 1000, Asker::Client(1000), true),
            ("another's client", 1001, Asker::Client(1000), false),
            ("root's client", 1000, Asker::Client(0), true),
        ] {
            assert_eq!(may_own(owner, asker), want, "{name}");
        }
    }

    #[test]
    fn links_and_files_in_the_way_are_refused() {
        let scratch = Scratch::new();
        let own = Asker::Server(user::uid());
        let elsewhere = scratch.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();

        let place = Place::Runtime { runtime: scratch.path().join("run") };
        make(&place.runtime()).unwrap();
        symlink(&elsewhere, place.directory()).unwrap();
        assert!(matches!(Directory::open(&place, own), Err(DirectoryError::Link(_))));
        fs::remove_file(place.directory()).unwrap();
        fs::write(place.directory(), "").unwrap();
        assert!(matches!(Directory::open(&place, own), Err(DirectoryError::NotDirectory(_))));

        let place = Place::Temporary { temporary: scratch.path().into(), name: "joe".into() };
        symlink(&elsewhere, place.runtime()).unwrap();
        assert!(matches!(Directory::open(&place, own), Err(DirectoryError::Link(_))));

        let linked = scratch.path().join("linked");
        symlink(&elsewhere, &linked).unwrap();
        assert!(Directory::open(&Place::Runtime { runtime: linked }, own).is_ok(), "the user's own choice");
    }
}
