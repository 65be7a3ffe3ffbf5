//! What is fuzzed. The functions of [`targets`] are those that the test `fuzz_regressions` runs too, without a fuzzer.

pub mod contained;
pub mod targets;
