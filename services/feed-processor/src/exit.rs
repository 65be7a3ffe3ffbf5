//! Exit codes of every command; sysexits(3) where it has one.

/// Everything went well.
pub const OK: u8 = 0;
/// A failure that fits no other code.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// Input that cannot be read.
pub const DATA: u8 = 65;
/// A broker or store that cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// The device failed for good; a restart of the process may help, a retry within it cannot.
pub const DEVICE: u8 = 70;
/// The drain deadline passed with posts in flight; they come again.
pub const DRAIN_TIMED_OUT: u8 = 75;
/// Settings that cannot work.
pub const CONFIG: u8 = 78;
