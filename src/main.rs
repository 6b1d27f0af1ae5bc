//! The `pizauth` program: hands the command line to [`pizauth::cli`] and exits with its status.

use std::process::ExitCode;

use pizauth::sys::wipe::WipingAllocator;

/// Wipes what is freed: the buffers of all libraries see tokens.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

fn main() -> ExitCode {
    pizauth::cli::run()
}
