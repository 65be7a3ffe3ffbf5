//! The media box of the diagram: fetch, then decode.
//!
//! ```text
//! FetchMedia ──► FetchActor ─ Fetcher ─► policy · host slots, circuits · byte budget · redirects · retries ─► FetchedMedia
//! DecodeMedia ─► DecodeActor ─ DecodePool ─► decode(bytes): sniff ─► picture | sound ─────────────► Decoded
//! ```
//!
//! Everything here treats hosts and bytes as hostile: nothing is contacted that the [`policy`] does not name public,
//! nothing is allocated that a limit has not allowed, and every failure is an [`AbsentReason`] of one part of a post.
//!
//! [`AbsentReason`]: jtav_schemas::AbsentReason

mod actor;
mod budget;
mod circuit;
mod decode;
mod facts;
mod failure;
mod fetch;
mod hosts;
mod opus;
mod params;
mod picture;
pub mod policy;
mod pool;
mod resolver;
mod sbr;
mod sniff;
mod sound;

pub use actor::{DecodeActor, FetchActor};
pub use decode::{decode, decode_with_facts, image_view};
pub use facts::{MediaFacts, PictureFacts, SoundEnd, SoundFacts};
pub use fetch::{FetchSetupError, Fetcher, accept};
pub use params::{DecodeLimits, DecodeParams, FetchLimits, FetchParams};
pub use picture::center_crop;
pub use policy::{AddressPolicy, Denied};
pub use pool::DecodePool;
pub use resolver::{Lookup, SystemLookup};
pub use sound::SAMPLE_RATE_HZ;
