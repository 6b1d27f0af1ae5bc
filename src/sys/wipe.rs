//! Wiping of memory that was given back: an allocator that wipes what is freed, and the same for the stack, so that no
//! library's buffer leaves a token behind.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint;
use std::mem::MaybeUninit;

/// Depth to which the stack is wiped, in bytes: some times what the deepest calls were seen to use.
const DEPTH: usize = 64 * 1024;

/// The system's allocator, with every block overwritten by zeros before it goes back.
pub struct WipingAllocator;

// SAFETY: every request goes to `System` with the layout it came with; a block is only written to within its size,
// before it is given back. `realloc` follows the trait's contract by allocating, copying and freeing.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract, which is System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's to free, so its `layout.size()` bytes may be written to until it is.
        unsafe {
            wipe(block, layout.size());
            System.dealloc(block, layout);
        }
    }

    // System's own could move the block and leave the old one as it is.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, does not overflow; the blocks are
        // distinct, and both have at least the number of bytes copied.
        unsafe {
            let new = System.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Overwrites what the calls that the caller has made left on the stack: SHA-256, for one, copies what it reads there.
///
/// To be called where no call is under way that the memory could belong to, so from the end of a loop or of a thread.
#[inline(never)]
pub fn stack() {
    let mut below = [const { MaybeUninit::<u8>::uninit() }; DEPTH];
    // SAFETY: the array is as long as that, and whatever is written to it is valid.
    unsafe { wipe(below.as_mut_ptr().cast(), DEPTH) };
    hint::black_box(&mut below);
}

/// Overwrites `size` bytes at `block` with zeros by volatile writes, which the compiler must keep: by words, since
/// megabytes are freed too.
///
/// # Safety
/// `block` must be valid for writes of `size` bytes.
unsafe fn wipe(block: *mut u8, size: usize) {
    let word = size_of::<usize>();
    let head = block.align_offset(word).min(size);
    let words = (size - head) / word;
    // SAFETY: head, words and tail lie side by side within the block, and the words are aligned by the choice of head.
    unsafe {
        for at in 0..head {
            block.add(at).write_volatile(0);
        }
        let aligned = block.add(head).cast::<usize>();
        for at in 0..words {
            aligned.add(at).write_volatile(0);
        }
        for at in head + words * word..size {
            block.add(at).write_volatile(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_block_and_no_other_is_wiped() {
        for start in 0..9 {
            for size in 0..40 {
                let mut memory = [0xaa_u8; 64];
                // SAFETY: `start + size` is less than the length.
                unsafe { wipe(memory.as_mut_ptr().add(start), size) };
                for (at, byte) in memory.iter().enumerate() {
                    let inside = (start..start + size).contains(&at);
                    assert_eq!(*byte, if inside { 0 } else { 0xaa }, "{size} bytes from {start}, byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_block_keeps_its_content_when_it_grows_and_shrinks() {
        let layout = Layout::from_size_align(24, 8).unwrap();
        // SAFETY: the blocks are used within their sizes and freed once, with their layouts.
        unsafe {
            let block = WipingAllocator.alloc(layout);
            block.write_bytes(7, 24);
            let block = WipingAllocator.realloc(block, layout, 4_096);
            assert_eq!(std::slice::from_raw_parts(block, 24), [7; 24]);
            let block = WipingAllocator.realloc(block, Layout::from_size_align(4_096, 8).unwrap(), 5);
            assert_eq!(std::slice::from_raw_parts(block, 5), [7; 5]);
            WipingAllocator.dealloc(block, Layout::from_size_align(5, 8).unwrap());

            let block = WipingAllocator.alloc_zeroed(layout);
            assert_eq!(std::slice::from_raw_parts(block, 24), [0; 24]);
            WipingAllocator.dealloc(block, layout);
        }
    }
}
