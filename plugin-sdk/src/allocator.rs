//! Where a plugin's values live. An instance lasts for one call, so little of them has to be given back before its end:
//! pieces are taken one after the other from an arena that the instance has from its start. For a memory that grows,
//! the host changes its address space twice in each call, and the other calls wait for that. What the arena does not
//! hold goes to Rust's own allocator, which grows the memory and takes back what is freed.

use core::alloc::Layout;
use core::cell::Cell;

/// What a chat of some dozen turns stays within.
const ARENA_BYTES: usize = 128 * 1024;
/// Of the arena; what asks for more goes to Rust's allocator.
const ALIGNMENT: usize = 16;

/// How much of the arena is taken: all before `free`. Pieces are named by where they start, in bytes.
struct Taken {
    free: Cell<usize>,
}

impl Taken {
    const fn nothing() -> Self {
        Self { free: Cell::new(0) }
    }

    /// A piece that nobody has.
    fn take(&self, layout: Layout) -> Option<usize> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let start = self.free.get().checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size()).filter(|end| *end <= ARENA_BYTES)?;
        self.free.set(end);
        Some(start)
    }

    /// Takes a piece back, where it is the last one; any other stays taken until the end of the call.
    fn give_back(&self, start: usize, bytes: usize) {
        if start + bytes == self.free.get() {
            self.free.set(start);
        }
    }

    /// Whether a piece has its new size where it stands.
    fn resize(&self, start: usize, bytes: usize, new: usize) -> bool {
        let is_last = start + bytes == self.free.get();
        if is_last && new <= ARENA_BYTES - start {
            self.free.set(start + new);
            return true;
        }
        new <= bytes
    }
}

#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
#[allow(unsafe_code)]
mod global {
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::UnsafeCell;
    use std::alloc::System;

    use super::{ALIGNMENT, ARENA_BYTES, Taken};

    #[repr(align(16))]
    struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);
    const _: () = assert!(align_of::<Arena>() == ALIGNMENT);

    struct Allocator {
        arena: Arena,
        taken: Taken,
    }

    // SAFETY: without atomics there is one thread.
    unsafe impl Sync for Allocator {}

    impl Allocator {
        fn base(&self) -> *mut u8 {
            self.arena.0.get().cast()
        }

        /// Where a piece starts, if it is one of the arena.
        fn place(&self, piece: *mut u8) -> Option<usize> {
            piece.addr().checked_sub(self.base().addr()).filter(|start| *start < ARENA_BYTES)
        }
    }

    // SAFETY: the bytes of the arena are reached through pieces alone. `Taken` gives out each of them once, within the
    // arena and as aligned to its start, which is aligned as `ALIGNMENT` says, as the layout asks; it takes back or
    // resizes the last one alone, so no two that are in use overlap. A piece is the arena's by its address, and what
    // is not goes to the allocator that it came from, with the layout that the caller vouches for. Nothing here
    // panics or allocates.
    unsafe impl GlobalAlloc for Allocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            match self.taken.take(layout) {
                // SAFETY: `take` gives a place within the arena.
                Some(start) => unsafe { self.base().add(start) },
                // SAFETY: the caller's layout, as it came.
                None => unsafe { System.alloc(layout) },
            }
        }

        unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
            match self.place(piece) {
                Some(start) => self.taken.give_back(start, layout.size()),
                // SAFETY: what is not of the arena is of `System`, with this layout.
                None => unsafe { System.dealloc(piece, layout) },
            }
        }

        unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let Some(start) = self.place(piece) else {
                // SAFETY: as in `dealloc`.
                return unsafe { System.realloc(piece, layout, size) };
            };
            if self.taken.resize(start, layout.size(), size) {
                return piece;
            }
            // SAFETY: the caller vouches that this size and the old alignment are a layout; the new piece is another
            // one and larger, so the old one's bytes fit and do not overlap.
            unsafe {
                let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !moved.is_null() {
                    core::ptr::copy_nonoverlapping(piece, moved, layout.size());
                }
                moved
            }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Allocator =
        Allocator { arena: Arena(UnsafeCell::new([0; ARENA_BYTES])), taken: Taken::nothing() };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize, align: usize) -> Layout {
        Layout::from_size_align(bytes, align).unwrap()
    }

    #[test]
    fn pieces_follow_each_other_as_aligned_as_asked() {
        let taken = Taken::nothing();
        assert_eq!(taken.take(layout(3, 1)), Some(0));
        assert_eq!(taken.take(layout(8, 8)), Some(8));
        assert_eq!(taken.take(layout(1, 1)), Some(16));
        assert_eq!(taken.take(layout(16, 16)), Some(32));
        assert_eq!(taken.take(layout(1, 32)), None, "more aligned than the arena");
    }

    #[test]
    fn what_the_arena_does_not_hold_is_not_taken_from_it() {
        let taken = Taken::nothing();
        assert_eq!(taken.take(layout(ARENA_BYTES + 1, 1)), None);
        assert_eq!(taken.take(layout(ARENA_BYTES - 1, 1)), Some(0));
        assert_eq!(taken.take(layout(2, 1)), None);
        assert_eq!(taken.take(layout(1, 1)), Some(ARENA_BYTES - 1));
        assert_eq!(taken.take(layout(1, 1)), None);
        assert_eq!(taken.take(layout(isize::MAX as usize - 15, 16)), None);
    }

    #[test]
    fn only_the_last_piece_is_taken_back() {
        let taken = Taken::nothing();
        let (first, second) = (taken.take(layout(8, 8)).unwrap(), taken.take(layout(8, 8)).unwrap());
        taken.give_back(first, 8);
        assert_eq!(taken.take(layout(8, 8)), Some(16), "the first stays taken");
        taken.give_back(16, 8);
        taken.give_back(second, 8);
        assert_eq!(taken.take(layout(8, 8)), Some(second));
    }

    #[test]
    fn the_last_piece_alone_grows_where_it_stands_and_each_may_shrink() {
        let taken = Taken::nothing();
        let (first, second) = (taken.take(layout(8, 8)).unwrap(), taken.take(layout(8, 8)).unwrap());
        assert!(!taken.resize(first, 8, 9));
        assert!(taken.resize(first, 8, 4));
        assert!(taken.resize(second, 8, 100));
        assert_eq!(taken.take(layout(1, 1)), Some(second + 100));
        taken.give_back(second + 100, 1);
        assert!(taken.resize(second, 100, 10));
        assert!(taken.resize(second, 10, ARENA_BYTES - second));
        assert!(!taken.resize(second, ARENA_BYTES - second, ARENA_BYTES - second + 1));
    }

    /// As many pieces as there is room for, of sizes as they come: none lies in another.
    #[test]
    fn no_two_pieces_overlap() {
        let taken = Taken::nothing();
        let mut end = 0;
        for number in 0_usize.. {
            let (bytes, align) = (1 + number * 37 % 211, 1 << (number % 5));
            let Some(start) = taken.take(layout(bytes, align)) else { break };
            assert!(start >= end && start.is_multiple_of(align) && start + bytes <= ARENA_BYTES);
            end = start + bytes;
        }
        assert!(end > ARENA_BYTES - 211 - 16);
    }
}
