//! The mark of a save that runs, a file beside the control socket.
//!
//! A server that is killed leaves its `persist_cmd` running, with a state that is newer than the one kept. The next
//! server sees by the mark that it must neither read nor write the store until that command has ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::socket::same_file;

/// How long a mark counts: a save's limit and its end. Numbers of process groups are used again.
const LIFE: Duration = Duration::from_secs(65);

/// The mark, and the file where it is this server's.
#[derive(Debug)]
pub struct SaveMark {
    path: PathBuf,
    set: Option<File>,
}

impl SaveMark {
    /// The mark at `path`, which is in a folder that nobody else can write to.
    pub fn new(path: PathBuf) -> Self {
        Self { path, set: None }
    }

    /// Marks that the process group `group` saves. To be called before it gets anything to save.
    pub fn set(&mut self, group: u32) -> io::Result<()> {
        // Anew, so that its age is right.
        let _ = fs::remove_file(&self.path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
        let written = file.write_all(group.to_string().as_bytes());
        self.set = Some(file);
        written
    }

    /// Takes the mark away, if it is this server's.
    pub fn clear(&mut self) {
        if self.set.take().is_some_and(|file| same_file(&file, &self.path)) {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Whether a save of an earlier server still runs.
    pub fn is_held(&self) -> bool {
        self.set.is_none() && is_recent(&self.path) && group_of(&self.path).is_some_and(lives)
    }
}

fn is_recent(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age < LIFE))
}

fn group_of(path: &Path) -> Option<libc::pid_t> {
    let group: libc::pid_t = fs::read_to_string(path).ok()?.parse().ok()?;
    // 0 and 1 would be this process's own group and everybody.
    (group > 1).then_some(group)
}

fn lives(group: libc::pid_t) -> bool {
    // SAFETY: the call takes numbers only, and sends nothing.
    super::check(unsafe { libc::kill(-group, 0) }).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::Command,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::sys::testing::Scratch;

    #[test]
    fn a_mark_holds_while_its_group_lives_and_not_for_ever() {
        let scratch = Scratch::new();
        let path = scratch.path().join("saving");
        let mut child = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let mut first = SaveMark::new(path.clone());
        let mut next = SaveMark::new(path.clone());
        assert!(!next.is_held(), "no mark");
        first.set(child.id()).unwrap();
        assert!(!first.is_held(), "its own");
        assert!(next.is_held(), "a save that runs");
        next.clear();
        assert!(next.is_held(), "cleared by another");

        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for (name, time) in
            [("long ago", SystemTime::now() - LIFE), ("in the future", SystemTime::now() + Duration::from_secs(60))]
        {
            file.set_modified(time).unwrap();
            assert!(!next.is_held(), "{name}");
        }
        file.set_modified(SystemTime::now()).unwrap();
        assert!(next.is_held());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!next.is_held(), "a save that has ended");
        first.clear();
        assert!(!path.exists());

        first.set(child.id()).unwrap();
        SaveMark::new(path.clone()).set(child.id()).unwrap();
        first.clear();
        assert!(path.exists(), "another server's");
    }

    #[test]
    fn a_mark_that_is_none_holds_nothing_up() {
        let scratch = Scratch::new();
        let mark = SaveMark::new(scratch.path().join("saving"));
        for text in ["", "0", "1", "-1", "-2", "99999999999999", "x"] {
            fs::write(scratch.path().join("saving"), text).unwrap();
            assert!(!mark.is_held(), "{text:?}");
        }
    }
}
