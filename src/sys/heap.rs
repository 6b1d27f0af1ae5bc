//! How the allocator of the system treats what was given back: a process that runs for months stays as small as it
//! began.

/// Keeps one heap for all threads, and gives large blocks back to the system as soon as they are freed.
///
/// glibc would make a heap for each helper thread, which stays when the thread is gone, and would take large blocks
/// into the heap after the first one. Other systems' allocators need not be told. To be called before the first thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn settle() {
    // SAFETY: the calls take numbers only; one that is refused leaves things as they are.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Gives pages back to the system in which nothing is left. Takes some milliseconds, so not for every turn of a loop.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn trim() {
    // SAFETY: the call takes a number only.
    unsafe { libc::malloc_trim(0) };
}

/// Other systems' allocators need not be told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn settle() {}

/// Other systems' allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}

/// From which size on a block is large, in bytes: hardly anything that lives long is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 64 * 1024;
