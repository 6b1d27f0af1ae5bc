//! Children: the user's commands, each run by the shell in a process group of its own.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use mio::unix::pipe::{Receiver, Sender};

use super::sandbox::Inherited;
use super::{check, signal};

/// What a child reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// /dev/null.
    Null,
    /// A pipe that the loop writes to.
    Pipe,
}

/// Where a child writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// /dev/null.
    Null,
    /// The standard error of this process.
    Stderr,
    /// A pipe that the loop reads from.
    Pipe,
}

/// A command to run and what surrounds it.
#[derive(Clone, Debug)]
pub struct Spawn<'a> {
    /// What the shell is given after `-c`.
    pub command: &'a str,
    /// Variables added to the environment of this process.
    pub environment: &'a [(&'a str, &'a str)],
    /// Its standard input.
    pub stdin: Input,
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error.
    pub stderr: Output,
}

/// A child and this process's ends of its pipes, which do not block.
#[derive(Debug)]
pub struct Running {
    /// The child: `try_wait` after SIGCHLD. Its process group has its number.
    pub child: Child,
    /// Where [`Input::Pipe`] was asked for; dropping it is the end of input.
    pub stdin: Option<Sender>,
    /// Where [`Output::Pipe`] was asked for.
    pub stdout: Option<Receiver>,
    /// Where [`Output::Pipe`] was asked for.
    pub stderr: Option<Receiver>,
}

/// Ways to end a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: asks it to end.
    Terminate,
    /// SIGKILL: ends it.
    Kill,
}

/// Starts `spawn` by `$SHELL -c`, with the limits, umask and signals that this process came with.
pub fn spawn(spawn: &Spawn<'_>, inherited: Inherited) -> io::Result<Running> {
    let mut command = Command::new(shell(env::var_os("SHELL")));
    command.arg("-c").arg(spawn.command);
    for (name, _) in env::vars_os().filter(|(name, _)| is_own(name)) {
        command.env_remove(name);
    }
    command.envs(spawn.environment.iter().copied());
    command.stdin(match spawn.stdin {
        Input::Null => Stdio::null(),
        Input::Pipe => Stdio::piped(),
    });
    command.stdout(stdio(spawn.stdout)).stderr(stdio(spawn.stderr));
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            inherited.restore()?;
            signal::restore_defaults()
        });
    }
    let mut child = command.spawn()?;
    match pipes(&mut child) {
        Ok((stdin, stdout, stderr)) => Ok(Running { child, stdin, stdout, stderr }),
        Err(error) => {
            // Nobody could feed it: it must not stay.
            kill_group(child.id(), Signal::Kill);
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Sends `signal` to the process group of the child `pid`, background processes included.
///
/// To be called while the child is not yet reaped or its group is known to live: numbers are used again. A group
/// that is gone is no error.
pub fn kill_group(pid: u32, signal: Signal) {
    let signal = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    // 0 and 1 would be this process's own group and everybody.
    let Some(group) = libc::pid_t::try_from(pid).ok().filter(|group| *group > 1) else { return };
    // SAFETY: the call takes numbers only.
    let _ = check(unsafe { libc::kill(-group, signal) });
}

/// Whether a variable is meant for pizauth and not for its children. Systemd adds to those about passed sockets.
fn is_own(variable: &OsStr) -> bool {
    variable == "NOTIFY_SOCKET" || variable.as_encoded_bytes().starts_with(b"LISTEN_")
}

/// The user's shell, from SHELL.
fn shell(variable: Option<OsString>) -> OsString {
    variable.filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())
}

fn stdio(output: Output) -> Stdio {
    match output {
        Output::Null => Stdio::null(),
        Output::Stderr => Stdio::from(io::stderr()),
        Output::Pipe => Stdio::piped(),
    }
}

type Pipes = (Option<Sender>, Option<Receiver>, Option<Receiver>);

/// Takes this process's ends of the child's pipes and makes them non-blocking.
fn pipes(child: &mut Child) -> io::Result<Pipes> {
    let stdin = child.stdin.take().map(Sender::from);
    let stdout = child.stdout.take().map(Receiver::from);
    let stderr = child.stderr.take().map(Receiver::from);
    stdin.iter().try_for_each(|pipe| pipe.set_nonblocking(true))?;
    stdout.iter().chain(&stderr).try_for_each(|pipe| pipe.set_nonblocking(true))?;
    Ok((stdin, stdout, stderr))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const QUIET: Spawn<'_> =
        Spawn { command: "", environment: &[], stdin: Input::Null, stdout: Output::Null, stderr: Output::Null };

    /// What this process may have been started with.
    fn inherited() -> Inherited {
        let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
        Inherited { open_files: Some(limit), core: Some(libc::rlimit { rlim_cur: 0, ..limit }), umask: 0o027 }
    }

    /// Runs `request` to its end and returns its standard output.
    fn output_of(request: &Spawn<'_>) -> String {
        let mut running = spawn(request, inherited()).unwrap();
        let mut stdout = running.stdout.take().unwrap();
        stdout.set_nonblocking(false).unwrap();
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        running.child.wait().unwrap();
        text
    }

    #[test]
    fn the_shell_is_the_users() {
        for (name, variable, want) in
            [("set", Some("/bin/ksh"), "/bin/ksh"), ("empty", Some(""), "/bin/sh"), ("unset", None, "/bin/sh")]
        {
            assert_eq!(shell(variable.map(OsString::from)), want, "{name}");
        }
    }

    #[test]
    fn what_a_service_manager_says_is_for_pizauth_alone() {
        for (name, want) in [
            ("NOTIFY_SOCKET", true),
            ("LISTEN_FDS", true),
            ("LISTEN_PIDFDID", true),
            ("LISTENER", false),
            ("MY_LISTEN_FDS", false),
            ("PATH", false),
        ] {
            assert_eq!(is_own(OsStr::new(name)), want, "{name}");
        }
    }

    #[test]
    fn a_child_gets_its_variables_and_none_of_ours() {
        let environment = [("PIZAUTH_ACCOUNT", "a b"), ("PIZAUTH_EVENT", "token_new")];
        let command = "echo \"$PIZAUTH_ACCOUNT $PIZAUTH_EVENT ${NOTIFY_SOCKET-none} ${LISTEN_FDS-none}\"";
        let text = output_of(&Spawn { command, environment: &environment, stdout: Output::Pipe, ..QUIET });
        assert_eq!(text, "a b token_new none none\n");
    }

    #[test]
    fn a_child_leads_its_own_group_and_reads_nothing() {
        let command = "read line || echo end of input; echo $$; ps -o pgid= -p $$";
        let text = output_of(&Spawn { command, stdout: Output::Pipe, ..QUIET });
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert!(matches!(lines[..], ["end of input", pid, group] if pid == group), "{lines:?}");
    }

    #[test]
    fn standard_input_and_output_are_pipes_that_do_not_block() {
        let request = Spawn { command: "cat", stdin: Input::Pipe, stdout: Output::Pipe, ..QUIET };
        let mut running = spawn(&request, inherited()).unwrap();
        let (mut stdin, mut stdout) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
        assert_eq!(stdout.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        stdin.write_all(b"state").unwrap();
        drop(stdin);
        stdout.set_nonblocking(false).unwrap();
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "state");
        assert!(running.child.wait().unwrap().success());
    }

    #[test]
    fn the_whole_group_is_killed() {
        let request = Spawn { command: "sleep 600 & echo started; wait", stdout: Output::Pipe, ..QUIET };
        for (signal, number) in [(Signal::Terminate, libc::SIGTERM), (Signal::Kill, libc::SIGKILL)] {
            let mut running = spawn(&request, inherited()).unwrap();
            let mut stdout = running.stdout.take().unwrap();
            stdout.set_nonblocking(false).unwrap();
            let mut text = [0; 8];
            stdout.read_exact(&mut text).unwrap();
            kill_group(running.child.id(), signal);
            assert_eq!(running.child.wait().unwrap().signal(), Some(number));
            // The background process holds the pipe open as long as it lives.
            assert_eq!(stdout.read(&mut text).unwrap(), 0);
        }
    }

    #[test]
    fn signals_and_limits_are_those_we_came_with() {
        let command = "ulimit -n; ulimit -c; umask; kill -TERM $$; echo alive";
        let mut running = spawn(&Spawn { command, stdout: Output::Pipe, ..QUIET }, inherited()).unwrap();
        let mut stdout = running.stdout.take().unwrap();
        stdout.set_nonblocking(false).unwrap();
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "100\n0\n0027\n");
        assert_eq!(running.child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn no_group_is_no_error() {
        for pid in [0, 1, u32::MAX] {
            kill_group(pid, Signal::Terminate);
        }
    }
}
