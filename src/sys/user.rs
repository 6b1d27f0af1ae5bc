//! Who runs this, and where.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;

use super::check;

/// Longest entry of the password database that is read, in bytes.
const MAX_ENTRY: usize = 1024 * 1024;

/// The user whose rights this process has.
pub fn uid() -> u32 {
    // SAFETY: the call takes no argument and cannot fail.
    unsafe { libc::geteuid() }
}

/// The name that the password database has for `uid`; none where there is none or it is not UTF-8.
pub fn name(uid: u32) -> Option<String> {
    let mut buffer = vec![0_u8; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::zeroed();
        let mut found = ptr::null_mut();
        // SAFETY: the pointers are valid for writing and the length is the buffer's.
        let error =
            unsafe { libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &mut found) };
        if error == libc::ERANGE && buffer.len() < MAX_ENTRY {
            buffer.resize(buffer.len() * 2, 0);
            continue;
        }
        if error != 0 || found.is_null() {
            return None;
        }
        // SAFETY: `found` points to `entry`, which is filled in; its name lies in `buffer` and ends in a NUL.
        let name = unsafe { CStr::from_ptr((*found).pw_name) };
        return name.to_str().ok().map(str::to_owned);
    }
}

/// This machine's name; none where it has none or it is not UTF-8.
pub fn host_name() -> Option<String> {
    // One byte more than the longest name, so that there is a NUL even where the system cuts without one.
    let mut buffer = [0_u8; 257];
    // SAFETY: the pointer is valid for writing, and the length leaves the last byte as it is.
    let result = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) };
    check(result).ok()?;
    let name = CStr::from_bytes_until_nul(&buffer).ok()?.to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_machine_has_the_name_that_uname_prints() {
        let output = Command::new("uname").arg("-n").output().unwrap();
        assert_eq!(host_name().as_deref(), std::str::from_utf8(&output.stdout).ok().map(str::trim));
    }

    #[test]
    fn the_name_is_the_one_that_id_prints() {
        let output = Command::new("id").arg("-un").output().unwrap();
        assert_eq!(name(uid()).as_deref(), std::str::from_utf8(&output.stdout).ok().map(str::trim));
        assert_eq!(name(0).as_deref(), Some("root"));
        assert_eq!(name(u32::MAX - 7), None);
    }
}
