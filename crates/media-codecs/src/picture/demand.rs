//! What decoding a picture would take, and whether it may.

use std::time::Duration;

use image::metadata::Orientation;
use jtav_schemas::AbsentReason;

use crate::limits::{BeforeLarge, DecodeLimits};

/// A picture that takes more is large.
const LARGE_BYTES: u64 = 48 << 20;

/// What a header says of a picture that no limit forbids.
pub(super) struct Head {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: Orientation,
}

/// What decoding would take.
pub(super) struct Demand {
    /// As stored, pixels.
    pub(super) size: (u32, u32),
    /// Of the pixels that are decoded.
    pub(super) bytes: u64,
    /// Taken beside them.
    pub(super) beside: u64,
    pub(super) price: Duration,
}

/// Holds a demand against the limits; tells the caller of a large one that they let through.
pub(super) fn allow(demand: &Demand, limits: &DecodeLimits, before_large: BeforeLarge<'_>) -> Result<(), AbsentReason> {
    let pixels = u64::from(demand.size.0) * u64::from(demand.size.1);
    if pixels == 0 {
        return Err(AbsentReason::DecodeError);
    }
    let working = demand.bytes.saturating_add(demand.beside);
    if pixels > limits.max_pixels
        || demand.bytes > limits.max_image_bytes
        || working > limits.max_image_working_bytes
        || demand.price > limits.max_picture_price
    {
        return Err(AbsentReason::TooLarge);
    }
    if working > LARGE_BYTES {
        before_large();
    }
    Ok(())
}

/// The one rule for damaged pictures, of every format and size.
pub(super) fn is_at_least_half(read: u64, whole: u64) -> bool {
    read.saturating_mul(2) >= whole
}
