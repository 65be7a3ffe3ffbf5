//! What decoding a picture will cost in CPU time, reckoned from its header and, of a JPEG, its markers.
//!
//! Nanoseconds for each piece of work, one and a half to three times what they took on a core of a server of 2024:
//! `docs/results/picture-price.md`, and the tests, hold them against what decoding takes.

use std::time::Duration;

/// What a JPEG asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JpegWork {
    /// Blocks of 8 × 8 of all components.
    pub(super) blocks: u64,
    /// Blocks over which the scans walk, all together.
    pub(super) scanned_blocks: u64,
    pub(super) scans: u64,
    pub(super) coded_bytes: u64,
    /// Pixels after the transform.
    pub(super) painted: u64,
    pub(super) arithmetic: bool,
    /// Every coefficient is written, and read again when all scans are there.
    pub(super) buffered: bool,
}

pub(super) fn jpeg(work: &JpegWork) -> Duration {
    // A scan that refines looks at every coefficient, whether bits follow or not. An arithmetic decoder decides for each
    // whether it is zero, and such a decision may take next to no bits.
    let (per_scanned, per_byte) = if work.arithmetic { (600, 60) } else { (50, 12) };
    let per_block = if work.buffered { 150 } else { 60 };
    // Each scan has tables made ready.
    let scans = (work.scans, 5_000);
    sum([
        scans,
        (work.scanned_blocks, per_scanned),
        (work.coded_bytes, per_byte),
        (work.blocks, per_block),
        (work.painted, 3),
    ])
}

/// What rows of pixels ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowWork {
    /// Of the file.
    pub(super) coded_bytes: u64,
    pub(super) pixels: u64,
    pub(super) pixel_bytes: u64,
    /// Of the screen.
    pub(super) painted: u64,
}

pub(super) fn png(work: &RowWork, interlaced: bool) -> Duration {
    let per_pixel = if interlaced { 8 } else { 3 };
    let bytes = work.pixels.saturating_mul(work.pixel_bytes);
    sum([(bytes, 4), (work.painted, per_pixel), (work.coded_bytes, 6)])
}

pub(super) fn gif(work: &RowWork) -> Duration {
    sum([(work.pixels, 8), (work.painted, 4), (work.coded_bytes, 6)])
}

/// Of a WebP.
pub(super) fn webp(work: &RowWork, lossless: bool) -> Duration {
    let per_pixel = if lossless { 20 } else { 14 };
    sum([(work.pixels, per_pixel), (work.painted, 3), (work.coded_bytes, 12)])
}

/// Of pieces and the nanoseconds for each.
fn sum<const N: usize>(parts: [(u64, u64); N]) -> Duration {
    let nanos = parts.into_iter().map(|(pieces, nanos)| pieces.saturating_mul(nanos));
    Duration::from_nanos(nanos.fold(0, u64::saturating_add))
}
