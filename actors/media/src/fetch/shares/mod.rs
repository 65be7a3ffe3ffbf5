//! What downloads share: bytes, places, hosts.

mod bank;
pub(super) mod budget;
pub(super) mod circuit;
pub(super) mod hosts;
