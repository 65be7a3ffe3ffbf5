#![no_main]

use jtav_fuzz::{contained, targets};

libfuzzer_sys::fuzz_target!(init: contained::install(), |bytes: &[u8]| contained::run(bytes, targets::text_reader));
