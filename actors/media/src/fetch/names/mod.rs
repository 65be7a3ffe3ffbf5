//! Names to addresses, under the policy.

mod dns;
mod lookup;
mod peers;
mod resolver;

pub use dns::Dns;
pub use lookup::Lookup;

pub(super) use peers::Peers;
pub(super) use resolver::GuardedResolver;
