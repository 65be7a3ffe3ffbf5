//! Large JPEGs at a fraction of their size: the inverse cosine transform is made for the low frequencies alone, each
//! component is left at the size at which it is stored, and colours are converted when the picture is small.
//!
//! Only what photographs are: sequential and progressive, Huffman-coded, 8 bits, grey or YCbCr ([`Fault::NotHere`] for
//! the rest, which the library decodes whole). No threads, no `unsafe`. Why not a library: ADR 0017.

mod bits;
mod frame;
mod idct;
mod scan;

use bits::next_marker;
use frame::{Segment, State};
use idct::Transform;
use scan::Canvas;

/// A picture of many scans takes time in no relation to its bytes. Encoders write some ten, at most 64.
const MAX_SCANS: usize = 100;

/// Why a picture is not decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No decoder could.
    Damaged,
    /// A kind of JPEG that is left to the library.
    NotHere,
}

/// One component, reduced.
#[derive(Debug)]
pub(crate) struct Plane {
    /// In pixels of this plane.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// What the picture covers of them: its last pixel may be a part of one.
    pub(crate) exact_width: f64,
    pub(crate) exact_height: f64,
    /// Rows, one byte a pixel.
    pub(crate) pixels: Vec<u8>,
}

/// Decodes to planes whose shorter sides are at least these many pixels, or as long as they are stored: the first of
/// luminance, the second of the two colour differences. One plane (grey) or three (Y, Cb, Cr).
///
/// Memory is at most the size of the picture in bytes, three times that for a progressive one (per component and pixel
/// as stored): the caller has checked the size.
pub(crate) fn decode(bytes: &[u8], shorter_px: [u32; 2]) -> Result<Vec<Plane>, Fault> {
    let mut state = State::default();
    let transform = Transform::new();
    let mut canvases: Vec<Canvas> = Vec::new();
    let mut scans = 0;
    let mut at = 0;
    loop {
        let marker = next_marker(bytes, at).ok_or(Fault::Damaged)?;
        let (segment, next) = state.segment(bytes, marker)?;
        at = next;
        match segment {
            Segment::Other => {}
            Segment::End => break,
            Segment::Scan(header, start) => {
                scans += 1;
                let frame = state.frame.as_ref().filter(|_| scans <= MAX_SCANS).ok_or(Fault::Damaged)?;
                if canvases.is_empty() {
                    if frame.components.len() == 3 && state.stores_rgb() {
                        return Err(Fault::NotHere);
                    }
                    let parts = frame.components.iter().enumerate();
                    canvases = parts.map(|(n, part)| Canvas::new(frame, part, shorter_px[n.min(1)])).collect();
                }
                let end = scan::decode(bytes, start, &header, &state, frame, &mut canvases, &transform)?;
                at = end - 1;
            }
        }
    }
    if canvases.is_empty() {
        return Err(Fault::Damaged);
    }
    canvases.into_iter().map(|canvas| canvas.finish(&transform)).collect()
}
