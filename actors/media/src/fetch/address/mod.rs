//! Which addresses may be contacted.

mod host_rules;
mod nat64;
mod policy;

pub use host_rules::{HostRule, HostRules, ParseHostRuleError};
pub use nat64::{Nat64Prefix, ParseNat64PrefixError};
pub use policy::{AddressPolicy, Denied, Endpoint, check_public};
