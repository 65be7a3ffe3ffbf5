//! URL to bytes: nothing is contacted that the address policy does not name public, and what strangers share is bounded
//! over all of them.

mod accept;
mod address;
mod attempt;
mod error;
mod failure;
mod fetcher;
mod http;
mod names;
mod params;
mod shares;
mod sources;

pub use accept::accept;
pub use address::{
    AddressPolicy, Denied, Endpoint, HostRule, HostRules, Nat64Prefix, ParseHostRuleError, ParseNat64PrefixError,
    check_public,
};
pub use error::FetchSetupError;
pub use fetcher::Fetcher;
pub use names::{Dns, Lookup};
pub use params::{FetchLimits, FetchParams};
pub use sources::{MediaSources, ParseS3EndpointError, S3Endpoint};
