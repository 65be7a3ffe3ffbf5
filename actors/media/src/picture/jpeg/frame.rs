//! The segments of a JPEG file: frame, tables, scans (T.81 B.2).

use super::Fault;
use super::bits::HuffmanTable;
use super::idct::{Steps, Transform};

/// Coefficients in the order in which they are coded, as places in the rows of a block.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// What the frame header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Vec<Component>,
}

/// One component of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of the component in a unit of an interleaved scan, across and down.
    pub(super) across: u32,
    pub(super) down: u32,
    pub(super) quantisation: usize,
}

impl Frame {
    /// `None` where it is a kind of JPEG that is not decoded here.
    fn parse(marker: u8, body: &[u8]) -> Result<Option<Self>, Fault> {
        let [precision, h1, h0, w1, w0, count, rest @ ..] = body else { return Err(Fault::Damaged) };
        let components: Vec<Component> = rest
            .chunks_exact(3)
            .take(usize::from(*count))
            .map(|part| Component {
                id: part[0],
                across: u32::from(part[1] >> 4),
                down: u32::from(part[1] & 15),
                quantisation: usize::from(part[2]),
            })
            .collect();
        if components.len() != usize::from(*count) {
            return Err(Fault::Damaged);
        }
        let (width, height) = (u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0]));
        let ids: Vec<u8> = components.iter().map(|component| component.id).collect();
        let sampled = |n: u32| (1..=4).contains(&n);
        let usable = components.iter().all(|c| sampled(c.across) && sampled(c.down) && c.quantisation < 4);
        let known = matches!(ids.as_slice(), [_] | [_, _, _]) && ids != *b"RGB";
        let distinct = ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id));
        let here = *precision == 8 && width > 0 && height > 0 && known && distinct && usable;
        let frame =
            Self { progressive: marker == 0xc2, width: u32::from(width), height: u32::from(height), components };
        Ok(here.then_some(frame))
    }

    pub(super) fn most_across(&self) -> u32 {
        self.components.iter().map(|component| component.across).max().unwrap_or(1)
    }

    pub(super) fn most_down(&self) -> u32 {
        self.components.iter().map(|component| component.down).max().unwrap_or(1)
    }
}

/// Which coefficients of which components a scan holds.
#[derive(Debug, Clone)]
pub(super) struct ScanHeader {
    /// Places in the frame's components, with the tables for means and for the rest.
    pub(super) parts: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bits that come in later scans; and whether this scan is such a later one.
    pub(super) shift: u32,
    pub(super) refines: bool,
}

impl ScanHeader {
    fn parse(body: &[u8], frame: &Frame) -> Result<Self, Fault> {
        let (&count, rest) = body.split_first().ok_or(Fault::Damaged)?;
        let (parts, rest) = rest.split_at_checked(usize::from(count) * 2).ok_or(Fault::Damaged)?;
        let [first, last, bits, ..] = *rest else { return Err(Fault::Damaged) };
        let mut header = Self {
            parts: Vec::new(),
            first: usize::from(first),
            last: usize::from(last),
            shift: u32::from(bits & 15),
            refines: bits >> 4 != 0,
        };
        for part in parts.chunks_exact(2) {
            let at = frame.components.iter().position(|component| component.id == part[0]).ok_or(Fault::Damaged)?;
            let (means, others) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            if means > 3 || others > 3 || header.parts.iter().any(|(earlier, ..)| *earlier == at) {
                return Err(Fault::Damaged);
            }
            header.parts.push((at, means, others));
        }
        if !frame.progressive {
            // What a sequential scan states here is of no account; cameras write nonsense.
            (header.first, header.last, header.shift, header.refines) = (0, 63, 0, false);
        }
        let band = if header.first == 0 { header.last == 0 || !frame.progressive } else { header.parts.len() == 1 };
        if header.parts.is_empty() || header.first > header.last || header.last > 63 || header.shift > 13 || !band {
            return Err(Fault::Damaged);
        }
        Ok(header)
    }
}

/// Tables that are in force, and the frame once it was read.
#[derive(Default)]
pub(super) struct State {
    pub(super) frame: Option<Frame>,
    pub(super) steps: [Option<Box<Steps>>; 4],
    pub(super) means: [Option<Box<HuffmanTable>>; 4],
    pub(super) others: [Option<Box<HuffmanTable>>; 4],
    /// Units between restart markers; 0: none.
    pub(super) restart_interval: u32,
    /// What an Adobe segment says of the colours: 0 none, 1 YCbCr, 2 YCCK.
    adobe_transform: Option<u8>,
    jfif: bool,
}

/// What comes next in a file.
pub(super) enum Segment {
    /// Tables or notes.
    Other,
    /// A scan; its bits begin at this byte.
    Scan(ScanHeader, usize),
    /// The end of the picture.
    End,
}

impl State {
    /// Reads the segment whose marker's second byte stands at `at`; gives where to look for the next one.
    pub(super) fn segment(&mut self, bytes: &[u8], at: usize) -> Result<(Segment, usize), Fault> {
        let marker = bytes[at];
        match marker {
            0xd9 => return Ok((Segment::End, at)),
            // Without a body: TEM, and restart markers that a damaged scan left behind.
            0x01 | 0xd0..=0xd8 => return Ok((Segment::Other, at + 1)),
            _ => {}
        }
        let head = bytes.get(at + 1..at + 3).ok_or(Fault::Damaged)?;
        let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let body = bytes.get(at + 3..at + 1 + length).ok_or(Fault::Damaged)?;
        let next = at + 1 + length;
        match marker {
            0xc0..=0xc2 if self.frame.is_none() => {
                self.frame = Some(Frame::parse(marker, body)?.ok_or(Fault::NotHere)?);
            }
            0xc4 => self.huffman_tables(body)?,
            // A second frame, lossless, hierarchical and arithmetic coding, a height that is stated later.
            0xc0..=0xcf | 0xdc | 0xde => return Err(Fault::NotHere),
            0xdb => self.quantisation_tables(body)?,
            0xdd => {
                let [high, low, ..] = *body else { return Err(Fault::Damaged) };
                self.restart_interval = u32::from(u16::from_be_bytes([high, low]));
            }
            0xe0 => self.jfif |= body.starts_with(b"JFIF\0"),
            0xee if body.starts_with(b"Adobe") => self.adobe_transform = body.get(11).copied(),
            0xda => {
                let frame = self.frame.as_ref().ok_or(Fault::Damaged)?;
                return Ok((Segment::Scan(ScanHeader::parse(body, frame)?, next), next));
            }
            _ => {}
        }
        Ok((Segment::Other, next))
    }

    /// Whether three components are something else than luminance and two differences.
    pub(super) fn stores_rgb(&self) -> bool {
        !self.jfif && self.adobe_transform == Some(0)
    }

    fn quantisation_tables(&mut self, mut body: &[u8]) -> Result<(), Fault> {
        while let Some((&head, rest)) = body.split_first() {
            let wide = head >> 4 != 0;
            let (values, rest) = rest.split_at_checked(if wide { 128 } else { 64 }).ok_or(Fault::Damaged)?;
            let mut table = [0_u16; 64];
            for (at, place) in ZIGZAG.iter().enumerate() {
                table[usize::from(*place)] = match wide {
                    true => u16::from_be_bytes([values[2 * at], values[2 * at + 1]]),
                    false => u16::from(values[at]),
                };
            }
            let slot = self.steps.get_mut(usize::from(head & 15)).ok_or(Fault::Damaged)?;
            *slot = Some(Box::new(Transform::steps(&table)));
            body = rest;
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut body: &[u8]) -> Result<(), Fault> {
        while let Some((&head, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Fault::Damaged)?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(Fault::Damaged)?;
            let class = if head >> 4 == 0 { &mut self.means } else { &mut self.others };
            let slot = class.get_mut(usize::from(head & 15)).ok_or(Fault::Damaged)?;
            *slot = Some(Box::new(HuffmanTable::new(counts, symbols)?));
            body = rest;
        }
        Ok(())
    }
}
