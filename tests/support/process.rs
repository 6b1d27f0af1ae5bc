//! What the system says about a process: threads, descriptors, memory, wake-ups, and who is left over. The figures
//! come from /proc and exist on Linux only.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::eventually;

/// Between two looks at a process that should be asleep: many clock ticks, of which a busy one has used most.
const QUIET: Duration = Duration::from_millis(300);

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
    /// The most that it was so far, in kB.
    pub peak_rss: u64,
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
        peak_rss: number("VmHWM")?,
        rss_anon: number("RssAnon")?,
    })
}

/// Waits until process `pid` uses no processor time between two looks: it sleeps, and does not turn in circles.
#[track_caller]
pub fn wait_until_asleep(pid: u32) {
    eventually("a process that sleeps", || {
        let before = processor_time(pid);
        thread::sleep(QUIET);
        processor_time(pid) == before
    });
}

/// Processor time of a process in clock ticks, its own and the system's for it; 0 where it is gone.
fn processor_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the program's name in brackets, in which everything can be.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
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
