//! Temporary folders that only their owner can read and that go when they are dropped.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{PATIENCE, within};

/// A folder of mode 0700 under the system's temporary folder.
///
/// Its path is short: a socket's whole path has 104 bytes on some systems.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a new folder that nobody else has.
    pub fn new() -> Folder {
        Folder::new_in(&std::env::temp_dir())
    }

    /// Makes a new folder in `base`.
    pub fn new_in(base: &Path) -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let base = fs::canonicalize(base).expect("no temporary folder");
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.subsec_nanos());
            let path = base.join(format!("pz-{}-{count}-{:x}", process::id(), nanos & 0xffff));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Folder { path },
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that only its owner can read, replacing what was there, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Makes a folder of mode 0700 in it, and returns its path.
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&path);
        made.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The text of a file, empty where there is none (yet).
    pub fn read(&self, name: &str) -> String {
        fs::read(self.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Folder {
    /// Takes the folder away, also from under a process that is just ending and still writes into it.
    fn drop(&mut self) {
        let gone = within(PATIENCE, || {
            let _ = fs::remove_dir_all(&self.path);
            (!self.path.exists()).then_some(())
        });
        assert!(gone.is_some() || thread::panicking(), "{} cannot be removed", self.path.display());
    }
}
