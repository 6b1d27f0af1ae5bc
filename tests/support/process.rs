//! What the system says about a process: threads, descriptors, memory, wake-ups, and who is left over. The figures
//! come from /proc and exist on Linux only.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Figures of one process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub threads: usize,
    /// Open descriptors; `None` where only root may count them.
    pub fds: Option<usize>,
    /// How often its main thread went to sleep by itself; a difference of 0 means that it never woke up.
    pub voluntary_switches: u64,
    /// Resident memory in kB.
    pub vm_rss: u64,
    /// The part of it that is private and not from a file, in kB.
    pub rss_anon: u64,
}

/// Reads the figures of process `pid`; `None` where it is gone or the system has no /proc.
pub fn figures(pid: u32) -> Option<Figures> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Figures {
        threads: usize::try_from(number("Threads")?).ok()?,
        fds: fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count),
        voluntary_switches: number("voluntary_ctxt_switches")?,
        vm_rss: number("VmRSS")?,
        rss_anon: number("RssAnon")?,
    })
}

/// Processes, apart from this one, that were started with `folder` in their environment, with their command lines.
/// Zombies do not count. Empty where the system has no /proc.
pub fn living_in(folder: &Path) -> Vec<(u32, String)> {
    let needle = folder.as_os_str().as_encoded_bytes();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != std::process::id())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(needle.len()).any(|window| window == needle)
        })
        .map(|pid| (pid, command_line(pid)))
        .collect()
}

/// Sends a signal, named as for kill(1), to a process, or with a negative `target` to a process group. False where
/// there is none.
pub fn signal(name: &str, target: i64) -> bool {
    let status = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" -- \"$2\"", "sh", name, &target.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("no /bin/sh").success()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}
