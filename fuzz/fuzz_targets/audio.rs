#![no_main]

use jtav_fuzz::{contained, targets};

#[path = "../../crates/media-codecs/tests/common/mutate.rs"]
#[allow(dead_code)]
mod mutate;

libfuzzer_sys::fuzz_target!(init: contained::install(), |bytes: &[u8]| contained::run(bytes, targets::audio));

// Ogg pages and FLAC frames with a wrong checksum go no further than to the container; most of what the fuzzer makes gets
// right ones.
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    if !seed.is_multiple_of(4) {
        mutate::mend(&mut data[..size]);
    }
    size
});
