//! One allocator for the whole process, libtorch and librdkafka included: jemalloc, which gives memory back.
//!
//! glibc keeps an arena for each of some twenty-five threads, and each grows to the largest moment it has seen: resident
//! memory rose by 39 MB an hour in a soak, in steps, and never fell. The crate defines `malloc` and its kin in this
//! program, so the libraries that it loads find them, too.

use std::ptr::null_mut;

use tikv_jemalloc_sys::mallctl;

/// Also what Rust itself allocates with.
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Unused pages go back to the kernel within some seconds, by a thread of its own, so that a worker that has become idle
/// gives them up too (jemalloc(3), "TUNING").
// SAFETY: jemalloc looks for this very symbol, a pointer to text that ends with a zero byte, before main.
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: Option<&'static std::ffi::c_char> = {
    const TEXT: &[u8] = b"background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:5000\0";
    // SAFETY: the text is static and not empty; its first byte is a character of C.
    Some(unsafe { &*TEXT.as_ptr().cast::<std::ffi::c_char>() })
};

/// Gives unused pages of all arenas back to the kernel if they are more than `kept_bytes` (jemalloc(3), "MALLCTL
/// NAMESPACE"). Takes some microseconds when there is nothing to give.
pub fn give_back(kept_bytes: usize) {
    if unused_pages().is_none_or(|pages| pages.saturating_mul(PAGE_BYTES) > kept_bytes) {
        // SAFETY: the name ends with a zero byte; this order takes and gives nothing.
        unsafe { mallctl(c"arena.4096.purge".as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
    }
}

/// Of jemalloc on x86-64 and on 64-bit Arm with pages of the usual size.
const PAGE_BYTES: usize = 4096;

/// Pages that hold nothing and were not given back; none where jemalloc does not say.
fn unused_pages() -> Option<usize> {
    let mut epoch = 1_u64;
    let (mut pages, mut len) = (0_usize, size_of::<usize>());
    // SAFETY: names end with a zero byte, pointers are valid for the calls and lengths are those of what they point to.
    let statuses = unsafe {
        [
            // Figures are those of the moment at which this was last written.
            mallctl(c"epoch".as_ptr(), null_mut(), null_mut(), (&raw mut epoch).cast(), size_of::<u64>()),
            mallctl(c"stats.arenas.4096.pdirty".as_ptr(), (&raw mut pages).cast(), &raw mut len, null_mut(), 0),
        ]
    };
    (statuses == [0, 0]).then_some(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_pages_are_counted_and_given_back_when_they_are_more_than_may_be_kept() {
        // Other tests allocate beside this one: only what is plain is asked.
        assert!(unused_pages().is_some(), "jemalloc does not say");
        give_back(usize::MAX);
        drop(std::hint::black_box(vec![1_u8; 6 << 20]));
        give_back(0);
        assert!(unused_pages().is_some_and(|pages| pages * PAGE_BYTES < 6 << 20));
    }
}
