//! The media box of the diagram: fetch, then decode.
//!
//! ```text
//! FetchRequest ─► Fetcher ─► policy · host slots, circuits · byte budget · redirects · retries ─► FetchedMedia
//! FetchedMedia ─► DecodePool ─► worker process ─► decode(bytes): sniff ─► picture | sound ► Decoded
//! ```
//!
//! Everything here treats hosts and bytes as hostile: nothing is contacted that the [`AddressPolicy`] does not name public,
//! nothing is allocated that a limit has not allowed, and every failure is an [`AbsentReason`] of one part of a post. What
//! decides about bytes is [`jtav_media_codecs`].
//!
//! [`AbsentReason`]: jtav_schemas::AbsentReason

mod decode;
mod fetch;

pub use decode::{DecodeParams, DecodePool, GiveBack, Isolation, OneByOne, ProcessParams, Usage, serve_decode_workers};
pub use fetch::{
    AddressPolicy, Denied, Dns, Endpoint, FetchLimits, FetchParams, FetchSetupError, Fetcher, HostRule, HostRules,
    Lookup, MediaSources, Nat64Prefix, ParseHostRuleError, ParseNat64PrefixError, ParseS3EndpointError, S3Endpoint,
    accept, check_public,
};
