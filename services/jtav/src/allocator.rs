//! One allocator for the whole process, libtorch and librdkafka included: jemalloc, which gives memory back.
//!
//! glibc keeps an arena for each of some twenty-five threads, and each grows to the largest moment it has seen: resident
//! memory rose by 39 MB an hour in a soak, in steps, and never fell. The crate defines `malloc` and its kin in this
//! program, so the libraries that it loads find them, too.

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
