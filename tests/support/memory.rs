//! The memory of another process, searched as root does it. Linux only.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
};

/// Bytes read at once.
const CHUNK: usize = 1024 * 1024;

/// Where `needle` stands in the memory of process `pid`: the name of the mapping for each time it is found.
///
/// An error where the process or its memory cannot be read, as by anybody but root.
pub fn find(pid: u32, needle: &[u8]) -> io::Result<Vec<String>> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(modes)) = (fields.next(), fields.next()) else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else { continue };
        let name = fields.nth(3).unwrap_or("anonymous").to_owned();
        // What cannot be written to is the program itself.
        if modes.starts_with("rw") {
            let count = count(&memory, from, to, needle);
            found.extend((0..count).map(|_| format!("{name} {modes}")));
        }
    }
    Ok(found)
}

/// How often `needle` begins between `from` and `to`. What cannot be read, like the kernel's own pages, has nothing.
fn count(memory: &File, from: u64, to: u64, needle: &[u8]) -> usize {
    let mut found = 0;
    let mut at = from;
    let mut bytes = vec![0; CHUNK + needle.len() - 1];
    while at < to {
        let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(bytes.len());
        let Ok(length) = memory.read_at(&mut bytes[..length], at) else { return found };
        // Whatever begins in the last bytes is seen whole with the next chunk.
        let starts = &bytes[..length];
        found += starts.windows(needle.len()).take(CHUNK).filter(|window| *window == needle).count();
        if length < needle.len() {
            return found;
        }
        at += CHUNK as u64;
    }
    found
}
