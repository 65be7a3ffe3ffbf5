//! Bytes of strangers to what the encoders take: mono sound, upright pictures.
//!
//! ```text
//! bytes ─► tags skipped ─► signature ─┬─► picture: header ─► price ─► pixels ─► view ─┬─► Decoded, MediaFacts
//!                                     └─► sound: container ─► packets ─► mono ────────┘
//! ```
//!
//! The bytes decide what they are, and every failure is an [`AbsentReason`] of one part of a post. Nothing is allocated
//! that a limit has not allowed. All of it is functions of bytes and [`DecodeLimits`]: no runtime, no network, no metrics,
//! nothing that outlives a call. A thread's CPU time is the one thing they ask for.
//!
//! [`AbsentReason`]: jtav_schemas::AbsentReason

mod clock;
mod decode;
mod facts;
mod format;
mod limits;
mod picture;
mod signature;
mod sniff;
mod sound;
mod tags;
mod write_wav;

pub use decode::{Guarded, Panicked, decode, decode_guarded, decode_with_facts, image_view};
pub use facts::{MediaFacts, PictureFacts, SoundEnd, SoundFacts};
pub use limits::{BeforeLarge, DecodeLimits};
pub use picture::center_crop;
pub use sniff::is_medium;
pub use sound::SAMPLE_RATE_HZ;
pub use write_wav::write_wav;
