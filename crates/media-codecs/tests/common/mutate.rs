//! Damage to valid files, the same for the same seed: what a broken upload, a careless encoder or an attacker would make
//! of them. Knows where the containers keep their lengths, and mends the checksums behind which deeper code would
//! otherwise stay untouched (a random byte in an Ogg page ends at its CRC).
//!
//! Depends on nothing, so that any test may take it in with `#[path]`.

/// A damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutated {
    pub bytes: Vec<u8>,
    /// The first damage that was done to it, one of [`KINDS`].
    pub kind: &'static str,
    /// Checksums were made right again afterwards.
    pub mended: bool,
}

/// Every kind of damage, in the order in which seeds choose them.
pub const KINDS: [&str; 9] = [
    "bit_flips",
    "byte_run",
    "truncated",
    "moved_run",
    "removed_run",
    "spliced",
    "boundary_number",
    "length_lie",
    "grown",
];

/// Numbers at which sizes, counts and offsets go wrong.
const BOUNDARIES: [u64; 20] = [
    0,
    1,
    2,
    7,
    8,
    0x0f,
    0x10,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// A generator of random numbers that is the same on every machine (SplitMix64).
pub struct Random(u64);

impl Random {
    /// Starts from a seed; neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % (limit.max(1) as u64)) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }

    /// A place in a file: half of the time in its head, where sizes and counts are.
    fn place(&mut self, len: usize) -> usize {
        let span = if self.once_in(2) { len.min(256) } else { len };
        self.below(span)
    }
}

/// Damages `original` once to four times. `other` is a second valid file, of any format, that splicing takes from.
pub fn mutate(seed: u64, original: &[u8], other: &[u8]) -> Mutated {
    let mut random = Random::new(seed);
    let mut bytes = original.to_vec();
    let mut first = None;
    // Mostly one damage: more than that and only the outermost check is ever reached.
    let rounds = if random.once_in(3) { 2 + random.below(3) } else { 1 };
    for _ in 0..rounds {
        let kind = random.below(KINDS.len());
        damage(KINDS[kind], &mut bytes, other, &mut random);
        first.get_or_insert(KINDS[kind]);
    }
    let mended = !random.once_in(3) && mend(&mut bytes);
    Mutated { bytes, kind: first.unwrap_or(KINDS[0]), mended }
}

fn damage(kind: &str, bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(random.bits() as u8);
        return;
    }
    match kind {
        "bit_flips" => {
            for _ in 0..=random.below(16) {
                let at = random.place(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        "byte_run" => {
            let run = run(bytes.len(), random);
            let fill = random.pick(&[Some(0), Some(0xff), Some(0x80), None]).copied().flatten();
            bytes[run].iter_mut().for_each(|byte| *byte = fill.unwrap_or(random.bits() as u8));
        }
        "truncated" => {
            let keep = random.below(bytes.len());
            bytes.truncate(keep);
        }
        "moved_run" => {
            let run = run(bytes.len(), random);
            let copy = bytes[run].to_vec();
            let at = random.place(bytes.len() + 1);
            bytes.splice(at..at, copy);
        }
        "removed_run" => {
            let run = run(bytes.len(), random);
            bytes.drain(run);
        }
        "spliced" => {
            let keep = random.below(bytes.len());
            bytes.truncate(keep);
            bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        "length_lie" => {
            let lengths = lengths(bytes);
            match random.pick(&lengths).copied() {
                Some(field) => write_number(bytes, field, random),
                // A format without lengths, MPEG for example.
                None => {
                    let field = any_field(bytes.len(), random);
                    write_number(bytes, field, random);
                }
            }
        }
        "grown" => {
            let more = 1 + random.below(64);
            let tail: Vec<u8> = (0..more).map(|_| random.bits() as u8).collect();
            bytes.extend(tail);
        }
        _ => {
            let field = any_field(bytes.len(), random);
            write_number(bytes, field, random);
        }
    }
}

fn run(len: usize, random: &mut Random) -> std::ops::Range<usize> {
    let start = random.place(len);
    let most = if random.once_in(4) { 1024 } else { 24 };
    start..(start + 1 + random.below(most)).min(len)
}

/// A number in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    at: usize,
    bytes: usize,
    big_endian: bool,
}

fn any_field(len: usize, random: &mut Random) -> Field {
    let bytes = [1, 2, 3, 4, 8][random.below(5)];
    Field { at: random.place(len), bytes, big_endian: random.once_in(2) }
}

/// A boundary, or the length that a naive check would let through, or a neighbour of what stands there.
fn write_number(bytes: &mut [u8], field: Field, random: &mut Random) {
    // A length that lies beyond the end was cut off by an earlier damage.
    let end = (field.at + field.bytes).min(bytes.len());
    let Some(place) = bytes.get_mut(field.at..end) else { return };
    let mut before = place.to_vec();
    if !field.big_endian {
        before.reverse();
    }
    let before = before.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let number = match random.below(4) {
        0 => before.wrapping_add(1),
        1 => before.wrapping_sub(1),
        _ => BOUNDARIES[random.below(BOUNDARIES.len())],
    };
    let width = place.len();
    let little = number.to_le_bytes();
    for (index, byte) in place.iter_mut().enumerate() {
        *byte = if field.big_endian { little[width - 1 - index] } else { little[index] };
    }
}

/// Where the container keeps its lengths: chunks of PNG and RIFF, boxes of MP4, segments of JPEG, blocks of FLAC, tags of
/// ID3, segment tables of Ogg.
fn lengths(bytes: &[u8]) -> Vec<Field> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => png_chunks(bytes).map(|at| Field { at, bytes: 4, big_endian: true }).collect(),
        [b'R', b'I', b'F', b'F', ..] => riff_chunks(bytes),
        [0xff, 0xd8, ..] => jpeg_segments(bytes),
        [b'f', b'L', b'a', b'C', ..] => flac_blocks(bytes),
        [b'I', b'D', b'3', ..] => vec![Field { at: 6, bytes: 4, big_endian: true }],
        [b'O', b'g', b'g', b'S', ..] => ogg_pages(bytes)
            .flat_map(|page| {
                let table = bytes.get(page.start + 26).copied().unwrap_or(0);
                (0..=usize::from(table)).map(move |i| Field { at: page.start + 26 + i, bytes: 1, big_endian: true })
            })
            .collect(),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
            let mut found = Vec::new();
            mp4_boxes(bytes, 0..bytes.len(), 0, &mut found);
            found
        }
        _ => Vec::new(),
    }
}

fn big_endian(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    Some(bytes.get(at..at + width)?.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
}

/// Offsets of the length of each chunk.
fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 8;
    std::iter::from_fn(move || {
        let length = big_endian(bytes, at, 4)?;
        let start = at;
        at = at.checked_add(length)?.checked_add(12)?;
        Some(start)
    })
}

fn riff_chunks(bytes: &[u8]) -> Vec<Field> {
    let mut found = vec![Field { at: 4, bytes: 4, big_endian: false }];
    let mut at = 12;
    while let Some(size) = bytes.get(at + 4..at + 8) {
        found.push(Field { at: at + 4, bytes: 4, big_endian: false });
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        if &bytes[at..at + 4] == b"fmt " {
            // Channels, rate, bytes per second, block, bits: what the length of a sample comes from.
            let fields = [(10, 2), (12, 4), (16, 4), (20, 2), (22, 2)];
            found.extend(fields.map(|(offset, bytes)| Field { at: at + offset, bytes, big_endian: false }));
        }
        let Some(next) = at.checked_add(8 + size + (size & 1)) else { break };
        at = next;
    }
    found.retain(|field| field.at + field.bytes <= bytes.len());
    found
}

fn jpeg_segments(bytes: &[u8]) -> Vec<Field> {
    let mut found = Vec::new();
    let mut at = 2;
    while let (Some(0xff), Some(marker)) = (bytes.get(at), bytes.get(at + 1)) {
        let Some(length) = big_endian(bytes, at + 2, 2) else { break };
        found.push(Field { at: at + 2, bytes: 2, big_endian: true });
        if matches!(marker, 0xc0..=0xc3) {
            found.extend([5, 7].map(|offset| Field { at: at + offset, bytes: 2, big_endian: true }));
            found.push(Field { at: at + 9, bytes: 1, big_endian: true });
        }
        if *marker == 0xda {
            break;
        }
        at += 2 + length;
    }
    found.retain(|field| field.at + field.bytes <= bytes.len());
    found
}

fn flac_blocks(bytes: &[u8]) -> Vec<Field> {
    let mut found = Vec::new();
    let mut at = 4;
    while let Some(length) = big_endian(bytes, at + 1, 3) {
        found.push(Field { at: at + 1, bytes: 3, big_endian: true });
        if bytes[at] & 0x80 != 0 {
            break;
        }
        at += 4 + length;
    }
    found
}

/// Sizes of the boxes, and inside of the tables the counts of their entries.
fn mp4_boxes(bytes: &[u8], within: std::ops::Range<usize>, depth: usize, found: &mut Vec<Field>) {
    let mut at = within.start;
    while at + 8 <= within.end && found.len() < 500 {
        let Some(size) = big_endian(bytes, at, 4) else { break };
        found.push(Field { at, bytes: 4, big_endian: true });
        let end = at.saturating_add(size.max(8)).min(within.end);
        match &bytes[at + 4..at + 8] {
            b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"udta" | b"edts" | b"iprp" | b"ipco" if depth < 8 => {
                mp4_boxes(bytes, at + 8..end, depth + 1, found);
            }
            b"stsz" | b"stsc" | b"stco" | b"stts" | b"co64" | b"ctts" | b"stsd" | b"elst" => {
                let entries = [12, 16, 20].map(|offset| Field { at: at + offset, bytes: 4, big_endian: true });
                found.extend(entries.into_iter().filter(|field| field.at + 4 <= end));
            }
            _ => {}
        }
        at = end;
    }
}

/// Makes checksums right; false where the format has none.
pub fn mend(bytes: &mut [u8]) -> bool {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => mend_png(bytes),
        [b'O', b'g', b'g', b'S', ..] => mend_ogg(bytes),
        [b'f', b'L', b'a', b'C', ..] => mend_flac(bytes),
        _ => return false,
    }
    true
}

fn mend_png(bytes: &mut [u8]) {
    let chunks: Vec<usize> = png_chunks(bytes).collect();
    for at in chunks {
        let Some(length) = big_endian(bytes, at, 4) else { return };
        let (from, to) = (at + 4, at + 8 + length);
        if bytes.len() < to + 4 {
            return;
        }
        let crc = bytes[from..to].iter().fold(u32::MAX, |mut crc, byte| {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
            crc
        });
        bytes[to..to + 4].copy_from_slice(&(!crc).to_be_bytes());
    }
}

/// Pages whose table and data lie within the file.
fn ogg_pages(bytes: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        // A lying table throws the walk off its track; the next capture pattern puts it back.
        let start = at + bytes.get(at..)?.windows(4).position(|four| four == b"OggS")?;
        at = start + 4;
        let table = usize::from(*bytes.get(start + 26)?);
        let data: usize = bytes.get(start + 27..start + 27 + table)?.iter().map(|size| usize::from(*size)).sum();
        let end = (start + 27 + table + data).min(bytes.len());
        at = at.max(end);
        Some(start..end)
    })
}

/// RFC 3533 6, field 7: CRC-32 with polynomial 0x04c11db7, not reflected, from zero, over the page with a zero there.
fn mend_ogg(bytes: &mut [u8]) {
    let pages: Vec<_> = ogg_pages(bytes).collect();
    for page in pages {
        let page = &mut bytes[page];
        if page.len() < 27 {
            return;
        }
        page[22..26].fill(0);
        let crc = page.iter().fold(0_u32, |mut crc, byte| {
            crc ^= u32::from(*byte) << 24;
            for _ in 0..8 {
                crc = if crc >> 31 == 1 { (crc << 1) ^ 0x04c1_1db7 } else { crc << 1 };
            }
            crc
        });
        page[22..26].copy_from_slice(&crc.to_le_bytes());
    }
}

/// RFC 9639 9.1.8 and 9.3: CRC-8 (polynomial 0x07) behind the header of a frame, CRC-16 (0x8005) behind the frame. A frame
/// ends where the sync code with the next number stands: sixteen bits alone occur in the coded data too.
fn mend_flac(bytes: &mut [u8]) {
    let Some(first) = flac_audio(bytes) else { return };
    let mut starts: Vec<usize> = Vec::new();
    for at in first..bytes.len().saturating_sub(16) {
        let sync = bytes[at] == 0xff && bytes[at + 1] & 0xfe == 0xf8 && bytes[at + 3] & 1 == 0;
        if sync && flac_number(&bytes[at + 4..at + 11]) == Some(starts.len()) {
            starts.push(at);
        }
    }
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
        let frame = &mut bytes[start..end];
        let Some(header) = flac_header_bytes(frame) else { continue };
        if frame.len() < header + 3 {
            continue;
        }
        frame[header] = frame[..header].iter().fold(0_u8, |mut crc, byte| {
            crc ^= byte;
            for _ in 0..8 {
                crc = if crc >> 7 == 1 { (crc << 1) ^ 0x07 } else { crc << 1 };
            }
            crc
        });
        let body = frame.len() - 2;
        let crc = frame[..body].iter().fold(0_u16, |mut crc, byte| {
            crc ^= u16::from(*byte) << 8;
            for _ in 0..8 {
                crc = if crc >> 15 == 1 { (crc << 1) ^ 0x8005 } else { crc << 1 };
            }
            crc
        });
        frame[body..].copy_from_slice(&crc.to_be_bytes());
    }
}

fn flac_audio(bytes: &[u8]) -> Option<usize> {
    let last = *flac_blocks(bytes).last()?;
    let length = big_endian(bytes, last.at, 3)?;
    Some((last.at + 3).saturating_add(length)).filter(|at| *at < bytes.len())
}

/// The number of a frame, coded like a UTF-8 character of up to seven bytes.
fn flac_number(bytes: &[u8]) -> Option<usize> {
    let ones = bytes[0].leading_ones() as usize;
    let (first, more) = match ones {
        0 => (bytes[0], 0),
        2..=7 => (bytes[0] & (0x7f >> ones), ones - 1),
        _ => return None,
    };
    bytes.get(1..=more)?.iter().try_fold(usize::from(first), |number, byte| {
        (byte & 0xc0 == 0x80).then_some((number << 6) | usize::from(byte & 0x3f))
    })
}

/// Bytes before the CRC-8: four, the coded number, and what the codes of block size and rate announce.
fn flac_header_bytes(frame: &[u8]) -> Option<usize> {
    let number = match frame.get(4)?.leading_ones() {
        0 => 1,
        ones @ 2..=7 => ones as usize,
        _ => return None,
    };
    let block = match frame.get(2)? >> 4 {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    let rate = match frame.get(2)? & 15 {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    Some(4 + number + block + rate)
}
