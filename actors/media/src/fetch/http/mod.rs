//! One request and what its answer says.

pub(super) mod answer;
pub(super) mod client;
mod freshness;
pub(super) mod receipt;
mod tls;
