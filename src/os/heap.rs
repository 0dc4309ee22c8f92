//! The system's allocator, with one block kept for the next TLS record.
//!
//! rustls asks for a block for every record that it seals or opens, and gives it back at once. musl's allocator returns
//! one of that size to the system, so that the next costs a call and a page fault; glibc's keeps it, as this does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::limits::TLS_RECORD_BYTES_MAX;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Heap {
    spare: AtomicPtr<u8>,
}

/// What is asked for instead of a record's block, be it a little smaller or larger.
const BLOCK: Layout = match Layout::from_size_align(TLS_RECORD_BYTES_MAX, 8) {
    Ok(layout) => layout,
    Err(_) => panic!("a size that is not zero and a power of two"),
};

impl Heap {
    /// With nothing kept yet.
    pub const fn new() -> Self {
        Self { spare: AtomicPtr::new(null_mut()) }
    }
}

/// Blocks that are exchanged for each other. Few others are as large, and they lose half of theirs at most.
fn is_exchanged(size: usize, align: usize) -> bool {
    size > BLOCK.size() / 2 && size <= BLOCK.size() && align <= BLOCK.align()
}

fn whole(layout: Layout) -> Layout {
    if is_exchanged(layout.size(), layout.align()) { BLOCK } else { layout }
}

// SAFETY: a block that is exchanged has BLOCK's size and alignment from the system and goes back with them; `spare` has
// one owner at a time, since it is taken and put by one atomic exchange. Everything else goes to the system as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let layout = whole(layout);
        if layout == BLOCK {
            let spare = self.spare.swap(null_mut(), Ordering::Acquire);
            if !spare.is_null() {
                return spare;
            }
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let layout = whole(layout);
        if layout == BLOCK
            && self.spare.compare_exchange(null_mut(), block, Ordering::Release, Ordering::Relaxed).is_ok()
        {
            return;
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_exchanged(layout.size(), layout.align()) {
            // SAFETY: it has at least this size.
            unsafe {
                let block = self.alloc(layout);
                if !block.is_null() {
                    block.write_bytes(0, layout.size());
                }
                return block;
            }
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match (is_exchanged(layout.size(), layout.align()), is_exchanged(size, layout.align())) {
            (true, true) => block,
            // SAFETY: as above.
            (false, false) => unsafe { System.realloc(block, layout, size) },
            // SAFETY: the new block is another one, and both have the smaller of the sizes.
            (true, false) | (false, true) => unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !new.is_null() {
                    new.copy_from_nonoverlapping(block, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                new
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: usize = TLS_RECORD_BYTES_MAX - 100;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 1).expect("a good size")
    }

    #[test]
    fn one_block_is_kept_and_all_keep_what_they_hold() {
        let heap = Heap::new();
        // SAFETY: every block is used within its size and given back once, as it was asked for.
        #[allow(unsafe_code)]
        unsafe {
            let [first, second] = [heap.alloc(layout(RECORD)), heap.alloc(layout(RECORD))];
            heap.dealloc(first, layout(RECORD));
            heap.dealloc(second, layout(RECORD));
            let block = heap.alloc_zeroed(layout(RECORD + 50));
            assert_eq!(block, first, "the one that came back first was kept, and is as large as any record");
            assert!((0..RECORD + 50).all(|n| *block.add(n) == 0));
            let mut block = (block, RECORD + 50);
            block.0.write_bytes(7, 300);
            for size in [RECORD, 300, 400, RECORD, 100_000, RECORD, RECORD / 2 + 400] {
                block = (heap.realloc(block.0, layout(block.1), size), size);
                assert!((0..300).all(|n| *block.0.add(n) == 7), "moved to {size} bytes");
            }
            heap.dealloc(block.0, layout(block.1));
            heap.dealloc(heap.spare.swap(null_mut(), Ordering::Relaxed), BLOCK);
        }
    }
}
