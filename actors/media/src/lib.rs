//! The media box of the diagram: fetch, then decode.
//!
//! ```text
//! FetchRequest ─► Fetcher ─► policy · host slots, circuits · byte budget · redirects · retries ─► FetchedMedia
//! FetchedMedia ─► DecodePool ─► worker process ─► decode(bytes): sniff ─► picture | sound ► Decoded
//! ```
//!
//! Everything here treats hosts and bytes as hostile: nothing is contacted that the [`policy`] does not name public,
//! nothing is allocated that a limit has not allowed, and every failure is an [`AbsentReason`] of one part of a post.
//!
//! [`AbsentReason`]: jtav_schemas::AbsentReason

mod accept;
mod answer;
mod bank;
mod budget;
mod circuit;
mod client;
mod clock;
mod decode;
mod dns;
mod facts;
mod failure;
mod fetch;
mod freshness;
mod host_rules;
mod hosts;
mod nat64;
mod opus;
mod params;
mod peers;
mod picture;
pub mod policy;
mod pool;
mod process;
mod queue;
mod receipt;
mod resolver;
mod sbr;
mod sniff;
mod sound;
mod sources;
mod tls;

pub use accept::accept;
pub use decode::{decode, decode_with_facts, image_view};
pub use dns::Dns;
pub use facts::{MediaFacts, PictureFacts, SoundEnd, SoundFacts};
pub use fetch::{FetchSetupError, Fetcher};
pub use host_rules::{HostRule, HostRules, ParseHostRuleError};
pub use nat64::{Nat64Prefix, ParseNat64PrefixError};
pub use params::{DecodeLimits, DecodeParams, FetchLimits, FetchParams, Isolation, ProcessParams};
pub use picture::center_crop;
pub use policy::{AddressPolicy, Denied};
pub use pool::DecodePool;
pub use process::{GiveBack, OneByOne, Usage, serve as serve_decode_workers};
pub use resolver::Lookup;
pub use sound::SAMPLE_RATE_HZ;
pub use sources::{MediaSources, ParseS3EndpointError, S3Endpoint};
