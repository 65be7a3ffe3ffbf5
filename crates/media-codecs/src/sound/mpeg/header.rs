//! The header of a frame of MPEG audio of any layer, and whether a stream begins with one (ISO 11172-3 2.4).

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// 1 to 3.
    pub(crate) layer: u8,
    /// Of the whole frame; `None` for the free format, which does not say.
    pub(crate) bytes: Option<usize>,
    pub(super) samples: u64,
    pub(super) kind: Kind,
}

/// What stays the same through a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Version and layer as they stand in the header.
    version: u8,
    pub(super) rate_hz: u32,
    mono: bool,
}

impl Header {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, b1, b2, b3, ..] = *bytes else { return None };
        let (version, layer, rate) = ((b1 >> 3) & 3, 4 - ((b1 >> 1) & 3), (b2 >> 2) & 3);
        if b1 & 0xe0 != 0xe0 || version == 1 || layer == 4 || rate == 3 {
            return None;
        }
        let base = [44_100, 48_000, 32_000][usize::from(rate)];
        let rate_hz = match version {
            3 => base,
            2 => base / 2,
            _ => base / 4,
        };
        let samples = match (layer, version) {
            (1, _) => 384,
            (3, 0 | 2) => 576,
            _ => 1152,
        };
        let padding = u32::from((b2 >> 1) & 1);
        let bytes = match b2 >> 4 {
            0 => None,
            15 => return None,
            index => {
                let bits = 1000 * kbits(version, layer, usize::from(index) - 1);
                // Layer I counts in slots of four bytes.
                Some(if layer == 1 {
                    4 * (12 * bits / rate_hz + padding)
                } else {
                    samples / 8 * bits / rate_hz + padding
                })
            }
        };
        let kind = Kind { version: b1 & 0xfe, rate_hz, mono: b3 >> 6 == 3 };
        Some(Self { layer, bytes: bytes.map(|bytes| bytes as usize), samples: samples.into(), kind })
    }

    /// Of the two versions and the number of channels, behind the header.
    pub(super) fn side_info_bytes(&self) -> usize {
        match ((self.kind.version >> 3) & 3 == 3, self.kind.mono) {
            (true, false) => 32,
            (false, true) => 9,
            _ => 17,
        }
    }
}

fn kbits(version: u8, layer: u8, index: usize) -> u32 {
    const TABLE: [[u32; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let row = match (version, layer) {
        (3, layer) => usize::from(layer) - 1,
        (_, 1) => 3,
        _ => 4,
    };
    TABLE[row][index]
}

/// The layer of the MPEG stream that begins here: two more frames follow, or the end.
pub(crate) fn layer_of_stream(bytes: &[u8]) -> Option<u8> {
    let first = Header::read(bytes)?;
    match first.bytes {
        Some(_) => follows(bytes, &first, 2).then_some(first.layer),
        // The free format has one length for all, and no table of it.
        None => free_format_repeats(bytes, &first).then_some(first.layer),
    }
}

/// Do `more` frames of the same kind follow, or as many as there are up to the end?
pub(super) fn follows(bytes: &[u8], first: &Header, more: usize) -> bool {
    let (mut at, mut header) = (0, *first);
    for found in 0..more {
        let Some(len) = header.bytes else { return false };
        at += len;
        match bytes.get(at..).map(|rest| (rest.is_empty(), Header::read(rest))) {
            Some((false, Some(next))) if next.kind == first.kind => header = next,
            // At the very end, or before what taggers leave there.
            Some((true, _)) => return true,
            // One frame alone before zeros could be anything.
            Some((false, _)) => return found > 0 && is_tag(&bytes[at..]),
            None => return false,
        }
    }
    true
}

fn free_format_repeats(bytes: &[u8], first: &Header) -> bool {
    const MAX_FRAME_BYTES: usize = 6000;
    let same = |at: usize| {
        bytes.get(at..).and_then(Header::read).is_some_and(|header| header.bytes.is_none() && header.kind == first.kind)
    };
    let mut frames = (24..MAX_FRAME_BYTES).filter(|at| same(*at));
    // One byte of padding, more or less.
    frames.next().is_some_and(|second| (2 * second - 1..=2 * second + 1).any(same))
}

/// What taggers leave before, between and behind streams.
fn is_tag(bytes: &[u8]) -> bool {
    [b"TAG".as_slice(), b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI"].iter().any(|tag| bytes.starts_with(tag))
        || bytes.iter().take(64).all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_frames_are_those_of_the_standard() {
        for (header, layer, bytes, samples) in [
            ([0xff, 0xfb, 0x90, 0x00], 3, Some(417), 1152),
            ([0xff, 0xfb, 0x92, 0x00], 3, Some(418), 1152),
            ([0xff, 0xf3, 0x84, 0xc0], 3, Some(192), 576),
            ([0xff, 0xe3, 0x18, 0xc0], 3, Some(72), 576),
            ([0xff, 0xfd, 0x84, 0x00], 2, Some(384), 1152),
            ([0xff, 0xff, 0x80, 0x00], 1, Some(276), 384),
            ([0xff, 0xfb, 0x00, 0x00], 3, None, 1152),
        ] {
            let read = Header::read(&header).unwrap();
            assert_eq!((read.layer, read.bytes, read.samples), (layer, bytes, samples), "{header:x?}");
        }
        assert_eq!(Header::read(&[0xff, 0xfb, 0xf0, 0x00]), None, "no such bit rate");
        assert_eq!(Header::read(&[0xff, 0xf9, 0x50, 0x80]), None, "ADTS");
    }

    #[test]
    fn other_layers_and_the_free_format_are_named() {
        let stream = |header: [u8; 4], len: usize| {
            let mut frame = vec![0; len];
            frame[..4].copy_from_slice(&header);
            frame.repeat(4)
        };
        assert_eq!(layer_of_stream(&stream([0xff, 0xfb, 0x90, 0x00], 417)), Some(3));
        assert_eq!(layer_of_stream(&stream([0xff, 0xfd, 0x84, 0x00], 384)), Some(2));
        assert_eq!(layer_of_stream(&stream([0xff, 0xff, 0x80, 0x00], 276)), Some(1));
        assert_eq!(layer_of_stream(&stream([0xff, 0xfb, 0x00, 0x00], 333)), Some(3));
        assert_eq!(layer_of_stream(&stream([0xff, 0xfb, 0x90, 0x00], 400)), None);
    }
}
