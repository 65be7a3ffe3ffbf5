//! What a JPEG says of itself before a pixel of it is decoded: one walk over its markers, linear in its bytes.
//!
//! It follows libjpeg's own reading (T.81 annex B, and what libjpeg forgives), so that what is priced is what will be
//! decoded: garbage between segments is passed over, a length too small skips nothing, data in front of a marker end
//! with the marker.

use jtav_schemas::AbsentReason;
use memchr::memchr;

use super::super::price::JpegWork;

/// What the segments say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Structure<'a> {
    pub(super) frame: Frame,
    pub(super) scans: u32,
    /// Blocks of 8 × 8 that the scans walk over, all together.
    pub(super) scanned_blocks: u64,
    /// Bytes of entropy-coded data in these scans.
    pub(super) coded_bytes: u64,
    /// Coefficients of the whole picture are held until the last scan.
    pub(super) buffered: bool,
    /// Behind the name of the segment.
    pub(super) exif: Option<&'a [u8]>,
    /// Up to the last byte that belongs to the picture. What follows, or was begun and breaks off, makes decoders
    /// stumble and nobody's picture better.
    pub(super) bytes: &'a [u8],
}

impl Structure<'_> {
    /// What decoding it to so many pixels asks for.
    pub(super) fn work(&self, painted: u64) -> JpegWork {
        JpegWork {
            blocks: self.frame.blocks(),
            scanned_blocks: self.scanned_blocks,
            scans: self.scans.into(),
            coded_bytes: self.coded_bytes,
            painted,
            arithmetic: self.frame.arithmetic,
            buffered: self.buffered,
        }
    }
}

/// A frame header (T.81 B.2.2) of a kind that is decoded: Huffman or arithmetic, 8 bits, 1, 3 or 4 components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) arithmetic: bool,
    progressive: bool,
    components: Vec<Component>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Component {
    id: u8,
    blocks: u64,
}

impl Frame {
    fn read(marker: u8, body: &[u8]) -> Result<Self, AbsentReason> {
        // Lossless and hierarchical: no browser has ever shown one.
        if !matches!(marker, 0xc0 | 0xc1 | 0xc2 | 0xc9 | 0xca) {
            return Err(AbsentReason::Unsupported);
        }
        let [precision, h0, h1, w0, w1, count, rest @ ..] = body else { return Err(AbsentReason::DecodeError) };
        let (height, width) = (u16::from_be_bytes([*h0, *h1]), u16::from_be_bytes([*w0, *w1]));
        if width == 0 || height == 0 || *count == 0 {
            return Err(AbsentReason::DecodeError);
        }
        if *precision != 8 || !matches!(count, 1 | 3 | 4) {
            return Err(AbsentReason::Unsupported);
        }
        let parts = rest.get(..3 * usize::from(*count)).ok_or(AbsentReason::DecodeError)?;
        let sampling = parts.chunks_exact(3).map(|part| (part[0], u64::from(part[1] >> 4), u64::from(part[1] & 15)));
        let sampling: Vec<(u8, u64, u64)> = sampling.collect();
        if sampling.iter().any(|(_, across, down)| !(1..=4).contains(across) || !(1..=4).contains(down)) {
            return Err(AbsentReason::DecodeError);
        }
        let most = |of: fn(&(u8, u64, u64)) -> u64| sampling.iter().map(of).max().unwrap_or(1);
        let units_across = u64::from(width).div_ceil(8 * most(|part| part.1));
        let units_down = u64::from(height).div_ceil(8 * most(|part| part.2));
        let blocks = |across: u64, down: u64| units_across * across * units_down * down;
        Ok(Self {
            width: width.into(),
            height: height.into(),
            arithmetic: marker >= 0xc9,
            progressive: matches!(marker, 0xc2 | 0xca),
            components: sampling.into_iter().map(|(id, w, h)| Component { id, blocks: blocks(w, h) }).collect(),
        })
    }

    pub(super) fn component_count(&self) -> usize {
        self.components.len()
    }

    /// Blocks of 8 × 8 of all components.
    pub(super) fn blocks(&self) -> u64 {
        self.components.iter().map(|component| component.blocks).sum()
    }

    /// Blocks that a scan walks over, and the components it names.
    fn scan(&self, body: &[u8]) -> Option<(u64, usize)> {
        let (count, rest) = body.split_first()?;
        let names = rest.get(..2 * usize::from(*count))?.chunks_exact(2).map(|pair| pair[0]);
        // A name that no component has ends decoding; until then it costs nothing.
        let blocks = names.filter_map(|id| self.components.iter().find(|component| component.id == id));
        Some((blocks.map(|component| component.blocks).sum(), usize::from(*count)))
    }
}

/// Walks over the markers.
///
/// # Errors
/// `decode_error`: no frame, no scan, or a frame that makes no sense; `unsupported`: lossless, hierarchical, 12 bits, two
/// components.
pub(super) fn read(bytes: &[u8]) -> Result<Structure<'_>, AbsentReason> {
    let mut walk = Walk { bytes, at: 2, frame: None, exif: None };
    let (mut scans, mut scanned_blocks, mut coded_bytes, mut buffered) = (0, 0_u64, 0, false);
    let end = loop {
        let before = walk.at;
        let Some(segment) = walk.next() else { break before };
        match segment.marker {
            0xd9 => break walk.at,
            0xd8 => break segment.start,
            0xc0..=0xcf if !matches!(segment.marker, 0xc4 | 0xc8 | 0xcc) && scans == 0 => {
                walk.frame = Some(Frame::read(segment.marker, segment.body)?);
            }
            0xda => {
                let Some(frame) = &walk.frame else { return Err(AbsentReason::DecodeError) };
                let Some((blocks, named)) = frame.scan(segment.body) else { break segment.start };
                if scans == 0 {
                    buffered = frame.progressive || named < frame.components.len();
                }
                scans += 1;
                scanned_blocks = scanned_blocks.saturating_add(blocks);
                let start = walk.at;
                walk.skip_coded(buffered);
                coded_bytes += (walk.at - start) as u64;
                if !buffered {
                    // The picture is whole: of more than this, libjpeg complains.
                    let ends = bytes[walk.at..].starts_with(&[0xff, 0xd9]);
                    break walk.at + if ends { 2 } else { 0 };
                }
            }
            // A second frame, or what no decoder knows.
            0xc0..=0xcf if !matches!(segment.marker, 0xc4 | 0xc8 | 0xcc) => break segment.start,
            0x02..=0xbf => break segment.start,
            _ => {}
        }
    };
    let frame = walk.frame.filter(|_| scans > 0).ok_or(AbsentReason::DecodeError)?;
    Ok(Structure { frame, scans, scanned_blocks, coded_bytes, buffered, exif: walk.exif, bytes: &bytes[..end] })
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    exif: Option<&'a [u8]>,
}

struct Segment<'a> {
    /// Of its marker.
    start: usize,
    marker: u8,
    body: &'a [u8],
}

impl<'a> Walk<'a> {
    /// The next segment, if it is there as a whole; the walk stands behind it.
    fn next(&mut self) -> Option<Segment<'a>> {
        let bytes = self.bytes;
        let mut at = self.at;
        let (start, marker) = loop {
            let start = at + memchr(0xff, bytes.get(at..)?)?;
            // Fill bytes may stand before a marker.
            let code = start + bytes[start..].iter().position(|byte| *byte != 0xff)?;
            at = code + 1;
            if bytes[code] != 0 {
                break (code - 1, bytes[code]);
            }
        };
        if matches!(marker, 0x01 | 0xd0..=0xd9) {
            self.at = at;
            return Some(Segment { start, marker, body: &[] });
        }
        let length = bytes.get(at..at + 2)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let body = bytes.get(at + 2..at + length)?;
        self.at = at + length;
        if marker == 0xe1 && self.exif.is_none() {
            self.exif = body.strip_prefix(b"Exif\0\0");
        }
        Some(Segment { start, marker, body })
    }

    /// To the marker that ends the coded data, or to the end. One that no decoder knows may be damage that restart markers
    /// make good where pixels are painted as they come (`!strict`); elsewhere libjpeg gives the whole picture up for it.
    fn skip_coded(&mut self, strict: bool) {
        while let Some(found) = memchr(0xff, &self.bytes[self.at..]) {
            let at = self.at + found;
            match self.bytes.get(at + 1) {
                Some(0x00 | 0xd0..=0xd7) => self.at = at + 2,
                Some(0x01..=0xbf) if !strict => self.at = at + 2,
                Some(0xff) => self.at = at + 1,
                Some(_) => {
                    self.at = at;
                    return;
                }
                None => break,
            }
        }
        self.at = self.bytes.len();
    }
}

#[cfg(test)]
#[path = "structure_tests.rs"]
mod tests;
