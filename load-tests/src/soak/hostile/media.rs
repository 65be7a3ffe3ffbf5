//! Small files that cost much, and files that lie about what they are.

use std::collections::BTreeMap;

/// Files by name.
#[derive(Debug, Clone, Default)]
pub struct Files(BTreeMap<&'static str, Vec<u8>>);

/// Width and height of a picture just below the pixel limit.
const SIDE: u16 = 6_320;
/// Scans of the progressive picture beyond the first.
const EMPTY_SCANS: usize = 97;
/// Bytes of the sound file that is nothing but padding.
const PADDING_BYTES: usize = 25_000_000;

impl Files {
    /// All of them.
    pub fn make() -> Self {
        Self(BTreeMap::from([
            ("scans.jpg", progressive_with_empty_scans()),
            ("flat.png", flat_png()),
            ("noise.jpg", noise()),
            ("zeros.mp3", vec![0; PADDING_BYTES]),
            ("hours.wav", wav_that_says_hours()),
            ("segments.jpg", jpeg_of_segments()),
        ]))
    }

    /// The one that `name/mark` names, with the mark behind it: no two are the same bytes, so that no verdict is known
    /// beforehand.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let (name, mark) = name.split_once('/').unwrap_or((name, ""));
        self.0.get(name).map(|file| [file, mark.as_bytes()].concat())
    }
}

/// A grey JPEG of 40 million pixels: one scan in which every block is the same, then scans that say "no change" for all
/// blocks in a few bytes. A decoder that goes over its coefficients once a scan takes seconds for 84 kB.
fn progressive_with_empty_scans() -> Vec<u8> {
    let blocks = usize::from(SIDE).div_ceil(8).pow(2);
    let mut bytes = vec![0xFF, 0xD8];
    segment(&mut bytes, 0xDB, &[&[0][..], &[1; 64]].concat());
    let [high, low] = SIDE.to_be_bytes();
    segment(&mut bytes, 0xC2, &[8, high, low, high, low, 1, 1, 0x11, 0]);
    // Two tables, each with one code of one bit: a difference of nothing; an end of band with 14 bits of length.
    let one_code = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    segment(&mut bytes, 0xC4, &[&[0x00][..], &one_code, &[0x00]].concat());
    segment(&mut bytes, 0xC4, &[&[0x10][..], &one_code, &[0xE0]].concat());
    segment(&mut bytes, 0xDA, &[1, 1, 0x00, 0, 0, 0]);
    bytes.resize(bytes.len() + blocks.div_ceil(8), 0);
    for scan in 0..EMPTY_SCANS {
        // The first one to a bit, the others refine that bit, for which a decoder looks at every coefficient (T.81, G.1.2.3).
        let approximation = if scan == 0 { 0x01 } else { 0x10 };
        segment(&mut bytes, 0xDA, &[1, 1, 0x00, 1, 63, approximation]);
        let mut bits = Bits::default();
        let mut left = blocks;
        while left > 0 {
            // A run of 2^14 + extra blocks; a last one that is too long ends with the picture.
            let extra = left.saturating_sub(1 << 14).min((1 << 14) - 1);
            bits.push_from_the_top(extra as u32, 15);
            left = left.saturating_sub((1 << 14) + extra);
        }
        for byte in bits.ended_with_ones() {
            bytes.push(byte);
            if byte == 0xFF {
                bytes.push(0);
            }
        }
    }
    bytes.extend([0xFF, 0xD9]);
    bytes
}

fn segment(bytes: &mut Vec<u8>, marker: u8, content: &[u8]) {
    bytes.extend([0xFF, marker]);
    bytes.extend((content.len() as u16 + 2).to_be_bytes());
    bytes.extend(content);
}

/// A JPEG of thirty thousand comments and no picture.
fn jpeg_of_segments() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8];
    for _ in 0..30_000 {
        segment(&mut bytes, 0xFE, b"comment");
    }
    bytes
}

/// A grey PNG of 40 million black pixels in 160 kB.
fn flat_png() -> Vec<u8> {
    let rows = usize::from(SIDE) * (usize::from(SIDE) + 1);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let side = u32::from(SIDE).to_be_bytes();
    chunk(&mut bytes, b"IHDR", &[&side[..], &side, &[8, 0, 0, 0, 0]].concat());
    chunk(&mut bytes, b"IDAT", &zlib_of_zeros(rows));
    chunk(&mut bytes, b"IEND", &[]);
    bytes
}

fn chunk(bytes: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    bytes.extend((content.len() as u32).to_be_bytes());
    let from = bytes.len();
    bytes.extend(name);
    bytes.extend(content);
    let sum = crc32(&bytes[from..]);
    bytes.extend(sum.to_be_bytes());
}

/// ISO 3309, as PNG asks for it (PNG specification, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 };
        }
    }
    !sum
}

/// `count` zeros as a zlib stream of one block with fixed codes (RFC 1951 3.2.6): a zero, then copies of 258 of it in 13 bits.
fn zlib_of_zeros(count: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0b011, 3);
    let zero = |bits: &mut Bits| bits.push_from_the_top(0b0011_0000, 8);
    zero(&mut bits);
    let copies = (count - 1) / 258;
    for _ in 0..copies {
        // Length code 285, distance code 0.
        bits.push_from_the_top(0b1100_0101, 8);
        bits.push_from_the_top(0, 5);
    }
    for _ in 0..count - 1 - copies * 258 {
        zero(&mut bits);
    }
    bits.push_from_the_top(0, 7);
    let mut bytes = vec![0x78, 0x01];
    bytes.extend(bits.least_first());
    // Adler-32 (RFC 1950) of zeros.
    let sum = ((count % 65_521) as u32) << 16 | 1;
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// Bits in the order in which they were pushed.
#[derive(Debug, Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).map(|bit| value >> bit & 1 == 1));
    }

    fn push_from_the_top(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// Bytes as deflate has them.
    fn least_first(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at);
        self.0.chunks(8).map(byte).collect()
    }

    /// Bytes as JPEG has them.
    fn ended_with_ones(&self) -> Vec<u8> {
        let bit = |bits: &[bool], at: usize| bits.get(at).copied().unwrap_or(true);
        let byte = |bits: &[bool]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bit(bits, at)));
        self.0.chunks(8).map(byte).collect()
    }
}

/// A megabyte that begins as a JPEG does.
fn noise() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE0];
    let mut state = 7u64;
    while bytes.len() < 1 << 20 {
        state = crate::soak::feed::split_mix(state);
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

/// A tenth of a second that calls itself 4 GB.
fn wav_that_says_hours() -> Vec<u8> {
    let mut bytes = b"RIFF\xFF\xFF\xFF\xFFWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    bytes.extend(8_000u32.to_le_bytes());
    bytes.extend(16_000u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data\xFF\xFF\xFF\xFF");
    bytes.extend((0..800i16).flat_map(|at| ((at % 80 - 40) * 200).to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_specifications() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        // zlib.compress(bytes(1), 1) in Python ends in the same sum.
        assert_eq!(zlib_of_zeros(1)[zlib_of_zeros(1).len() - 4..], [0, 1, 0, 1]);
    }

    #[test]
    fn the_dear_files_are_small() {
        let files = Files::make();
        let scans = files.get("scans.jpg").unwrap();
        assert!(files.get("scans.jpg/7").unwrap().strip_prefix(&scans[..]) == Some(b"7"));
        assert!(scans.len() < 130_000, "{}", scans.len());
        assert_eq!(scans.windows(2).filter(|pair| *pair == [0xFF, 0xDA]).count(), EMPTY_SCANS + 1);
        assert!(files.get("flat.png").unwrap().len() < 260_000);
    }
}
