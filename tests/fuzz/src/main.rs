//! One of the doors, named by `SHERD_FUZZ_TARGET`, for libFuzzer. No single allocation may be large: no input is.

#![no_main]

use sherd::fuzzing::{TARGETS, Target};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

const TARGET: &str = "SHERD_FUZZ_TARGET";
const ALLOCATION_BYTES_MAX: usize = 64 << 20;

struct Bounded;

// SAFETY: all is left to the system's allocator but what is refused.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > ALLOCATION_BYTES_MAX {
            std::process::abort();
        }
        // SAFETY: the caller keeps to the contract of `alloc`, which is the system's too.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the contract is the trait's.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `alloc` and `realloc` give out what the system gave them, and nothing else.
        unsafe { System.dealloc(pointer, layout) }
    }

    // SAFETY: the contract is the trait's.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > ALLOCATION_BYTES_MAX {
            std::process::abort();
        }
        // SAFETY: as in `dealloc`; the new size is the caller's to keep within bounds.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn target() -> &'static Target {
    static FOUND: OnceLock<&Target> = OnceLock::new();
    FOUND.get_or_init(|| {
        let name = std::env::var(TARGET).unwrap_or_default();
        TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            panic!("{TARGET} is {name:?}, and must be one of {}", names.join(", "))
        })
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| (target().run)(data));
