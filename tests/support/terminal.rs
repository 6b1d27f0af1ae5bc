//! A terminal with a person at it: a program in its foreground, what is typed, what is seen, and the terminal's mode.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    ptr,
};

use super::{PATIENCE, within};

/// A pseudo-terminal.
pub struct Terminal {
    /// The person's side, which does not block.
    person: File,
    /// The program's side.
    program: OwnedFd,
    /// What was seen and not yet read.
    seen: Vec<u8>,
}

impl Terminal {
    /// A terminal that nobody uses yet.
    pub fn open() -> Terminal {
        let (mut person, mut program) = (-1, -1);
        // SAFETY: both descriptors are valid for writing, and new and nobody else's where the call succeeds; the flags
        // of an open descriptor may be set.
        unsafe {
            let none = ptr::null_mut();
            let result = libc::openpty(&mut person, &mut program, none, ptr::null_mut(), ptr::null_mut());
            assert_eq!(result, 0, "no pseudo-terminal");
            assert_eq!(libc::fcntl(person, libc::F_SETFL, libc::O_NONBLOCK), 0);
            assert_eq!(libc::fcntl(person, libc::F_SETFD, libc::FD_CLOEXEC), 0);
            assert_eq!(libc::fcntl(program, libc::F_SETFD, libc::FD_CLOEXEC), 0);
            Terminal { person: File::from_raw_fd(person), program: OwnedFd::from_raw_fd(program), seen: Vec::new() }
        }
    }

    /// Starts `command` with all its streams here, in the foreground.
    pub fn start(&self, mut command: Command) -> Child {
        let stream = || Stdio::from(self.program.try_clone().expect("a descriptor"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY as _, 0);
                Ok(())
            });
        }
        command.spawn().expect("a process")
    }

    /// Types `text`. What the program shows of it meanwhile is kept for later.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        let typed = within(PATIENCE, || {
            match self.person.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            self.look();
            rest.is_empty().then_some(())
        });
        assert!(typed.is_some(), "nobody reads what is typed");
    }

    /// Reads until `text` is seen, and returns all that was since the last time.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        let found = within(PATIENCE, || {
            self.look();
            String::from_utf8_lossy(&self.seen).contains(text).then_some(())
        });
        let seen = String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned();
        assert!(found.is_some(), "{text:?} is never seen, but {seen:?}");
        seen
    }

    /// Takes what is there to be seen.
    fn look(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.person.read(&mut bytes) {
            self.seen.extend_from_slice(&bytes[..count]);
        }
    }

    /// The mode that it has.
    pub fn mode(&self) -> libc::termios {
        // SAFETY: zeros are a valid termios, and the call fills it in.
        unsafe {
            let mut mode: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.program.as_raw_fd(), &mut mode), 0);
            mode
        }
    }

    /// Gives it a mode that it had.
    pub fn set_mode(&self, mode: &libc::termios) {
        // SAFETY: the mode is one that the system has told.
        assert_eq!(unsafe { libc::tcsetattr(self.program.as_raw_fd(), libc::TCSANOW, mode) }, 0);
    }
}
