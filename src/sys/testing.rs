//! What the tests of this room share: a folder of a test's own, and processes of a test's own.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// A new folder of mode 0700, removed with all that is in it on drop.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("pizauth-sys-{}-{count}", process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Tells a test that it was started by [`again`], and what it is to do.
const PLAY: &str = "PIZAUTH_TEST_PLAY";

/// This test program, to run `test` alone in a process of its own, which finds `play` by [`play`].
pub(super) fn again(test: &str, play: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(PLAY, play);
    command
}

/// What a test started by [`again`] is to do; none where it runs among the others.
pub(super) fn play() -> Option<String> {
    env::var(PLAY).ok()
}
